"""Find fluorescent spots in microscopy images, threshold-free and sub-pixel."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blinkcore.image import Image, PixelSize
    from blinkcore.io import read_image, write_spots
    from blinkcore.model import Model, load_model
    from blinkcore.predict import predict

__version__ = "0.1.0"
__all__ = [
    "Image",
    "Model",
    "PixelSize",
    "load_model",
    "predict",
    "read_image",
    "write_spots",
]

_HOMES = {
    "Image": "image",
    "Model": "model",
    "PixelSize": "image",
    "load_model": "model",
    "predict": "predict",
    "read_image": "io",
    "write_spots": "io",
}


def __getattr__(name: str) -> object:
    """Import public names when they are first used: torch takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'blinkcore' has no attribute {name!r}")
    return getattr(import_module(f"blinkcore.{_HOMES[name]}"), name)


class _Package(ModuleType):
    """One word names a command, its module and its function; users mean the function.

    So when Python imports the module `blinkcore.predict` and puts it into the package,
    that is ignored: `blinkcore.predict` stays what `__getattr__` gives.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
