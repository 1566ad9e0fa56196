"""Options, models and folders that cannot be used: one sentence, exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

from blinkcore.io import tables
from programs import call_blinkcore, run_blinkcore


def good(tmp_path, scene, n=1):
    paths = [tmp_path / f"good{i}.tif" for i in range(n)]
    for path in paths:
        tifffile.imwrite(path, scene.image)
    return paths


def foreign_model(path):
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); import torch;"
        "torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 3)), sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "a.tif", "-o", "out.docx"], "no table is written as .docx"),
        (["predict", "a.tif", "-o", "out.cvs"], "no table is written as .cvs"),
        (["predict", "a.tif", "-o", "out.parq"], "no table is written as .parq"),
        (["predict", "a.tif", "-o", "out", "--overlay", "o.png"], "looks like a file"),
        (["predict", "a.tif", "-o", "out", "--status", "s.txt"], "must end in .json"),
        (["predict", "a.tif", "-o", "out", "--device", "cuda:x"], "cuda:1"),
        (["dataset", "check", "d.npz", "-o", "t.xlsx"], "must end in .csv"),
        (["simulate", "-o", "out", "--preset", "smfsh"], "did you mean 'smfish'?"),
    ],
)  # fmt: skip
def test_outputs_and_names_that_cannot_be_meant_are_refused(tmp_path, words, said):
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (None, "there is no model"),
        (lambda p: p.write_text("hello"), "not a TorchScript file"),
        (lambda p: p.write_bytes(b""), "not a TorchScript file"),
        (foreign_model, "not a model of blinkcore"),
    ],
    ids=["missing", "text", "empty", "foreign"],
)
def test_unusable_models_end_with_2_before_anything_is_read(
    tmp_path, scene, make, words
):
    model = tmp_path / "m.pt"
    if make:
        make(model)
    status = tmp_path / "status.json"
    done = call_blinkcore(
        "predict",
        *good(tmp_path, scene),
        "-o",
        tmp_path / "out",
        "-m",
        model,
        "--status",
        status,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert json.loads(status.read_text("utf-8"))["exit_code"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is no input"),
        (["a.tif", "--threshold", "1.5"], "threshold must be in [0, 1)"),
        (["a.tif", "--threshold", "nan"], "threshold must be in [0, 1)"),
        (["a.tif", "--fdr", "0"], "fdr must be in (0, 1)"),
        (
            ["a.tif", "--fdr", "0.1", "--threshold", "0.5"],
            "--fdr sets the threshold itself",
        ),
        (["a.tif", "--axes", "QYX"], "--axes must be"),
        (["a.tif", "--axes", "T"], "--axes must be"),
        (["a.tif", "--channel", "-1"], "--channel counts from 0"),
        (["a.tif", "--pixel-size", "0"], "--pixel-size must be one number"),
        (["a.tif", "--pixel-size", "1,2,3,4"], "--pixel-size must be one number"),
        (["a.tif", "--pixel-size", "one"], "--pixel-size must be one number"),
        (["a.tif", "--format", "xlsx"], "--format must be csv or parquet"),
        (["a.tif", "-o", "spots.roi"], "--format roi"),
        (["a.tif", "-o", "all.csv", "--format", "csv,roi"], "needs a folder"),
        (["a.tif", "--scale", "wide"], "--scale must be a factor"),
        (["a.tif", "--radius", "0"], "--radius must be above 0"),
        (["a.tif", "--progress", "loud"], "--progress must be bar, json or none"),
        (["a.tif", "--list", "none.txt"], "none.txt"),
        (["a.tif", "--device", "tpu"], "device must be auto"),
        (["a.tif", "--no-such-option"], "No such option"),
        (["a.tif", "-o", ""], "-o is empty"),  # would be the current folder
        (["a.tif", "--overlay="], "--overlay is empty"),
        (["a.tif", ""], "an argument is empty"),
    ],
)
def test_wrong_usage_ends_with_2(tmp_path, arguments, words):
    done = run_blinkcore("predict", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("output", ["out", "out/spots.csv"])
def test_an_output_that_cannot_be_made_ends_with_2(tmp_path, scene, output):
    (tmp_path / "out").write_text("a file where the folder should be")
    done = call_blinkcore("predict", *good(tmp_path, scene), "-o", tmp_path / output)
    assert done.returncode == 2
    assert f"{tmp_path / 'out'} is a file, where a folder is needed" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("output", ["", "spots.csv"])
def test_a_read_only_output_ends_with_2_before_anything_is_computed(
    tmp_path, scene, read_only, output
):
    done = run_blinkcore("predict", *good(tmp_path, scene), "-o", read_only / output)
    assert done.returncode == 2
    assert "cannot be written to" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_named_like_a_table_is_refused(tmp_path, scene):
    (tmp_path / "out.csv").mkdir()
    done = call_blinkcore("predict", *good(tmp_path, scene), "-o", tmp_path / "out.csv")
    assert done.returncode == 2
    assert "is an existing folder" in done.stderr


def test_an_old_status_does_not_survive_wrong_usage(tmp_path):
    status = tmp_path / "status.json"
    for words in (["--status", str(status)], [f"--status={status}"]):
        status.write_text('{"ok": true}')
        done = run_blinkcore("predict", "a.tif", *words, "--threshold", "abc")
        assert done.returncode == 2
        content = json.loads(status.read_text("utf-8"))
        assert not content["ok"]
        assert "--threshold" in content["error"]


@pytest.fixture
def read_only(tmp_path):
    """A folder that not even root may write to."""
    yield from mounted(tmp_path / "read_only", "ro")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    yield from mounted(tmp_path / "small", "size=64k")


def mounted(place, options):
    place.mkdir()
    if sys.platform != "linux":
        pytest.skip("mounts are of Linux")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_loses_no_finished_result(tmp_path, scene, small_disk):
    paths = good(tmp_path, scene, n=12)
    done = run_blinkcore("predict", *paths, "-o", small_disk, "--progress", "json")
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stderr.splitlines()]
    results = [e for e in events if e["event"] == "result"]
    errors = [e for e in events if e["event"] == "error"]
    assert results
    assert errors
    assert all("No space left" in e["message"] for e in errors)
    for event in results:
        assert len(tables.read(Path(event["output"]))) == event["spots"]
    assert {p.suffix for p in small_disk.iterdir()} <= {".csv", ".json"}


@pytest.mark.slow
def test_one_table_that_does_not_fit_is_saved_elsewhere(tmp_path, scene, small_disk):
    paths = good(tmp_path, scene, n=12)
    done = run_blinkcore(
        "predict",
        *paths,
        "-o",
        small_disk / "all.csv",
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "No space left" in done.stderr
    (saved,) = tmp_path.glob("blinkcore-*/all.csv")
    assert str(saved) in done.stderr
    assert set(tables.read(saved)["image"]) == set(map(str, paths))


def test_a_damaged_image_is_told_before_the_seconds_of_pytorch(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(40))
    code = (
        "import sys\nfrom blinkcore.cli import main\n"
        f"sys.argv = ['blinkcore', 'predict', {str(tmp_path / 'a.tif')!r}, "
        f"'-o', {str(tmp_path / 'out')!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n"
        "    print(end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "False"]
    assert "a.tif" in done.stderr
    assert not (tmp_path / "out").exists()
