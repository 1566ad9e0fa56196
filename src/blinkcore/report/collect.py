"""Content of a report: spots, pictures, counts, and how the results were made."""

from __future__ import annotations

import base64
import io as stdio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import PIL.Image
from scipy.spatial import cKDTree

from blinkcore import io
from blinkcore.detection.overlay import PERCENTILES
from blinkcore.detection.projection import max_projection
from blinkcore.io.count_tables import read_counts as read_count_table
from blinkcore.io.results import ImageSpots, read_results
from blinkcore.io.tables import PAIRS_OF_IMAGES, counts_beside
from blinkcore.report.conditions import condition_of, warn_of_others
from blinkcore.spots import positions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.image import PixelSize

logger = logging.getLogger(__name__)

_MAX_SIDE = 1400  # px of a picture in the page
_SAMPLED = 20_000  # pixels of each picture that the contrast is taken from
# Columns of the table of pairs that the report shows.
_OF_PAIRS = frozenset(
    ("image", "n_first", "fraction_first", "chance", "chance_low", "chance_high")
)


@dataclass
class Panel:
    """One picture with its spots.

    Attributes
    ----------
    title : str
        Image, and channel and frame where there are several.
    image : str
        Path of the image.
    condition : str
        Of the sample sheet; empty without one.
    channel : int
        From 0.
    spots : DataFrame
        Of this channel and frame.
    all_spots : DataFrame
        Of this channel in all frames.
    linked : DataFrame
        Spots of this channel with their `track`, if they were linked.
    pixels : ndarray, shape (height, width), or None
        What is shown, for a stack the maximum over z; None if the image is missing.
    shape : tuple of int
        Height and width in px.
    pixel_size : PixelSize or None
        In µm.
    n_frames : int
        Of the image.
    """

    title: str
    image: str
    condition: str
    channel: int
    spots: pd.DataFrame
    all_spots: pd.DataFrame
    linked: pd.DataFrame
    pixels: NDArray[Any] | None
    shape: tuple[int, int]
    pixel_size: PixelSize | None
    n_frames: int = 1

    def png(self, low: float, high: float) -> str:
        """Draw the picture with a contrast, as a data URL; empty without a picture."""
        if self.pixels is None:
            return ""
        step = max(1, -(-max(self.shape) // _MAX_SIDE))
        pixels = np.nan_to_num(self.pixels[::step, ::step].astype(np.float64))
        grey = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1) * 255
        file = stdio.BytesIO()
        PIL.Image.fromarray(grey.astype(np.uint8)).save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def read_panels(
    source: Path,
    conditions: dict[str, str] | None,
    pixel_size: PixelSize | None = None,
    tracks: Path | None = None,
) -> list[Panel]:
    """Read results, one panel per image and channel.

    Parameters
    ----------
    source : Path
        Folder of results, or one table.
    conditions : dict of str to str, optional
        Condition of each image, by path or name.
    pixel_size : PixelSize, optional
        In µm, in place of the one in the descriptions.
    tracks : Path, optional
        Folder that `blinkcore link` wrote for these results.

    Returns
    -------
    list of Panel

    Raises
    ------
    OSError, ValueError
        If there are no tables, or one cannot be read.
    """
    images = list(read_results(source, pixel_size=pixel_size))
    if conditions:
        warn_of_others(images, conditions)
    if tracks is not None and not tracks.is_dir():
        raise FileNotFoundError(f"there is no folder of tracks {tracks}")
    panels: list[Panel] = []
    n_linked = 0
    for spots in images:
        path = None if tracks is None else tracks / f"{spots.name}.csv"
        is_linked = path is not None and path.is_file()
        linked = io.read_labels(path) if path and is_linked else spots.spots
        n_linked += is_linked
        panels += _panels_of(spots, condition_of(spots, conditions or {}), linked)
    if tracks is not None and not n_linked:
        logger.warning("%s has no tracks of these images", tracks)
    lost = sorted({panel.image for panel in panels if panel.pixels is None})
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        logger.warning("the report has no picture of %s%s: not found", lost[0], more)
    return panels


def _panels_of(spots: ImageSpots, condition: str, linked: pd.DataFrame) -> list[Panel]:
    image = None
    # The image was moved, or another program wrote the table: there is no picture.
    with suppress(OSError, ValueError):
        image = max_projection(io.read_image(spots.image, axes=spots.axes, rgb=True))
    sizes = spots.extent if image is None else image.sizes
    frame = sizes.get("T", 1) // 2
    channels: Iterable[int] = range(sizes.get("C", 1))
    if image is None and "channel" in spots.spots:
        channels = sorted(set(spots.spots["channel"]))
    panels = []
    for channel in channels:
        own = spots.spots
        title = spots.image or spots.name
        if sizes.get("C", 1) > 1:
            title += f", channel {channel}"
            own = own[own["channel"] == channel] if "channel" in own else own
        every = own
        tracks = linked[linked["channel"] == channel] if "channel" in linked else linked
        if sizes.get("T", 1) > 1:
            title += f", frame {frame} of {sizes['T']}"
            own = own[own["frame"] == frame] if "frame" in own else own
        pixels = None
        if image is not None and channel < image.size("C"):
            pixels = image.plane(min(frame, image.size("T") - 1), channel, 0).data
        extent = spots.extent
        shape = (extent["Y"], extent["X"]) if pixels is None else pixels.shape
        panels.append(
            Panel(title, spots.image or spots.name, condition, channel, own, every, tracks, pixels,
                  shape, spots.pixel_size, sizes.get("T", 1))
        )  # fmt: skip
    return panels


def contrast_of(panels: Iterable[Panel]) -> tuple[float, float]:
    """Return one contrast for all pictures, as that of `blinkcore.detection.overlay`."""
    rng = np.random.default_rng(0)
    found = []
    for panel in panels:
        if panel.pixels is not None:
            values = np.asarray(panel.pixels).ravel()
            values = values[rng.integers(values.size, size=min(values.size, _SAMPLED))]
            found.append(values[np.isfinite(values)].astype(np.float64))
    if not found or not sum(map(len, found)):
        return (0.0, 1.0)
    low, high = np.percentile(np.concatenate(found), PERCENTILES)
    return float(low), float(high)


def nearest_neighbours(panels: Iterable[Panel]) -> NDArray[np.float64]:
    """Measure the distance in px of x from each spot to the nearest one in its frame.

    Returns shape (n,). It counts z of objects in stacks whose distance of planes is known; else spots of one
    plane are neighbours.
    """
    found = [np.empty(0)]
    for panel in panels:
        spots, size = panel.all_spots, panel.pixel_size
        has_depth = size is not None and size.z is not None and "n_planes" in spots
        axes = ("z", "y", "x") if has_depth else ("y", "x")
        same = [n for n in ("frame", *(() if has_depth else ("z",))) if n in spots]
        keys = [spots[name].round() for name in same] or [pd.Series(0, spots.index)]
        for _, own in spots.groupby(keys):
            points = positions(own, size, axes)
            if len(points) > 1:
                found.append(cKDTree(points).query(points, k=2)[0][:, 1])
    distances: NDArray[np.float64] = np.concatenate(found)
    return distances


def read_counts(source: Path) -> pd.DataFrame:
    """Read the table of counts of a run; empty if there is none.

    One table of a folder has the rows of its image.
    """
    counts: pd.DataFrame = pd.DataFrame()
    for path in counts_beside(source):
        counts = read_count_table(path)
    about = None if source.is_dir() else io.description_of(source)
    if about is not None and len(counts):
        named = [r.get("image") for r in about["images"] if isinstance(r, dict)]
        counts = counts.loc[counts["image"].isin(named), :]
    return counts


def read_pairs(folder: Path | None, images: Collection[str]) -> pd.DataFrame:
    """Read how often two channels of some images were found together.

    Empty without a folder; a warning is given if it has none of the images.

    Raises
    ------
    FileNotFoundError
        If it is not a folder that `blinkcore colocalize` wrote.
    ValueError
        If its table has no such columns.
    """
    pairs: pd.DataFrame = pd.DataFrame()
    if folder is None:
        return pairs
    path = folder / PAIRS_OF_IMAGES
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a folder that colocalize wrote")
    pairs = pd.read_csv(path)
    missing = _OF_PAIRS - set(pairs.columns)
    if missing:
        raise ValueError(f"{path} has no column '{min(missing)}'")
    own: pd.DataFrame = pairs[pairs["image"].isin(list(images))].copy()
    if own.empty:
        logger.warning("%s has no pairs of these images", folder)
    return own
