"""The macros and the bridge in the real ImageJ, with its window under Xvfb and without."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

from blinkcore import io, predict

FIJI = Path(__file__).parents[1] / "fiji"
IMAGEJ = "net.imagej:ij:1.54p"
pytestmark = pytest.mark.slow

START_JVM = f"""
import os, sys
from scyjava import config, jimport, start_jvm
config.set_java_constraints(fetch="never")
config.endpoints.append("{IMAGEJ}")
"""


@pytest.fixture(scope="session")
def java():
    pytest.importorskip("scyjava", reason="needs scyjava, to bring ImageJ from Maven")
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    return shutil.which("java")


@pytest.fixture(scope="session")
def imagej(java):
    """Path of ImageJ's jar, from Maven Central."""
    code = START_JVM + textwrap.dedent(
        """
        start_jvm(["-Djava.awt.headless=true"])
        print("PATH", jimport("java.lang.System").getProperty("java.class.path"))
        sys.stdout.flush()
        os._exit(0)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith("PATH "):
            jars = line[5:].split(os.pathsep)
            return next(jar for jar in jars if Path(jar).name.startswith("ij-"))
    pytest.skip(f"ImageJ cannot be had: {done.stderr[-300:]}")


@pytest.fixture
def run_macro(imagej, display, tmp_path):
    """Run macro code in ImageJ; gives what it printed."""
    home = tmp_path / "home"
    home.mkdir()
    blinkcore = Path(sys.executable).with_name("blinkcore")

    def run(code, *, command=blinkcore, batch=True):
        path = tmp_path / "drive.ijm"
        # Preferences are read when the first image opens, and would overwrite it.
        ready = 'newImage("first", "8-bit", 8, 8, 1); close();\n'
        setting = f'call("ij.Prefs.set", "blinkcore.command", "{command}");\n'
        path.write_text(ready + setting + code, encoding="utf-8")
        started = [
            "java", f"-Duser.home={home}", f"-Dplugins.dir={FIJI}", "-cp", imagej,
            "ij.ImageJ", "-port0", "-batch" if batch else "-macro", str(path),
        ]  # fmt: skip
        done = subprocess.run(
            started, check=False, capture_output=True, encoding="utf-8", timeout=120,
            env={**os.environ, "DISPLAY": display, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        return done.stdout

    return run


def write_tiff(path, pixels, **metadata):
    tifffile.imwrite(path, pixels, imagej=True, metadata=metadata)
    return path


def test_the_macro_shows_what_the_program_finds(run_macro, tmp_path, examples):
    image = tmp_path / "in" / "my cells (1) \u00fc.tif"
    image.parent.mkdir()
    shutil.copy(examples / "cells.tif", image)
    out = run_macro(
        f"""
        names = getFileList("{image.parent}");  // macros themselves are ASCII
        open("{image.parent}/" + names[0]);
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=3 overlay");
        print("title " + getTitle());
        print("overlay " + Overlay.size);
        Table.save("{tmp_path}/table.csv", "Spots");
        saveAs("Selection", "{tmp_path}/points.roi");
        """
    )
    assert f"title {image.name}" in out
    assert "overlay 1" in out
    expected = predict(image, threshold=0.5, radius=3)
    assert len(expected) > 10
    table = pd.read_csv(tmp_path / "table.csv")
    for name in ("y", "x", "probability", "intensity"):
        np.testing.assert_allclose(table[name], expected[name], atol=6e-4)
    points = io.read_labels(tmp_path / "points.roi")
    np.testing.assert_allclose(points[["y", "x"]], expected[["y", "x"]], atol=1e-3)


def test_the_image_keeps_its_file_its_changes_and_its_own_overlay(
    run_macro, tmp_path, examples
):
    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        run("Add...", "value=1");
        makeRectangle(3, 4, 5, 6);
        Overlay.addSelection("red");
        before = getDirectory("image");
        for (i = 0; i < 2; i++) {{
            run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
            print("changed " + is("changes") + " same " + (getDirectory("image") == before)
                + " overlay " + Overlay.size + " title " + getTitle() + " images " + nImages);
        }}
        """
    )
    assert out.count("changed 1 same 1 overlay 2 title cells.tif images 1") == 2


def test_spots_of_an_earlier_run_are_never_shown_as_this_ones(
    run_macro, tmp_path, examples
):
    options = "model=general threshold=0.5 channel=0 measure=0 overlay"
    out = run_macro(
        f"""
        function shown(title) {{
            print(title + " overlay " + Overlay.size + " selection " + selectionType()
                + " rows " + Table.size("Spots"));
        }}
        open("{examples / "cells.tif"}");
        run("Detect Spots", "{options}");
        shown("first");
        setColor(100);
        fillRect(0, 0, getWidth(), getHeight());
        run("Detect Spots", "{options}");
        shown("second");
        """
    )
    n = len(predict(examples / "cells.tif", threshold=0.5))
    assert f"first overlay 1 selection 10 rows {n}" in out
    assert "second overlay 0 selection -1 rows 0" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("threshold=0,5 channel=0", "a number like 0.5, or auto; got 0,5"),
        ("threshold=0.5 channel=7", "there is no channel 7"),
        ("threshold=1 channel=0", "threshold must be in [0, 1)"),
    ],
)
def test_wrong_options_are_a_sentence(run_macro, examples, options, said):
    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        run("Detect Spots", "model=general {options} measure=0 overlay");
        """
    )
    assert said in out


def test_points_of_a_hyperstack_lie_in_their_planes(run_macro, tmp_path):
    pixels = np.full((3, 2, 2, 64, 64), 100, np.uint16)
    pixels[:] = np.random.default_rng(0).poisson(100, pixels.shape)
    spot = bright_spot()
    pixels[2, 1, 0, 10:21, 30:41] += spot  # frame 2, z 1, channel 0
    pixels[0, 0, 1, 40:51, 5:16] += spot
    image = write_tiff(tmp_path / "stack.tif", pixels, axes="TZCYX")
    out = run_macro(
        f"""
        open("{image}");
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
        Table.save("{tmp_path}/table.csv", "Spots");
        saveAs("Selection", "{tmp_path}/points.roi");
        print("size " + Roi.size);
        """
    )
    assert "size 2" in out
    table = pd.read_csv(tmp_path / "table.csv")
    places = sorted(zip(table.frame, table.channel, table.slice, strict=True))
    assert places == [(1, 2, 1), (3, 1, 2)]
    sizes = {"C": 2, "Z": 2, "T": 3}
    points = io.read_labels(tmp_path / "points.roi", sizes=sizes)
    found = points.sort_values("frame")[["frame", "channel", "z", "y", "x"]]
    expected = [(0, 1, 0, 45, 10), (2, 0, 1, 15, 35)]
    np.testing.assert_allclose(found, expected, atol=0.2)


def bright_spot():
    y, x = np.mgrid[-5:6, -5:6]
    return (400 * np.exp(-(y**2 + x**2) / (2 * 1.3**2))).astype(np.uint16)


def test_no_spots_are_an_empty_table_and_no_selection(run_macro, tmp_path, examples):
    flat = write_tiff(tmp_path / "flat.tif", np.full((64, 64), 100, np.uint16))
    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
        print("first " + Roi.size);
        open("{flat}");
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
        print("rows " + Table.size("Spots"));
        print("selection " + selectionType());
        """
    )
    assert "first 0" not in out
    assert "rows 0" in out
    assert "selection -1" in out


def test_a_failing_program_is_one_sentence_and_shows_no_older_spots(
    run_macro, tmp_path, examples
):
    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
        run("Detect Spots", "model=nosuch threshold=0.5 channel=0 measure=0 overlay");
        print("selection " + selectionType() + " overlay " + Overlay.size
            + " rows " + Table.size("Spots"));
        """
    )
    assert "blinkcore: there is no model 'nosuch'" in out
    assert "selection -1 overlay 0 rows 0" in out


def test_a_missing_program_says_how_to_get_it(run_macro, examples):
    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
        """,
        command="/nowhere/blinkcore",
    )
    assert "'/nowhere/blinkcore' was not found. Install it" in out
    out = run_macro(
        'run("Detect Spots in Folder", "images=/a output=/b model=general threshold=0.5 '
        'format=csv");',
        command="/nowhere/blinkcore",
    )
    assert "'/nowhere/blinkcore' was not found. Install it" in out
    out = run_macro('run("Blinkcore Settings", "command=/nowhere/bc model=general");')
    assert "there is no program '/nowhere/bc'. Install it" in out


def test_the_settings_are_kept(run_macro):
    blinkcore = Path(sys.executable).with_name("blinkcore")
    out = run_macro(
        f"""
        run("Blinkcore Settings", "command={blinkcore} model=smfish");
        print("kept " + call("ij.Prefs.get", "blinkcore.model", "")
            + " " + call("ij.Prefs.get", "blinkcore.command", ""));
        """,
        command="other",
    )
    assert f"kept smfish {blinkcore}" in out


def test_a_program_on_the_path_is_found(run_macro, examples, monkeypatch):
    folder = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 manager");
        print("points " + Roi.size);
        """,
        command="blinkcore",
    )
    n = len(predict(examples / "cells.tif", threshold=0.5))
    assert f"points {n}" in out


def test_a_folder_of_images(run_macro, tmp_path, examples):
    folder = tmp_path / "in put"
    folder.mkdir()
    shutil.copy(examples / "cells.tif", folder / "a.tif")
    out = run_macro(
        f"""
        run("Detect Spots in Folder",
            "images=[{folder}] output=[{tmp_path}/results] model=general threshold=0.5 "
            + "format=csv,roi pictures");
        """
    )
    n = len(predict(examples / "cells.tif", threshold=0.5))
    assert f"blinkcore: {n} new spots" in out
    written = {path.name for path in (tmp_path / "results").iterdir()}
    assert written == {"a.csv", "a.roi", "a.json", "a.overlay.png"}


def test_exported_labels_make_a_data_set(run_macro, tmp_path, examples):
    from blinkcore.datasets import dataset

    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        makeSelection("point", newArray(10.25, 30), newArray(20.5, 41));
        run("Export Labels", "folder={tmp_path}/labels");
        """
    )
    assert "labels of 1 images" in out
    again = run_macro(
        f"""
        open("{tmp_path}/labels/cells.tif");
        run("Add...", "value=1");
        makePoint(1, 2);
        run("Export Labels", "folder={tmp_path}/labels");
        """
    )
    assert "is there already" in again
    files = sorted((tmp_path / "labels").iterdir())
    copied, original = (
        tifffile.imread([files[1]]),
        tifffile.imread(examples / "cells.tif"),
    )
    np.testing.assert_array_equal(copied, original)
    pairs = dataset.pair_by_name([files[1]], [files[0]])
    (sample,) = dataset.create(pairs.pairs).samples
    np.testing.assert_allclose(sample.points, [(20.5, 10.25), (41, 30)])


def test_a_drawn_point_lies_on_its_pixel(run_macro, tmp_path):
    """The half-pixel question, answered by a picture."""
    pixels = np.zeros((20, 20), np.uint8)
    pixels[7, 5] = 255
    image = write_tiff(tmp_path / "dot.tif", pixels)
    io.write_spots(pd.DataFrame({"y": [7.0], "x": [5.0]}), tmp_path / "dot.roi")
    run_macro(
        f"""
        open("{image}");
        open("{tmp_path}/dot.roi");
        run("Set... ", "zoom=2400 x=10 y=10");
        wait(500);
        run("Capture Image");
        saveAs("PNG", "{tmp_path}/drawn.png");
        run("Quit");
        """,
        batch=False,
    )
    drawn = np.asarray(PIL.Image.open(tmp_path / "drawn.png").convert("RGB")).astype(
        int
    )
    white = (drawn.min(axis=2) > 200).nonzero()
    colored = (np.ptp(drawn, axis=2) > 100).nonzero()
    assert len(colored[0]) > 4
    for axis in (0, 1):
        middle = (white[axis].min() + white[axis].max()) / 2
        assert abs((colored[axis].min() + colored[axis].max()) / 2 - middle) <= 1.5


BRIDGE = """
start_jvm(["-Djava.awt.headless=true"])
sys.path.insert(0, {fiji!r})
import numpy as np
from blinkcore_fiji import detect, point_roi, results_table, to_numpy
"""


def in_process(java, code, tmp_path):
    """Run Python code with ImageJ in its process, without a display."""
    whole = START_JVM + BRIDGE.format(fiji=str(FIJI)) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", whole + "\nsys.stdout.flush(); os._exit(0)\n"],
        check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bridge_finds_what_the_program_finds(imagej, java, tmp_path, examples):
    in_process(
        java,
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


def test_the_bridge_carries_hyperstacks_bit_by_bit(imagej, java, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (3, 4, 2, 9, 7))
    path = write_tiff(tmp_path / "s.tif", pixels.astype(np.uint16), axes="TZCYX")
    np.save(tmp_path / "pixels.npy", pixels)
    in_process(
        java,
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


def test_the_bridge_says_what_is_wrong(imagej, java, tmp_path):
    out = in_process(
        java,
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


def test_the_bridge_takes_named_dimensions_in_any_order(java, imagej, tmp_path):
    pixels = np.random.default_rng(0).poisson(100, (2, 3, 64, 64)).astype(np.uint16)
    pixels[1, 2, 10:21, 30:41] += bright_spot()
    np.save(tmp_path / "pixels.npy", pixels)
    out = in_process(
        java,
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
    imagej, java, tmp_path, examples
):
    in_process(
        java,
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


def test_the_command_of_fijis_python_mode(imagej, java, tmp_path, examples):
    """As SciJava runs it: its parameters are there as variables."""
    script = FIJI / "plugins" / "Blinkcore" / "Detect_Spots_PyImageJ.py"
    out = in_process(
        java,
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
