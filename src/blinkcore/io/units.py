"""Units of length and time, as image formats name them."""

from __future__ import annotations

import math

_MICROMETERS = {
    "pm": 1e-6, "picometer": 1e-6, "å": 1e-4, "angstrom": 1e-4,
    "nm": 1e-3, "nanometer": 1e-3, "µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4,
    "m": 1e6, "meter": 1e6,
}  # fmt: skip
_SECONDS = {
    "ns": 1e-9, "nanosecond": 1e-9, "µs": 1e-6, "us": 1e-6, "microsecond": 1e-6,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0,
    "seconds": 1.0, "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0,
    "hour": 3600.0, "d": 86400.0, "day": 86400.0,
}  # fmt: skip


def micrometers(unit: str) -> float | None:
    """Return a unit's length in µm; None for pixels, inches and what is not a length."""
    return _MICROMETERS.get(_name(unit))


def seconds(unit: str) -> float | None:
    """Return a unit's length in s; None for what is not a time."""
    return _SECONDS.get(_name(unit))


def positive(size: float) -> float | None:
    """Return a size; None if it is 0, negative or not finite."""
    return size if math.isfinite(size) and size > 0 else None


def _name(unit: str) -> str:
    return unit.replace("\\u00B5", "µ").replace("μ", "µ").strip().lower()
