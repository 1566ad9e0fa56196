"""Find fluorescent spots in microscopy images, threshold-free and sub-pixel."""

from __future__ import annotations

from importlib import import_module
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

# A command name is a function of the package (blinkcore.predict) and a module
# (src/blinkcore/predict.py): the function is what users mean.
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
