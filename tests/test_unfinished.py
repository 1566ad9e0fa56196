"""An image of many planes that was interrupted goes on where it stopped."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from batches import run
from blinkcore.batch import unfinished
from blinkcore.batch.inputs import find_inputs, output_names
from blinkcore.batch.lock import lock_of
from blinkcore.batch.options import Options
from blinkcore.batch.run import predict_files
from blinkcore.detection import overlay

PLANES, STOP = 6, 4


@pytest.fixture(params=["TYX", "ZYX"])
def movie(request, scene, tmp_path):
    path = tmp_path / "movie.tif"
    planes = np.stack([np.roll(scene.image, 9 * n, axis=1) for n in range(PLANES)])
    axes = {"axes": request.param}
    tifffile.imwrite(path, planes[:, :96, :128], imagej=True, metadata=axes)
    return path


def planes_searched(path, options, *, stop=None, error=KeyboardInterrupt):
    """Run over one file; give the numbers of its planes as they were done."""
    numbers = []

    def on_progress(_, unit, done, total):
        if unit != "plane":
            return
        assert total == PLANES
        numbers.append(done)
        if done == stop:
            raise error

    inputs, _ = find_inputs([str(path)])
    events = list(predict_files(inputs, options, on_progress))
    return numbers, events


def interrupted(path, options, stop=STOP):
    with pytest.raises(KeyboardInterrupt):
        planes_searched(path, options, stop=stop)


def hidden(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("output", ["out/movie.csv", "all.csv"])
def test_an_interrupted_movie_goes_on_with_the_same_bits(
    general, movie, tmp_path, output
):
    folder = "out" if output.startswith("out") else ""
    whole, table = tmp_path / "whole", tmp_path / output
    planes_searched(movie, Options(general, whole / output.removesuffix("movie.csv")))
    options = Options(general, tmp_path / (folder or output), skip_existing=True)
    interrupted(movie, options)
    assert len(hidden(table.parent)) == 1
    numbers, (event,) = planes_searched(movie, options)
    assert numbers == list(range(STOP + 1, PLANES + 1))
    assert event.kind == "result"
    assert table.read_bytes() == (whole / output).read_bytes()
    assert hidden(table.parent) == []


def test_a_movie_may_be_interrupted_twice_and_at_its_end(general, movie, tmp_path):
    options = Options(general, tmp_path / "out", skip_existing=True)
    interrupted(movie, options)
    interrupted(movie, options, stop=STOP + 1)
    interrupted(movie, options, stop=PLANES)
    numbers, (event,) = planes_searched(movie, options)
    assert numbers == []
    assert event.kind == "result"


@pytest.mark.parametrize("change", ["start anew", "options", "image", "damaged", "cut"])
def test_only_candidates_of_the_same_search_are_taken(general, movie, tmp_path, change):
    options = Options(general, tmp_path / "out", skip_existing=True)
    interrupted(movie, options)
    (kept,) = (tmp_path / "out").glob(".*.unfinished")
    if change == "start anew":
        options = replace(options, skip_existing=False)
    elif change == "options":
        options = replace(options, scale=0.9)
    elif change == "image":
        os.utime(movie, ns=(0, 0))
    elif change == "damaged":
        kept.write_bytes(b"hello")
    else:
        with np.load(kept) as content:
            arrays = dict(content)
        with kept.open("wb") as file:
            np.savez(file, **arrays | {"candidates": arrays["candidates"][1:]})
    numbers, (event,) = planes_searched(movie, options)
    assert numbers == list(range(1, PLANES + 1))
    assert event.kind == "result"
    assert not kept.exists()


def test_nothing_is_kept_of_an_image_that_cannot_be_used(general, movie, tmp_path):
    options = Options(general, tmp_path / "out", skip_existing=True)
    interrupted(movie, options)
    _, (event,) = planes_searched(movie, options, stop=STOP + 1, error=ValueError("no"))
    assert event.kind == "error"
    assert hidden(tmp_path / "out") == []


def test_what_is_kept_outlives_an_image_that_is_out_of_reach(general, movie, tmp_path):
    options = Options(general, tmp_path / "out", skip_existing=True)
    interrupted(movie, options)
    inputs, _ = find_inputs([str(movie)])
    movie.rename(tmp_path / "elsewhere")
    (event,) = predict_files(inputs, options)
    assert event.kind == "error"
    (tmp_path / "elsewhere").rename(movie)
    assert planes_searched(movie, options)[0][0] == STOP + 1


def test_what_the_time_limit_ended_goes_on(general, movie, tmp_path):
    options = Options(general, tmp_path / "out", skip_existing=True)
    planes_searched(movie, options, stop=STOP, error=TimeoutError("too long"))
    assert planes_searched(movie, options)[0][0] == STOP + 1


def test_what_could_not_be_written_is_not_searched_again(general, movie, tmp_path):
    options = Options(general, tmp_path / "out", skip_existing=True)
    obstacle = tmp_path / "out" / "movie.csv"

    def on_progress(_, unit, done, total):
        if unit == "plane" and done == total:
            obstacle.mkdir()

    inputs, _ = find_inputs([str(movie)])
    (event,) = predict_files(inputs, options, on_progress)
    assert event.kind == "error"
    obstacle.rmdir()
    numbers, (event,) = planes_searched(movie, options)
    assert event.kind == "result"
    assert numbers == []


def test_a_run_that_is_killed_loses_a_minute_at_most(
    general, movie, tmp_path, monkeypatch
):
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    options = Options(general, tmp_path / "out")
    seen = []

    def on_progress(_, unit, *__):
        if unit == "plane":
            seen.append(hidden(tmp_path / "out"))

    inputs, _ = find_inputs([str(movie)])
    list(predict_files(inputs, options, on_progress))
    assert all(
        names and any(n.endswith(".unfinished") for n in names) for names in seen
    )
    assert len(seen) == PLANES
    assert hidden(tmp_path / "out") == []


def test_what_is_done_is_kept_while_pictures_are_drawn(
    general, movie, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    options = Options(general, out, overlay=out, skip_existing=True)
    draw = overlay.write_overlay

    def interrupting(*words, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(overlay, "write_overlay", interrupting)
    interrupted(movie, options, stop=None)
    monkeypatch.setattr(overlay, "write_overlay", draw)
    numbers, (event,) = planes_searched(movie, options)
    assert numbers == []
    assert event.kind == "result"
    assert len(list(out.rglob("*.overlay.png"))) == PLANES
    assert hidden(out) == []


def test_a_disk_that_is_full_for_what_is_kept_does_no_harm(
    general, movie, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    monkeypatch.setattr(unfinished.np, "savez", full)
    numbers, (event,) = planes_searched(movie, Options(general, tmp_path / "out"))
    assert event.kind == "result"
    assert len(numbers) == PLANES


def test_names_as_long_as_a_file_system_takes(general, scene, tmp_path):
    path = tmp_path / f"{'n' * 240}.tif"
    tifffile.imwrite(path, scene.image)
    (event,) = run([path], Options(general, tmp_path / "all_spots_of_the_run.csv"))
    assert event.kind == "result"


def test_an_image_that_changes_while_it_is_read_is_not_done(general, scene, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, scene.image)
    options = Options(general, tmp_path / "out", skip_existing=True)
    inputs, _ = find_inputs([str(path)])
    list(predict_files(inputs, options, lambda *_: os.utime(path, ns=(0, 0))))
    assert [event.kind for event in run([path], options)] == ["result"]


def test_two_images_of_one_name_in_a_table_are_not_mixed_up(
    general, scene, tmp_path, monkeypatch
):
    options = Options(general, tmp_path / "all.csv", skip_existing=True)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "i.tif", scene.image)
        monkeypatch.chdir(tmp_path / folder)
        run(["i.tif"], options)
    before = (tmp_path / "all.csv").read_text()
    os.utime("i.tif", ns=(0, 0))
    (event,) = run(["i.tif"], options)
    assert event.kind == "error"
    assert "holds two images of this name" in event.message
    assert (tmp_path / "all.csv").read_text() == before


@pytest.mark.parametrize("output", ["out", "all.csv"])
def test_an_image_that_was_replaced_is_done_again(general, scene, tmp_path, output):
    first, second = tmp_path / "a.tif", tmp_path / "b.tif"
    for path in (first, second):
        tifffile.imwrite(path, scene.image)
    options = Options(general, tmp_path / output, skip_existing=True)
    run([first, second], options)
    tifffile.imwrite(first, scene.image[:128])
    events = run([first, second], options)
    assert [e.kind for e in events] == ["result", "skipped"]
    run([first, second], replace(options, output=tmp_path / f"new_{output}"))
    names = ["a.csv", "b.csv"] if output == "out" else [""]
    for name in names:
        again, anew = (tmp_path / o / name for o in (output, f"new_{output}"))
        rows = [sorted(path.read_text().splitlines()) for path in (again, anew)]
        assert rows[0] == rows[1]


def test_results_that_do_not_tell_the_state_of_their_image_count(
    general, scene, tmp_path
):
    tifffile.imwrite(tmp_path / "a.tif", scene.image)
    options = Options(general, tmp_path / "out", skip_existing=True)
    run([tmp_path / "a.tif"], options)
    about = tmp_path / "out" / "a.json"
    content = json.loads(about.read_text())
    del content["images"][0]["file"]
    about.write_text(json.dumps(content))
    (event,) = run([tmp_path / "a.tif"], options)
    assert event.kind == "skipped"


@pytest.mark.parametrize("output", ["out", "out/all.csv"])
@pytest.mark.parametrize("alive", [False, True])
def test_what_a_kill_after_the_result_leaves_is_removed(
    general, folder, tmp_path, output, alive
):
    """Killed between the last write of a result and its end: the image is skipped."""
    options = Options(general, tmp_path / output, skip_existing=True)
    run([folder / "one"], options)
    out = tmp_path / "out"
    written = {path.name for path in out.iterdir()}
    base = next(path for path in out.glob("*.csv") if "counts" not in path.name)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = {"host": socket.gethostname(), "pid": process.pid}
    lock_of(base.with_suffix("")).write_text(json.dumps(owner))
    if output == "out":
        kept = unfinished.unfinished_path(out, base.stem)
    else:
        inputs, _ = find_inputs([str(folder / "one")])
        (name,) = output_names(inputs).values()
        kept = unfinished.unfinished_path(out, f"all.csv {options.output / name}")
    kept.write_bytes(b"candidates")
    if not alive:
        process.kill()
        process.wait()
    if alive and output != "out":
        with pytest.raises(ValueError, match="another run"):
            run([folder / "one"], options)
    else:
        (event,) = run([folder / "one"], options)
        assert event.kind == "skipped"
    process.kill()
    process.communicate()
    left = {lock_of(base.with_suffix("")).name, kept.name}
    assert {path.name for path in out.iterdir()} == written | (left if alive else set())
