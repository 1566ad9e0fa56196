"""Points of SpatialData: a Zarr store beside the image, with a Parquet table and its scale.

Written as SpatialData 0.7 has it (https://spatialdata.scverse.org), by zarr and pyarrow alone.
An integer is the centre of a pixel, as in NGFF (RFC 5) and here.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from blinkcore.files import missing, temporary_beside
from blinkcore.io.ome_zarr import zarr_library
from blinkcore.io.parquet import read_parquet
from blinkcore.spots import check_spots

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from blinkcore.image import PixelSize

SUFFIX = ".spots.zarr"
_TABLE = "points/spots/points.parquet"


def write(spots: pd.DataFrame, path: Path, pixel_size: PixelSize | None) -> None:
    """Write a store with one element, ``spots``, in place of an older one.

    Parameters
    ----------
    spots : DataFrame
        A spots table; all its columns are kept.
    path : Path
        Of the folder.
    pixel_size : PixelSize or None
        In µm: the scale to the coordinate system ``global``; None: pixels.

    Raises
    ------
    ImportError
        If zarr or pyarrow is not installed, or zarr is older than 3.
    ValueError
        If there is something else at this path, such as an image.
    """
    _check_own(path)
    zarr = zarr_library(path.name, "zarr,parquet")
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise missing(path.name, "pyarrow", "parquet") from error
    names = [n for n in ("x", "y", "z") if n in spots.columns]
    sizes = [None if pixel_size is None else getattr(pixel_size, n) for n in names]
    axes = [
        {"name": n, "type": "space", "unit": "pixel" if s is None else "micrometer"}
        for n, s in zip(names, sizes, strict=True)
    ]
    transformation = {
        "type": "scale",
        "scale": [1.0 if s is None else s for s in sizes],
        "input": {"name": "".join(names), "axes": axes},
        "output": {"name": "global", "axes": axes},
    }
    with temporary_beside(path) as temporary:
        root = zarr.open_group(temporary, mode="w", zarr_format=3)
        root.attrs["spatialdata_attrs"] = {
            "version": "0.2",
            "spatialdata_software_version": "0.7.3",
        }
        element = root.create_group("points").create_group("spots")
        element.attrs.update(
            {
                "encoding-type": "ngff:points",
                "axes": names,
                "spatialdata_attrs": {"version": "0.2"},
                "coordinateTransformations": [transformation],
            }
        )
        (temporary / _TABLE).mkdir()
        table = pyarrow.Table.from_pandas(spots, preserve_index=False)
        pyarrow.parquet.write_table(table, temporary / _TABLE / "part.0.parquet")
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)


def _check_own(path: Path) -> None:
    """Raise ValueError if there is something else at the path than a store of spots."""
    if path.exists() and not (path / _TABLE).exists():
        raise ValueError(
            f"{path} is there and holds something other than spots; choose another name"
        )


def read(path: Path) -> pd.DataFrame:
    """Read the spots of a store that `write` made.

    Raises
    ------
    OSError
        If there is none.
    ImportError
        If pyarrow is not installed.
    """
    return check_spots(read_parquet(path / _TABLE), source=str(path))
