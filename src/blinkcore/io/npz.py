"""Data sets as `.npz`: blinkcore's own, and those of deepBlink.

deepBlink's hold its points as pickled objects. Reading them never runs pickled code: the
unpickler knows arrays and nothing else.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from blinkcore.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PARTS = ("train", "valid", "test")
_FORMAT = 1
_INDEX = "blinkcore"  # the member that tells one of ours


def write(samples: list[dict[str, Any]], path: Path) -> None:
    """Write samples, each with `image`, `points` and what else JSON can hold."""
    arrays: dict[str, NDArray[Any]] = {}
    index = []
    for number, sample in enumerate(samples):
        arrays[f"image{number:06d}"] = sample["image"]
        arrays[f"points{number:06d}"] = np.asarray(sample["points"], np.float64)
        index.append({k: v for k, v in sample.items() if k not in ("image", "points")})
    text = json.dumps({"format": _FORMAT, "samples": index})
    arrays[_INDEX] = np.frombuffer(text.encode(), np.uint8)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read(path: Path) -> list[dict[str, Any]]:
    """Read a data set of blinkcore or deepBlink.

    Returns
    -------
    list of dict
        `image` (height, width), `points` (n, 2) as y, x in px, `part`, `name`, `source`.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is neither, or holds more than arrays.
    """
    with path.open("rb") as file:
        is_zip = zipfile.is_zipfile(file)
    if not is_zip:
        raise ValueError(f"{path} is no data set (.npz), whatever its name says")
    try:
        with np.load(path, allow_pickle=False) as content:
            if _INDEX in content.files:
                return _own(content)
            names = set(content.files)
        if {f"{axis}_{part}" for axis in "xy" for part in PARTS} <= names:
            return _deepblink(path)
    except (ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is not a data set that can be read: {error}"
        ) from error
    raise ValueError(
        f"{path} is neither a data set of 'blinkcore dataset create' nor of deepBlink"
    )


def _own(content: Any) -> list[dict[str, Any]]:
    index = json.loads(content[_INDEX].tobytes().decode())
    if index["format"] > _FORMAT:
        raise ValueError("it was written by a newer blinkcore; please upgrade")
    return [
        {
            **about,
            "image": content[f"image{number:06d}"],
            "points": content[f"points{number:06d}"],
        }
        for number, about in enumerate(index["samples"])
    ]


def _deepblink(path: Path) -> list[dict[str, Any]]:
    samples = []
    with zipfile.ZipFile(path) as archive:
        for part in PARTS:
            with archive.open(f"x_{part}.npy") as file:
                images = _array(file)
            with archive.open(f"y_{part}.npy") as file:
                points = _array(file)
            for number, (image, places) in enumerate(zip(images, points, strict=True)):
                plane = np.squeeze(np.asarray(image))
                if plane.ndim != 2:
                    raise ValueError(
                        f"image {number} of {part} has shape {plane.shape}"
                    )
                name = f"{part}{number:05d}"
                samples.append(
                    {
                        "image": plane,
                        "points": np.asarray(places, float).reshape(-1, 2),
                        "part": part,
                        "name": name,
                        "source": name,
                    }
                )
    return samples


def _array(file: IO[bytes]) -> NDArray[Any]:
    """Read one `.npy`, objects by a pickle reader that makes nothing but arrays."""
    version = np.lib.format.read_magic(file)
    reader = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = reader(file)
    if not dtype.hasobject:
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        return np.frombuffer(file.read(), dtype).reshape(shape, order=order)
    array: NDArray[Any] = np.asarray(_OnlyArrays(file).load(), object)
    return array


class _OnlyArrays(pickle.Unpickler):
    """A pickle reader that refuses all but what NumPy arrays are made of."""

    _allowed = frozenset(
        (f"{module}.{name}", attribute)
        for module in ("numpy.core", "numpy._core")
        for name, attribute in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ) | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it holds a {module}.{name}, not only arrays")
        # NumPy 2 wrote numpy._core, which NumPy 1 calls numpy.core, and the other way.
        if module.startswith(("numpy.core", "numpy._core")):
            tail = module.partition("core")[2]
            home = "numpy._core" if hasattr(np, "_core") else "numpy.core"
            return super().find_class(home + tail, name)
        return super().find_class(module, name)
