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
from typing import TYPE_CHECKING, Any, NamedTuple

from blinkcore.files import did_you_mean
from blinkcore.model_files import archive
from blinkcore.model_files.sandbox import try_in_sandbox
from blinkcore.network import registry
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


def _bundled_digests() -> dict[str, str]:
    """Read the SHA-256 of each bundled file, by name."""
    text = (resources.files("blinkcore") / "models" / "sha256.txt").read_text("utf-8")
    return dict(line.split() for line in text.splitlines())


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
    content = path.read_bytes()
    if _is_onnx(path):
        return _load_onnx(name, path, content, device)
    checked = _checked(path, content)  # before the seconds that PyTorch takes to import
    if path == bundled_models().get(name) and not checked.is_ours:
        raise ValueError(f"{path} is damaged or was changed; install blinkcore again")
    import torch

    from blinkcore.network import torchscript
    from blinkcore.network.device import half_precision, pick_device

    where = pick_device(device)
    network = _loaded(path, checked, where)
    exact = _exact_layers(network)
    half = half_precision(where) if amp and exact and where == "cpu" else None
    if half is not None:
        for layer, module in network.network.named_children():
            if layer not in exact:
                module.to(half)
    precision = str(half or torch.float32).removeprefix("torch.")
    frozen = torchscript.freeze(network, where)
    return Model(name, checked.metadata, checked.sha256, where, precision, frozen)


def _exact_layers(network: Any) -> tuple[str, ...]:
    """Give the names of the layers that a network wants in single precision."""
    own = getattr(network.network, "exact", ())  # of a file: may be anything
    is_named = isinstance(own, tuple | list) and all(isinstance(n, str) for n in own)
    return tuple(own) if is_named else ()


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
        metadata = Metadata.from_json(onnx_check.metadata_of(content, METADATA_FILE))
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
    content = path.read_bytes()
    if _is_onnx(path):
        return _load_onnx(name, path, content, "cpu").metadata
    checked = _checked(path, content)
    if not checked.is_ours:  # files of others must show that they can be loaded
        _loaded(path, checked, "cpu")
    return checked.metadata


def load_weights(model: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read a model's weights to continue its training; errors as in `load_model`.

    Their names and shapes are those of the network's `state_dict`.
    """
    _, path = _find(model)
    if _is_onnx(path):
        raise ValueError(f"{path} is ONNX, which cannot be trained; give the .pt file")
    network = _loaded(path, _checked(path, path.read_bytes()), "cpu")
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
        f"there is no model {name!r}: give the path of a .pt file or the name of a model; "
        f"{near}"
    )


class _Checked(NamedTuple):
    """A model file that was checked: its TorchScript, and what it says about itself."""

    script: bytes
    metadata: Metadata
    sha256: str  # of the file
    is_ours: bool  # bundled, known by its digest


def _checked(path: Path, content: bytes) -> _Checked:
    """Check a model file without PyTorch; bundled ones are known by their digest."""
    digest = hashlib.sha256(content).hexdigest()
    if digest in _bundled_digests().values():
        about = archive.metadata_of(content, METADATA_FILE)
        return _Checked(content, Metadata.from_json(about.decode()), digest, True)
    check = partial(archive.checked, content, METADATA_FILE)
    try:
        # First in a copy of this process: files can be made to take long to be checked.
        try_in_sandbox(check, "a check of it", len(content))
        script, about = check()
        if not about:
            raise ValueError(
                f"it is a TorchScript file but not a model of blinkcore: it has no "
                f"{METADATA_FILE}"
            )
        return _Checked(script, Metadata.from_json(about.decode()), digest, False)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be used as a model: {error}") from error


def _try(script: bytes, metadata: Metadata) -> None:
    """Load a network, run it, and run it as it is prepared to run fast."""
    from blinkcore.model_files.probe import probe
    from blinkcore.network import torchscript

    network = torchscript.load(script, "cpu")
    probe(network, metadata.cell_size, metadata.stride)
    try:
        frozen = torchscript.freeze(network, "cpu")
    except RuntimeError as error:
        raise ValueError("PyTorch cannot prepare its network") from error
    probe(frozen, metadata.cell_size, metadata.stride, is_frozen=True)


def _loaded(path: Path, checked: _Checked, device: str) -> Any:
    """Load a checked file with PyTorch, and try out networks that are not bundled."""
    from blinkcore.network import torchscript

    script = checked.script
    try:
        if not checked.is_ours:
            check = partial(_try, script, checked.metadata)
            try_in_sandbox(check, n_bytes=len(script))
        return torchscript.load(script, device)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used as a model: {error}") from error
