"""ImageJ and Fiji: point selections (`.roi`, `.zip`) and tables of measured points.

In point selections an integer is the centre of a pixel, as everywhere in blinkcore, so
nothing is added (seen in ImageJ 1.54p: the point 5, 7 is drawn in the middle of its
pixel). Positions in a stack count from 1.
"""

from __future__ import annotations

import io
import logging
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from blinkcore import limits
from blinkcore.files import atomic_write
from blinkcore.spots import AXIS_COLUMNS, ordered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import roifile

logger = logging.getLogger(__name__)

SUFFIXES = (".roi", ".zip")
# How points are shown: ImageJ keeps a point's kind and size in these fields.
_CIRCLE, _LARGE, _YELLOW = 3, 7, b"\xff\xff\xff\x00"
_AXES = {axis: AXIS_COLUMNS[axis] for axis in "CZT"}  # as ImageJ counts, fastest first


def read(path: Path, sizes: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Read the points of one selection, or of all point selections in a zip.

    Parameters
    ----------
    path : Path
        `.roi` or `.zip`.
    sizes : mapping, optional
        Length of each axis `C`, `Z`, `T` of the image, to tell what a position in its
        stack means. Without it a stack is taken for one of `z`.

    Returns
    -------
    DataFrame
        `y`, `x` and, where the points lie in a stack, `frame`, `channel`, `z`.

    Raises
    ------
    ValueError
        If it is not a selection of ImageJ, or holds areas instead of points.
    """
    rois = _rois(path)
    if not rois:
        raise ValueError(f"{path} has no selection (.roi) of ImageJ in it")
    tables = [_points(roi, sizes) for roi in rois if _is_point(roi)]
    if not tables:
        kinds = ", ".join(sorted({r.roitype.name.lower() for r in rois}))
        raise ValueError(
            f"{path} holds no points but {kinds} selections; use ImageJ's multi-point tool"
        )
    return ordered(pd.concat(tables, ignore_index=True).fillna(0))


def write(
    spots: pd.DataFrame, path: Path, sizes: Mapping[str, int] | None = None
) -> None:
    """Write all spots as one multi-point selection with their positions in the stack.

    Parameters
    ----------
    spots : DataFrame
        A spots table of one image.
    path : Path
        `.roi`, or `.zip` with one `.roi` in it.
    sizes : mapping, optional
        Length of each axis `C`, `Z`, `T` of the image. Without it a stack may have only
        one of them.

    Raises
    ------
    ValueError
        If spots lie in a stack of several axes and their lengths are not known.
    """
    import roifile

    axes = [n for n in _AXES.values() if n in spots.columns and (spots[n] != 0).any()]
    if sizes is None and len(axes) > 1:
        raise ValueError(
            f"where spots with {', '.join(axes)} lie in ImageJ's stack depends on its size; "
            "name the image, too (--image, in Python sizes=)"
        )

    points = spots[["x", "y"]].to_numpy(np.float32)
    roi = roifile.ImagejRoi.frompoints(points) if len(points) else roifile.ImagejRoi()
    roi.roitype = roifile.ROI_TYPE.POINT
    roi.name = "blinkcore"
    roi.arrow_style_or_aspect_ratio, roi.stroke_width = _CIRCLE, _LARGE
    roi.stroke_color = _YELLOW
    if len(points):
        roi.counters = np.zeros(len(points), np.uint8)
        roi.counter_positions = _positions(spots, sizes)
    content = roi.tobytes()
    with atomic_write(path) as temporary:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("blinkcore.roi", content)
        else:
            temporary.write_bytes(content)


def from_results(table: pd.DataFrame) -> pd.DataFrame:
    """Turn a Results table of measured points (`X`, `Y`, `Ch`, `Slice`, `Frame`) to spots.

    Positions stay in the unit that the image was calibrated in.
    """
    spots: pd.DataFrame = pd.DataFrame({"y": table["Y"], "x": table["X"]})
    for theirs, ours in (("Ch", "channel"), ("Slice", "z"), ("Frame", "frame")):
        if theirs in table.columns:
            spots[ours] = table[theirs] - 1
    return spots


def _rois(path: Path) -> list[roifile.ImagejRoi]:
    import roifile

    content = path.read_bytes()
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            return [roifile.ImagejRoi.frombytes(content)]
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            limits.check_unpacked(archive, limits.SELECTIONS, str(path))
            names = [n for n in archive.namelist() if n.lower().endswith(".roi")]
            return [roifile.ImagejRoi.frombytes(archive.read(n)) for n in names]
    except (ValueError, TypeError, IndexError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a selection (ROI) of ImageJ: {error}"
        ) from error


def _is_point(roi: roifile.ImagejRoi) -> bool:
    return bool(roi.roitype == type(roi.roitype).POINT)


def _points(roi: roifile.ImagejRoi, sizes: Mapping[str, int] | None) -> pd.DataFrame:
    if roi.n_coordinates == 0:
        nothing: pd.DataFrame = pd.DataFrame({"y": [], "x": []})
        return nothing
    x, y = np.asarray(roi.coordinates(), float).T
    spots: pd.DataFrame = pd.DataFrame({"y": y, "x": x})
    positions = roi.counter_positions
    if positions is not None and (np.asarray(positions) > 0).any():
        if sizes is None:
            logger.warning(
                "places in the stack are taken for z, because how many frames and channels "
                "the image has is not known"
            )
        index = np.maximum(np.asarray(positions, np.int64) - 1, 0)
        for axis, name in _AXES.items() if sizes else [("Z", "z")]:
            length = sizes.get(axis, 1) if sizes else int(index.max()) + 1
            if length > 1:
                spots[name] = index % length
            index = index // length
        return spots
    whole = {"C": roi.c_position, "Z": roi.z_position, "T": roi.t_position}
    for axis, name in _AXES.items():
        if whole[axis] > 0:
            spots[name] = whole[axis] - 1
    if not any(whole.values()) and roi.position > 0:
        spots["z"] = roi.position - 1
    return spots


def _positions(
    spots: pd.DataFrame, sizes: Mapping[str, int] | None
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    """Compute each spot's position in the stack, from 1; all 0 if there is no stack."""
    index, step = np.zeros(len(spots), np.int64), 1
    for axis, name in _AXES.items():
        if name in spots.columns:
            at = np.rint(spots[name].to_numpy(float)).astype(np.int64)
            if sizes is not None and at.max(initial=0) >= sizes.get(axis, 1):
                raise ValueError(
                    f"a spot has {name} {at.max()}, and the image only "
                    f"{sizes.get(axis, 1)} (from 0): is it the image of these spots?"
                )
            length = (sizes or {}).get(axis, int(at.max(initial=0)) + 1)
            index += step * at
            step *= length
        else:
            step *= (sizes or {}).get(axis, 1)
    return (index + 1 if step > 1 else index).astype(np.uint32)
