"""What every command says, and where: sentences, --quiet, --log-file, odd names of files."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import tifffile
import typer

from blinkcore import cli, io
from programs import call_blinkcore, run_blinkcore

NAME = (
    "a\x1b]0;x\x07\nError: forged"  # sets the title of a terminal, and a line of ours
)


def commands():
    found = {}
    for name, command in typer.main.get_command(cli.app).commands.items():
        for inner, own in getattr(command, "commands", {"": command}).items():
            found[f"{name} {inner}".strip()] = own
    return found | {"models": None}


@pytest.mark.parametrize("name", sorted(commands().keys() - {"detach"}))
def test_every_command_can_be_quiet_and_write_a_log(name):
    done = call_blinkcore(*name.split(), "--help")
    for option in ("--quiet", "-q", "--verbose", "-v", "--log-file"):
        assert re.search(rf"(^|\s){option}\s", done.stdout), option


def test_a_quiet_command_says_nothing_but_errors(movie, tmp_path):
    loud = call_blinkcore("link", movie, "-o", tmp_path / "t")
    quiet = call_blinkcore("link", movie, "-o", tmp_path / "q", "-q")
    assert loud.stderr
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    wrong = call_blinkcore("link", tmp_path / "none.csv", "-q")
    assert wrong.stderr.startswith("Error: ")


def test_a_log_has_all_that_is_said_with_the_time(movie, tmp_path):
    log = tmp_path / "log.txt"
    words = ("link", movie, "-o", tmp_path / "t", "--log-file", log)
    said = call_blinkcore(*words).stderr + call_blinkcore(*words, "-q").stderr
    said += call_blinkcore("link", "none.csv", "--log-file", log, cwd=tmp_path).stderr
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    once = [line[20:] for line in lines]
    n = (len(once) - 1) // 2
    assert once[:n] == once[n:-1]
    assert once[:n] + once[-1:] == said.splitlines()
    (tmp_path / "own.txt").write_text("my notes\n")
    done = call_blinkcore("link", movie, "--log-file", tmp_path / "own.txt")
    assert done.returncode == 2
    assert (tmp_path / "own.txt").read_text() == "my notes\n"


def test_the_options_are_not_recorded_as_those_of_the_result(movie, tmp_path):
    log = tmp_path / "log.txt"
    call_blinkcore("link", movie, "-o", tmp_path / "t", "-q", "--log-file", log)
    about = io.description_of(tmp_path / "t" / "m.csv")
    assert about["options"].keys() & {"quiet", "verbose", "log_file"} == set()


def test_quiet_and_verbose_exclude_each_other(movie, tmp_path):
    done = call_blinkcore("link", movie, "-o", tmp_path / "t", "-q", "-v")
    assert done.returncode == 2
    assert "--verbose and --quiet exclude each other" in done.stderr
    assert not (tmp_path / "t").exists()


def test_names_of_files_are_one_line_and_set_no_title(examples, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    content = (examples / "cells.tif").read_bytes()
    (folder / f"{NAME}.tif").write_bytes(content[: len(content) * 3 // 4])
    log = tmp_path / "log"
    done = run_blinkcore(
        "predict", folder, "-o", tmp_path / "o", "--allow-truncated", "--log-file", log
    )
    made = call_blinkcore(
        "dataset", "create", folder, tmp_path / "none", "-o", tmp_path / "d.npz"
    )
    for text in (done.stderr, log.read_text(), made.stderr):
        assert "\x1b" not in text
        assert not re.search(r"(^|\d )Error: forged", text, re.MULTILINE)
    assert "is cut off" in done.stderr


def test_names_in_warnings_and_results_are_one_line(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    for name in ("b", NAME):
        tifffile.imwrite(images / f"{name}.tif", np.zeros((40, 40), np.uint8))
    for name in ("b", NAME.replace("a", "c")):
        spots = pd.DataFrame({"y": [7.0], "x": [5.0]})
        io.write_spots(spots, labels / f"{name}.csv")
    data = tmp_path / "d.npz"
    done = call_blinkcore("dataset", "create", images, labels, "-o", data)
    assert done.stderr.count("is left out") == 2
    scores = call_blinkcore("evaluate", labels, labels)
    for text in (done.stderr, scores.stdout, scores.stderr):
        assert "\x1b" not in text
        assert "\nError: forged" not in text


def test_tracebacks_of_debug_are_events_and_in_the_log(tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    log = tmp_path / "log.txt"
    words = ("predict", tmp_path / "bad.tif", "-o", tmp_path / "o", "--debug")
    done = run_blinkcore(*words, "--progress", "json", "--log-file", log)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    said = [event.get("message", "") for event in events]
    assert any(line.startswith("Traceback") for line in said)
    assert "Traceback (most recent call last):" in log.read_text()
