"""What a report shows: spots, pictures, counts, and how the results were made."""

from __future__ import annotations

import base64
import io as stdio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import PIL.Image
from scipy.spatial import cKDTree

from blinkcore import io
from blinkcore.detection.projection import max_projection
from blinkcore.files import check_readable
from blinkcore.io.provenance import read_provenance
from blinkcore.io.results import ImageSpots, read_results
from blinkcore.io.scenes import with_scene_named, without_scene

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from blinkcore.image import PixelSize

_MAX_SIDE = 1400  # px of a picture in the page
_CONTRAST = (0.01, 0.998)  # quantiles of all pictures together
_SAMPLED = 20_000  # pixels of each picture that the contrast is taken from


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
    panels: list[Panel] = []
    for spots in read_results(source, pixel_size=pixel_size):
        path = None if tracks is None else tracks / f"{spots.name}.csv"
        linked = io.read_labels(path) if path and path.is_file() else spots.spots
        panels += _panels_of(spots, _condition(spots, conditions), linked)
    return panels


def _condition(spots: ImageSpots, conditions: dict[str, str] | None) -> str:
    known = conditions or {}
    names = [spots.image, spots.name]
    for text in (with_scene_named(spots.image), without_scene(spots.image)):
        names += [text, Path(text).name, Path(text).stem]
    return next((known[name] for name in names if name in known), "")


def _panels_of(spots: ImageSpots, condition: str, linked: pd.DataFrame) -> list[Panel]:
    image = None
    # The image was moved, or another program wrote the table: there is no picture.
    with suppress(OSError, ValueError):
        image = max_projection(io.read_image(spots.image, axes=spots.axes, rgb=True))
    sizes = spots.sizes or {}
    frame = sizes.get("T", 1) // 2
    channels = range(sizes.get("C", 1))
    panels = []
    for channel in channels:
        own = spots.spots
        title = spots.image or spots.name
        if len(channels) > 1:
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
        shape = _shape(pixels, sizes, own)
        panels.append(
            Panel(title, spots.image or spots.name, condition, channel, own, every, tracks, pixels,
                  shape, spots.pixel_size)
        )  # fmt: skip
    return panels


def _shape(
    pixels: NDArray[Any] | None, sizes: dict[str, int], spots: pd.DataFrame
) -> tuple[int, int]:
    if pixels is not None:
        return (int(pixels.shape[0]), int(pixels.shape[1]))
    if sizes:
        return (sizes["Y"], sizes["X"])
    if spots.empty:
        return (1, 1)
    return (int(spots["y"].max()) + 2, int(spots["x"].max()) + 2)


def contrast_of(panels: Iterable[Panel]) -> tuple[float, float]:
    """Give one contrast for all pictures: quantiles of their pixels together."""
    rng = np.random.default_rng(0)
    found = []
    for panel in panels:
        if panel.pixels is not None:
            values = np.asarray(panel.pixels).ravel()
            values = values[rng.integers(values.size, size=min(values.size, _SAMPLED))]
            found.append(values[np.isfinite(values)].astype(np.float64))
    if not found or not sum(map(len, found)):
        return (0.0, 1.0)
    low, high = np.quantile(np.concatenate(found), _CONTRAST)
    return float(low), float(high)


def nearest_neighbours(panels: Iterable[Panel]) -> NDArray[np.float64]:
    """Measure the distance in px from each spot to the nearest one in its frame."""
    found = [np.empty(0)]
    for panel in panels:
        spots = panel.all_spots
        frames = spots["frame"] if "frame" in spots else pd.Series(0, spots.index)
        for _, own in spots.groupby(frames):
            points = own[["y", "x"]].to_numpy(float)
            if len(points) > 1:
                found.append(cKDTree(points).query(points, k=2)[0][:, 1])
    distances: NDArray[np.float64] = np.concatenate(found)
    return distances


def read_counts(source: Path) -> pd.DataFrame:
    """Read the table of counts of a run; empty if there is none."""
    path = (
        source / "counts.csv" if source.is_dir() else source.with_suffix(".counts.csv")
    )
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def read_sample_sheet(path: Path) -> dict[str, str]:
    """Read the condition of each image.

    Parameters
    ----------
    path : Path
        CSV with columns `image` (path or name) and `condition`.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is not a CSV with these columns.
    """
    check_readable(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV table") from error
    missing = {"image", "condition"} - set(table.columns)
    if missing:
        raise ValueError(f"{path} has no column '{min(missing)}'")
    return dict(zip(table["image"], table["condition"], strict=True))


def run_facts(source: Path, tracks: Path | None = None) -> list[tuple[str, str]]:
    """Say how results and their tracks were made, from their descriptions."""
    if source.is_dir():
        sidecars = [io.read_sidecar(path) for path in sorted(source.rglob("*.json"))]
    else:
        sidecars = [io.read_sidecar(source.with_suffix(".json"))]
    known = [content for content in sidecars if content]
    if not known:
        return []
    first = known[0]
    model = first.get("model", {})
    others = {str(c.get("model")) + str(c.get("options")) for c in known}
    options = {
        k: v for k, v in (first.get("options") or {}).items() if v not in (None, {})
    }
    facts = [
        ("blinkcore", str(first.get("blinkcore", ""))),
        ("made", str(first.get("created", ""))),
        ("model", f"{model.get('name')} ({model.get('sha256', '')[:12]})"),
        ("threshold", str(first.get("threshold"))),
        ("options", ", ".join(f"{k}: {v}" for k, v in options.items())),
        ("command", " ".join(map(str, first.get("command", [])))),
    ]
    if len(others) > 1:
        facts.append(
            ("note", f"{len(others)} different models or options in this folder")
        )
    return facts + _tracks_facts(tracks) + _warning_facts(known)


def _tracks_facts(folder: Path | None) -> list[tuple[str, str]]:
    made = None if folder is None else read_provenance(folder, "link")
    return [("tracks", " ".join(map(str, made.get("command", []))))] if made else []


def _warning_facts(known: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Collect the warnings about the images; those of one kind together."""
    kinds: dict[str, list[str]] = {}
    for content in known:
        for record in filter(lambda r: isinstance(r, dict), content["images"]):
            for text in record.get("warnings") or ():
                kind = " ".join(w for w in str(text).split() if w.isalpha())
                kinds.setdefault(kind, []).append(f"{record.get('image')}: {text}")
    return [
        (
            "warning",
            texts[0] + (f" (and {n} more images)" if (n := len(texts) - 1) else ""),
        )
        for texts in kinds.values()
    ]
