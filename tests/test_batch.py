import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore import io
from blinkcore.batch import run as batch
from blinkcore.batch.run import Input, Options, find_inputs, output_names, predict_files
from blinkcore.image import PixelSize
from blinkcore.io import tables


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack")
    return path


@pytest.fixture
def folder(tmp_path, scene):
    """Two good images of one name in two folders, an empty one and a broken one."""
    write(tmp_path / "in" / "one" / "a.tif", scene.image)
    write(tmp_path / "in" / "two" / "a.tif", scene.image[:100])
    write(tmp_path / "in" / "flat.tif", np.full((40, 50), 7, np.uint16))
    (tmp_path / "in" / "broken.tif").write_text("hello")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    return tmp_path / "in"


def run(names, options, *, recursive=True):
    inputs, errors = find_inputs([str(n) for n in names], recursive=recursive)
    return [*errors, *predict_files(inputs, options)]


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
    return [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_zero_spots_are_a_table_with_columns(general, folder, tmp_path):
    run([folder / "flat.tif"], Options(general, tmp_path / "out"))
    assert (tmp_path / "out" / "flat.csv").read_text() == (
        "image,y,x,probability,localization_uncertainty\n"
    )


def test_the_sidecar_has_the_interval_of_the_count(general, examples, tmp_path):
    picture = examples / "cells.tif"
    run([picture], Options(general, tmp_path / "out"))
    run([picture], Options(general, tmp_path / "other", threshold=0.3))
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
    assert "real_spots" not in other  # known for the model's own threshold only


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
            "axes": "YX",
            "shape": [40, 50],
            "pixel_size_um": None,
            "scale": 1.0,
            "spots": 0,
            "dim_specks_left_out": 0,
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
    parts = [tables.read(p) for p in sorted((tmp_path / "out").rglob("*.csv"))]
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


def test_skip_existing_leaves_finished_images_alone(general, folder, tmp_path):
    options = Options(general, tmp_path / "out", skip_existing=True)
    run([folder / "one"], options)
    before = (tmp_path / "out" / "a.csv").stat().st_mtime_ns
    events = run([folder / "one", folder / "flat.tif"], options)
    assert [e.kind for e in events] == ["skipped", "result"]
    assert (tmp_path / "out" / "a.csv").stat().st_mtime_ns == before


def test_skip_existing_goes_on_with_one_table(general, folder, tmp_path):
    options = Options(general, tmp_path / "all.csv", skip_existing=True)
    run([folder / "flat.tif", folder / "one"], options)
    events = run([folder], options)
    kinds = [e.kind for e in events if e.kind != "error"]
    assert sorted(kinds) == ["result", "skipped", "skipped"]
    run([folder], Options(general, tmp_path / "fresh.csv"))
    rows = [tables.read(tmp_path / n)[["image", "y"]] for n in ("all.csv", "fresh.csv")]
    first, second = (r.sort_values(["image", "y"], ignore_index=True) for r in rows)
    pd.testing.assert_frame_equal(first, second)


def test_a_table_of_another_threshold_is_not_mixed_with(general, folder, tmp_path):
    path = tmp_path / "all.csv"
    run([folder], Options(general, path))
    other = Options(general, path, threshold=0.1, skip_existing=True)
    with pytest.raises(ValueError, match="made with another model, threshold"):
        run([folder], other)


def test_an_interrupt_keeps_what_is_done(general, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "_predict", _interrupted_after(batch._predict, 2))
    inputs, _ = find_inputs([str(folder)], recursive=True)
    for output, n in ((tmp_path / "out", 2), (tmp_path / "all.csv", None)):
        monkeypatch.setattr(batch, "_predict", _interrupted_after(_PREDICT, 2))
        with pytest.raises(KeyboardInterrupt):
            list(predict_files(inputs, Options(general, output)))
        if n:
            assert len(list(output.rglob("*.csv"))) == n
        else:
            assert set(tables.read(output)["image"]) == {str(folder / "one" / "a.tif")}


_PREDICT = batch._predict


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
    assert event.message.startswith("its 0 spots are written, but not the picture: ")
    assert "flat.overlay.png" in event.message
    assert (tmp_path / "out" / "flat.csv").exists()


def test_a_table_of_another_image_is_not_overwritten(general, folder, tmp_path):
    options = Options(general, tmp_path / "out")
    run([folder / "one" / "a.tif"], options)
    before = (tmp_path / "out" / "a.csv").read_bytes()
    for skip in (False, True):
        (event,) = run([folder / "two" / "a.tif"], replace(options, skip_existing=skip))
        assert event.kind == "error"
        assert "holds the spots of" in event.message
    assert (tmp_path / "out" / "a.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
def test_a_users_own_file_is_not_overwritten(general, folder, name):
    path = folder / "one" / name
    path.write_text("y,x\n1,2\n")
    (event,) = run([folder / "one" / "a.tif"], Options(general, folder / "one"))
    assert event.kind == "error"
    assert f"{name} is there and not a result of blinkcore" in event.message
    assert path.read_text() == "y,x\n1,2\n"


def test_a_table_whose_sidecar_was_not_written_any_more_is_done_again(
    general, folder, tmp_path
):
    options = Options(general, tmp_path / "out", skip_existing=True)
    run([folder / "one" / "a.tif"], options)
    (tmp_path / "out" / "a.json").unlink()
    assert run([folder / "one" / "a.tif"], options)[0].kind == "result"
    assert (tmp_path / "out" / "a.json").exists()


def test_other_options_are_no_reason_to_skip(general, folder, tmp_path):
    options = Options(general, tmp_path / "out", skip_existing=True)
    image = folder / "one" / "a.tif"
    assert run([image], options)[0].kind == "result"
    assert run([image], options)[0].kind == "skipped"
    for other in ({"threshold": 0.9}, {"pixel_size": PixelSize(None, 0.1, 0.1)}):
        assert run([image], replace(options, **other))[0].kind == "result"
    assert "y_um" in tables.read(tmp_path / "out" / "a.csv")


def test_unknown_pixel_sizes_stay_empty_beside_known_ones(general, scene, tmp_path):
    write(tmp_path / "unknown.tif", scene.image)
    tifffile.imwrite(
        tmp_path / "known.tif", np.full((40, 50), 7, np.uint16), imagej=True,
        resolution=(10, 10), metadata={"unit": "um"},
    )  # fmt: skip
    run(
        [tmp_path / "unknown.tif", tmp_path / "known.tif"],
        Options(general, tmp_path / "a.csv"),
    )
    assert tables.read(tmp_path / "a.csv")["y_um"].isna().all()


def test_rows_of_a_run_that_was_cut_are_not_doubled(general, folder, tmp_path):
    options = Options(general, tmp_path / "all.csv", skip_existing=True)
    run([folder], options)
    whole = tables.read(tmp_path / "all.csv")
    path = tmp_path / "all.json"
    content = json.loads(path.read_text("utf-8"))
    content["images"] = content["images"][:1]
    path.write_text(json.dumps(content), "utf-8")
    run([folder], options)
    again = tables.read(tmp_path / "all.csv")
    assert len(again) == len(whole)


def test_a_file_named_in_two_ways_is_read_once(folder):
    other = folder / "two" / ".." / "one" / "a.tif"
    inputs, _ = find_inputs([str(folder / "one" / "a.tif"), str(other)])
    assert len(inputs) == 1
    pair = [folder / "one" / "a.tif", folder / "one" / ".." / "two" / "a.tif"]
    names = output_names(find_inputs(map(str, pair))[0])
    assert {n.as_posix() for n in names.values()} == {"one/a.tif", "two/a.tif"}


@pytest.mark.parametrize("name", ["", " ", "x" * 300, "a\x00b"])
def test_impossible_names_stop_nothing(folder, name):
    inputs, errors = find_inputs([name, str(folder / "flat.tif")])
    assert len(inputs) == len(errors) == 1


def names_of(*paths):
    inputs = [Input(Path(p), p, Path(Path(p).name)) for p in paths]
    return [output_names(inputs)[Path(p)].as_posix() for p in paths]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/d/a.tif"], ["a"]),
        (["/d/a.tif", "/d/b.tif"], ["a", "b"]),
        (["/d/a.tif", "/d/a.png"], ["a.tif", "a.png"]),
        (["/d/1/a.tif", "/d/2/a.tif"], ["1/a.tif", "2/a.tif"]),
        (["/d/1/a.tif", "/d/2/a.tif", "/d/b.tif"], ["1/a.tif", "2/a.tif", "b"]),
        (["/d/A.tif", "/d/a.tif"], ["A.tif", "a.tif"]),
    ],
)
def test_two_files_of_one_name_never_collide(paths, expected):
    assert names_of(*paths) == expected


def test_globs_lists_of_files_and_repeats_give_each_file_once(folder):
    names = [str(folder / "one" / "*.tif"), str(folder / "one" / "a.tif"), str(folder)]
    inputs, errors = find_inputs(names, recursive=True)
    assert not errors
    assert [i.path.name for i in inputs] == ["a.tif", "broken.tif", "flat.tif", "a.tif"]


def test_folders_are_not_searched_deeper_unless_asked(folder):
    inputs, _ = find_inputs([str(folder)])
    assert [i.path.name for i in inputs] == ["broken.tif", "flat.tif"]


def test_names_that_mean_nothing_are_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    names = [str(tmp_path / n) for n in ("none.tif", "*.tif", "empty")]
    inputs, errors = find_inputs(names)
    assert not inputs
    assert [e.message.partition(" ")[2].partition(" ")[0] for e in errors] == [
        "there",
        "matches",
        "has",
    ]


def test_labels_in_the_place_of_any_format_are_kept(general, folder, tmp_path):
    mine = tmp_path / "out" / "flat.roi"
    mine.parent.mkdir()
    mine.write_bytes(b"my labels")
    options = Options(general, tmp_path / "out", formats=(".csv", ".roi"))
    (event,) = run([folder / "flat.tif"], options)
    assert event.kind == "error"
    assert "not a result of blinkcore" in event.message
    assert mine.read_bytes() == b"my labels"
    # nor once there is a result of ours that has no such file
    run([folder / "flat.tif"], Options(general, tmp_path / "out"))
    for formats in ((".csv", ".roi"), (".roi",)):
        (event,) = run(
            [folder / "flat.tif"], Options(general, tmp_path / "out", formats=formats)
        )
        assert event.kind == "error"
        assert mine.read_bytes() == b"my labels"


def test_a_new_format_or_picture_is_not_skipped(general, folder, tmp_path):
    def again(**options):
        chosen = Options(general, tmp_path / "out", skip_existing=True, **options)
        (event,) = run([folder / "flat.tif"], chosen)
        return event.kind

    assert again() == "result"
    assert again() == "skipped"
    assert again(formats=(".csv", ".roi")) == "result"
    assert again(formats=(".csv", ".roi")) == "skipped"
    assert again(overlay=tmp_path / "pictures") == "result"
    assert again(overlay=tmp_path / "pictures") == "skipped"
    assert again(formats=(".roi",)) == "skipped"  # ours, and there


def run_one(image, options):
    inputs, _ = find_inputs([str(image)])
    return list(predict_files(inputs, options))


def test_results_of_other_options_do_not_stay(general, scene, tmp_path):
    image, output = tmp_path / "cells.tif", tmp_path / "s"
    write(image, scene.image)
    first = Options(general, output, (".csv", ".roi"), threshold=0.2, overlay=output)
    run_one(image, first)
    assert (output / "cells.roi").exists()
    run_one(image, replace(first, formats=(".csv",), threshold=0.9, overlay=None))
    assert not (output / "cells.roi").exists()  # it held the spots above 0.2
    again = replace(first, threshold=0.9, skip_existing=True)
    (event,) = run_one(image, again)
    assert event.kind == "result"  # picture and selection were of another threshold
    (event,) = run_one(image, again)
    assert event.kind == "skipped"
    (event,) = run_one(image, replace(again, formats=(".csv", ".xml")))
    assert event.kind == "result"
    assert (output / "cells.roi").exists()  # made with the same options: still right


@pytest.mark.parametrize("name", ["cells.napari.tif", "cells.isbi.tif"])
def test_a_name_that_looks_like_a_format_is_a_name(general, scene, tmp_path, name):
    image, output = tmp_path / name, tmp_path / "s"
    write(image, scene.image)
    (event,) = run_one(image, Options(general, output, (".csv", ".xml")))
    stem = name.removesuffix(".tif")
    assert event.output == str(output / f"{stem}.csv")
    written = {path.name for path in output.iterdir()}
    assert written == {f"{stem}.csv", f"{stem}.xml", f"{stem}.json"}


@pytest.mark.parametrize("lost", [[".json"], [".json", ".csv"]])
def test_a_run_cut_between_table_and_description_goes_on(
    general, scene, tmp_path, lost, monkeypatch
):
    image, output = tmp_path / "cells.tif", tmp_path / "s"
    write(image, scene.image)
    options = Options(general, output, (".csv", ".roi"), skip_existing=True)
    run_one(image, options)
    if lost == [".json"]:
        (output / "cells.json").unlink()
    else:  # killed after the first file, before the second
        for path in output.iterdir():
            path.unlink()
        original = io.write_spots

        def killed(spots, path, **about):
            if path.suffix == ".roi":
                raise KeyboardInterrupt
            return original(spots, path, **about)

        monkeypatch.setattr(io, "write_spots", killed)
        with pytest.raises(KeyboardInterrupt):
            run_one(image, options)
        monkeypatch.undo()
    (event,) = run_one(image, options)
    assert event.kind == "result"
    (event,) = run_one(image, options)
    assert event.kind == "skipped"
