"""Networks as TorchScript: what is written, how it is read, and how it is made fast.

Functions of TorchScript, which PyTorch may change, are named here, in `fusion` and in
`model_files.probe` only.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from blinkcore.files import atomic_write
from blinkcore.network.fusion import fuse
from blinkcore.network.normalize import BLACK_SHARE, FAR, MAX_SAMPLES, MIN_ROWS
from blinkcore.noise import MEAN_TO_NOISE, MEDIAN_TO_NOISE

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from blinkcore.network.networks import AnyNetwork


def save(
    network: AnyNetwork, path: str | os.PathLike[str], extra: dict[str, str]
) -> None:
    """Write a network that takes normalized images, whole or not at all.

    Parameters
    ----------
    network : AnyNetwork
        With trained weights.
    path : str or path
        Of the TorchScript file.
    extra : dict
        Further files in it: name to content.
    """
    _save(scripted(network), path, extra)


def exported(network: AnyNetwork) -> torch.nn.Module:
    """Put a network into the module that a file holds: `forward`, and `with_error`."""
    wrapper = _ExportedWithError if network.predicts_error else _Exported
    return wrapper(network).eval()


def scripted(network: AnyNetwork) -> Any:
    """Turn a network into a TorchScript module, as `save` writes it."""
    with SilencedDeprecation():
        return torch.jit.script(exported(network))


def load(content: bytes, device: str) -> Any:
    """Read a TorchScript module.

    Parameters
    ----------
    content : bytes
        Of the file, as `blinkcore.model_files.archive.checked` gives it.
    device : str
        Where to, for PyTorch.

    Returns
    -------
    torch.jit.ScriptModule

    Raises
    ------
    ValueError
        If PyTorch cannot read it.
    """
    # Its code may warn, in words of whoever wrote it.
    warnings.filterwarnings("ignore", module="code/__torch__")
    try:
        with SilencedDeprecation():
            return torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location=device
            )
    except Exception as error:  # damaged files raise anything
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"PyTorch cannot read its network: {reason}") from error


@contextmanager
def hide_message_of_network(name: str) -> Iterator[None]:
    """Replace the error message of a network's own code, which may be anything.

    Raises
    ------
    ValueError
        Names the model.
    """
    try:
        yield
    except (RuntimeError, torch.jit.Error) as error:
        message = str(error)
        if "in the TorchScript interpreter" not in message or "memory" in message:
            raise
        raise ValueError(
            f"the network of model {name!r} fails on this image"
        ) from error


def _save(
    script: torch.jit.ScriptModule,
    path: str | os.PathLike[str],
    extra: dict[str, str],
) -> None:
    # PyTorch would put the file's name into the archive, and that name is temporary.
    content = io.BytesIO()
    with SilencedDeprecation():
        torch.jit.save(script, content, _extra_files=extra)
    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(content.getvalue())


def save_with_normalization(
    network: AnyNetwork, path: str | os.PathLike[str]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Write a network that takes images as they were measured, for other programs.

    Parameters
    ----------
    network : AnyNetwork
        With trained weights.
    path : str or path
        Of the TorchScript file; it has no metadata of blinkcore.

    Returns
    -------
    callable
        What was written, ready to run: images (N, 1, H, W) to grids (N, 3, H / cell,
        W / cell), each image normalized by itself as in `blinkcore.network.normalize`.
    """
    with SilencedDeprecation():
        script = torch.jit.script(normalizing(network))
    _save(script, path, {})

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            grids: NDArray[np.float32] = script(torch.from_numpy(images)).numpy()
        return grids

    return run


def whole_grid(network: AnyNetwork) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what maps images (N, 1, H, W) to grids.

    These have the shape (N, 3, H / cell, W / cell), or (N, 4, ...) with the standard error
    in px where the network predicts it.
    """
    if network.predicts_error:
        return _ExportedWithError(network).with_error
    return _Exported(network)


def normalizing(network: AnyNetwork) -> torch.nn.Module:
    """Put the normalization in front of a network: raw images to grids."""
    return _Normalizing(network).eval()


class _Exported(torch.nn.Module):
    """The network as others run it: images to grids."""

    def __init__(self, network: AnyNetwork) -> None:
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

    def __init__(self, network: AnyNetwork) -> None:
        super().__init__(network)
        self.by_noise = network.normalization in ("noise", "texture")
        self.lags = [1, FAR] if network.normalization == "texture" else [1]
        self.median_to_noise = MEDIAN_TO_NOISE
        self.mean_to_noise = MEAN_TO_NOISE
        self.max_samples, self.min_rows = MAX_SAMPLES, MIN_ROWS
        self.black_share = BLACK_SHARE

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled = torch.stack([self.scaled(image) for image in x])
        return self.network.activate(self.network(scaled))

    def scaled(self, image: torch.Tensor) -> torch.Tensor:
        """Scale one image (1, H, W)."""
        plane = image[0].to(torch.float32)
        if not self.by_noise:
            spread = plane.std(unbiased=False)
            return (image - plane.mean()) / torch.where(spread > 0, spread, 1.0)
        step = min(plane.numel() // self.max_samples, plane.shape[0] // self.min_rows)
        rows = plane[:: max(1, step)]
        black = rows.min()
        above = rows > black
        counts = above | (above.to(torch.float32).mean() >= 1.0 - self.black_share)
        noise = torch.zeros(())
        for lag in self.lags:
            steps = (rows[:, lag:] - rows[:, :-lag]).abs()
            counted = counts[:, lag:] | counts[:, :-lag]
            typical = self.median(steps, counted) / self.median_to_noise
            n = counted.to(torch.float32).sum().clamp(min=1.0)
            mean = (steps * counted).sum() / n * self.mean_to_noise
            noise = torch.maximum(noise, torch.where(typical > 0, typical, mean))
        noise = torch.where(noise > 0, noise, rows.std(unbiased=False))
        noise = torch.where(noise > 0, noise, 1.0)
        center = torch.where(counts.any(), self.median(rows, counts), black)
        return (image - center) / noise

    def median(self, values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """Compute the median of the values that are counted; 0 if none is."""
        ordered = torch.where(counted, values, torch.inf).flatten().sort()[0]
        n = counted.sum().reshape(1)
        middle = [ordered.gather(0, i.clamp(min=0)) for i in ((n - 1) // 2, n // 2)]
        return torch.where(n > 0, (middle[0] + middle[1]) / 2, 0.0)[0]


def freeze(network: Any, device: str) -> Any:
    """Fold batch norms and constants; use channels last, a third faster on CPUs.

    PyTorch's optimize_for_inference took a third longer than freezing: it changes the layout
    between layers.
    """
    network.to(memory_format=torch.channels_last)
    methods = [m for m in ("with_error",) if hasattr(network, m)]
    with SilencedDeprecation():
        frozen = torch.jit.freeze(network.eval(), preserved_attrs=methods)
    if device == "cpu":
        fuse(frozen, ("forward", *methods))
    return frozen


class SilencedDeprecation(warnings.catch_warnings):
    """Silence PyTorch's note that TorchScript is deprecated: we need it for Fiji."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=Warning)
