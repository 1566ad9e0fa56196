"""Read the results of `blinkcore predict`, image by image, with their descriptions."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blinkcore import io
from blinkcore.files import check_readable
from blinkcore.image import PixelSize
from blinkcore.io import tables
from blinkcore.io.scenes import with_scene_named
from blinkcore.io.suffixes import stem_of_image
from blinkcore.spots import COLUMN_OF

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSpots:
    """Spots of one image, and what is known of it.

    Attributes
    ----------
    name : str
        Of its results; of those in a folder within the folder, with that folder before it.
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
    record : dict
        All that its description says of it.
    """

    name: str
    image: str
    spots: pd.DataFrame
    pixel_size: PixelSize | None = None
    interval: float | None = None
    sizes: dict[str, int] | None = None
    axes: str | None = None
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def extent(self) -> dict[str, int]:
        """Length of each axis: of the image or, if that is not known, of its spots."""
        if self.sizes:
            return self.sizes
        known = {axis: n for axis, n in COLUMN_OF.items() if n in self.spots}
        if self.spots.empty:
            return dict.fromkeys(known, 1)
        return {axis: int(self.spots[n].max() + 0.5) + 1 for axis, n in known.items()}

    def described(self) -> dict[str, Any]:
        """Describe the image as `blinkcore predict` does, with what is known now."""
        size = self.pixel_size
        return {
            **self.record,
            "image": self.image,
            "pixel_size_um": None if size is None else size._asdict(),
            "frame_interval_s": self.interval,
        }

    @property
    def has_depth(self) -> bool:
        """Whether its spots have a place in z."""
        return "z" in self.spots and self.extent.get("Z", 1) > 1


def read_results(
    source: Path, *, pixel_size: PixelSize | None = None
) -> Iterator[ImageSpots]:
    """Read the tables of spots in a folder, or one table, image by image.

    Images without spots are among them where their description names them. In folders
    within the folder only tables of `blinkcore predict` count, which have a description.
    A table without positions and without a description is left out with a warning.

    Parameters
    ----------
    source : Path
        Folder, or table.
    pixel_size : PixelSize, optional
        In µm, in place of the one in the description; it converts positions in µm.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If a table cannot be read, or there is none.
    """
    if not source.is_dir():
        check_readable(source)
    paths = _results_in(source) if source.is_dir() else [source]
    taken: set[str] = set()
    for path in paths:
        about = io.description_of(path) or {"images": []}
        known = {str(r.get("image")): r for r in about["images"] if isinstance(r, dict)}
        try:
            spots = io.read_labels(path, pixel_size=pixel_size)
        except ValueError as error:
            if len(paths) == 1 or _is_of_predict(path):
                raise
            logger.warning("left out: %s", error)
            continue
        groups = _by_image(spots, list(known))
        for image, own in groups:
            name = (
                path.stem
                if len(groups) == 1
                else stem_of_image(Path(with_scene_named(image)))
            )
            if not name.strip("."):  # of an image called `..`
                name = path.stem
            if source.is_dir() and path.parent != source:
                name = (path.parent.relative_to(source) / name).as_posix()
            while name in taken:
                name += "_"
            taken.add(name)
            record = known.get(image, {}) or (
                about["images"][0] if len(about["images"]) == len(groups) == 1 else {}
            )
            axes = (about.get("options") or {}).get("axes")
            found = _described(name, image, own.reset_index(drop=True), record, axes)
            yield found if pixel_size is None else replace(found, pixel_size=pixel_size)


def _results_in(folder: Path) -> list[Path]:
    """List the tables of a folder, and those of `blinkcore predict` in folders within it."""
    found = [
        path
        for path in tables.tables_in(folder, recursive=True)
        if path.parent == folder or _is_of_predict(path)
    ]
    if not found:
        raise ValueError(
            f"{folder} has no table of spots in it (.csv or .parquet; 'blinkcore convert' "
            "makes one of another format)"
        )
    return found


def _is_of_predict(table: Path) -> bool:
    about = io.description_of(table)
    return about is not None and "step" not in about


def _by_image(spots: pd.DataFrame, known: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Split a table by its images; described images without spots come last."""
    if "image" not in spots:
        return [("", spots)]
    groups = [(str(name), own) for name, own in spots.groupby("image", sort=False)]
    named = {name for name, _ in groups}
    groups += [(name, spots.iloc[:0]) for name in known if name not in named]
    return groups or [("", spots)]


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
        record,
    )
