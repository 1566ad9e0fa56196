"""A model: one TorchScript file with its metadata inside. Load, save, list.

The file can be used without blinkcore: `forward` takes normalized float32 images
(N, 1, H, W) with sides that are multiples of `stride`, and gives grids (N, 3, H / cell,
W / cell); `extra_files["blinkcore.json"]` describes the rest. A network that predicts
errors has a second method, `with_error`, which gives the same grids with a fourth
channel: the standard error of y and of x in px.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blinkcore.files import did_you_mean
from blinkcore.model_files.sandbox import try_in_sandbox
from blinkcore.network import registry
from blinkcore.network.loading import content_of, network_of_file, read_file
from blinkcore.network.metadata import METADATA_FILE, Metadata

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from blinkcore.network.networks import AnyNetwork

DEFAULT = "general"


@dataclass(frozen=True)
class Model:
    """A loaded model, ready to run.

    Attributes
    ----------
    name : str
        As requested: a name, or the file's name without suffix.
    metadata : Metadata
        What the model says about itself.
    sha256 : str
        Of the file.
    device : str
        Where it runs.
    precision : {"float32", "bfloat16"}
        In which most of its layers are computed.
    """

    name: str
    metadata: Metadata
    sha256: str
    device: str
    precision: str
    network: Any = field(repr=False)

    @property
    def has_error(self) -> bool:
        """Whether it predicts the error of a position."""
        own = getattr(self.network, "has_error", None)  # of ONNX
        return hasattr(self.network, "with_error") if own is None else own

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network.

        Parameters
        ----------
        tiles : ndarray of float32, shape (N, 1, H, W)
            Normalized; sides are multiples of `metadata.stride`.

        Returns
        -------
        ndarray of float32, shape (N, 3 or 4, H / cell, W / cell)
            Probability, row offset, column offset and, where `has_error`, the error in px.

        Raises
        ------
        ValueError
            If the network itself gives up.
        """
        if hasattr(self.network, "has_error"):
            onnx_grids: NDArray[np.float32] = self.network(tiles)
            return onnx_grids
        import torch

        from blinkcore.network.torchscript import hide_message_of_network

        run = self.network.with_error if self.has_error else self.network
        with torch.inference_mode(), hide_message_of_network(self.name):
            result: torch.Tensor = run(torch.from_numpy(tiles).to(self.device))
        grids: NDArray[np.float32] = result.cpu().numpy()
        return grids


def bundled_models() -> dict[str, Path]:
    """List the models that come with blinkcore: name to file."""
    folder = Path(str(resources.files("blinkcore") / "models"))
    return {path.stem: path for path in sorted(folder.glob("*.pt"))}


def about_bundled() -> dict[str, dict[str, Any]]:
    """Say what each bundled model is for, and its F1 integral on the same scenes."""
    text = (resources.files("blinkcore") / "models" / "about.json").read_text("utf-8")
    about: dict[str, dict[str, Any]] = json.loads(text)
    return about


def load_model(
    model: str | os.PathLike[str] = DEFAULT, *, device: str = "auto", amp: bool = True
) -> Model:
    """Load a model.

    Parameters
    ----------
    model : str or path
        Name of a bundled model or of one of the registry, or path of a `.pt` or `.onnx` file.
    device : {"auto", "cpu", "cuda", "mps"}
        "auto" takes a CUDA device if there is one.
    amp : bool
        Run a `blink` network in half precision (bfloat16, see `half_precision`) on a
        CPU if that is faster. Probabilities and positions (px) then differ by some 0.01
        (RMS).

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If the file is not a model of blinkcore, or the device is not available.
    """
    name, path = _find(model)
    content = content_of(path)
    if _is_onnx(path):
        return _load_onnx(name, path, content, device)
    # Before the seconds that PyTorch takes to be imported.
    file = read_file(path, content)
    if path == bundled_models().get(name) and not file.is_ours:
        raise ValueError(f"{path} is damaged or was changed; install blinkcore again")
    import torch

    from blinkcore.network import torchscript
    from blinkcore.network.device import half_precision, pick_device

    where = pick_device(device)
    network, is_known = network_of_file(path, file, where)
    exact = getattr(network.network, "exact", ()) if is_known else ()
    half = half_precision(where) if amp and exact and where == "cpu" else None
    if half is not None:
        for layer, module in network.network.named_children():
            if layer not in exact:
                module.to(half)
    precision = str(half or torch.float32).removeprefix("torch.")
    frozen = torchscript.freeze(network, where)
    return Model(name, file.metadata, file.sha256, where, precision, frozen)


def _is_onnx(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"


def _load_onnx(name: str, path: Path, content: bytes, device: str) -> Model:
    """Load an ONNX model and try it out, as is done with any model not bundled."""
    from blinkcore.model_files import onnx_check
    from blinkcore.model_files.probe import probe_grids
    from blinkcore.network import onnx_format

    def check() -> None:
        own = onnx_format.OnnxNetwork(content, "cpu")
        n_channels = 4 if own.has_error else 3
        probe_grids(own, n_channels, metadata.cell_size, metadata.stride)

    try:
        read = partial(onnx_check.metadata_of, content, METADATA_FILE)
        try_in_sandbox(read, "a check of it", len(content))
        metadata = Metadata.from_json(read())
        where = onnx_format.device_for(device)
        try_in_sandbox(check)
        network = onnx_format.OnnxNetwork(content, where)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be used as a model: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    return Model(name, metadata, digest, where, "float32", network)


def read_metadata(model: str | os.PathLike[str]) -> Metadata:
    """Read what a model says about itself; arguments and errors as of `load_model`."""
    name, path = _find(model)
    content = content_of(path)
    if _is_onnx(path):
        return _load_onnx(name, path, content, "cpu").metadata
    file = read_file(path, content)
    if not file.is_ours:  # files of others must show that they can be loaded
        network_of_file(path, file, "cpu")
    return file.metadata


def load_weights(model: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read a model's weights to continue its training; errors as in `load_model`.

    Their names and shapes are those of the network's `state_dict`.
    """
    _, path = _find(model)
    if _is_onnx(path):
        raise ValueError(
            f"{path} is ONNX, which cannot be trained or exported; give the .pt file"
        )
    network, _ = network_of_file(path, read_file(path, content_of(path)), "cpu")
    state = network.network.state_dict()
    return {name: value.clone() for name, value in state.items()}


def save_model(
    network: AnyNetwork, metadata: Metadata, path: str | os.PathLike[str]
) -> None:
    """Write a network and its metadata as one TorchScript file, whole or not at all.

    Parameters
    ----------
    network : AnyNetwork
        With trained weights.
    metadata : Metadata
        Record that is stored in the file.
    path : str or path
        File to write.
    """
    from blinkcore.network import torchscript

    torchscript.save(network, path, {METADATA_FILE: metadata.to_json()})


def _find(model: str | os.PathLike[str]) -> tuple[str, Path]:
    bundled = bundled_models()
    if isinstance(model, str) and model in bundled:
        return model, bundled[model]
    path = Path(model)
    if path.is_file():
        return path.stem, path
    if isinstance(model, str):
        fetched = registry.fetch(model)
        if fetched is not None:
            return model, fetched
    name = os.fspath(model)
    near = did_you_mean(name, [*bundled, *registry.registered_models()])
    raise FileNotFoundError(
        f"there is no model {name!r}, neither such a file nor such a name; {near}"
    )
