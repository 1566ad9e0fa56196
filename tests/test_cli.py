"""The installed program, run as others run it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

import blinkcore
from blinkcore.io import tables
from programs import BLINKCORE, call_blinkcore, run_blinkcore


@pytest.fixture
def image(tmp_path, scene):
    path = tmp_path / "cells.tif"
    tifffile.imwrite(
        path, scene.image, imagej=True, resolution=(10, 10), metadata={"unit": "um"}
    )
    return path


def test_help_names_the_commands_and_imports_no_torch():
    code = (
        "import sys; from blinkcore.cli import main; sys.argv = ['blinkcore', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "predict" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_version_is_the_packages():
    assert run_blinkcore("--version").stdout == f"blinkcore {blinkcore.__version__}\n"


def test_predict_writes_table_sidecar_and_picture(image, tmp_path):
    done = run_blinkcore(
        "predict", image, "-o", tmp_path / "out", "--overlay", tmp_path / "out"
    )
    assert done.returncode == 0
    assert done.stdout == ""
    assert "spots in 1 image" in done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "counts.csv",
        "cells.csv",
        "cells.json",
        "cells.overlay.png",
    }
    table = tables.read(tmp_path / "out" / "cells.csv")
    assert list(table.columns) == [
        "image", "y", "x", "probability", "localization_uncertainty", "y_um", "x_um",
    ]  # fmt: skip
    np.testing.assert_allclose(table["x_um"], table["x"] / 10, atol=1e-4)


def test_standard_output_is_the_table_and_nothing_else(image):
    done = run_blinkcore("predict", image, "-o", "-", "--pixel-size", "0.3,0.2,0.2")
    table = pd.read_csv(StringIO(done.stdout))
    assert len(table) > 50
    np.testing.assert_allclose(table["y_um"], table["y"] * 0.2, atol=1e-4)


def test_the_program_finds_what_the_function_finds(image, tmp_path):
    run_blinkcore("predict", image, "-o", tmp_path / "all.parquet")
    table = tables.read(tmp_path / "all.parquet")
    expected = blinkcore.predict(image)
    pd.testing.assert_frame_equal(table.drop(columns="image"), expected)


def test_single_precision_is_to_be_had_everywhere(image, tmp_path):
    done = run_blinkcore("predict", image, "-o", tmp_path / "single", "--no-amp")
    assert done.returncode == 0
    model = json.loads((tmp_path / "single" / "cells.json").read_text("utf-8"))["model"]
    assert model["precision"] == "float32"


def test_inputs_come_from_lists_patterns_and_folders(image, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "x.tif").write_bytes(image.read_bytes())
    list_ = tmp_path / "list.txt"
    list_.write_text(f"{image}\n\n{tmp_path / 'deep'}\n", "utf-8")
    done = call_blinkcore(
        "predict", "--list", list_, f"{tmp_path}/*.tif", "--recursive",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0
    found = {p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.csv")}
    assert found == {Path("cells.csv"), Path("er/x.csv"), Path("counts.csv")}


def test_json_progress_is_one_object_a_line(image, tmp_path):
    done = run_blinkcore("predict", image, image.parent / "none.tif", "-o", tmp_path / "out",
               "--progress", "json")  # fmt: skip
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"event": "progress", "done": 2, "total": 2, "item": str(image)} in events
    (result,) = (e for e in events if e["event"] == "result")
    assert result["image"] == str(image)
    assert result["output"] == str(tmp_path / "out" / "cells.csv")
    assert result["spots"] == len(tables.read(tmp_path / "out" / "cells.csv"))
    (error,) = (e for e in events if e["event"] == "error")
    assert set(error) == {"event", "image", "message"}


def test_the_planes_of_a_long_movie_are_told(tmp_path, scene):
    movie = np.stack([scene.image] * 4)
    tifffile.imwrite(tmp_path / "m.tif", movie, imagej=True, metadata={"axes": "TYX"})
    done = run_blinkcore("predict", tmp_path / "m.tif", "-o", "-", "--progress", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    planes = [event for event in events if event["event"] == "plane"]
    assert planes[-1]["done"] == planes[-1]["total"] == 4
    assert planes[-1]["image"].endswith("m.tif")


def test_the_tiles_of_a_large_plane_are_told(tmp_path, scene):
    tifffile.imwrite(tmp_path / "p.tif", np.tile(scene.image, (5, 5)))  # 1280 x 1600 px
    done = call_blinkcore(
        "predict", tmp_path / "p.tif", "-o", "-", "--progress", "json"
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]
    told = [event for event in events if event["event"] in ("plane", "tile")]
    assert {event["event"] for event in told} == {"tile"}  # there is one plane
    planes = np.stack([np.tile(scene.image, (5, 5))] * 2)
    movie = tmp_path / "m.tif"
    tifffile.imwrite(movie, planes, imagej=True, metadata={"axes": "TYX"})
    done = call_blinkcore("predict", movie, "-o", "-", "--progress", "json")
    said = {json.loads(line)["event"] for line in done.stderr.splitlines()}
    assert {"plane", "tile"} & said == {"plane"}
    assert told[-1]["done"] == told[-1]["total"] == 4
    assert told[-1]["image"].endswith("p.tif")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("tiles", "said_last"), [(1, "4/4 planes"), (5, "4/4 tiles")])
def test_a_terminal_shows_the_planes_or_tiles_of_one_image(
    tmp_path, scene, tiles, said_last
):
    import pty

    planes = np.stack([scene.image] * 4)
    if tiles > 1:
        planes = np.tile(scene.image, (1, tiles, tiles))
    tifffile.imwrite(tmp_path / "m.tif", planes, imagej=True, metadata={"axes": "TYX"})
    ours, theirs = pty.openpty()
    command = [BLINKCORE, "predict", str(tmp_path / "m.tif"), "-o", str(tmp_path / "o")]
    with subprocess.Popen(command, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while block := os.read(ours, 4096):
                said += block
    os.close(ours)
    assert process.returncode == 0
    assert said_last.encode() in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", said)
    assert b"spots in 1 image" in said


def test_the_status_file_says_ok(image, tmp_path):
    status = tmp_path / "status.json"
    call_blinkcore("predict", image, "-o", tmp_path / "out", "--status", status)
    content = json.loads(status.read_text("utf-8"))
    assert content["ok"] is True
    assert content["error"] is None
    assert content["outputs"] == [str(tmp_path / "out" / "cells.csv")]


@pytest.mark.slow
def test_a_colour_picture_goes_by_channel(tmp_path, scene):
    grey = (scene.image / scene.image.max() * 255).astype(np.uint8)
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(np.stack([grey * 0, grey, grey // 2], axis=-1)).save(path)
    assert call_blinkcore("predict", path, "-o", "-").returncode == 1
    done = call_blinkcore("predict", path, "-o", "-", "--channel", "1")
    assert done.returncode == 0
    table = pd.read_csv(StringIO(done.stdout))
    assert set(table["channel"]) == {1}
    assert len(table) > 50


@pytest.mark.slow
def test_a_stack_without_axes_goes_with_axes(tmp_path, scene):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.stack([scene.image] * 3), photometric="minisblack")
    done = call_blinkcore("predict", path, "-o", "-")
    assert done.returncode == 1
    assert "--axes TYX or --axes ZYX" in done.stderr
    done = call_blinkcore("predict", path, "-o", "-", "--axes", "zyx", "--z", "planes")
    assert set(pd.read_csv(StringIO(done.stdout))["z"]) == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_is_done_and_can_be_resumed(tmp_path, scene, number):
    movie, n = np.stack([scene.image] * 6), 12  # so many that it ends before the last
    for i in range(n):
        tifffile.imwrite(
            tmp_path / f"m{i:02}.tif", movie, imagej=True, metadata={"axes": "TYX"}
        )
    command = [BLINKCORE, "predict", str(tmp_path), "-o", str(tmp_path / "out"),
               "--skip-existing", "--progress", "json"]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True,
        # A shell that put these tests into the background would have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    for line in process.stderr:
        if '"result"' in line:
            process.send_signal(number)
            break
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted after" in rest
    assert "Traceback" not in rest
    done = sorted((tmp_path / "out").glob("m*.csv"))
    assert 1 <= len(done) < n
    times = {p: p.stat().st_mtime_ns for p in done}
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stderr.count('"result"') == n - len(done)
    assert len(list((tmp_path / "out").glob("m*.csv"))) == n
    assert {p: p.stat().st_mtime_ns for p in done} == times
    # All movies are the same: so are the tables of before, of after and undisturbed.
    command[4] = str(tmp_path / "undisturbed")
    subprocess.run(command, capture_output=True, check=True)
    for path in sorted((tmp_path / "out").glob("m*.csv")):
        assert path.read_bytes() == (tmp_path / "undisturbed" / path.name).read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_reader_that_has_enough_is_no_crash(image):
    done = subprocess.run(
        f"{BLINKCORE} predict {image} {image} -o - | head -1",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("image,y,x")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_debug_shows_the_traceback(tmp_path):
    (tmp_path / "a.tif").write_text("hello")
    assert (
        "Traceback"
        in run_blinkcore("predict", tmp_path / "a.tif", "-o", "-", "--debug").stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("device", ["tpu", "cpu:x"])
def test_train_and_predict_name_a_device_that_is_not_there(image, tmp_path, device):
    for command in (["predict", image], ["train", "-o", tmp_path / "m.pt"]):
        done = call_blinkcore(*command, "--device", device)
        assert done.returncode == 2
        assert (
            f"device must be auto, cpu, cuda, cuda:1 or mps, got '{device}'"
            in done.stderr
        )


def test_help_survives_a_console_without_micro():
    done = run_blinkcore(
        "predict", "--help", env={**os.environ, "PYTHONIOENCODING": "cp932"}
    )
    assert done.returncode == 0


def test_wrong_usage_reaches_the_status_too(image, tmp_path):
    status = tmp_path / "s.json"
    status.write_text('{"ok": true}')
    done = call_blinkcore("predict", image, "--threshold", "0,5", "--status", status)
    assert done.returncode == 2
    content = json.loads(status.read_text())
    assert not content["ok"]
    assert content["exit_code"] == 2
    assert "--threshold" in content["error"]
    assert content["error"] in done.stderr
    done = call_blinkcore("predict", "--nosuch", f"--status={status}")
    assert done.returncode == 2
    assert "--nosuch" in json.loads(status.read_text())["error"]


def test_a_status_is_never_written_over_a_file_of_the_user(image):
    before = image.read_bytes()
    done = call_blinkcore("predict", "--status", image, "--model", "general")
    assert done.returncode == 2
    assert image.read_bytes() == before


def test_what_a_format_cannot_hold_is_said_once(tmp_path, scene):
    pixels = np.stack([scene.image, scene.image])
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, pixels, imagej=True, metadata={"axes": "CYX"})
    files = [tmp_path / "a.tif", tmp_path / "b.tif"]
    both = run_blinkcore(
        "predict", *files, "-o", tmp_path / "both", "--format", "csv,xml,roi"
    )
    assert both.stderr.count("Warning") == 1
    assert "Warning: .xml files cannot hold channel\n" in both.stderr
    roi = run_blinkcore("predict", *files, "-o", tmp_path / "roi", "--format", "roi")
    assert roi.stderr.count("Warning") == 1
    assert ".roi files cannot hold probability, localization_uncertainty" in roi.stderr
    one = run_blinkcore("predict", *files, "-o", tmp_path / "1", "--format", "csv,xml,roi",
              "--channel", 0)  # fmt: skip
    assert "Warning" not in one.stderr


def test_warnings_are_json_too(tmp_path, scene):
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as file:
        for data in (scene.image, scene.image[:50]):
            file.write(data, photometric="minisblack", metadata=None)
    done = run_blinkcore("predict", path, "-o", tmp_path / "out", "--progress", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    (warning,) = (e for e in events if e["event"] == "warning")
    assert "only the first is used" in warning["message"]


@pytest.mark.parametrize("name", ["spots.tsv", "out.TXT", "spots.xlsx"])
def test_an_output_of_a_format_that_is_not_written_is_refused(image, tmp_path, name):
    done = call_blinkcore("predict", image, "-o", tmp_path / name)
    assert done.returncode == 2
    assert "one table of all is .csv or .parquet" in done.stderr
    assert not (tmp_path / name).exists()


def test_a_format_beside_one_table_of_all_is_refused(image, tmp_path):
    done = call_blinkcore("predict", image, "-o", tmp_path / "r.csv", "--format", "roi")
    assert done.returncode == 2
    assert "leave one of them out" in done.stderr


def test_dim_specks_are_an_option_and_in_the_record(image, tmp_path):
    done = call_blinkcore("predict", image, "-o", tmp_path / "a", "--dim")
    assert done.returncode == 0
    about = json.loads((tmp_path / "a" / "cells.json").read_text())
    assert about["options"]["dim"] is True
    assert about["images"][0]["dim_specks_left_out"] == 0
