"""GEFF, the exchange format for tracks of TrackMate, napari and LapTrack (zarr folders).

https://liveimagetrackingtools.org/geff, by the package `geff`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from blinkcore.files import remove, temporary_beside

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.image import PixelSize

SUFFIX = ".geff"


def write(
    spots: pd.DataFrame,
    links: NDArray[np.int64],
    path: Path,
    *,
    pixel_size: PixelSize | None = None,
    interval: float | None = None,
) -> None:
    """Write spots and their links as a graph; an older one of that name is replaced.

    Parameters
    ----------
    spots : DataFrame
        With `frame`, `track` and places in px.
    links : ndarray of int64, shape (n, 2)
        Rows that are linked, the earlier first.
    path : Path
        Of the folder, `.geff`.
    pixel_size : PixelSize, optional
        In µm, the scale of the axes.
    interval : float, optional
        Between frames in s, the scale of time.

    Raises
    ------
    ImportError
        If the package `geff` is not installed.
    """
    from geff import GeffMetadata
    from geff.core_io import write_arrays

    axes = _axes(spots, pixel_size, interval)
    known = [*(axis["name"] for axis in axes), "track", "probability", "channel"]
    values = {
        name: {"values": spots[name].to_numpy(), "missing": None}
        for name in known
        if name in spots.columns
    }
    with temporary_beside(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr warns of its own future changes
        write_arrays(
            temporary,
            np.arange(len(spots), dtype=np.uint64),
            values,
            np.asarray(links, np.uint64).reshape(-1, 2),
            {},
            GeffMetadata(
                geff_version="1.0", directed=True, axes=axes,
                node_props_metadata={}, edge_props_metadata={},
            ),
        )  # fmt: skip
        remove(path)
        temporary.replace(path)


def _axes(
    spots: pd.DataFrame, pixel_size: PixelSize | None, interval: float | None
) -> list[dict[str, Any]]:
    """Describe the axes: values are frames and px; scaled they are s and µm."""
    axes: list[dict[str, Any]] = [{"name": "frame", "type": "time", "unit": "frame"}]
    if interval is not None:
        axes[0] |= {"scale": interval, "scaled_unit": "second"}
    for name in ("z", "y", "x"):
        if name not in spots.columns:
            continue
        axes.append({"name": name, "type": "space", "unit": "pixel"})
        size = None if pixel_size is None else getattr(pixel_size, name)
        if size is not None:
            axes[-1] |= {"scale": size, "scaled_unit": "micrometer"}
    return axes
