"""One image of a run: read it, find its spots, describe what was found."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

import blinkcore
from blinkcore.batch.counts import CELLS, IMAGES, counts_of_cells, counts_of_image
from blinkcore.batch.inputs import identity
from blinkcore.batch.labels import about_labels
from blinkcore.detection.cells import Regions
from blinkcore.detection.predict import predict_image
from blinkcore.detection.projection import searched
from blinkcore.detection.quality import (
    doubt_warning,
    image_warning,
    series_warning,
)
from blinkcore.detection.scale import scale_factor, scale_warning
from blinkcore.io.tables import safe_name
from blinkcore.network.calibration import real_count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from blinkcore.batch.cluster import Cluster
    from blinkcore.batch.inputs import Input
    from blinkcore.batch.options import Options
    from blinkcore.batch.unfinished import Unfinished
    from blinkcore.detection.predict import OnProgress
    from blinkcore.image import Image

logger = logging.getLogger(__name__)

_CUT_OFF = "is cut off: what is missing counts as empty"


def predict_input(
    item: Input,
    options: Options,
    regions: Mapping[str, Path],
    check_scale: bool,
    warned: set[str],
    unfinished: Unfinished,
    on_progress: OnProgress | None = None,
    cluster: Cluster | None = None,
) -> tuple[Image, pd.DataFrame, dict[str, Any]]:
    """Read an input and find its spots.

    Parameters
    ----------
    item : Input
        To read.
    options : Options
        How.
    regions : mapping of str to Path
        Label images of this input, by the name of their column.
    check_scale : bool
        Warn if its spots are wider or narrower than those of the model.
    warned : set of str
        Kinds of warnings that were given in this run; each is given once.
    unfinished : Unfinished
        Keeps the candidates of its planes in case of an interruption.
    on_progress : callable, optional
        See `blinkcore.detection.predict.predict_image`.
    cluster : Cluster, optional
        Its workers find the candidates.

    Returns
    -------
    image : Image
        As it was read.
    spots : DataFrame
        Its spots table.
    record : dict
        About the image, for the description of the result.
    """
    state = item.state()  # before it is read: a file that changes meanwhile is not done
    image = options.read(item.source)
    warnings = _warnings_of_image(image, options, check_scale)
    _say(item, warnings, warned)
    scale = scale_factor(image, options.model, options.scale, options.channel)
    how = replace(options, scale=scale)
    about = {"path": identity(item.source), "file": state}
    spots = _searched(item, image, how, about, unfinished, on_progress, cluster)
    late = _warnings_of_result(image, spots, options)
    _say(item, late, warned)
    names = [safe_name(item.name)] * len(spots)
    spots.insert(0, "image", pd.Series(names, dtype=str))
    record = _described(item, about, image, spots) | {"scale": scale}
    record["warnings"] = [*warnings, *late]
    _count(record, image, spots, regions, options)
    return image, spots, record


def _warnings_of_image(image: Image, options: Options, check_scale: bool) -> list[str]:
    """Warn of what is known before the spots are found."""
    found = [image_warning(image.middle_plane(options.channel).data)]
    if check_scale:
        found.append(scale_warning(image, options.model, options.channel))
    return [text for text in found if text is not None]


def _warnings_of_result(
    image: Image, spots: pd.DataFrame, options: Options
) -> list[str]:
    """Warn of what is known only after the spots were found."""
    is_default = options.threshold is options.fdr is None
    found = [
        doubt_warning(spots) if is_default else None,
        series_warning(spots, image.size("Z")),
        _CUT_OFF if image.misses_pixels else None,
    ]
    return [text for text in found if text is not None]


def _searched(
    item: Input,
    image: Image,
    options: Options,
    about: dict[str, Any],
    unfinished: Unfinished,
    on_progress: OnProgress | None,
    cluster: Cluster | None,
) -> pd.DataFrame:
    """Find the spots of the planes that no earlier run has done, and of all together."""
    places = list(searched(image, options).places(options.channel))
    made_by = {"blinkcore": blinkcore.__version__, **options.recorded()}
    unfinished.begin(about | made_by, len(places))

    def after(unit: str, done: int, total: int) -> None:
        if unit == "plane":
            unfinished.on_plane()
        if on_progress is not None:
            on_progress(unit, done, total)

    return predict_image(
        image, options.model, options, on_progress=after,
        find=None if cluster is None else cluster.finder(item, image, after),
        candidates=unfinished.candidates,
    )  # fmt: skip


def _described(
    item: Input, about: dict[str, Any], image: Image, spots: pd.DataFrame
) -> dict[str, Any]:
    size = image.pixel_size
    return {
        "image": safe_name(item.name),
        **about,
        "axes": image.axes,
        "shape": list(image.data.shape),
        "pixel_size_um": None if size is None else size._asdict(),
        "frame_interval_s": image.frame_interval,
        **({"truncated": True} if image.misses_pixels else {}),
        "spots": len(spots),
        "dim_specks_left_out": spots.attrs["dim_specks"],
    }


def _count(
    record: dict[str, Any],
    image: Image,
    spots: pd.DataFrame,
    regions: Mapping[str, Path],
    options: Options,
) -> None:
    """Add the counts to the record of an image, and the cells of its spots to the table."""
    spread = options.model.metadata.count_spread
    if spread is not None:
        real = real_count(spots["probability"].to_numpy(), spread)._asdict()
        record["real_spots"] = {name: round(n, 1) for name, n in real.items()}
    looked_at = searched(image, options)
    if regions:  # described before they are read, like the image
        record["labels"] = about_labels(regions)
    found = {n: Regions.read(path, looked_at.sizes) for n, path in regions.items()}
    size = image.pixel_size
    apart = None if size is None or size.z is None else size.z / size.x
    for column, areas in found.items():
        spots[column], distance = areas.of_spots(spots, apart)
        if "border_distance" not in spots:
            spots["border_distance"] = distance
    about = (record["image"], looked_at, spots)
    record[IMAGES] = counts_of_image(*about, spread, options.channel)
    if found:
        record[CELLS] = counts_of_cells(*about, found, spread, options.channel)


def _say(item: Input, warnings: list[str], warned: set[str]) -> None:
    """Log the warnings about an image, each kind once in a run."""
    for warning in warnings:
        kind = " ".join(w for w in warning.split() if w.isalpha())
        if warning == _CUT_OFF:
            logger.warning("%s %s", item.name, warning)  # of each image
        elif kind not in warned:
            warned.add(kind)
            logger.warning("%s: %s", item.name, warning)
