"""Typed face of the C++ extension; the array types match csrc/module.cpp."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float32]
DoubleArray: TypeAlias = NDArray[np.float64]
IndexArray: TypeAlias = NDArray[np.int64]

__version__: str

def decode(
    grid: ArrayLike,
    *,
    cell_size: float,
    origin: float,
    threshold: float,
    merge_distance: float,
) -> DoubleArray: ...
def match(truth: ArrayLike, detected: ArrayLike, *, cutoff: float) -> IndexArray: ...
def count_matches(
    truth: ArrayLike, detected: ArrayLike, *, cutoffs: ArrayLike
) -> IndexArray: ...
def refine(
    image: NDArray[np.float32],
    points: NDArray[np.float64],
    *,
    radius: int,
    sigma: float,
) -> NDArray[np.float64]: ...
def fit(
    image: NDArray[np.float32],
    points: NDArray[np.float64],
    *,
    radius: int,
    sigma: float,
    poisson: bool,
    offset: float,
    gain: float,
    read_variance: float,
    n_threads: int,
) -> NDArray[np.float64]: ...
