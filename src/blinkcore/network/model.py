"""A model: one TorchScript file with its metadata inside. Load, save, list.

The only module that says `torch.jit`. The file needs no blinkcore: `forward` takes
normalized float32 images (N, 1, H, W), sides multiples of `stride`, and gives grids
(N, 3, H / cell, W / cell); `extra_files["blinkcore.json"]` tells the rest. A network that
predicts how well it knows a position has a second method, `with_error`, which gives the
same grids with a fourth channel: the standard error of y and of x in px.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from blinkcore.files import whole_file
from blinkcore.network import registry
from blinkcore.network.fusion import fuse
from blinkcore.network.metadata import METADATA_FILE, Metadata
from blinkcore.network.normalize import FAR, MEAN_TO_NOISE, MEDIAN_TO_NOISE

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from blinkcore.network.networks import Blink, DeepBlink

DEFAULT = "general"


@dataclass(frozen=True)
class Model:
    """A loaded model, ready to run.

    Attributes
    ----------
    name : str
        As it was asked for: a bundled name, or the file's name without suffix.
    metadata : Metadata
        See there.
    sha256 : str
        Of the file.
    device : str
        Where it runs.
    precision : {"float32", "bfloat16"}
        Of most of its layers.
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
        return hasattr(self.network, "with_error")

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
        """
        run = self.network.with_error if self.has_error else self.network
        with torch.inference_mode():
            result: torch.Tensor = run(torch.from_numpy(tiles).to(self.device))
        grids: NDArray[np.float32] = result.cpu().numpy()
        return grids


def bundled_models() -> dict[str, Path]:
    """List the models that come with blinkcore: name to file."""
    folder = Path(str(resources.files("blinkcore") / "models"))
    return {path.stem: path for path in sorted(folder.glob("*.pt"))}


def load_model(
    model: str | os.PathLike[str] = DEFAULT, *, device: str = "auto", amp: bool = True
) -> Model:
    """Load a model.

    Parameters
    ----------
    model : str or path
        Name of a bundled model or of one of the registry, or path of a `.pt` file.
    device : {"auto", "cpu", "cuda", "mps"}
        "auto" takes a CUDA device if there is one.
    amp : bool
        Run a `blink` network in half precision on a CPU that is faster in it: bfloat16, see
        `half_precision`. Probabilities and positions (px) then differ by some 0.01 (RMS).

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If the file is not a model of blinkcore, or the device is not there.
    """
    name, path = _find(model)
    where = pick_device(device)
    content = path.read_bytes()
    network, metadata = _read(path, content, where)
    exact: tuple[str, ...] = getattr(network.network, "exact", ())
    half = half_precision(where) if amp and exact and where == "cpu" else None
    if half is not None:
        for layer, module in network.network.named_children():
            if layer not in exact:
                module.to(half)
    precision = str(half or torch.float32).removeprefix("torch.")
    digest = hashlib.sha256(content).hexdigest()
    return Model(name, metadata, digest, where, precision, _frozen(network, where))


def read_metadata(model: str | os.PathLike[str]) -> Metadata:
    """Read what a model says about itself; arguments and errors as of `load_model`."""
    _, path = _find(model)
    return _read(path, path.read_bytes(), "cpu")[1]


def load_weights(model: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read the weights of a model, to go on training; errors as of `load_model`."""
    _, path = _find(model)
    network, _ = _read(path, path.read_bytes(), "cpu")
    state = network.network.state_dict()
    return {name: value.clone() for name, value in state.items()}


def save_model(
    network: Blink | DeepBlink, metadata: Metadata, path: str | os.PathLike[str]
) -> None:
    """Write a network and its metadata as one TorchScript file, whole or not at all.

    Parameters
    ----------
    network : Blink or DeepBlink
        With trained weights.
    metadata : Metadata
        What to say about it.
    path : str or path
        Where to.
    """
    exported = _ExportedWithError if network.predicts_error else _Exported
    with _quiet():
        script = torch.jit.script(exported(network).eval())
    _save(script, path, {METADATA_FILE: metadata.to_json()})


def _save(
    script: torch.jit.ScriptModule,
    path: str | os.PathLike[str],
    extra: dict[str, str],
) -> None:
    # A file's name would stand in the archive, and that is a temporary one.
    content = io.BytesIO()
    with _quiet():
        torch.jit.save(script, content, _extra_files=extra)
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(content.getvalue())


def save_with_normalization(
    network: Blink | DeepBlink, path: str | os.PathLike[str]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Write a network that takes images as they were measured, for other programs.

    Parameters
    ----------
    network : Blink or DeepBlink
        With trained weights.
    path : str or path
        Of the TorchScript file; it has no metadata of blinkcore.

    Returns
    -------
    callable
        What was written, ready to run: images (N, 1, H, W) to grids (N, 3, H / cell,
        W / cell), each image normalized by itself as in `blinkcore.network.normalize`.
    """
    with _quiet():
        script = torch.jit.script(_Normalizing(network).eval())
    _save(script, path, {})

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            grids: NDArray[np.float32] = script(torch.from_numpy(images)).numpy()
        return grids

    return run


def whole_grid(network: Blink | DeepBlink) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give what maps images to grids, with the error where a network predicts it."""
    if network.predicts_error:
        return _ExportedWithError(network).with_error
    return _Exported(network)


class _Exported(torch.nn.Module):
    """The network as others run it: images to grids."""

    def __init__(self, network: Blink | DeepBlink) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.activate(self.network(x))


class _ExportedWithError(_Exported):
    """The same, and a second method with the error as fourth channel."""

    @torch.jit.export
    def with_error(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.network(x)
        log_error = self.network.log_error(raw)
        error = torch.exp(log_error)[:, None]  # type: ignore[arg-type]
        return torch.cat([self.network.activate(raw), error], dim=1)


class _Normalizing(_Exported):
    """The network behind the normalization of `blinkcore.network.normalize`."""

    def __init__(self, network: Blink | DeepBlink) -> None:
        super().__init__(network)
        self.by_noise = network.normalization in ("noise", "texture")
        self.lags = [1, FAR] if network.normalization == "texture" else [1]
        self.median_to_noise = float(MEDIAN_TO_NOISE)
        self.mean_to_noise = float(MEAN_TO_NOISE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled = torch.stack([self.scaled(image) for image in x])
        return self.network.activate(self.network(scaled))

    def scaled(self, image: torch.Tensor) -> torch.Tensor:
        """Scale one image (1, H, W)."""
        plane = image[0].to(torch.float32)
        if not self.by_noise:
            spread = plane.std(unbiased=False)
            return (image - plane.mean()) / torch.where(spread > 0, spread, 1.0)
        rows = plane[:: max(1, plane.numel() // 65536)]
        noise = torch.zeros(())
        for lag in self.lags:
            steps = (rows[:, lag:] - rows[:, :-lag]).abs().flatten()
            typical = torch.quantile(steps, 0.5) / self.median_to_noise
            mean = steps.mean() * self.mean_to_noise
            noise = torch.maximum(noise, torch.where(typical > 0, typical, mean))
        noise = torch.where(noise > 0, noise, rows.std(unbiased=False))
        noise = torch.where(noise > 0, noise, 1.0)
        return (image - torch.quantile(rows.flatten(), 0.5)) / noise


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
    names = ", ".join([*bundled, *registry.registered_models()])
    raise FileNotFoundError(
        f"there is no model {os.fspath(model)!r}: give the path of a .pt file or the name "
        f"of a model ({names})"
    )


def _read(path: Path, content: bytes, device: str) -> tuple[Any, Metadata]:
    extra = {METADATA_FILE: ""}
    try:
        with _quiet():
            network = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location=device, _extra_files=extra
            )
    except RuntimeError as error:
        raise ValueError(
            f"{path} is not a TorchScript file, or it is damaged; blinkcore's models are "
            "written by 'blinkcore train'"
        ) from error
    text: str | bytes = extra[METADATA_FILE]
    if not text:
        raise ValueError(
            f"{path} is a TorchScript file but no model of blinkcore: it has no {METADATA_FILE}"
        )
    try:
        text = text.decode() if isinstance(text, bytes) else text
        return network, Metadata.from_json(text)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no valid model of blinkcore: {error}") from error


def pick_device(device: str) -> str:
    """Choose where to compute.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        "auto" takes a CUDA device if there is one; "cuda:1" is the second one.

    Returns
    -------
    str
        For PyTorch.

    Raises
    ------
    ValueError
        If it is none of these, or not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    kind, _, number = device.partition(":")
    if kind not in there or (":" in device and not number.isdecimal()):
        raise ValueError(f"device must be auto, cpu, cuda or mps, got {device!r}")
    if not there[kind]:
        raise ValueError(f"device {device!r} is not available here; use --device cpu")
    return device


def half_precision(device: str) -> torch.dtype | None:
    """Half precision that a device is faster in than in single.

    Parameters
    ----------
    device : str
        For PyTorch.

    Returns
    -------
    torch.dtype or None
        float16 on a GPU of CUDA, bfloat16 on a CPU with instructions for it (AVX-512 BF16:
        Intel since 2020, AMD since 2022), else None.
    """
    if device.startswith("cuda"):
        return torch.float16
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if device == "cpu" and has_bfloat16() else None


def _frozen(network: Any, device: str) -> Any:
    """Fold batch norms and constants; channels last, in which CPUs are a third faster.

    PyTorch's optimize_for_inference took a third longer than freezing: it changes the layout
    between layers.
    """
    network.to(memory_format=torch.channels_last)
    methods = [m for m in ("with_error",) if hasattr(network, m)]
    with _quiet():
        frozen = torch.jit.freeze(network.eval(), preserved_attrs=methods)
    if device == "cpu":
        fuse(frozen, ("forward", *methods))
    return frozen


class _quiet(warnings.catch_warnings):
    """Silence PyTorch's note that TorchScript is deprecated: we need it for Fiji."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=Warning)
