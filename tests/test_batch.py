import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

from batches import run, write
from blinkcore.batch import run as batch
from blinkcore.batch.collected import Collected
from blinkcore.batch.inputs import find_inputs
from blinkcore.batch.options import Options
from blinkcore.batch.run import predict_files
from blinkcore.io import tables
from ome_set import ome_set


def test_a_folder_gives_one_table_an_image_and_names_the_broken_one(
    general, folder, tmp_path
):
    events = run([folder], Options(general, tmp_path / "out"))
    kinds = {Path(e.image).relative_to(folder).as_posix(): e.kind for e in events}
    assert kinds == {
        "broken.tif": "error",
        "flat.tif": "result",
        "one/a.tif": "result",
        "two/a.tif": "result",
    }
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in _files(tmp_path))
    assert found == [
        f"{name}{suffix}"
        for name in ("flat", "one/a", "two/a")
        for suffix in (".csv", ".json")
    ]
    (error,) = (e for e in events if e.kind == "error")
    assert "broken.tif is not a TIFF, PNG or JPEG file" in error.message


def _files(tmp_path):
    files = (p for p in (tmp_path / "out").rglob("*") if p.is_file())
    return [p for p in files if p.name != "counts.csv"]


def test_zero_spots_are_a_table_with_columns(general, folder, tmp_path):
    run([folder / "flat.tif"], Options(general, tmp_path / "out"))
    assert (tmp_path / "out" / "flat.csv").read_text() == (
        "image,y,x,probability,localization_uncertainty\n"
    )


def test_the_sidecar_has_the_interval_of_the_count(general, examples, tmp_path):
    picture = examples / "cells.tif"
    run([picture], Options(general, tmp_path / "out"))
    run([picture], Options(general, tmp_path / "other", threshold=0.6))
    (image,) = json.loads((tmp_path / "out" / "cells.json").read_text("utf-8"))[
        "images"
    ]
    (other,) = json.loads((tmp_path / "other" / "cells.json").read_text("utf-8"))[
        "images"
    ]
    spots = pd.read_csv(tmp_path / "out" / "cells.csv")
    real = image["real_spots"]
    assert real["expected"] == pytest.approx(spots["probability"].sum(), abs=0.1)
    assert real["low"] < real["expected"] < real["high"] <= image["spots"] == len(spots)
    assert other["real_spots"]["expected"] <= real["expected"]


def test_the_sidecar_explains_the_result(general, folder, tmp_path):
    run([folder / "flat.tif"], Options(general, tmp_path / "out", threshold=0.25))
    content = json.loads((tmp_path / "out" / "flat.json").read_text("utf-8"))
    assert content["model"]["sha256"] == general.sha256
    assert content["model"]["precision"] == general.precision
    assert content["threshold"] == 0.25
    assert "centre of a pixel" in content["coordinates"]
    assert content["images"] == [
        {
            "image": str(folder / "flat.tif"),
            "path": os.path.realpath(folder / "flat.tif"),
            "file": {
                "bytes": (folder / "flat.tif").stat().st_size,
                "modified_ns": (folder / "flat.tif").stat().st_mtime_ns,
            },
            "axes": "YX",
            "shape": [40, 50],
            "pixel_size_um": None,
            "frame_interval_s": None,
            "scale": 1.0,
            "spots": 0,
            "dim_specks_left_out": 0,
            "warnings": ["all of its pixels have the same value, 7"],
            "real_spots": {"expected": 0.0, "low": 0.0, "high": 0.0},
            "counts": [
                {
                    "image": str(folder / "flat.tif"),
                    "n": 0,
                    "expected": 0.0,
                    "low": 0.0,
                    "high": 0.0,
                }
            ],
        }
    ]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_one_table_of_all_holds_what_single_ones_hold(
    general, folder, tmp_path, suffix
):
    path = tmp_path / f"all{suffix}"
    run([folder], Options(general, path))
    run([folder], Options(general, tmp_path / "out"))
    together = tables.read(path)
    names = sorted(p for p in _files(tmp_path) if p.suffix == ".csv")
    parts = [tables.read(p) for p in names]
    alone = pd.concat([p for p in parts if len(p)], ignore_index=True)
    assert len(together) == len(alone) > 0
    np.testing.assert_allclose(together["y"], alone["y"], atol=6e-5)
    images = json.loads(path.with_suffix(".json").read_text("utf-8"))["images"]
    assert len(images) == 3  # the flat one without a row too


def test_stacks_and_planes_share_a_table(general, scene, tmp_path):
    write(tmp_path / "plane.tif", scene.image)
    stack = np.stack([scene.image, scene.image])
    tifffile.imwrite(
        tmp_path / "movie.tif", stack, imagej=True, metadata={"axes": "TYX"}
    )
    run(
        [tmp_path / "plane.tif", tmp_path / "movie.tif"],
        Options(general, tmp_path / "a.csv"),
    )
    table = tables.read(tmp_path / "a.csv")
    frames = table.groupby("image")["frame"].agg(lambda f: sorted(set(f)))
    assert frames[str(tmp_path / "plane.tif")] == [0]
    assert frames[str(tmp_path / "movie.tif")] == [0, 1]


def test_an_interrupt_keeps_what_is_done(general, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "predict_input", _interrupted_after(_PREDICT, 2))
    inputs, _ = find_inputs([str(folder)], recursive=True)
    for output, n in ((tmp_path / "out", 2), (tmp_path / "all.csv", None)):
        monkeypatch.setattr(batch, "predict_input", _interrupted_after(_PREDICT, 2))
        with pytest.raises(KeyboardInterrupt):
            list(predict_files(inputs, Options(general, output)))
        if n:
            assert sum(p.suffix == ".csv" for p in _files(tmp_path)) == n
        else:
            assert set(tables.read(output)["image"]) == {str(folder / "one" / "a.tif")}


_PREDICT = batch.predict_input


def _interrupted_after(function, n):
    calls = []

    def wrapped(*arguments):
        if len(calls) == n:
            raise KeyboardInterrupt
        result = function(*arguments)
        calls.append(1)
        return result

    return wrapped


def test_overlays_are_one_picture_a_plane(general, scene, tmp_path):
    write(tmp_path / "plane.tif", scene.image)
    stack = np.stack([scene.image, scene.image])
    tifffile.imwrite(
        tmp_path / "movie.tif", stack, imagej=True, metadata={"axes": "TYX"}
    )
    options = Options(general, tmp_path / "out", overlay=tmp_path / "pictures")
    run([tmp_path / "plane.tif", tmp_path / "movie.tif"], options)
    found = sorted(
        p.relative_to(tmp_path / "pictures").as_posix()
        for p in (tmp_path / "pictures").rglob("*.png")
    )
    assert found == [
        "movie/frame0000.overlay.png",
        "movie/frame0001.overlay.png",
        "plane.overlay.png",
    ]


def test_overlays_among_the_images_are_no_inputs(general, folder, tmp_path):
    options = Options(general, folder, overlay=folder, skip_existing=True)
    run([folder], options)
    events = run([folder], options)
    assert {Path(e.image).name for e in events} == {"broken.tif", "flat.tif", "a.tif"}
    assert {e.kind for e in events} == {"error", "skipped"}


def test_a_picture_that_cannot_be_written_costs_no_table(general, folder, tmp_path):
    (tmp_path / "pictures" / "flat.overlay.png").mkdir(parents=True)
    options = Options(general, tmp_path / "out", overlay=tmp_path / "pictures")
    (event,) = run([folder / "flat.tif"], options)
    assert event.kind == "error"
    assert event.message.startswith("its table is written, but not the picture: ")
    assert "flat.overlay.png" in event.message
    assert (tmp_path / "out" / "flat.csv").exists()


def test_the_files_of_one_set_are_one_image(general, tmp_path):
    ome_set(tmp_path)
    events = run([tmp_path], Options(general, tmp_path / "out"))
    assert [e.kind for e in events] == ["result", "skipped"]


def test_one_table_is_written_while_the_run_goes_on(general, folder, tmp_path):
    collected = Collected(Options(general, tmp_path / "all.csv"))
    spots = pd.DataFrame({"image": ["a"], "y": [1.0], "x": [1.0], "probability": [1.0]})
    collected.add(spots, {"image": "a", "path": "a"})
    assert not (tmp_path / "all.csv").exists()
    collected.written = -np.inf  # longer ago than half a minute
    collected.add(spots, {"image": "a", "path": "a"})
    assert len(tables.read(tmp_path / "all.csv")) == 2


def test_a_mistake_of_ours_costs_one_file(general, folder, tmp_path, monkeypatch):
    def broken(*arguments):
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("blinkcore.batch.image.image_warning", broken)
    events = run([folder / "flat.tif", folder / "one"], Options(general, tmp_path))
    assert [e.kind for e in events] == ["error", "error"]
    assert "ZeroDivisionError: a mistake (blinkcore did not expect" in events[0].message


def test_pictures_of_a_run_have_one_contrast_unless_asked(general, scene, tmp_path):
    write(tmp_path / "in" / "dim.tif", (scene.image // 4).astype(np.uint16))
    write(tmp_path / "in" / "bright.tif", scene.image)

    def level(contrast):
        out = tmp_path / contrast
        run([tmp_path / "in"], Options(general, out, overlay=out, contrast=contrast))
        return [
            np.asarray(PIL.Image.open(out / f"{n}.overlay.png").convert("L")).mean()
            for n in ("dim", "bright")
        ]

    dim, bright = level("run")
    assert bright > 1.5 * dim
    dim, bright = level("plane")
    assert bright == pytest.approx(dim, rel=0.3)


@pytest.mark.parametrize(("factor", "is_dark"), [(200, True), (4, False)])
def test_a_picture_that_would_be_black_is_said(
    general, scene, tmp_path, caplog, factor, is_dark
):
    """Images of two microscopes in one run."""
    write(tmp_path / "in" / "a.tif", scene.image.astype(np.float32))
    write(tmp_path / "in" / "b.tif", scene.image.astype(np.float32) * factor)
    run([tmp_path / "in"], Options(general, tmp_path / "out", overlay=tmp_path / "out"))
    said = [r.getMessage() for r in caplog.records if "black" in r.getMessage()]
    assert bool(said) == is_dark
    if is_dark:
        assert "a.tif: its picture is nearly black" in said[0]
        assert "--contrast plane" in said[0]
