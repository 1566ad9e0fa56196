"""Suffixes of files: which formats there are, and names without their suffix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLACE = frozenset({"frame", "channel", "z", "y", "x"})
# Suffixes of spots files, longest first, and the columns that each can hold.
WRITERS: dict[str, frozenset[str] | None] = {
    ".spots.zarr": None,
    ".napari.csv": PLACE | {"probability", "localization_uncertainty"},
    ".isbi.xml": frozenset({"frame", "z", "y", "x", "track"}),
    ".parquet": None,
    ".geojson": PLACE | {"probability", "localization_uncertainty", "intensity", "snr"},
    ".json": None,
    ".csv": None,
    ".xml": frozenset({"frame", "z", "y", "x", "probability", "sigma"}),
    ".roi": PLACE,
    ".zip": PLACE,
}
# Suffixes that labels are read by: those that are written, and tables of other programs.
# What ends in `.napari.csv` or `.isbi.xml` also ends in `.csv` or `.xml`.
LABELS = (
    *(s for s in WRITERS if s not in (".napari.csv", ".isbi.xml")),
    ".txt",
    ".tsv",
)
_IMAGES = (".ome.tiff", ".ome.tif")  # of two parts


def format_of(path: Path) -> str | None:
    """Return the suffix of `WRITERS` that a file's name ends in, or None."""
    name = path.name.lower()
    return next((suffix for suffix in WRITERS if name.endswith(suffix)), None)


def is_folder_of_labels(path: Path) -> bool:
    """Return whether a path is a folder with files in it; `.spots.zarr` is one table."""
    return path.is_dir() and not path.name.lower().endswith(".spots.zarr")


def stem_of_spots(path: Path) -> str:
    """Return the name of a spots file without its suffix, which may have two parts.

    The result of `a.ome.tif` is `a.ome.csv`, and belongs to `a` like its image.
    """
    suffix = format_of(path)
    stem = path.stem if suffix is None else path.name[: -len(suffix)]
    return stem.removesuffix(".ome")


def sidecar_path(table: Path) -> Path:
    """Name the description beside a table."""
    return table.with_suffix(".json")


def stem_of_image(path: Path) -> str:
    """Return the name of an image without its suffix, which may have two parts."""
    for suffix in _IMAGES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem
