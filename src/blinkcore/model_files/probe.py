"""Try a network on a small image before it is used: what it gives must be a grid of cells."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from blinkcore.model_files.sandbox import IS_POSSIBLE

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

_MAX_GROWTH = 4_000  # numbers in one tensor of the network for each pixel of the image
_MAX_SIDE = 1_024  # px, of the image that it is tried on


def probe(
    network: Any, cell_size: int, stride: int, *, is_whole_file: bool = True
) -> None:
    """Run a network on an image of noise, as small as its stride allows.

    Parameters
    ----------
    network : torch.jit.ScriptModule or torch.nn.Module
        On the CPU.
    cell_size : int
        Side of a cell of the grid in px.
    stride : int
        The sides of an image must be multiples of it, in px.
    is_whole_file : bool
        It was loaded from a file, and nothing was done with it since: it must have a part
        called `network`.

    Raises
    ------
    ValueError
        If it fails, needs more memory than any network for images, or does not give
        probabilities and offsets in [0, 1] and positive standard errors, one for each cell.
    """
    part = getattr(network, "network", None)
    if is_whole_file and not isinstance(part, torch.jit.ScriptModule):
        raise ValueError("it has no part called 'network'")
    image = _small_image(stride)
    n = image.shape[-1] // cell_size
    if is_whole_file:
        network.eval()
    methods = [("forward", 3)]
    if hasattr(network, "with_error"):
        methods.append(("with_error", 4))
    for name, n_channels in methods:
        # Where the process is limited, nothing else need be; and this class would import
        # PyTorch's compiler, which takes seconds and crashes beside other copies of LLVM.
        memory = None if IS_POSSIBLE else _bounded(_MAX_GROWTH * image.numel())
        try:
            with torch.inference_mode(), memory or nullcontext():
                grid = getattr(network, name)(image)
        except (RuntimeError, torch.jit.Error) as error:  # of PyTorch, many lines
            if "allocate" in str(error) or (memory and memory.is_exceeded):
                raise ValueError("its network needs too much memory") from error
            reason = str(error).strip().rpartition("\n")[2]
            raise ValueError(f"its network fails: {reason}") from error
        _check_grid(grid, (1, n_channels, n, n))


def probe_grids(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    n_channels: int,
    cell_size: int,
    stride: int,
) -> None:
    """Try a network that is run by something other than PyTorch.

    Parameters
    ----------
    run : callable
        Images to grids.
    n_channels : int
        Of its grids.
    cell_size, stride : int
        See `probe`.

    Raises
    ------
    ValueError
        As `probe`.
    """
    image = _small_image(stride)
    n = image.shape[-1] // cell_size
    try:
        grid = torch.from_numpy(run(image.numpy()))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"its network fails: {reason}") from error
    _check_grid(grid, (1, n_channels, n, n))


def _small_image(stride: int) -> torch.Tensor:
    """Draw an image of noise as small as the stride allows."""
    side = stride
    while side < 2 * stride and side < 32:
        side *= 2
    if side > _MAX_SIDE:
        raise ValueError(f"its stride of {stride} px is too large")
    return torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(0))


def _check_grid(grid: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(grid, torch.Tensor) or tuple(grid.shape) != shape:
        found = getattr(grid, "shape", type(grid).__name__)
        found = tuple(found) if isinstance(found, torch.Size) else found
        raise ValueError(f"its network gives {found} in the place of a grid {shape}")
    if grid.is_sparse or not grid.is_floating_point():
        raise ValueError(f"its network gives numbers of type {grid.dtype}")
    in_range = (grid[:, :3] >= 0) & (grid[:, :3] <= 1)  # false for NaN
    if not bool(in_range.all()):
        raise ValueError("its network gives probabilities or offsets outside [0, 1]")
    error = grid[:, 3:]
    if not bool(((error > 0) & torch.isfinite(error)).all()):
        raise ValueError("its network gives standard errors that are not positive")


def _bounded(n_max: int) -> Any:
    """Make what ends a run in which a single operator gives more numbers than allowed."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
        is_exceeded = False

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            tensors = result if isinstance(result, tuple | list) else [result]
            for tensor in tensors:
                if isinstance(tensor, torch.Tensor) and tensor.numel() > n_max:
                    self.is_exceeded = True
                    raise RuntimeError
            return result

    return Bounded()  # type: ignore[no-untyped-call]
