"""An image: an array, the meaning of its axes, and the size of its pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from blinkcore.large_plane import LargePlane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

AXES = "TCZYX"


class PixelSize(NamedTuple):
    """Size of a pixel in µm; `z` (distance of planes) may be unknown."""

    z: float | None
    y: float
    x: float


def as_pixel_size(value: PixelSize | float | str | Sequence[float]) -> PixelSize:
    """Parse a pixel size as a user gives it.

    Parameters
    ----------
    value : PixelSize, float, str or sequence of float
        In µm: one number for y and x, two for y, x, or three for z, y, x; as a text with
        commas.

    Raises
    ------
    ValueError
        If it is none of these, or a size is not positive.
    """
    given: Any = value.split(",") if isinstance(value, str) else value
    try:
        numbers = [given] if isinstance(given, Real) else list(given)
        sizes = [None if n is None else float(n) for n in numbers]
    except (TypeError, ValueError):
        sizes = []
    known = [size for size in sizes if size is not None]
    if len(sizes) == 1:
        sizes = [None, sizes[0], sizes[0]]
    if len(sizes) == 2:
        sizes = [None, *sizes]
    if (
        len(sizes) != 3
        or None in sizes[1:]
        or not all(0 < size < float("inf") for size in known)
    ):
        raise ValueError(
            "pixel_size must be one number in µm, two for y,x, or three for z,y,x, got "
            f"{value!r}"
        )
    return PixelSize(*sizes)  # type: ignore[arg-type]


class AxesError(ValueError):
    """A file does not say what its dimensions are, or has others than were named."""


class ImageData(Protocol):
    """What `Image` needs of its data: a NumPy array or something read on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __getitem__(self, index: tuple[int, ...], /) -> Any:
        """Read one plane (Y, X), given an index for each axis before them."""


class LazyPlanes(ABC):
    """Pixels of an image, each plane of which is read when it is asked for."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def __getitem__(self, index: tuple[int, ...], /) -> Any:
        """Read one plane (Y, X), given an index for each axis before them."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        planes = [np.asarray(self[index]) for index in np.ndindex(self.shape[:-2])]
        return np.asarray(planes, dtype).reshape(self.shape)


class Plane(NamedTuple):
    """One 2D array (Y, X) of an image and where it lies in it.

    Planes beyond `blinkcore.large_plane.LARGE` pixels may be a `LargePlane`: finding spots
    reads bands of it, and `np.asarray` all of it.
    """

    frame: int
    channel: int
    z: int
    data: Any


@dataclass(frozen=True)
class Image:
    """An image of up to five dimensions.

    Attributes
    ----------
    data : array-like
        The pixels; read plane by plane, so it may be larger than the memory.
    axes : str
        One letter of `TCZYX` per dimension, in this order, including `Y` and `X`.
    pixel_size : PixelSize or None
        In µm; None if the file does not state it.
    frame_interval : float or None
        Time between frames in s; None if the file does not state it.
    is_cut : bool
        The file was cut off, and read all the same; see `misses_pixels`.

    Raises
    ------
    ValueError
        If `axes` does not describe `data`.
    TypeError
        If pixels are not numbers.
    """

    data: ImageData
    axes: str
    pixel_size: PixelSize | None = None
    frame_interval: float | None = None
    is_cut: bool = False

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        check_axes(self.axes, self.data.shape)
        if self.axes != canonical_axes(self.axes):
            raise ValueError(f"axes must be in the order {AXES}, got {self.axes!r}")
        if self.data.dtype.kind not in "buif":
            raise TypeError(f"pixels must be real numbers, got {self.data.dtype}")

    @property
    def misses_pixels(self) -> bool:
        """Whether a part of the file that was read so far was cut off."""
        return self.is_cut or bool(getattr(self.data, "is_cut", False))

    def size(self, axis: str) -> int:
        """Return the length of an axis, 1 if the image does not have it."""
        return self.data.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each axis out of `TCZYX`, 1 where the image has none of it."""
        return {axis: self.size(axis) for axis in AXES}

    def n_planes(self, channel: int | None = None) -> int:
        """Count the planes that `planes` walks through."""
        n_channels = self.size("C") if channel is None else 1
        return self.size("T") * n_channels * self.size("Z")

    def planes(self, channel: int | None = None) -> Iterator[Plane]:
        """Walk through frames, channels and z, in this order.

        Parameters
        ----------
        channel : int, optional
            Only this channel, from 0.

        Yields
        ------
        Plane
            Its data may be a view of a file: copy before you write to it.

        Raises
        ------
        ValueError
            If there is no such channel.
        """
        for place in self.places(channel):
            yield self.plane(*place)

    def places(self, channel: int | None = None) -> Iterator[tuple[int, int, int]]:
        """Yield frame, channel and z of each plane; see `planes` for the arguments."""
        for frame in range(self.size("T")):
            for c in self._channels(channel):
                for z in range(self.size("Z")):
                    yield frame, c, z

    def middle_plane(self, channel: int | None = None) -> Plane:
        """Read one plane from the middle of each axis; arguments as of `planes`."""
        channels = self._channels(channel)
        c = channels[len(channels) // 2]
        return self.plane(self.size("T") // 2, c, self.size("Z") // 2)

    def _channels(self, channel: int | None) -> range:
        n_channels = self.size("C")
        if channel is None:
            return range(n_channels)
        if not 0 <= channel < n_channels:
            known = "it has one" if n_channels == 1 else f"it has {n_channels}, from 0"
            raise ValueError(f"the image has no channel {channel}: {known}")
        return range(channel, channel + 1)

    def plane(self, frame: int, channel: int, z: int) -> Plane:
        """Read one plane; its data may be a view of a file."""
        at = {"T": frame, "C": channel, "Z": z}
        index = tuple(at[a] for a in self.axes if a not in "YX")
        data = self.data[index]
        is_large = isinstance(data, LargePlane)
        return Plane(frame, channel, z, data if is_large else np.asarray(data))


def check_axes(axes: str, shape: tuple[int, ...]) -> None:
    """Check that axes (any order) can describe an array of this shape.

    Raises
    ------
    ValueError
        If a letter is unknown or doubled, `Y` or `X` is missing, the number of letters
        is not that of the dimensions, or a dimension is empty.
    """
    wrong = [a for a in axes if a not in AXES]
    if wrong or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
        raise ValueError(
            f"axes must be different letters out of {AXES} with Y and X, got {axes!r}"
        )
    if len(axes) != len(shape):
        raise ValueError(
            f"axes must have one letter per dimension, got {axes!r} for shape {shape}"
        )
    if 0 in shape:
        raise ValueError(f"image must have at least one pixel, got shape {shape}")


def canonical_axes(axes: str) -> str:
    """Return the letters of some axes in the order of `Image`."""
    return "".join(a for a in AXES if a in axes)


def to_canonical_axes(
    pixels: NDArray[Any], axes: str, pixel_size: PixelSize | None
) -> Image:
    """Make an image from an array whose axes are in any order.

    Parameters
    ----------
    pixels : ndarray, of a shape with up to five dimensions
        Any real type.
    axes : str
        One letter a dimension out of `TCZYX`, in the array's order.
    pixel_size : PixelSize or None
        In µm.

    Raises
    ------
    ValueError
        If `axes` does not describe the array.
    """
    check_axes(axes, pixels.shape)
    letters = canonical_axes(axes)
    return Image(
        pixels.transpose([axes.index(a) for a in letters]), letters, pixel_size
    )
