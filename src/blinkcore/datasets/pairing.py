"""Images and the files of their labels, paired by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blinkcore.io.suffixes import stem_of_image, stem_of_spots

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Pairs(NamedTuple):
    """Images with their labels, and what has no partner."""

    pairs: list[tuple[Path, Path]]
    images_alone: list[Path]
    labels_alone: list[Path]


def pair_by_name(images: Iterable[Path], labels: Iterable[Path]) -> Pairs:
    """Find the labels of each image by their names.

    Labels belong to an image if their name without suffix is the image's, or begins or
    ends with it, set off by a separator (`a.tif` with `a_points.csv` or `RoiSet_a.zip`,
    `a1.tif` not with `a10.csv`); if several images fit, the longest name wins.

    Parameters
    ----------
    images, labels : iterable of Path
        Files.

    Returns
    -------
    Pairs

    Raises
    ------
    ValueError
        If two images have the same name, or two files of labels fit one image.
    """
    images, labels = sorted(images), sorted(labels)
    by_stem: dict[str, Path] = {}
    for image in images:
        stem = stem_of_image(image)
        if stem in by_stem:
            raise ValueError(
                f"{by_stem[stem]} and {image} share one name; labels are found by name"
            )
        by_stem[stem] = image
    found: dict[Path, Path] = {}
    alone = []
    for label in labels:
        stem = stem_of_spots(label)
        fitting = [s for s in by_stem if _belongs(stem, s)]
        if not fitting:
            alone.append(label)
            continue
        image = by_stem[stem if stem in by_stem else max(fitting, key=len)]
        if image in found:
            raise ValueError(f"{found[image]} and {label} both fit the image {image}")
        found[image] = label
    pairs = [(image, found[image]) for image in images if image in found]
    return Pairs(pairs, [i for i in images if i not in found], alone)


def _belongs(label: str, image: str) -> bool:
    """Return whether a label's name is an image's, alone or with a separated addition."""
    if label.startswith(image) and not label[len(image) :][:1].isalnum():
        return True
    return label.endswith(image) and not label[: -len(image)][-1:].isalnum()
