"""TrackMate: spot tables of its three generations, and session files (XML).

TrackMate multiplies the pixel position by the calibration and adds nothing: an integer
number of pixels is a pixel's centre. Frames count from 0.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from blinkcore.files import atomic_write
from blinkcore.image import PixelSize
from blinkcore.spots import ordered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray


_FEATURES = (  # name, title, dimension, whole number
    ("QUALITY", "Quality", "QUALITY", False),
    ("POSITION_X", "X", "POSITION", False),
    ("POSITION_Y", "Y", "POSITION", False),
    ("POSITION_Z", "Z", "POSITION", False),
    ("POSITION_T", "T", "TIME", False),
    ("FRAME", "Frame", "NONE", True),
    ("RADIUS", "Radius", "LENGTH", False),
    ("VISIBILITY", "Visibility", "NONE", True),
)
_EDGES = (
    ("SPOT_SOURCE_ID", "Source spot ID", "NONE", True),
    ("SPOT_TARGET_ID", "Target spot ID", "NONE", True),
    ("LINK_COST", "Edge cost", "COST", False),
)
_TRACKS = (
    ("TRACK_INDEX", "Track index", "NONE", True),
    ("TRACK_ID", "Track ID", "NONE", True),
    ("NUMBER_SPOTS", "Number of spots in track", "NONE", True),
)
_MICRONS = {"micron", "microns", "um", "µm", "μm", "micrometer", "micrometre"}


def from_table(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Turn a TrackMate spot table, all columns text, into spots and their unit.

    Returns
    -------
    spots : DataFrame
        `frame`, `z`, `y`, `x`, and `track` where there are tracks.
    unit : str
        "px", "um", or "" where the table does not tell.
    """
    columns = {str(name).upper(): name for name in table.columns}
    x = pd.to_numeric(table[columns["POSITION_X"]], errors="coerce")
    unit = ""
    for text in table.loc[x.isna(), columns["POSITION_X"]].astype(str):
        unit = _unit(text.strip("()")) or unit
    kept = table[x.notna()]  # without the three rows of titles and units
    spots = pd.DataFrame({"x": x[x.notna()]})
    for theirs, ours in (
        ("POSITION_Y", "y"), ("POSITION_Z", "z"), ("FRAME", "frame"), ("TRACK_ID", "track"),
    ):  # fmt: skip
        if theirs in columns:
            values = pd.to_numeric(kept[columns[theirs]], errors="coerce")
            if ours != "track" or values.notna().all():
                spots[ours] = values
    if "z" in spots and (spots["z"] == 0).all():
        spots = spots.drop(columns="z")
    return spots, unit


def recognizes(root: ET.Element) -> bool:
    """Return whether an XML file is a session of TrackMate."""
    return root.tag == "TrackMate"


def from_xml(root: ET.Element, path: Path) -> pd.DataFrame:
    """Turn the visible spots of a session file into spots in px.

    Raises
    ------
    ValueError
        If it has no spots or no image.
    """
    model, image = root.find("Model"), root.find("Settings/ImageData")
    if model is None or image is None:
        raise ValueError(f"{path} is a TrackMate file without spots or image")
    columns = ("FRAME", "POSITION_Z", "POSITION_Y", "POSITION_X", "ID", "RADIUS")
    rows = [
        [float(spot.get(name, 0)) for name in (*columns, "QUALITY")]
        for spot in model.iterfind("AllSpots/SpotsInFrame/Spot")
        if spot.get("VISIBILITY", "1") != "0"
    ]
    names = ["frame", "z", "y", "x", "id", "sigma", "probability"]
    table = pd.DataFrame(rows, columns=names)
    table["sigma"] /= np.sqrt(2) * (float(image.get("pixelwidth", 1)) or 1.0)
    quality = table["probability"]  # a probability in our own sessions only
    if table.empty or not quality.between(0, 1).all():
        table = table.drop(columns="probability")
    tracks = {}
    for track in model.iterfind("AllTracks/Track"):
        for edge in track.iterfind("Edge"):
            for end in ("SPOT_SOURCE_ID", "SPOT_TARGET_ID"):
                tracks[int(edge.get(end, -1))] = int(track.get("TRACK_ID", 0))
    if tracks:
        table["track"] = [tracks.get(int(i), -1) for i in table["id"]]
    sizes = {"x": "pixelwidth", "y": "pixelheight", "z": "voxeldepth"}
    for name, attribute in sizes.items():
        table[name] = table[name] / (float(image.get(attribute, 1)) or 1.0)
    one_plane = int(image.get("nslices", 1)) <= 1
    return ordered(table.drop(columns=["id", "z"] if one_plane else ["id"]))


def write_xml(
    spots: pd.DataFrame,
    path: Path,
    *,
    image: Path | None = None,
    sizes: Mapping[str, int] | None = None,
    pixel_size: PixelSize | None = None,
    interval: float | None = None,
    links: NDArray[np.int64] | None = None,
) -> None:
    """Write a session with its tracks, or one that opens at the choice of a tracker.

    Parameters
    ----------
    spots : DataFrame
        A spots table of one image, one channel.
    path : Path
        `.xml`.
    image : Path, optional
        The image, linked by its name and folder.
    sizes : mapping, optional
        Length of each axis of the image; without it as long as the spots need.
    pixel_size : PixelSize, optional
        In µm; without it positions are in pixels.
    interval : float, optional
        Between frames in s; without it times are in frames.
    links : ndarray of int64, shape (n, 2), optional
        Rows of `spots` that are linked, the earlier first; the table has `track` then.
    """
    spots = spots.reset_index(drop=True)
    sizes = sizes or _needed(spots)
    scale = pixel_size or PixelSize(1.0, 1.0, 1.0)
    root = ET.Element("TrackMate", version="7.11.1")
    _add(root, "Log")
    unit = "pixel" if pixel_size is None else "micron"
    time = "frame" if interval is None else "sec"
    model = _add(root, "Model", spatialunits=unit, timeunits=time)
    features = _add(_add(model, "FeatureDeclarations"), "SpotFeatures")
    for name, title, dimension, whole in _FEATURES:
        _add(
            features, "Feature", feature=name, name=title, shortname=title,
            dimension=dimension, isint=str(whole).lower(),
        )  # fmt: skip
    for kind, declared in (("EdgeFeatures", _EDGES), ("TrackFeatures", _TRACKS)):
        parent = _add(model[0], kind)
        for name, title, dimension, whole in declared:
            _add(
                parent, "Feature", feature=name, name=title, shortname=title,
                dimension=dimension, isint=str(whole).lower(),
            )  # fmt: skip
    numbers = _add_spots(model, spots, scale, interval or 1.0)
    _add_tracks(model, numbers, links)
    _add_settings(root, image, sizes, scale, interval or 1.0)
    state = "ChooseTracker" if links is None else "ConfigureViews"
    _add(root, "GUIState", state=state)
    _add(root, "DisplaySettings")  # empty: the user's own apply
    ET.indent(root)
    with atomic_write(path) as temporary:
        ET.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def _unit(text: str) -> str:
    if text.lower() in _MICRONS:
        return "um"
    return "px" if text.lower() in ("pixel", "pixels", "px") else ""


def _add(parent: ET.Element, tag: str, **values: Any) -> ET.Element:
    return ET.SubElement(
        parent, tag, {name: str(value) for name, value in values.items()}
    )


def _needed(spots: pd.DataFrame) -> dict[str, int]:
    names = {"T": "frame", "Z": "z", "Y": "y", "X": "x"}
    return {
        axis: int(np.ceil(spots[name].max())) + 1 if name in spots and len(spots) else 1
        for axis, name in names.items()
    }


def _add_spots(
    model: ET.Element, spots: pd.DataFrame, scale: PixelSize, interval: float
) -> list[int]:
    """Add the spots of each frame; gives the ID of each row."""
    everything = _add(model, "AllSpots", nspots=len(spots))
    frames = spots["frame"] if "frame" in spots else pd.Series(0, spots.index)
    numbers = [0] * len(spots)
    number = 0
    for frame, rows in spots.groupby(frames, sort=True):
        parent = _add(everything, "SpotsInFrame", frame=int(str(frame)))
        for at, row in zip(rows.index, rows.to_dict("records"), strict=True):
            numbers[at] = number
            sigma = row.get("sigma", np.nan)
            sigma = sigma if np.isfinite(sigma) else 1.5 / np.sqrt(2)
            quality = row.get("probability", 1.0)
            quality = quality if np.isfinite(quality) else 0.0  # a person's own
            _add(
                parent, "Spot", ID=number, name=f"ID{number}",
                QUALITY=float(quality),
                POSITION_X=row["x"] * scale.x, POSITION_Y=row["y"] * scale.y,
                POSITION_Z=row.get("z", 0.0) * (scale.z or 1.0),
                POSITION_T=float(str(frame)) * interval, FRAME=frame,
                RADIUS=sigma * np.sqrt(2) * scale.x, VISIBILITY=1,
            )  # fmt: skip
            number += 1
    return numbers


def _add_tracks(
    model: ET.Element, numbers: list[int], links: NDArray[np.int64] | None
) -> None:
    """Add tracks: spots linked directly or through others are one TrackMate track."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    everything = _add(model, "AllTracks")
    filtered = _add(model, "FilteredTracks")
    if links is None or len(links) == 0:
        return
    n = len(numbers)
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), (n, n))
    _, component = connected_components(graph, directed=False)
    of_link = component[links[:, 0]]
    for index, label in enumerate(np.unique(of_link)):
        track = _add(
            everything, "Track", name=f"Track_{index}", TRACK_ID=index,
            TRACK_INDEX=index, NUMBER_SPOTS=int((component == label).sum()),
        )  # fmt: skip
        for first, second in links[of_link == label]:
            _add(
                track, "Edge", SPOT_SOURCE_ID=numbers[first],
                SPOT_TARGET_ID=numbers[second], LINK_COST=-1.0,
            )  # fmt: skip
        _add(filtered, "TrackID", TRACK_ID=index)


def _add_settings(
    root: ET.Element,
    image: Path | None,
    sizes: Mapping[str, int],
    scale: PixelSize,
    interval: float,
) -> None:
    settings = _add(root, "Settings")
    width, height = sizes.get("X", 1), sizes.get("Y", 1)
    n_z, n_frames = sizes.get("Z", 1), sizes.get("T", 1)
    folder = "" if image is None else f"{image.absolute().parent}/"
    _add(
        settings, "ImageData", filename="" if image is None else image.name,
        folder=folder, width=width, height=height, nslices=n_z, nframes=n_frames,
        pixelwidth=scale.x, pixelheight=scale.y, voxeldepth=scale.z or 1.0,
        timeinterval=interval,
    )  # fmt: skip
    _add(
        settings, "BasicSettings", xstart=0, xend=width - 1, ystart=0, yend=height - 1,
        zstart=0, zend=n_z - 1, tstart=0, tend=n_frames - 1,
    )  # fmt: skip
    _add(
        settings,
        "DetectorSettings",
        DETECTOR_NAME="MANUAL_DETECTOR",
        RADIUS=1.5 * scale.x,
    )
    _add(settings, "InitialSpotFilter", feature="QUALITY", value=0.0, isabove="true")
    _add(settings, "SpotFilterCollection")
    _add_tracker(settings, 15 * scale.x)
    _add(settings, "TrackFilterCollection")
    analyzers = _add(settings, "AnalyzerCollection")
    for name in ("SpotAnalyzers", "EdgeAnalyzers", "TrackAnalyzers"):
        _add(analyzers, name)


def _add_tracker(settings: ET.Element, distance: float) -> None:
    """Preselect the simple LAP tracker with TrackMate's own defaults."""
    tracker = _add(
        settings, "TrackerSettings", TRACKER_NAME="SIMPLE_SPARSE_LAP_TRACKER",
        CUTOFF_PERCENTILE=0.9, ALTERNATIVE_LINKING_COST_FACTOR=1.05,
        BLOCKING_VALUE="Infinity",
    )  # fmt: skip
    steps: tuple[tuple[str, dict[str, Any]], ...] = (
        ("Linking", {"LINKING_MAX_DISTANCE": distance}),
        (
            "GapClosing",
            {
                "ALLOW_GAP_CLOSING": "true",
                "GAP_CLOSING_MAX_DISTANCE": distance,
                "MAX_FRAME_GAP": 2,
            },
        ),
        (
            "TrackSplitting",
            {"ALLOW_TRACK_SPLITTING": "false", "SPLITTING_MAX_DISTANCE": distance},
        ),
        (
            "TrackMerging",
            {"ALLOW_TRACK_MERGING": "false", "MERGING_MAX_DISTANCE": distance},
        ),
    )
    for step, values in steps:
        _add(_add(tracker, step, **values), "FeaturePenalties")
