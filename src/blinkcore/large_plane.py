"""Planes that are too large to be read at once: bands of rows are read on demand."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

LARGE = 1 << 25  # pixels; smaller planes are read at once, which is simpler and faster
MIN_BAND = 256  # rows that are read together at least
_KEPT = 1536  # rows that stay in memory: of a tile with its margin


class LargePlane:
    """A plane (Y, X) of which only some bands of rows are in memory.

    It supports the indexing that spot detection needs: slices of rows and of columns.

    Parameters
    ----------
    shape : tuple of int
        Height and width in px.
    dtype : dtype
        Of a pixel.
    read : callable
        Takes `first` and `last`; reads rows `first` to `last` - 1, ndarray (n, width).
    band : int
        Rows that are stored together and therefore read together.
    name : str
        Of the file, for messages.
    """

    ndim = 2

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        read: Callable[[int, int], NDArray[Any]],
        band: int,
        name: str,
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self._read, self._band, self._name = read, max(1, band), name
        self._bands: OrderedDict[int, NDArray[Any]] = OrderedDict()

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        wanted = range(*rows.indices(self.shape[0]))
        width = len(range(*columns.indices(self.shape[1])))
        limits.check_memory(len(wanted) * width * self.dtype.itemsize, self._name)
        result = np.empty((len(wanted), width), self.dtype)
        numbers = np.array(wanted, np.int64)
        for number in np.unique(numbers // self._band):
            mine = np.flatnonzero(numbers // self._band == number)
            band = self._rows(int(number))
            result[mine] = band[numbers[mine] - number * self._band, columns]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _rows(self, number: int) -> NDArray[Any]:
        """Return a band, reading it if it is not among those in memory."""
        if number not in self._bands:
            first = number * self._band
            last = min(first + self._band, self.shape[0])
            n_bytes = (last - first) * self.shape[1] * self.dtype.itemsize
            limits.check_memory(n_bytes, self._name)
            while len(self._bands) > max(2, -(-_KEPT // self._band)):
                self._bands.popitem(last=False)
            self._bands[number] = self._read(first, last)
        self._bands.move_to_end(number)
        return self._bands[number]


def bands_of(
    plane: NDArray[Any] | LargePlane, points: NDArray[np.float64], reach: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[Any], int]]:
    """Yield the pixels around points: all at once, or in bands for a large plane.

    Parameters
    ----------
    plane : ndarray or LargePlane, shape (height, width)
        Any real type.
    points : ndarray of float64, shape (n, 2 or more)
        y, x (px) first.
    reach : int
        How far around each point, px.

    Yields
    ------
    which : ndarray of int, shape (m,)
        Indices of the points in a band.
    pixels : ndarray, shape (some rows, width)
        The rows of the plane that hold everything within reach of these points.
    top : int
        Number of the first of these rows.
    """
    if not isinstance(plane, LargePlane):
        yield np.arange(len(points)), plane, 0
        return
    height = plane.shape[0]
    side = max(1, LARGE // plane.shape[1] // 4)
    row = np.clip(np.rint(points[:, 0]).astype(np.intp), 0, height - 1)
    for first in range(0, height, side):
        which = np.flatnonzero((row >= first) & (row < first + side))
        if len(which):
            top = max(0, first - reach)
            yield which, plane[top : min(height, first + side + reach)], top
