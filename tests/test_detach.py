"""A program that goes on alone, while its host follows it in files."""

import time

import numpy as np
import psutil
import pytest
import tifffile

from programs import run_blinkcore


def last_lines(folder, seconds):
    """Wait for the end of the command; gives what it printed, line by line."""
    progress = folder / "progress.txt"
    for _ in range(int(seconds / 0.1)):
        lines = progress.read_text("utf-8").split("\n") if progress.exists() else []
        lines = [line for line in lines if line]
        if lines and lines[-1].startswith("exit "):
            return lines
        time.sleep(0.1)
    raise AssertionError(f"no end within {seconds} s")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["models", "--format", "json"], ["}", "exit 0"]),
        (["predict", "nowhere.tif", "-o", "out"],
         ["0 spots in 0 images, 1 failed", "exit 1"]),
        (["predict", "--colour", "red"], [None, "exit 2"]),
    ],
)  # fmt: skip
def test_what_a_command_prints_and_its_exit_code_are_in_a_file(tmp_path, words, said):
    done = run_blinkcore("detach", tmp_path, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for line, expected in zip(last_lines(tmp_path, 60)[-2:], said, strict=True):
        assert expected in (None, line)


def test_a_host_without_a_folder_is_told(tmp_path):
    done = run_blinkcore("detach", tmp_path / "no", "models")
    assert done.returncode == 2
    assert done.stderr == f"Error: there is no folder {tmp_path / 'no'}\n"


@pytest.mark.slow
def test_a_command_goes_on_alone_and_stops_when_nobody_waits(tmp_path):
    movie = tmp_path / "movie.tif"
    noise = np.random.default_rng(0).poisson(50, (512, 512)).astype(np.uint16)
    planes = np.broadcast_to(noise, (600, 512, 512))  # a dozen seconds' work at least
    tifffile.imwrite(movie, planes, metadata={"axes": "TYX"})
    waiting = tmp_path / "waiting"
    waiting.touch()
    done = run_blinkcore(
        "detach", "--patience", "8", tmp_path, "predict", movie, "-o", tmp_path / "out"
    )
    assert done.returncode == 0
    mine = []
    for _ in range(100):
        mine = [
            p for p in psutil.process_iter() if str(movie) in " ".join(arguments(p))
        ]
        if len(mine) == 2:  # the command, and the one that watches it
            break
        time.sleep(0.1)
    assert len(mine) == 2
    assert last_lines(tmp_path, 90)[-1] == "exit 130"
    psutil.wait_procs(mine, timeout=5)
    assert not any(p.is_running() for p in mine)


def arguments(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []
