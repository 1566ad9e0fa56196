"""The XML of the ISBI 2012 particle tracking challenge.

Positions are in px, an integer is the centre of a pixel; frames (`t`) count from 0.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pandas as pd

from blinkcore.files import atomic_write
from blinkcore.spots import ordered

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "TrackContestISBI2012"


def recognizes(root: ET.Element) -> bool:
    """Return whether an XML file has the format of the challenge."""
    return root.tag == _NAME or root.find(_NAME) is not None


def from_xml(root: ET.Element) -> pd.DataFrame:
    """Turn particles into spots; each with two or more detections is a track."""
    content = root if root.tag == _NAME else root.find(_NAME)
    rows, track = [], 0
    for particle in content.iterfind("particle") if content is not None else ():
        detections = particle.findall("detection")
        is_track = len(detections) > 1
        for spot in detections:
            place = [float(spot.get(name, 0)) for name in ("t", "z", "y", "x")]
            rows.append([*place, track if is_track else -1])
        track += is_track
    spots = pd.DataFrame(rows, columns=["frame", "z", "y", "x", "track"])
    absent = [] if track else ["track"]
    absent += ["z"] if (spots["z"] == 0).all() else []
    return ordered(spots.drop(columns=absent))


def write_xml(spots: pd.DataFrame, path: Path) -> None:
    """Write spots: a particle for each track, or for each spot that has none."""
    root = ET.Element("root")
    content = ET.SubElement(
        root, _NAME, SNR="", density="", scenario="blinkcore", generationDateTime=""
    )
    particles: dict[int, ET.Element] = {}
    table = spots.sort_values("frame", kind="stable") if "frame" in spots else spots
    for row in table.to_dict("records"):
        track = int(row.get("track", -1))
        particle = particles.get(track)
        if particle is None:
            particle = ET.SubElement(content, "particle")
            if track >= 0:
                particles[track] = particle
        values = {name: repr(float(row.get(name, 0.0))) for name in ("x", "y", "z")}
        ET.SubElement(
            particle, "detection", {"t": str(int(row.get("frame", 0))), **values}
        )
    ET.indent(root)
    with atomic_write(path) as temporary:
        ET.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)
