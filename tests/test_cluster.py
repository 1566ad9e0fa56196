"""Planes on several processes: the same table, whoever computes it, and if one of them dies."""

import json
import os
import subprocess
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import tifffile

from programs import BLINKCORE, call_blinkcore, run_blinkcore
from test_ome_zarr import write_image

zarr = pytest.importorskip("zarr", minversion="3.1")


@pytest.fixture
def series(tmp_path, examples):
    """A movie, a picture in four formats, and a plane so large that it is read in bands."""
    folder = tmp_path / "in"
    folder.mkdir()
    cells = tifffile.imread(examples / "cells.tif")
    movie = np.stack([np.roll(cells, i, axis=1) for i in range(6)])
    tifffile.imwrite(folder / "movie.tif", movie, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(folder / "cells.tif", cells)
    tifffile.imwrite(folder / "tiled.tif", cells, tile=(64, 64), compression="zlib")
    (folder / "broken.tif").write_bytes(b"II*\0" + os.urandom(40))
    side = 5888  # 34.7 megapixels
    n = -(-side // min(cells.shape))
    wide = np.tile(np.pad(cells, 100), (n, n))[:side, :side]
    for name, pixels, version in (
        ("ngff4", cells, 2), ("ngff5", cells, 3), ("wide", wide, 3),
    ):  # fmt: skip
        group = zarr.open_group(folder / f"{name}.zarr", mode="w", zarr_format=version)
        write_image(group, pixels, "YX", (1, 1), zarr_format=version, chunk=512)
    return folder


def tables(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


@pytest.mark.slow
def test_the_table_is_that_of_one_process(series, tmp_path):
    """Also where one of the workers dies while it works, and a damaged image ends nothing."""
    alone = run_blinkcore("predict", series, "-o", tmp_path / "one")
    assert alone.returncode == 1, alone.stderr
    found = tables(tmp_path / "one")
    assert set(found) == {
        "cells.csv", "counts.csv", "movie.csv", "ngff4.csv", "ngff5.csv", "tiled.csv",
        "wide.csv",
    }  # fmt: skip
    spots = {
        name: pd.read_csv(tmp_path / "one" / f"{name}.csv").drop(columns="image")
        for name in ("cells", "tiled", "ngff4", "ngff5")
    }
    for name in ("tiled", "ngff4", "ngff5"):
        columns = spots[name].columns.difference(["y_um", "x_um"])
        pd.testing.assert_frame_equal(spots[name][columns], spots["cells"][columns])
    command = [
        BLINKCORE,
        "predict",
        series,
        "-o",
        tmp_path / "killed",
        "--scheduler",
        "2",
    ]
    command += ["--progress", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        victim = busy_worker(process.pid)
        victim.kill()
        _, said = process.communicate(timeout=300)
    assert process.returncode == 1, said
    assert "broken.tif" in said
    assert tables(tmp_path / "one") == tables(tmp_path / "killed")
    assert not psutil.pid_exists(victim.pid)
    events = [json.loads(line) for line in said.splitlines() if line[:1] == "{"]
    parts = [e for e in events if e["event"] == "tile" and "wide" in e["image"]]
    assert parts[-1]["done"] == parts[-1]["total"] > 1


@pytest.mark.slow
def test_workers_that_die_again_and_again_are_replaced(series, tmp_path):
    """Dask gives a worker up that dies twice within 15 s, unless it is told not to."""
    pixels = np.concatenate([tifffile.imread(series / "movie.tif")] * 4)
    movie = tmp_path / "long.tif"
    tifffile.imwrite(movie, pixels, imagej=True, metadata={"axes": "TYX"})
    alone = run_blinkcore("predict", movie, "-o", tmp_path / "one", "--no-amp")
    assert alone.returncode == 0, alone.stderr
    command = [BLINKCORE, "predict", movie, "-o", tmp_path / "killed", "--no-amp"]
    command += ["--scheduler", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            busy_worker(process.pid, at_least=0.5).kill()
        _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert tables(tmp_path / "one") == tables(tmp_path / "killed")


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler of dask without workers; its process and its address."""
    where = tmp_path / "scheduler.json"
    dask = BLINKCORE.with_name("dask")
    command = [dask, "scheduler", "--port", "0", "--no-dashboard"]
    with subprocess.Popen(
        [*command, "--scheduler-file", where], stderr=subprocess.DEVNULL
    ) as process:
        for _ in range(600):
            if where.exists() and where.read_text():
                break
            time.sleep(0.1)
        yield process, json.loads(where.read_text())["address"]
        process.kill()


@pytest.mark.slow
def test_a_scheduler_without_workers_or_that_dies_is_a_sentence(
    scheduler, series, tmp_path
):
    process, address = scheduler
    (series / "broken.tif").unlink()
    command = [BLINKCORE, "predict", series, "-o", tmp_path / "o"]
    with subprocess.Popen(
        [*command, "--scheduler", address], stderr=subprocess.PIPE, text=True
    ) as run:
        said = run.stderr.readline()
        process.kill()
        rest = run.stderr.read()
    assert said == f"Warning: --scheduler {address} has no workers; waiting for one\n"
    assert f"the scheduler {address} is gone" in rest
    assert "Traceback" not in rest
    assert rest.count("Error") == 1
    assert run.returncode == 1


def busy_worker(pid, at_least=3.0):
    """Wait for a child that computes: it has loaded PyTorch and used the CPU for some s."""
    for _ in range(600):
        children = psutil.Process(pid).children(recursive=True)
        busy = next((child for child in children if is_busy(child, at_least)), None)
        if busy is not None:
            return busy
        time.sleep(0.1)
    raise AssertionError("no worker came to work")


def is_busy(process, at_least):
    try:
        loaded = any("libtorch" in m.path for m in process.memory_maps())
        return loaded and process.cpu_times().user > at_least
    except (psutil.Error, OSError):
        return False


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("0", "at least one process"),
        ("here", "--scheduler must be local, a number of processes, or an address"),
        ("nosuch://host:1", "--scheduler"),
    ],
)
def test_wrong_schedulers_are_a_sentence(scheduler, said, examples, tmp_path):
    done = call_blinkcore(
        "predict",
        examples / "cells.tif",
        "-o",
        tmp_path / "out",
        "--scheduler",
        scheduler,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").glob("*.csv"))
