"""Read the weights of a model file as plain numbers: none of its code is looked at or run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore import plain_pickle
from blinkcore.model_files.archive import about_in, checked_pickle, members_of
from blinkcore.model_files.script_types import PARAMETER, TENSORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Types of PyTorch's storages that a network of blinkcore has.
_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
_MAX_PARTS = 20_000  # of a network


def read_weights(
    content: bytes, metadata: str
) -> tuple[dict[str, NDArray[Any]] | None, bytes]:
    """Read the tensors of a TorchScript file and what the model says about itself.

    Parameters
    ----------
    content : bytes
        Of the file.
    metadata : str
        Name of the extra file in it that describes the model.

    Returns
    -------
    weights : dict of ndarray, or None
        Copies of the tensors of the part called `network`, of any shape, by the names of its
        `state_dict`. None if it has others than 32-bit floats and 64-bit integers.
    about : bytes
        The metadata; empty where there are none.

    Raises
    ------
    ValueError
        If it is not a TorchScript file, is damaged, or exceeds a limit.
    """
    members = members_of(content)
    about = about_in(members, metadata)
    parsed = checked_pickle("data", members)
    top = _attributes(parsed)
    network = None if top is None else top.get("network")
    if members.get("byteorder", b"little") != b"little":
        return None, about
    return _tensors(network, members), about


def _attributes(value: Any) -> dict[str, Any] | None:
    """Return the attributes of an object of the file, None for anything else."""
    if isinstance(value, plain_pickle.Call) and isinstance(value.state, dict):
        return value.state
    return None


def _tensors(network: Any, members: dict[str, bytes]) -> dict[str, NDArray[Any]] | None:
    found: dict[str, NDArray[Any]] = {}
    left = sum(map(len, members.values()))  # bytes
    todo = [("", network)]
    for _ in range(_MAX_PARTS):
        if not todo:
            return found
        prefix, part = todo.pop()
        for name, value in (_attributes(part) or {}).items():
            if _attributes(value) is not None:
                todo.append((f"{prefix}{name}.", value))
            elif isinstance(value, plain_pickle.Call) and value.function in TENSORS:
                tensor = _tensor(value, members)
                if tensor is None:
                    return None
                left -= tensor.nbytes + 1
                if left < 0:
                    return None
                found[f"{prefix}{name}"] = tensor
    raise ValueError(f"its network has more than {_MAX_PARTS:,} parts")


def _tensor(value: plain_pickle.Call, members: dict[str, bytes]) -> NDArray[Any] | None:
    """Copy a tensor, which `checked_pickle` has found to lie within its numbers."""
    if value.function == PARAMETER:
        value = value.arguments[0]
    storage, offset, shape, strides, _, _ = value.arguments
    dtype = _TYPES.get(storage.key[1].name)
    if dtype is None:
        return None
    numbers = np.frombuffer(members[f"data/{storage.key[2]}"], dtype)
    if math.prod(shape) > numbers.size:  # numbers that are repeated
        return None
    # A dimension of length 1 may have any stride.
    steps = [
        step * numbers.itemsize if n > 1 else 0
        for n, step in zip(shape, strides, strict=True)
    ]
    strided = np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps)
    copied: NDArray[Any] = strided.copy()
    return copied
