"""What bioio's readers leave out or take wrongly, from the libraries that they are built on.

Of LIF the readers assemble mosaics by a fixed rule instead of the stage's positions, and
know no scan but that of the plane; of ND2 they take a size that is not known for 1 µm; of
neither they tell the time between uneven frames; CZI they walk through whatever its header
states, and they read none without a size of pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_MIN_PLANE = 32  # bytes that a plane takes in a file, at the least
_CZI_AXES = "STCZYXAM"  # M, tiles of a mosaic, are assembled; A, samples, are colours
_SCANS = {"λ": "wavelengths", "Λ": "wavelengths", "N": "rotations", "B": "phases"}


class Facts(NamedTuple):
    """What is known of an image besides what the reader says.

    Attributes
    ----------
    interval : float or None
        Mean time between frames in s.
    is_calibrated : tuple of bool
        Whether the sizes of a pixel along z, y and x were measured.
    """

    interval: float | None = None
    is_calibrated: tuple[bool, bool, bool] = (True, True, True)


def check_czi(path: Path) -> None:
    """Refuse a CZI whose header states what its file cannot hold or we cannot read.

    Raises
    ------
    ValueError
        If it states more planes than fit into the file, or has axes of another kind.
    """
    try:
        from aicspylibczi import CziFile
    except ImportError:  # bioio-czi can do without it
        return
    with path.open("rb") as file:
        shapes = CziFile(file).get_dims_shape()
    n_bytes = path.stat().st_size
    for shape in shapes:
        n_planes = 1
        for axis, (first, last) in shape.items():
            if axis in "YXA":
                continue
            n_planes *= max(last - first, 1)
            if axis not in _CZI_AXES and last - first > 1:
                raise ValueError(
                    f"{path} has {last - first} images along its axis {axis}, as of raw "
                    "Airyscan or other modes; process it in ZEN first"
                )
            if first < 0 or last > n_bytes:
                raise ValueError(f"{path} is damaged: its header states a wrong size")
        if n_planes * _MIN_PLANE > n_bytes:
            raise ValueError(f"{path} is damaged: it states more planes than it holds")


def allow_missing_scale() -> None:
    """Let bioio's readers open CZI files that do not say how large a pixel is."""
    try:
        import bioio_czi.aicspylibczi_reader.reader as first
        import bioio_czi.pylibczirw_reader.reader as second
        from bioio_base.types import PhysicalPixelSizes
        from bioio_czi.metadata import UnsupportedMetadataError
        from bioio_czi.pixel_sizes import get_physical_pixel_sizes
    except ImportError:  # other versions, which may read such files or not
        return

    def sizes(metadata: Any) -> Any:
        try:
            return get_physical_pixel_sizes(metadata)
        except UnsupportedMetadataError:
            return PhysicalPixelSizes(None, None, None)

    for reader in (first, second):
        if hasattr(reader, "get_physical_pixel_sizes"):
            setattr(reader, "get_physical_pixel_sizes", sizes)  # noqa: B010


def facts_of_lif(path: Path, scene: int) -> Facts:
    """Look at an image of a LIF file, counted from 0.

    Raises
    ------
    ValueError
        If it is a mosaic that was not merged, or no scan of planes.
    """
    from liffile import LifFile

    with LifFile(path) as file:
        image = file.images[scene]
        sizes: dict[str, int] = dict(image.sizes)
        times = image.coords.get("T")
        name = f"{path}#{scene} ({image.name})"
    if sizes.get("M", 1) > 1:
        raise ValueError(
            f"{name} is a mosaic of {sizes['M']} tiles that are not merged; merge them in "
            "LAS X, or export them one by one"
        )
    if "".join(sizes)[-2:] != "YX":
        scan = "".join(list(sizes)[::-1]).upper()
        raise ValueError(
            f"{name} is a scan of {scan}, and spots are found in planes YX"
        )
    for axis, kind in _SCANS.items():
        if sizes.get(axis, 1) > 1:
            raise ValueError(
                f"{name} is a scan of {sizes[axis]} {kind}; export one of them"
            )
    return Facts(_step(times))


def facts_of_nd2(path: Path) -> Facts:
    """Look at the times and the calibration of an ND2 file."""
    from nd2 import ND2File

    with ND2File(path) as file:
        channels = getattr(file.metadata, "channels", None) or ()
        known = [channel.volume.axesCalibrated for channel in channels[:1]]
        events = file.events() if file.sizes.get("T", 1) > 1 else []
    x, y, z = known[0] if known else (True, True, True)
    firsts: dict[int, float] = {}
    for event in events:
        frame, time = event.get("T Index"), event.get("Time [s]")
        if frame is not None and time is not None:
            firsts.setdefault(int(frame), float(time))
    return Facts(_step([firsts[t] for t in sorted(firsts)]), (z, y, x))


def _step(times: Any) -> float | None:
    """Return the mean step between times in s; None if there is none."""
    values = np.asarray([] if times is None else times, float)
    if values.size < 2 or not values[-1] > values[0]:
        return None
    return float((values[-1] - values[0]) / (values.size - 1))
