"""What several test files share.

PyTorch is imported only by what needs it: `make sanitize` runs without.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from blinkcore import io
from blinkcore.simulation.ranges import SceneRanges
from blinkcore.simulation.scenes import simulate
from real_imagej import FIJI, bring_imagej

# What Hypothesis keeps stays out of the folder's root.
set_hypothesis_home_dir(Path(__file__).parents[1] / "build" / "hypothesis")
SHARED = Path(__file__).parents[2] / "shared" / "data"

EASY = SceneRanges(
    sigma=(1.2, 1.4),
    density=(2e-3, 2.1e-3),
    snr=(12.0, 14.0),
    background=(50.0, 60.0),
    intensity_spread=(0.0, 0.01),
    min_contrast=0.0,
    min_relative_height=0.0,
    **{name: 0.0 for name in SceneRanges.__dataclass_fields__ if name.startswith("p_")},
)


@pytest.fixture(scope="session")
def general():
    """The default model, on the CPU."""
    from blinkcore.network.model import load_model

    return load_model("general", device="cpu")


@pytest.fixture(scope="session")
def single():
    """The same in single precision, also where half is faster."""
    from blinkcore.network.model import load_model

    return load_model("general", device="cpu", amp=False)


@pytest.fixture(scope="session")
def easy():
    """Ranges of clean scenes: one width, bright spots, an even background."""
    return EASY


@pytest.fixture(scope="session")
def scene():
    """Clean, well separated spots: 256 x 320 px."""
    return simulate((256, 320), np.random.default_rng(3), ranges=EASY)


@pytest.fixture(scope="session")
def examples():
    """Folder of the example image."""
    return Path(__file__).parents[1] / "examples"


@pytest.fixture
def images(tmp_path, examples):
    """Two files of one name in two folders, one with spots and one without."""
    import tifffile

    cells = tifffile.imread(examples / "cells.tif")
    paths = [tmp_path / "a b" / "x.tif", tmp_path / "c" / "x.tif"]
    for path, pixels in zip(paths, (cells, np.full_like(cells, 100)), strict=True):
        path.parent.mkdir()
        tifffile.imwrite(path, pixels)
    return [str(path) for path in paths]


@pytest.fixture
def folder(tmp_path, scene):
    """Two good images of one name in two folders, an empty one and a broken one."""
    from batches import write

    write(tmp_path / "in" / "one" / "a.tif", scene.image)
    write(tmp_path / "in" / "two" / "a.tif", scene.image[:100])
    write(tmp_path / "in" / "flat.tif", np.full((40, 50), 7, np.uint16))
    (tmp_path / "in" / "broken.tif").write_text("hello")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    return tmp_path / "in"


@pytest.fixture
def reported(tmp_path, general, scene):
    """Results to report on: two images, one of two channels with a pixel size; one without spots."""
    import tifffile

    from batches import run, write
    from blinkcore.batch.options import Options

    write(tmp_path / "in" / "a.tif", scene.image)
    pixels = np.stack([scene.image, np.full_like(scene.image, 55)])
    tifffile.imwrite(
        tmp_path / "in" / "<b>&.tif", pixels, imagej=True, resolution=(10, 10),
        metadata={"axes": "CYX", "unit": "um"},
    )  # fmt: skip
    run([tmp_path / "in"], Options(general, tmp_path / "out", radius=3.0))
    return tmp_path / "out"


@pytest.fixture
def labelled(tmp_path, easy):
    """Path of a small data set of easy scenes with their true spots."""
    from blinkcore.datasets import dataset

    scenes = [
        simulate((70, 90), np.random.default_rng(i), ranges=easy) for i in range(8)
    ]
    path = tmp_path / "d.npz"
    dataset.of_scenes(scenes, (0.7, 0.3, 0), 0).save(path)
    return str(path)


@pytest.fixture
def shared():
    """Folder of real files beside the project."""
    if not SHARED.is_dir():
        pytest.skip("the real images are not beside the project")
    return SHARED


@pytest.fixture(scope="session")
def java():
    pytest.importorskip("scyjava", reason="needs scyjava, to bring ImageJ from Maven")
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    return shutil.which("java")


@pytest.fixture(scope="session")
def imagej(java, tmp_path_factory):
    """Path of ImageJ's jar, from Maven Central."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    jar, problem = bring_imagej(folder)
    if jar is None:
        pytest.skip(f"ImageJ cannot be had: {problem}")
    return str(jar)


@pytest.fixture(scope="session")
def display():
    """Name of a screen that nobody sees, for programs with a window."""
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb")
    read, write = os.pipe()
    screen = ["-screen", "0", "1280x1024x24", "-nolisten", "tcp"]
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), *screen], pass_fds=[write],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    # The whole line: a server that cannot write its end gives up.
    with os.fdopen(read) as answer:
        name = ":" + answer.readline().strip()
    yield name
    server.terminate()
    server.wait()


@pytest.fixture(scope="session")
def describe():
    """Function that makes the metadata of a network."""
    from blinkcore.network.metadata import Metadata

    def metadata_of(network):
        return Metadata.of(network, threshold=0.5, spot_sigma=(0.8, 2.5))

    return metadata_of


@pytest.fixture
def run_macro(imagej, display, tmp_path):
    """Run macro code in ImageJ; gives what it printed."""
    home = tmp_path / "home"
    home.mkdir()
    blinkcore = Path(sys.executable).with_name("blinkcore")

    def run(code, *, command=blinkcore, batch=True, plugins=FIJI, encoding="utf-8"):
        path = tmp_path / "drive.ijm"
        # Preferences are read when the first image opens, and would overwrite it.
        ready = 'newImage("first", "8-bit", 8, 8, 1); close();\n'
        setting = f'call("ij.Prefs.set", "blinkcore.command", "{command}");\n'
        setting = setting if command else ""
        path.write_text(ready + setting + code, encoding=encoding)
        started = [
            "java", f"-Dfile.encoding={encoding}", f"-Duser.home={home}",
            f"-Dplugins.dir={plugins}", "-cp", imagej,
            "ij.ImageJ", "-port0", "-batch" if batch else "-macro", str(path),
        ]  # fmt: skip
        done = subprocess.run(
            started, check=False, capture_output=True, encoding=encoding, timeout=60,
            env={**os.environ, "DISPLAY": display, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        return done.stdout or done.stderr  # Java says there why it did not start

    return run


@pytest.fixture
def movie(tmp_path):
    """The table of one spot that moves over three frames."""
    spots = pd.DataFrame(
        {"frame": [0, 1, 2], "y": [5.0, 5.5, 6.0], "x": [5.0, 5.0, 5.5]}
    )
    io.write_spots(spots, tmp_path / "m.csv")
    return tmp_path / "m.csv"
