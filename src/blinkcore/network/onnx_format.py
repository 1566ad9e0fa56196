"""Networks as ONNX: for hosts without PyTorch, and for when TorchScript is gone.

A file gives the same grids as the TorchScript one, and holds the same metadata.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from blinkcore.files import atomic_write, missing
from blinkcore.network.device import pick_device
from blinkcore.network.torchscript import normalizing, whole_grid

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from blinkcore.network.networks import AnyNetwork


_CUDA = "CUDAExecutionProvider"
MIN_SIDE = 64  # px, of the images that a network with its normalization takes


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("a model in ONNX", "onnxruntime", "onnx") from error
    return onnxruntime


def device_for(device: str) -> str:
    """Choose where onnxruntime runs a network.

    Parameters
    ----------
    device : str
        "auto" is a CUDA device if there is one that onnxruntime can use, else the CPU.

    Raises
    ------
    ImportError
        If onnxruntime is not installed.
    ValueError
        If it cannot run on this device.
    """
    has_cuda = _CUDA in _runtime().get_available_providers()
    where = pick_device(device)
    if device == "auto" and not (has_cuda and where.startswith("cuda")):
        return "cpu"
    if where.startswith("cuda") and not has_cuda:
        raise ValueError(
            "this onnxruntime has no CUDA; choose the device cpu, or install onnxruntime-gpu"
        )
    if not where.startswith(("cuda", "cpu")):
        raise ValueError(f"onnxruntime does not run on {where}; choose the device cpu")
    return where


class OnnxNetwork:
    """A network that onnxruntime runs.

    Parameters
    ----------
    content : bytes
        Of a file that was checked.
    device : str
        Of `device_for`.

    Raises
    ------
    ImportError
        If onnxruntime is not installed.
    ValueError
        If it cannot read the network.
    """

    def __init__(self, content: bytes, device: str) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        # onnxruntime has a format of its own, which it would find in the same bytes.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        kind, _, number = device.partition(":")
        provider: Any = "CPUExecutionProvider"
        if kind == "cuda":
            provider = (_CUDA, {"device_id": int(number or 0)})
        try:
            self._session = runtime.InferenceSession(
                content, options, providers=[provider]
            )
        except Exception as error:  # damaged files raise its own kinds
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"onnxruntime cannot read its network: {reason}"
            ) from error
        given, results = self._session.get_inputs(), self._session.get_outputs()
        if len(given) != 1 or len(results) != 1 or len(results[0].shape) != 4:
            raise ValueError("its network does not take one image to one grid")
        self._name = given[0].name
        self.has_error = results[0].shape[1] == 4

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run it: normalized (N, 1, H, W) to grids (N, 3 or 4, H / cell, W / cell)."""
        (grids,) = self._session.run(None, {self._name: tiles})
        result: NDArray[np.float32] = np.asarray(grids, np.float32)
        return result


def save(
    network: AnyNetwork, path: str | os.PathLike[str], extra: dict[str, str]
) -> None:
    """Write a network that takes normalized images, whole or not at all.

    Parameters
    ----------
    network : AnyNetwork
        With trained weights.
    path : str or path
        Of the file.
    extra : dict
        Metadata in it: name to content.

    Raises
    ------
    ImportError
        If onnx or onnxscript is not installed.
    """
    stride = network.stride
    sides = (
        torch.export.Dim("h", min=1, max=4096),
        torch.export.Dim("w", min=1, max=4096),
    )
    batch = torch.export.Dim("n", min=1, max=4096)
    shapes = {"x": {0: batch, 2: stride * sides[0], 3: stride * sides[1]}}
    example = torch.zeros(2, 1, 4 * stride, 6 * stride)
    _write(_Grid(network).eval(), example, shapes, extra, Path(path))


def save_with_normalization(network: AnyNetwork, path: Path) -> int:
    """Write a network that takes one raw image; errors as of `save`.

    Returns
    -------
    int
        The version of ONNX's operators that it needs.
    """
    stride, first = network.stride, -(-MIN_SIDE // network.stride)
    sides = (
        torch.export.Dim("h", min=first, max=4096),
        torch.export.Dim("w", min=first, max=4096),
    )
    shapes = {"x": {2: stride * sides[0], 3: stride * sides[1]}}
    example = torch.rand(1, 1, 2 * first * stride, 3 * first * stride)
    return _write(normalizing(network), example, shapes, {}, path)


def _write(
    module: torch.nn.Module,
    example: torch.Tensor,
    shapes: dict[str, dict[int, Any]],
    extra: dict[str, str],
    path: Path,
) -> int:
    """Export a module, check the file, and write it; return the operators' version."""
    try:
        import onnx
        import onnxscript  # noqa: F401 (PyTorch's exporter needs it)
    except ImportError as error:
        raise missing("writing ONNX", str(error.name), "onnx") from error
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (example,), dynamo=True, dynamic_shapes=shapes,
            input_names=["x"], output_names=["grid"], verbose=False,
        )  # fmt: skip
    content = io.BytesIO()
    program.save(content, external_data=False)  # type: ignore[union-attr, arg-type]
    model = onnx.load_from_string(content.getvalue())
    onnx.helper.set_model_props(model, extra)
    onnx.checker.check_model(model, full_check=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return int(max(o.version for o in model.opset_import if not o.domain))


class _Grid(torch.nn.Module):
    """Images to grids, with the error where a network predicts it."""

    def __init__(self, network: AnyNetwork) -> None:
        super().__init__()
        self.network = network
        self.run = whole_grid(network)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(x)
