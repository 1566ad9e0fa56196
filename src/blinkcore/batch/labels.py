"""The label images of the inputs: masks of cells and their parts, found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blinkcore import io
from blinkcore.batch.inputs import identity
from blinkcore.datasets.pairing import pair_by_name
from blinkcore.files import check_readable, files_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from blinkcore.batch.inputs import Input


def label_images(
    inputs: list[Input], labels: Iterable[tuple[str, Path]]
) -> dict[Path, dict[str, Path]]:
    """Find the label images of each input by name.

    Parameters
    ----------
    inputs : list of Input
        Images.
    labels : iterable of (str, Path)
        Column, and a label image or a folder of them.

    Returns
    -------
    dict of Path to dict of str to Path
        Label images of each input, by column; an input may lack some, see `check_labels`.

    Raises
    ------
    OSError
        If a file or folder is not there.
    ValueError
        If no input has a label image, or one has several.
    """
    found: dict[Path, dict[str, Path]] = {item.path: {} for item in inputs}
    for column, place in labels:
        if not place.is_dir():
            check_readable(place)
        own = {identity(place)} if place.is_file() else set()
        if place.is_file() and len(inputs) == 1 and identity(inputs[0].file) not in own:
            found[inputs[0].path][column] = place  # one and one need no common name
            continue
        files = files_in(place, io.IMAGE_SUFFIXES) if place.is_dir() else [place]
        own = {identity(path) for path in files}
        # A scene of a file is paired under the name of its result.
        images = {
            item.path if item.file == item.path
            else item.path.with_name(item.relative.name): item.path
            for item in inputs
            if identity(item.file) not in own
        }  # fmt: skip
        if inputs and not images:
            raise ValueError(
                f"{place} holds the images themselves; put label images into a folder of "
                "their own"
            )
        pairs = pair_by_name(list(images), files)
        if pairs.images_alone and not pairs.pairs:
            raise ValueError(_missing(pairs.images_alone[0], place))
        for image, path in pairs.pairs:
            found[images[image]][column] = path
    return found


def check_labels(
    item: Input, found: Mapping[str, Path], labels: Iterable[tuple[str, Path]]
) -> None:
    """Raise ValueError if an input lacks one of its label images."""
    for column, place in labels:
        if column not in found:
            raise ValueError(_missing(item.path, place))


def _missing(image: Path, place: Path) -> str:
    return (
        f"{image} has no label image in {place}: they are found by name, such as "
        "a_masks.tif for a.tif"
    )


def about_labels(labels: Mapping[str, Path]) -> dict[str, Any]:
    """Describe the label images of an input as they are now, for the record of its result."""
    return {
        column: {
            "path": identity(path),
            "bytes": path.stat().st_size,
            "modified_ns": path.stat().st_mtime_ns,
        }
        for column, path in labels.items()
    }
