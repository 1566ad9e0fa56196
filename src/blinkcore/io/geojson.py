"""GeoJSON as QuPath exchanges it: points as annotations or detections.

QuPath's origin is the outer corner of the first pixel: half a pixel is added on the way
out and taken off on the way in. Planes (`c`, `z`, `t`) count from 0; c = -1 means any.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from blinkcore.files import atomic_write
from blinkcore.spots import ordered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CORNER = 0.5  # px from the corner of the first pixel to its centre
_COLOR = [255, 200, 0]  # QuPath refuses a class as an object without one
_MEASURED = ("probability", "localization_uncertainty", "intensity", "snr")
_PLANE = {"t": "frame", "c": "channel", "z": "z"}


def recognizes(content: object) -> bool:
    """Return whether parsed JSON is GeoJSON."""
    features = content if isinstance(content, list) else [content]
    kinds = ("Feature", "FeatureCollection")
    return bool(features) and all(
        isinstance(f, dict) and f.get("type") in kinds for f in features
    )


def from_json(content: Any) -> pd.DataFrame:
    """Turn all points of parsed GeoJSON into spots."""
    rows = [row for feature in _features(content) for row in _points(feature)]
    columns = ["frame", "channel", "z", "y", "x", *_MEASURED]
    spots = pd.DataFrame(rows, columns=columns)
    for name in ("frame", "channel", "z"):
        if (spots[name] <= 0).all():
            spots = spots.drop(columns=name)
    return ordered(spots.drop(columns=[n for n in _MEASURED if spots[n].isna().all()]))


def write(spots: pd.DataFrame, path: Path) -> None:
    """Write each spot as a detection with its measurements."""
    features = []
    for row in spots.to_dict("records"):
        place = {theirs: _whole(row.get(ours, 0)) for theirs, ours in _PLANE.items()}
        if "channel" not in row:
            place["c"] = -1
        measured = {
            name: float(row[name])
            for name in _MEASURED
            if name in row and row[name] == row[name]  # not NaN
        }
        features.append(
            {
                "type": "Feature",
                "geometry": {
                    "type": "Point",
                    "coordinates": [row["x"] + _CORNER, row["y"] + _CORNER],
                    "plane": place,
                },
                "properties": {
                    "objectType": "detection",
                    "classification": {"name": "spot", "color": _COLOR},
                    "measurements": measured,
                },
            }
        )
    content = {"type": "FeatureCollection", "features": features}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def _features(content: Any) -> Iterator[Any]:
    for item in content if isinstance(content, list) else [content]:
        yield from item["features"] if item["type"] == "FeatureCollection" else [item]


def _points(feature: Any) -> Iterator[list[Any]]:
    geometry = feature.get("geometry") or {}
    kind, places = geometry.get("type"), geometry.get("coordinates", [])
    if kind not in ("Point", "MultiPoint"):
        return
    plane = geometry.get("plane") or {}
    measured = (feature.get("properties") or {}).get("measurements") or {}
    if isinstance(measured, list):  # QuPath before 0.4
        measured = {m["name"]: m["value"] for m in measured}
    at = [plane.get(name, 0) for name in _PLANE]
    for x, y, *_ in [places] if kind == "Point" else places:
        values = [measured.get(name, float("nan")) for name in _MEASURED]
        yield [*at, y - _CORNER, x - _CORNER, *values]


def _whole(value: float) -> int:
    """Find the nearest plane; the first where it is not known."""
    return 0 if math.isnan(value) else round(value)
