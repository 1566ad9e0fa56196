"""Make the report page: fill the template with figures and numbers."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

import blinkcore
from blinkcore.detection.overlay import bar_length
from blinkcore.files import atomic_write, missing
from blinkcore.report.collect import (
    Panel,
    contrast_of,
    read_counts,
    read_pairs,
    read_panels,
)
from blinkcore.report.facts import run_facts
from blinkcore.report.figures import figures_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from blinkcore.image import PixelSize

_TABLES = ("Counts of each image", "Colocalization of each image")
# What the pointer tells of a spot.
_HOVER = (
    "probability", "z", "n_planes", "intensity", "snr", "sigma", "fit_uncertainty",
    "molecules", "cell", "border_distance", "track", "partner", "partner_distance",
)  # fmt: skip


def write_report(
    source: Path,
    output: Path,
    *,
    conditions: dict[str, str] | None = None,
    contrast: tuple[float, float] | str = "run",
    max_pictures: int = 60,
    pixel_size: PixelSize | None = None,
    tracks: Path | None = None,
    pairs: Path | None = None,
) -> int:
    """Write a self-contained page about results.

    Parameters
    ----------
    source : Path
        Folder of results of `blinkcore predict`, or one table.
    output : Path
        `.html`.
    conditions : dict of str to str, optional
        Condition of each image, see `blinkcore.report.conditions.read_sample_sheet`.
    contrast : tuple of float, "run" or "plane"
        Counts shown as black and white in all pictures; "run": quantiles of all pictures
        of a channel together; "plane": quantiles of each one.
    max_pictures : int
        Further images are in the tables and distributions only.
    pixel_size : PixelSize, optional
        In µm, in place of the one in the descriptions.
    tracks : Path, optional
        Folder that `blinkcore link` wrote for these results.
    pairs : Path, optional
        Folder that `blinkcore colocalize` wrote for them.

    Returns
    -------
    int
        How many pictures it has; images that are not found are shown without.

    Raises
    ------
    OSError, ValueError
        If results cannot be read.
    ImportError
        If Jinja2 or Plotly is not installed.
    """
    panels = read_panels(source, conditions, pixel_size, tracks)
    pictures = panels[:max_pictures]
    limits, note = _contrast(pictures, contrast)
    shown = [_panel(p, *own) for p, own in zip(pictures, limits, strict=True)]
    images = {panel.image for panel in panels}
    tables = (read_counts(source), read_pairs(pairs, images))
    page = _rendered(source, panels, shown, note, run_facts(source, tracks), tables)
    with atomic_write(output) as temporary:
        temporary.write_text(page, "utf-8")
    return sum(panel.pixels is not None for panel in pictures)


def _contrast(
    pictures: list[Panel], contrast: tuple[float, float] | str
) -> tuple[list[tuple[float, float]], str]:
    """Choose the contrast of each picture, and say it in a sentence."""
    if contrast == "plane":
        own = [contrast_of([panel]) for panel in pictures]
        return own, "Each picture has its own contrast."
    if all(panel.pixels is None for panel in pictures):
        return [(0.0, 1.0)] * len(pictures), "The images were not found."
    channels = sorted({panel.channel for panel in pictures})
    common = {
        channel: contrast_of([p for p in pictures if p.channel == channel])
        if isinstance(contrast, str)
        else contrast
        for channel in channels
    }
    if len(set(common.values())) <= 1:
        low, high = next(iter(common.values()), (0.0, 1.0))
        note = f"One contrast for all: {low:.4g} to {high:.4g} counts."
    else:
        each = (
            f"{low:.4g} to {high:.4g} counts in channel {c}"
            for c, (low, high) in common.items()
        )
        note = f"One contrast for each channel: {', '.join(each)}."
    return [common[panel.channel] for panel in pictures], note


def _rendered(
    source: Path,
    panels: list[Panel],
    shown: list[dict[str, Any]],
    contrast: str,
    facts: list[tuple[str, str]],
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> str:
    """Fill the template."""
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise missing("a report", str(error.name), "report") from error

    text = (resources.files("blinkcore.report") / "template.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    is_photons = any("camera: " in text for name, text in facts if name == "options")
    figures = figures_of(panels, *tables, is_photons=is_photons)
    # "</script>" would end the script even inside a string, and "<!--" would let it go on.
    data = json.dumps({"panels": shown, "figures": figures}, allow_nan=False)
    return environment.from_string(text).render(
        title=source.name or str(source),
        version=blinkcore.__version__,
        plotly=get_plotlyjs(),
        data=data.replace("<", "\\u003c"),
        panels=shown,
        n_more=len(panels) - len(shown),
        n_spots=sum(len(panel.all_spots) for panel in panels),
        n_images=len({panel.image for panel in panels}),
        minimum=_smallest(panels),
        contrast=contrast,
        tables=[
            (
                title,
                list(t.columns),
                [[_cell(v) for v in r] for r in t.itertuples(index=False)],
            )
            for title, t in zip(_TABLES, tables, strict=True)
            if len(t)
        ],
        facts=facts,
    )


def _smallest(panels: list[Panel]) -> float:
    """Find the smallest probability among the spots, rounded down: where the slider begins."""
    found = [
        float(panel.all_spots["probability"].min())
        for panel in panels
        if "probability" in panel.all_spots and len(panel.all_spots)
    ]
    return float(np.floor(min(found, default=0.0) * 20) / 20)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value)


def _panel(panel: Panel, low: float, high: float) -> dict[str, Any]:
    """Collect everything that the script needs to draw a picture."""
    spots = panel.spots
    known = [name for name in _HOVER if name in spots.columns]
    known = [name for name in known if spots[name].dtype.kind in "iuf"]
    ones = np.ones(len(spots))
    return {
        "title": panel.title,
        "condition": panel.condition,
        "png": panel.png(low, high),
        "height": panel.shape[0],
        "width": panel.shape[1],
        "y": _numbers(spots["y"], 2),
        "x": _numbers(spots["x"], 2),
        "p": _numbers(spots.get("probability", ones), 3),
        "hover": {name: _numbers(spots[name], 3) for name in known},
        "n": len(spots),
        "bar": _scale_bar(panel),
        "tracks": _lines(panel.linked),
    }


def _lines(spots: pd.DataFrame) -> dict[str, list[float | None]]:
    """Return the tracks of a panel as one line, with a gap (None) after each track."""
    lines: dict[str, list[float | None]] = {"x": [], "y": []}
    if "track" not in spots:
        return lines
    for _, own in spots.sort_values("frame").groupby("track"):
        if len(own) > 1:
            for axis, line in lines.items():
                line += [*_numbers(own[axis], 1), None]
    return lines


def _numbers(values: Any, decimals: int) -> list[float | None]:
    rounded = np.round(np.asarray(values, float), decimals)
    return [float(v) if np.isfinite(v) else None for v in rounded]


def _scale_bar(panel: Panel) -> dict[str, Any] | None:
    """Make a bar of a round length, about a fifth of the width; None if the size is unknown."""
    if panel.pixel_size is None:
        return None
    length = bar_length(panel.shape[1] * panel.pixel_size.x)
    return {"px": length / panel.pixel_size.x, "text": f"{length:g} µm"}
