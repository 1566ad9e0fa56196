"""Read pixel size (µm) and frame interval (s) from the metadata of ImageJ or OME."""

from __future__ import annotations

from typing import Any

import tifffile

from blinkcore.image import PixelSize
from blinkcore.io.units import micrometers, positive, seconds


class MetadataError(ValueError):
    """Raised for a file that is intact but cannot be used."""


def pixel_size_of(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> PixelSize | None:
    """Read the size of a pixel, as ImageJ or OME wrote it.

    Parameters
    ----------
    file : TiffFile
        The open file.
    series : TiffPageSeries
        The image in it that is read.

    Returns
    -------
    PixelSize or None
        In µm; None where the file does not state it.

    Raises
    ------
    MetadataError
        If a size is not a number.
    """
    if file.is_ome:
        number = [s is series for s in file.series].index(True)
        return _ome_pixel_size(file.ome_metadata or "", number)
    if file.is_imagej:
        return _imagej_pixel_size(file)
    return None  # a plain TIFF's resolution is that of a printer


def frame_interval_of(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> float | None:
    """Read the time between frames in s, as ImageJ or OME wrote it; None if it is not known.

    Parameters
    ----------
    file, series
        See `pixel_size_of`.
    """
    if file.is_ome:
        number = [s is series for s in file.series].index(True)
        pixels = _ome_pixels(file.ome_metadata or "", number)
        value, unit = (
            pixels.get("TimeIncrement", 0),
            pixels.get("TimeIncrementUnit", "s"),
        )
    else:
        metadata = file.imagej_metadata or {}
        value, unit = metadata.get("finterval", 0), metadata.get("tunit", "s")
    try:
        return positive(float(value) * (seconds(str(unit)) or 0.0))
    except (TypeError, ValueError):
        return None


def _ome_pixels(xml: str, number: int) -> dict[str, Any]:
    """Return the attributes of the pixels of an image in OME metadata."""
    images = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    image = images[number] if isinstance(images, (list, tuple)) else images
    pixels: dict[str, Any] = image.get("Pixels", {})
    return pixels


def _imagej_pixel_size(file: tifffile.TiffFile) -> PixelSize | None:
    metadata = file.imagej_metadata or {}
    unit = str(metadata.get("unit", ""))
    # The unit of x counts for y and z, too, unless they have their own.
    in_x, in_y, in_z = (
        micrometers(str(metadata.get(name, unit)))
        for name in ("unit", "yunit", "zunit")
    )
    tags = file.pages.first.tags
    if (
        in_x is None
        or in_y is None
        or not {"XResolution", "YResolution"} <= {t.name for t in tags}
    ):
        return None
    sizes = []
    for name, in_micrometers in (("YResolution", in_y), ("XResolution", in_x)):
        pixels, units = tags[name].value  # pixels per unit, as a fraction
        sizes.append(positive(in_micrometers * units / pixels if pixels else 0.0))
    z = positive((in_z or 0.0) * float(metadata.get("spacing", 0.0)))
    y, x = sizes
    return None if y is None or x is None else PixelSize(z, y, x)


def _ome_pixel_size(xml: str, number: int) -> PixelSize | None:
    pixels = _ome_pixels(xml, number)
    sizes = []
    for axis in "ZYX":
        name = f"PhysicalSize{axis}"
        unit = micrometers(str(pixels.get(f"{name}Unit", "µm")))
        try:
            sizes.append(positive((unit or 0.0) * float(pixels.get(name, 0))))
        except (ValueError, TypeError) as error:
            raise MetadataError(
                f"{name} must be a number, got {pixels[name]!r}; give the size of a pixel"
            ) from error
    z, y, x = sizes
    return None if y is None or x is None else PixelSize(z, y, x)
