"""Spots for an image that is open in ImageJ or Fiji, from Python.

    import imagej
    from blinkcore_fiji import detect
    ij = imagej.init("/path/to/Fiji", mode="interactive")
    spots = detect(ij)  # of the active image

Works with a gateway of PyImageJ, and without one wherever scyjava has started a JVM with
ImageJ in it. Finding spots is the work of the blinkcore program, which is run as a
program; this file carries pixels there and points back.

    python blinkcore_fiji.py image.tif --fiji /path/to/Fiji
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_MICRONS = {"micron": 1.0, "microns": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0,
            "nm": 1e-3, "mm": 1e3, "cm": 1e4}  # fmt: skip
_NAME = "blinkcore"  # of our selection and our part of the overlay
_TYPES = {1: "u1", 2: "u2", 4: "f4"}  # Java has no unsigned numbers: by bytes a pixel


def detect(
    ij: Any = None,
    image: Any = None,
    *,
    model: str = "general",
    threshold: float | None = None,
    channel: int | None = None,
    radius: float | None = None,
    show: bool = True,
    command: list[str] | None = None,
) -> pd.DataFrame:
    """Find the spots of an image.

    Parameters
    ----------
    ij : PyImageJ gateway, optional
        Needed only to turn an image of ImageJ2 (a Dataset) into one of ImageJ.
    image : ImagePlus, Dataset, xarray.DataArray or ndarray, optional
        The active image if not given. An array of more than two dimensions must be an
        xarray whose dimensions are named t, c (or ch), z (or pln), y (row), x (col).
    model : str
        Bundled name or path of a `.pt` file.
    threshold : float, optional
        Probability above which a spot counts; the model's own if not given.
    channel : int, optional
        Only this channel, from 0.
    radius : float, optional
        Measure intensities in a disk of this radius in px.
    show : bool
        Put the points on the image, as selection and overlay, and open the table "Spots".
    command : list of str, optional
        The blinkcore program; if not given that of this Python.

    Returns
    -------
    DataFrame
        The spots table, as `blinkcore predict` writes it: positions in px, an integer is
        the centre of a pixel; frame, channel and z count from 0.

    Raises
    ------
    ValueError
        If there is no image, or its pixels are of a kind that blinkcore does not read.
    RuntimeError
        With the sentence of the program if it fails, or if it is not there.
    """
    imp = _image_plus(ij, image)
    if imp is None:
        pixels, axes = _array(image)
        return _run(pixels, axes, None, command, model, threshold, channel, radius)
    pixels = to_numpy(imp)
    spots = _run(
        pixels, "TZCYX", _calibration(imp), command, model, threshold, channel, radius
    )
    if show:
        put_on_image(imp, spots)
        results_table(spots, imp).show("Spots")
    return spots


def to_numpy(imp: Any) -> NDArray[Any]:
    """Copy the pixels of an ImagePlus, once: T, Z, C, Y, X.

    Raises
    ------
    ValueError
        If it is a colour (RGB) image.
    """
    if int(imp.getBitDepth()) == 24:
        raise ValueError(
            "this is a colour picture, and spots are found in intensities; split it "
            "(Image > Color > Split Channels) and choose one"
        )
    width, height, n_c, n_z, n_t = (int(n) for n in imp.getDimensions())
    stack = imp.getStack()
    kind = _TYPES[int(imp.getBytesPerPixel())]
    result = np.empty((n_t * n_z * n_c, height, width), kind)
    for i in range(len(result)):
        plane = np.asarray(memoryview(stack.getPixels(i + 1)))
        result[i] = plane.view(kind).reshape(height, width)
    return result.reshape(n_t, n_z, n_c, height, width)


def point_roi(imp: Any, spots: pd.DataFrame) -> Any:
    """Make one multi-point selection of spots, each in its place of the stack.

    In point selections an integer is the centre of a pixel too: nothing is added.
    """
    from scyjava import jimport

    roi = jimport("ij.gui.PointRoi")()
    is_stack = int(imp.getStackSize()) > 1
    for spot in spots.to_dict("records"):
        place = [round(spot.get(name, 0)) + 1 for name in ("channel", "z", "frame")]
        index = imp.getStackIndex(*place) if is_stack else 0
        roi.addPoint(float(spot["x"]), float(spot["y"]), index)
    return roi


def put_on_image(imp: Any, spots: pd.DataFrame) -> None:
    """Show spots as selection and in the overlay, instead of those of an earlier run.

    What else is in the overlay stays.
    """
    from scyjava import jimport

    overlay = imp.getOverlay() or jimport("ij.gui.Overlay")()
    overlay.remove(_NAME)
    imp.deleteRoi()
    if len(spots):
        roi = point_roi(imp, spots)
        roi.setName(_NAME)
        imp.setRoi(roi)
        overlay.add(roi.clone(), _NAME)
    imp.setOverlay(overlay)


def results_table(spots: pd.DataFrame, imp: Any) -> Any:
    """Make a table for ImageJ: places from 1, positions in px and in the image's unit."""
    from scyjava import jimport

    table = jimport("ij.measure.ResultsTable")()
    calibration = imp.getCalibration()
    unit = str(calibration.getUnit())
    scales = {"x": float(calibration.pixelWidth), "y": float(calibration.pixelHeight)}
    names = [n for n in spots.columns if n != "image" and not n.endswith("_um")]
    for row in spots.to_dict("records"):
        table.incrementCounter()
        for name in names:
            value = float(row[name])
            if name in ("frame", "channel", "z"):
                table.addValue("slice" if name == "z" else name, value + 1)
                continue
            table.addValue(name, value)
            if name in scales and bool(calibration.scaled()):
                table.addValue(f"{name} ({unit})", value * scales[name])
    return table


def _image_plus(ij: Any, image: Any) -> Any:
    """Give the ImagePlus that is meant; None for an array of Python."""
    if isinstance(image, np.ndarray) or hasattr(image, "dims"):
        return None
    from scyjava import jimport

    plain = jimport("ij.ImagePlus")
    if image is None:
        image = jimport("ij.WindowManager").getCurrentImage()
    if image is None:
        raise ValueError("there is no image open; open one, or give one")
    if isinstance(image, plain):
        return image
    if ij is None:
        raise ValueError(
            "an image of ImageJ2 needs the PyImageJ gateway: detect(ij, image)"
        )
    return ij.convert().convert(image, plain)


def _calibration(imp: Any) -> str | None:
    """Give the size of a pixel for the program, z,y,x in µm, if the image knows it."""
    calibration = imp.getCalibration()
    micrometers = _MICRONS.get(str(calibration.getUnit()))
    if not calibration.scaled() or micrometers is None:
        return None
    sizes = (calibration.pixelDepth, calibration.pixelHeight, calibration.pixelWidth)
    return ",".join(str(float(size) * micrometers) for size in sizes)


def _array(image: Any) -> tuple[NDArray[Any], str]:
    names = {"t": "T", "c": "C", "ch": "C", "channel": "C", "z": "Z", "pln": "Z",
             "y": "Y", "row": "Y", "x": "X", "col": "X"}  # fmt: skip
    if not hasattr(image, "dims"):
        if image.ndim != 2:
            raise ValueError(
                f"an array of shape {image.shape} does not say what its axes are; give an "
                "xarray with named dimensions"
            )
        return image, "YX"
    unknown = [d for d in image.dims if str(d).lower() not in names]
    if unknown:
        raise ValueError(f"dimensions must be of t, c, z, y, x; got {image.dims}")
    return np.asarray(image), "".join(names[str(d).lower()] for d in image.dims)


def _run(
    pixels: NDArray[Any],
    axes: str,
    pixel_size: str | None,
    command: list[str] | None,
    model: str,
    threshold: float | None,
    channel: int | None,
    radius: float | None,
) -> pd.DataFrame:
    import pandas as pd
    import tifffile

    if 0 in pixels.shape:
        raise ValueError(f"the image has no pixel: its shape is {pixels.shape}")
    with tempfile.TemporaryDirectory(prefix="blinkcore-") as name:
        folder = Path(name)
        shape, letters = _squeezed(pixels.shape, axes)
        planes = pixels.reshape(shape)
        tifffile.imwrite(folder / "image.tif", planes, photometric="minisblack")
        options = {
            "--model": model, "--threshold": threshold, "--channel": channel,
            "--radius": radius, "--pixel-size": pixel_size, "--axes": letters,
            "--output": folder / "spots.csv", "--status": folder / "status.json",
        }  # fmt: skip
        words = [str(w) for k, v in options.items() if v is not None for w in (k, v)]
        program = command or [sys.executable, "-m", "blinkcore"]
        try:
            done = subprocess.run(
                [*program, "predict", str(folder / "image.tif"), *words],
                check=False,
                capture_output=True,
                text=True,
                env=_clean_environment(),
            )
        except OSError as error:
            raise RuntimeError(
                f"the program {program[0]!r} cannot be started; install it with "
                "as its README says"
            ) from error
        if done.returncode:
            raise RuntimeError(_sentence(folder / "status.json", done.stderr))
        return pd.read_csv(folder / "spots.csv").drop(columns="image")


def _squeezed(shape: tuple[int, ...], axes: str) -> tuple[tuple[int, ...], str]:
    """Leave out axes of length 1: the table then has no column for them."""
    kept = [i for i, a in enumerate(axes) if a in "YX" or shape[i] > 1]
    return tuple(shape[i] for i in kept), "".join(axes[i] for i in kept)


def _clean_environment() -> dict[str, str]:
    """Give the environment without what a host put there for its own Python."""
    return {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")
    }


def _sentence(status: Path, stderr: str) -> str:
    try:
        return str(json.loads(status.read_text("utf-8"))["error"])
    except (OSError, ValueError, KeyError):
        lines = stderr.strip().splitlines()
        return (
            lines[-1]
            if lines
            else "the blinkcore program failed without an error message"
        )


def main() -> None:
    """Open an image in ImageJ and show its spots."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("image", help="file that ImageJ opens")
    parser.add_argument(
        "--fiji", help="folder of Fiji, or an ImageJ2 version; newest if not given"
    )
    parser.add_argument("--model", default="general")
    parser.add_argument("--threshold", type=float)
    parser.add_argument(
        "--mode", default="interactive", choices=["interactive", "headless", "gui"]
    )
    options = parser.parse_args()
    import imagej

    ij = imagej.init(options.fiji, mode=options.mode)
    from scyjava import jimport

    imp = jimport("ij.IJ").openImage(options.image)
    if imp is None:
        sys.exit(f"ImageJ cannot open {options.image}")
    headless = options.mode == "headless"
    if not headless:
        imp.show()
    spots = detect(
        ij, imp, model=options.model, threshold=options.threshold, show=not headless
    )
    print(spots.to_string())


if __name__ == "__main__":
    main()
