"""Running batches in this process, and the files that they run over."""

import pytest
import tifffile

from blinkcore.batch.inputs import find_inputs
from blinkcore.batch.run import predict_files


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack")
    return path


def run(names, options, *, recursive=True):
    """Find the inputs and detect spots in them; gives all events."""
    inputs, errors = find_inputs([str(n) for n in names], recursive=recursive)
    return [*errors, *predict_files(inputs, options)]


def needs_zarr(suffix):
    """Skip a test of a format that the installed zarr cannot write."""
    if suffix == ".spots.zarr":
        pytest.importorskip("zarr", minversion="3.1")
