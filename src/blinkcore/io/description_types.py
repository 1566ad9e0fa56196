"""Types that the entries of a description must have, which may be damaged or forged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from blinkcore.io.suffixes import WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable

_AXES = set("TCZYX")


def is_description(content: Any) -> bool:
    """Return whether parsed JSON is a description of blinkcore, whole and of the right types.

    Parameters
    ----------
    content : object
        What a JSON file holds.

    Returns
    -------
    bool
        Whether all entries that programs rely on are as `blinkcore predict` and the commands
        after it write them; entries may be missing, as in files of version 0.1.
    """
    return (
        isinstance(content, dict)
        and "blinkcore" in content
        and isinstance(content.get("images"), list)
        and _fits(content, _TOP)
        and all(_is_record(record) for record in content["images"])
    )


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict) or not _fits(record, _RECORD):
        return False
    if record.get("image") is None:
        return False
    axes, shape = record.get("axes"), record.get("shape")
    return axes is None or shape is None or len(axes) == len(shape)


def _fits(content: dict[str, Any], types: dict[str, Callable[[Any], bool]]) -> bool:
    """Return whether each entry has its type, or is missing or None."""
    return all(
        content.get(name) is None or is_a(content[name]) for name, is_a in types.items()
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 < value < math.inf


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(n, int) and 0 < n < 1 << 40 for n in value
    )


def _is_axes(value: Any) -> bool:
    return (
        _is_text(value)
        and set(value.upper()) <= _AXES
        and len(set(value)) == len(value)
    )


def _is_size(value: Any) -> bool:
    """Return whether this is a size in µm: of y and x, and of z where it is known."""
    return (
        isinstance(value, dict)
        and value.keys() == {"z", "y", "x"}
        and all(_is_positive(value[axis]) for axis in "yx")
        and (value["z"] is None or _is_positive(value["z"]))
    )


_TOP: dict[str, Callable[[Any], bool]] = {
    "blinkcore": _is_text,
    "created": _is_text,
    "command": _is_texts,
    "formats": lambda value: _is_texts(value) and set(value) <= set(WRITERS),
    "complete": lambda value: isinstance(value, bool),
    "step": _is_text,
    "model": _is_mapping,
    "options": lambda value: _is_mapping(value) and _fits(value, {"axes": _is_axes}),
    "failed": lambda value: _is_rows(value) and all(map(_is_failure, value)),
}
_RECORD: dict[str, Callable[[Any], bool]] = {
    "image": _is_text,
    "path": _is_text,
    "axes": _is_axes,
    "shape": _is_shape,
    "pixel_size_um": _is_size,
    "frame_interval_s": lambda value: value == 0 or _is_positive(value),
    "warnings": _is_texts,
    "counts": _is_rows,
    "counts_by_cell": _is_rows,
    "labels": _is_mapping,
    "picture": _is_mapping,
}


def _is_failure(value: dict[str, Any]) -> bool:
    return _is_text(value.get("image")) and _is_text(value.get("error"))
