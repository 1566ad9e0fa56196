"""The real ImageJ from Maven Central, and images for it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile

FIJI = Path(__file__).parents[1] / "fiji"
IMAGEJ = "net.imagej:ij:1.54p"
_BRING = f"""
import os, shutil
from scyjava import config, jimport, start_jvm
config.set_java_constraints(fetch="never")
config.set_cache_dir({{cache!r}})
config.endpoints.append("{IMAGEJ}")
start_jvm(["-Djava.awt.headless=true"])
path = str(jimport("java.lang.System").getProperty("java.class.path"))
jar = next(p for p in path.split(os.pathsep) if os.path.basename(p).startswith("ij-"))
shutil.copy(jar, {{target!r}})
os._exit(0)
"""


def bring_imagej(folder):
    """Put ImageJ's jar from Maven Central into a folder; give its path, or why not.

    Processes that test beside each other share the folder, and the first one brings the
    jar: scyjava deletes the links of its cache and makes them anew at each start, also
    under a program that runs from there.
    """
    from filelock import FileLock

    jar = folder / "ij.jar"
    with FileLock(folder / "ij.lock"):
        if jar.exists():
            return jar, ""
        new = folder / "ij.new"
        code = _BRING.format(cache=str(folder / "jgo"), target=str(new))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        if not new.exists():
            return None, done.stderr[-300:]
        return new.rename(jar), ""


def start_jvm_with(imagej):
    """Give Python code that is ready to start Java with ImageJ in its process."""
    return f"""
import os, sys
from scyjava import config, jimport, start_jvm
config.set_java_constraints(fetch="never")
config.add_classpath({str(imagej)!r})
"""


def write_tiff(path, pixels, **metadata):
    tifffile.imwrite(path, pixels, imagej=True, metadata=metadata)
    return path


def bright_spot():
    y, x = np.mgrid[-5:6, -5:6]
    return (400 * np.exp(-(y**2 + x**2) / (2 * 1.3**2))).astype(np.uint16)
