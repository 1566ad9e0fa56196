"""The real ImageJ from Maven Central, and images for it."""

from pathlib import Path

import numpy as np
import tifffile

FIJI = Path(__file__).parents[1] / "fiji"
IMAGEJ = "net.imagej:ij:1.54p"
START_JVM = f"""
import os, sys
from scyjava import config, jimport, start_jvm
config.set_java_constraints(fetch="never")
config.endpoints.append("{IMAGEJ}")
"""


def write_tiff(path, pixels, **metadata):
    tifffile.imwrite(path, pixels, imagej=True, metadata=metadata)
    return path


def bright_spot():
    y, x = np.mgrid[-5:6, -5:6]
    return (400 * np.exp(-(y**2 + x**2) / (2 * 1.3**2))).astype(np.uint16)
