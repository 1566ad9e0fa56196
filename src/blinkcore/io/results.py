"""Read the results of `blinkcore predict`, image by image, with their descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from blinkcore import io
from blinkcore.files import check_readable
from blinkcore.image import PixelSize
from blinkcore.io import tables
from blinkcore.io.scenes import with_scene_named
from blinkcore.io.suffixes import stem_of_image

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class ImageSpots:
    """Spots of one image, and what is known of it.

    Attributes
    ----------
    name : str
        Of its results.
    image : str
        Path of the image, empty if the table does not name it.
    spots : DataFrame
        Its spots table.
    pixel_size : PixelSize or None
        In µm.
    interval : float or None
        Between frames in s.
    sizes : dict of str to int, or None
        Length of each axis.
    axes : str or None
        The axes of the file that the run was given with --axes.
    """

    name: str
    image: str
    spots: pd.DataFrame
    pixel_size: PixelSize | None = None
    interval: float | None = None
    sizes: dict[str, int] | None = None
    axes: str | None = None


def read_results(source: Path) -> Iterator[ImageSpots]:
    """Read the tables of spots in a folder, or one table, image by image.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If a table cannot be read, or there is none.
    """
    if not source.is_dir():
        check_readable(source)
    paths = tables.tables_in(source) if source.is_dir() else [source]
    if not paths:
        raise ValueError(f"{source} has no table of spots in it")
    taken: set[str] = set()
    for path in paths:
        about = io.read_sidecar(path.with_suffix(".json")) or {"images": []}
        known = {str(r.get("image")): r for r in about["images"] if isinstance(r, dict)}
        spots = io.read_labels(path)
        images = spots["image"] if "image" in spots else pd.Series("", spots.index)
        groups = list(spots.groupby(images, sort=False)) or [("", spots)]
        for image, own in groups:
            name = (
                path.stem
                if len(groups) == 1
                else stem_of_image(Path(with_scene_named(str(image))))
            )
            while name in taken:
                name += "_"
            taken.add(name)
            record = known.get(str(image), {}) or (
                about["images"][0] if len(about["images"]) == len(groups) == 1 else {}
            )
            axes = (about.get("options") or {}).get("axes")
            yield _described(name, str(image), own.reset_index(drop=True), record, axes)


def _described(
    name: str,
    image: str,
    spots: pd.DataFrame,
    record: dict[str, Any],
    axes: str | None,
) -> ImageSpots:
    size = record.get("pixel_size_um")
    letters, shape = record.get("axes"), record.get("shape")
    return ImageSpots(
        name,
        image or str(record.get("image", "")),
        spots,
        PixelSize(**size) if isinstance(size, dict) else None,
        record.get("frame_interval_s"),
        dict(zip(letters, shape, strict=True)) if letters and shape else None,
        axes,
    )
