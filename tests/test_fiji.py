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
from programs import BLINKCORE
from real_imagej import FIJI, bright_spot, start_jvm_with, write_tiff

pytestmark = pytest.mark.slow


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
    table = table.sort_values("frame")[["frame", "channel", "slice"]]
    np.testing.assert_allclose(table, [(1, 2, 1), (3, 1, 2)], atol=0.5)
    sizes = {"C": 2, "Z": 2, "T": 3}
    points = io.read_labels(tmp_path / "points.roi", sizes=sizes)
    found = points.sort_values("frame")[["frame", "channel", "z", "y", "x"]]
    expected = [(0, 1, 0, 45, 10), (2, 0, 1, 15, 35)]
    np.testing.assert_allclose(found, expected, atol=0.2)


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


def test_a_macro_may_name_a_model_of_its_own(run_macro, tmp_path):
    """In a dialog with a menu of models, which does not hold it."""
    own = tmp_path / "my model.pt"
    out = run_macro(
        f"""
        run("Blinkcore Settings", "command={BLINKCORE} model=[{own}]");
        print("kept " + call("ij.Prefs.get", "blinkcore.model", ""));
        """
    )
    assert f"kept {own}" in out


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
    assert written == {"a.csv", "a.roi", "a.json", "a.overlay.png", "counts.csv"}


def test_exported_labels_make_a_data_set(run_macro, tmp_path, examples):
    from blinkcore.datasets import dataset
    from blinkcore.datasets.pairing import pair_by_name

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
    pairs = pair_by_name([files[1]], [files[0]])
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


def test_planes_are_counted_in_the_status_line(imagej, display, tmp_path):
    """The macro runs in a thread, while this looks at ImageJ's window."""
    noise = np.random.default_rng(0).poisson(50, (120, 256, 256)).astype(np.uint16)
    movie = write_tiff(tmp_path / "movie.tif", noise, axes="TYX")
    code = start_jvm_with(imagej) + textwrap.dedent(
        f"""
        import threading, time
        start_jvm([f"-Duser.home={tmp_path}", "-Dplugins.dir={FIJI}"])
        window = jimport("ij.ImageJ")()
        IJ = jimport("ij.IJ")
        jimport("ij.Prefs").set("blinkcore.command", {str(BLINKCORE)!r})
        IJ.openImage({str(movie)!r}).show()
        words = "model=general threshold=auto channel=0 measure=0"
        run = threading.Thread(target=lambda: IJ.run("Detect Spots", words))
        run.start()
        said = []
        while run.is_alive():
            line = str(window.getStatusBar().getComponent(0).getText())
            if line not in said[-1:]:
                said.append(line)
            time.sleep(0.02)
        print("|".join(said))
        sys.stdout.flush()
        os._exit(0)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True,
        env={**os.environ, "DISPLAY": display}, timeout=120,
    )  # fmt: skip
    said = done.stdout.strip().split("|")
    counts = [line for line in said if line.endswith(" of 120 planes")]
    assert counts, (said, done.stderr[-1000:])
