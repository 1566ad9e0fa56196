"""Read two channels of each image from the results of `blinkcore predict`."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from blinkcore import io
from blinkcore.datasets.pairing import pair_by_name
from blinkcore.files import files_in
from blinkcore.io.results import ImageSpots, read_results
from blinkcore.io.suffixes import stem_of_image
from blinkcore.io.tables import tables_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blinkcore.image import PixelSize

logger = logging.getLogger(__name__)

_SAMPLED = 20  # names that the marks of the channels are sought in


@dataclass(frozen=True)
class Channels:
    """Spots of two channels of one image."""

    first: ImageSpots
    second: ImageSpots

    @property
    def name(self) -> str:
        """Name of the first channel's results."""
        return self.first.name


def read_channels(
    first: Path,
    second: Path | None,
    channels: tuple[int, int],
    pixel_size: PixelSize | None = None,
) -> list[Channels]:
    """Read two channels, from two results or from one that has several channels.

    Parameters
    ----------
    first, second : Path
        Tables of spots, or folders; if `second` is None, with a column `channel`.
    channels : tuple of int
        The two channels to compare if `second` is None.
    pixel_size : PixelSize, optional
        In µm, in place of the one in the descriptions.

    Returns
    -------
    list of Channels
        One per image. Images that have only one of the channels are left out, each with a
        warning.

    Raises
    ------
    OSError, ValueError
        If a table cannot be read, or no image has both channels.
    """
    one = list(read_results(first, pixel_size=pixel_size))
    if second is None:
        return _two_of(one, channels)
    other = list(read_results(second, pixel_size=pixel_size))
    if len(one) == len(other) == 1:
        return [Channels(one[0], other[0])]
    # The same file has the same path, whatever its results are called.
    found = {s.name: s for s in other} | {s.image: s for s in other if s.image}
    pairs = [(spots, found.get(spots.image) or found.get(spots.name)) for spots in one]
    both = [Channels(spots, match) for spots, match in pairs if match is not None]
    if not both:
        both = _paired_by_marks(one, other)
    if not both:
        raise ValueError(f"{first} and {second} have no image in common by name")
    paired = {
        id(spots) for channels in both for spots in (channels.first, channels.second)
    }
    for spots in (*one, *other):
        if id(spots) not in paired:
            logger.warning("%s is left out: it is in one of the two only", spots.name)
    return both


def _paired_by_marks(
    first: list[ImageSpots], second: list[ImageSpots]
) -> list[Channels]:
    """Pair images whose names differ by one mark of the channel, as `a_w1` and `a_w2`.

    The marks are the two words that pair most images; if others pair as many, it is not
    clear what belongs together, and nothing is paired.
    """
    found = {spots.name: spots for spots in second}
    marks = Counter(
        _difference(spots.name, other) for spots in first[:_SAMPLED] for other in found
    )
    del marks[("", "")]
    ways = []
    for (ours, theirs), _ in marks.most_common(2):
        names = [_exchanged(spots.name, ours, theirs) for spots in first]
        ways.append([(s, n) for s, n in zip(first, names, strict=True) if n in found])
    ways.sort(key=len, reverse=True)
    if not ways or (len(ways) > 1 and len(ways[0]) == len(ways[1])):
        return []
    for spots, name in ways[0]:
        logger.warning("%s is paired with %s", spots.name, name)
    return [Channels(spots, found[name]) for spots, name in ways[0]]


def _exchanged(name: str, ours: str, theirs: str) -> str:
    """Exchange the last of a word in a name; empty if the name has not got it."""
    ends = [m.end() for m in re.finditer(rf"{re.escape(ours)}(?![A-Za-z0-9])", name)]
    return name[: ends[-1] - len(ours)] + theirs + name[ends[-1] :] if ends else ""


def _difference(one: str, other: str) -> tuple[str, str]:
    """Return the words, set off by separators, in which two names differ."""
    ours, theirs = (re.split(r"([^A-Za-z0-9]+)", name) for name in (one, other))
    differ = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    if len(ours) != len(theirs) or len(differ) != 1:
        return "", ""
    # With the separator before, so that no part of a longer word is taken for it.
    start = max(differ[0] - 1, 0)
    return "".join(ours[start : differ[0] + 1]), "".join(theirs[start : differ[0] + 1])


def _two_of(images: list[ImageSpots], channels: tuple[int, int]) -> list[Channels]:
    """Split images into two of their channels; warn of those that lack one."""
    both, problems = [], []
    for spots in images:
        table, n_channels = spots.spots, (spots.sizes or {}).get("C")
        if "channel" not in table.columns:
            problems.append(f"the table of {spots.name} has no column 'channel'")
        elif n_channels is not None and max(channels) >= n_channels:
            problems.append(f"{spots.name} has no channel {max(channels)}")
        else:
            own = (table[table["channel"] == c] for c in channels)
            sides = (replace(spots, spots=t.reset_index(drop=True)) for t in own)
            both.append(Channels(*sides))
    if not both:
        raise ValueError(f"{problems[0]}: give two tables, or other channels")
    for problem in problems:
        logger.warning("left out: %s", problem)
    return both


def read_beads(
    source: Path, channels: tuple[int, int], pixel_size: PixelSize | None = None
) -> list[Channels]:
    """Read the spots of beads in two channels, or find them in images of beads.

    Parameters
    ----------
    source : Path
        Image, or folder of images, in which the default model then finds the beads; or
        results of `blinkcore predict`, as for `read_channels`.
    channels : tuple of int
        The two channels, from 0.
    pixel_size : PixelSize, optional
        In µm, in place of the one in the files.

    Returns
    -------
    list of Channels

    Raises
    ------
    OSError, ValueError
        If a file cannot be read, or lacks one of the channels.
    """
    is_zarr = source.is_dir() and io.ome_zarr.recognizes(source)
    is_folder = source.is_dir() and not is_zarr
    images = files_in(source, io.IMAGE_SUFFIXES) if is_folder else [source]
    is_image = [
        path for path in images if is_zarr or path.suffix.lower() in io.IMAGE_SUFFIXES
    ]
    if not is_image or (is_folder and tables_in(source)):
        return read_channels(source, None, channels, pixel_size)
    return list(_found_in(is_image, channels, pixel_size))


def _found_in(
    paths: list[Path], channels: tuple[int, int], pixel_size: PixelSize | None
) -> Iterator[Channels]:
    from blinkcore.detection.predict import predict
    from blinkcore.network.model import load_model

    model = load_model()
    for path in paths:
        image = io.read_image(path, pixel_size=pixel_size)
        if max(channels) >= image.size("C"):
            raise ValueError(f"{path} has no channel {max(channels)}")
        sides = (
            ImageSpots(
                stem_of_image(path), str(path), predict(image, model, channel=channel),
                image.pixel_size, sizes=dict(image.sizes),
            )
            for channel in channels
        )  # fmt: skip
        yield Channels(*sides)


def label_of(both: Channels, labels: Path) -> Path:
    """Find the label image of an image; ValueError if there is none."""
    if not labels.is_dir():
        return labels
    image = Path(both.first.image or both.name)
    pairs = pair_by_name([image], files_in(labels, io.IMAGE_SUFFIXES)).pairs
    if not pairs:
        raise ValueError(f"{image} has no label image in {labels}")
    return pairs[0][1]
