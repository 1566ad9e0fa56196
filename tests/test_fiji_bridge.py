"""The PyImageJ bridge in the real ImageJ, in one process and without a window."""

import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from blinkcore import io, predict
from real_imagej import FIJI, bright_spot, start_jvm_with, write_tiff

pytestmark = pytest.mark.slow


BRIDGE = """
start_jvm(["-Djava.awt.headless=true"])
sys.path.insert(0, {fiji!r})
import numpy as np
from blinkcore_fiji import detect, point_roi, results_table, to_numpy
"""


def in_process(imagej, code, tmp_path):
    """Run Python code with ImageJ in its process, without a display."""
    whole = (
        start_jvm_with(imagej) + BRIDGE.format(fiji=str(FIJI)) + textwrap.dedent(code)
    )
    done = subprocess.run(
        [sys.executable, "-c", whole + "\nsys.stdout.flush(); os._exit(0)\n"],
        check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bridge_finds_what_the_program_finds(imagej, tmp_path, examples):
    in_process(
        imagej,
        f"""
        imp = jimport("ij.IJ").openImage({str(examples / "cells.tif")!r})
        spots = detect(None, imp, threshold=0.5, show=False)
        spots.to_csv("spots.csv", index=False)
        from blinkcore_fiji import put_on_image
        put_on_image(imp, spots)
        assert imp.getRoi().size() == len(spots) == imp.getOverlay().get(0).size()
        table = results_table(spots, imp)
        assert table.size() == len(spots)
        jimport("ij.io.RoiEncoder").save(imp.getRoi(), "points.roi")
        """,
        tmp_path,
    )
    expected = predict(examples / "cells.tif", threshold=0.5)[["y", "x"]]
    found = pd.read_csv(tmp_path / "spots.csv")[["y", "x"]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    points = io.read_labels(tmp_path / "points.roi")[["y", "x"]]
    np.testing.assert_allclose(points, expected, atol=1e-3)


def test_the_bridge_carries_hyperstacks_bit_by_bit(imagej, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (3, 4, 2, 9, 7))
    path = write_tiff(tmp_path / "s.tif", pixels.astype(np.uint16), axes="TZCYX")
    np.save(tmp_path / "pixels.npy", pixels)
    in_process(
        imagej,
        f"""
        imp = jimport("ij.IJ").openImage({str(path)!r})
        assert (to_numpy(imp) == np.load("pixels.npy")).all()
        import pandas as pd
        spots = pd.DataFrame(dict(frame=[2], channel=[1], z=[3], y=[1.25], x=[4.5]))
        roi = point_roi(imp, spots)
        assert roi.getPointPosition(0) == imp.getStackIndex(2, 4, 3)
        """,
        tmp_path,
    )


def test_the_bridge_says_what_is_wrong(imagej, tmp_path):
    out = in_process(
        imagej,
        """
        colour = jimport("ij.IJ").createImage("c", "RGB", 20, 20, 1)
        grey = jimport("ij.IJ").createImage("g", "16-bit", 20, 20, 1)
        for call in (
            lambda: detect(None, colour, show=False),
            lambda: detect(None, None),
            lambda: detect(None, grey, model="nosuch", show=False),
            lambda: detect(None, np.zeros((3, 20, 20))),
            lambda: detect(None, np.zeros((0, 20))),
            lambda: detect(None, grey, command=["/nowhere/bc"], show=False),
        ):
            try:
                call()
            except (ValueError, RuntimeError) as error:
                print(error)
        """,
        tmp_path,
    )
    for words in (
        "colour picture", "no image open", "no model 'nosuch'", "axes are", "no pixel",
        "'/nowhere/bc' cannot be started; install it",
    ):  # fmt: skip
        assert words in out


def test_the_bridge_explains_itself_without_java():
    done = subprocess.run(
        [sys.executable, str(FIJI / "blinkcore_fiji.py"), "--help"],
        check=False, capture_output=True, text=True, env={"PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0
    assert "--fiji" in done.stdout


def test_the_bridge_takes_named_dimensions_in_any_order(imagej, tmp_path):
    pixels = np.random.default_rng(0).poisson(100, (2, 3, 64, 64)).astype(np.uint16)
    pixels[1, 2, 10:21, 30:41] += bright_spot()
    np.save(tmp_path / "pixels.npy", pixels)
    out = in_process(
        imagej,
        """
        import xarray
        image = xarray.DataArray(np.load("pixels.npy"), dims=["t", "c", "y", "x"])
        for order in (("t", "c", "y", "x"), ("y", "c", "x", "t"), ("c", "x", "y", "t")):
            spots = detect(None, image.transpose(*order), threshold=0.5)
            print(spots[["frame", "channel", "y", "x"]].round(1).to_numpy().tolist())
        """,
        tmp_path,
    )
    lines = out.strip().splitlines()
    assert len(lines) == 3
    assert set(lines) == {lines[0]}
    ((frame, channel, y, x),) = eval(lines[0])  # a list of numbers, just printed
    assert (frame, channel) == (1, 2)
    assert abs(y - 15) < 0.3
    assert abs(x - 35) < 0.3


def test_the_bridge_leaves_the_users_overlay_and_knows_nanometres(
    imagej, tmp_path, examples
):
    in_process(
        imagej,
        f"""
        imp = jimport("ij.IJ").openImage({str(examples / "cells.tif")!r})
        imp.setOverlay(jimport("ij.gui.Overlay")(jimport("ij.gui.Roi")(3, 4, 5, 6)))
        calibration = imp.getCalibration()
        calibration.setUnit("nm")
        calibration.pixelWidth = calibration.pixelHeight = 65.0
        from blinkcore_fiji import put_on_image
        for n in (1, 2):
            spots = detect(None, imp, threshold=0.5, show=False)
            put_on_image(imp, spots)
            assert imp.getOverlay().size() == 2
        put_on_image(imp, spots.iloc[:0])
        assert imp.getOverlay().size() == 1
        assert imp.getRoi() is None
        np.testing.assert_allclose(spots["x_um"], spots["x"] * 0.065, atol=1e-5)
        """,
        tmp_path,
    )


def test_the_command_of_fijis_python_mode(imagej, tmp_path, examples):
    """As SciJava runs it: its parameters are there as variables."""
    script = FIJI / "plugins" / "Blinkcore" / "Detect_Spots_PyImageJ.py"
    out = in_process(
        imagej,
        f"""
        import blinkcore_fiji
        shown = []
        blinkcore_fiji.results_table = lambda spots, imp: type(
            "Table", (), {{"show": lambda self, title: shown.append(title)}}
        )()
        imp = jimport("ij.IJ").openImage({str(examples / "cells.tif")!r})
        given = dict(imp=imp, model="general", threshold="auto", channel=0, radius=0.0)
        exec(open({str(script)!r}).read(), given)
        print(given["count"], imp.getRoi().size(), shown)
        """,
        tmp_path,
    )
    n = len(predict(examples / "cells.tif"))
    assert out.strip() == f"{n} {n} ['Spots']"


def test_the_command_is_valid_in_fijis_jython_too():
    """Plain Fiji parses it as Python 2.7, to say where it runs."""
    import ast

    source = (FIJI / "plugins" / "Blinkcore" / "Detect_Spots_PyImageJ.py").read_text()
    tree = ast.parse(source)
    assert source.isascii()
    kinds = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Nonlocal)
    assert not any(isinstance(node, kinds) for node in ast.walk(tree))
    assert all(n.cause is None for n in ast.walk(tree) if isinstance(n, ast.Raise))
