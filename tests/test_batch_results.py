"""What is kept, skipped and never overwritten in the folder of the results."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

from batches import run, write
from blinkcore import io
from blinkcore.batch.options import Options
from blinkcore.image import PixelSize
from blinkcore.io import tables


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


def test_a_format_of_an_image_that_was_replaced_does_not_stay(general, scene, tmp_path):
    image, output = tmp_path / "cells.tif", tmp_path / "out"
    both = Options(general, output, (".csv", ".roi"), skip_existing=True)
    write(image, scene.image)
    run([image], both)
    write(image, scene.image[:100])
    run([image], replace(both, formats=(".csv",), skip_existing=False))
    assert not (output / "cells.roi").exists()
    assert run([image], both)[0].kind == "result"


@pytest.mark.parametrize("output", ["out", "all.csv"])
def test_pictures_are_drawn_again_for_another_contrast(
    general, folder, tmp_path, output
):
    def again(**options):
        chosen = Options(general, tmp_path / output, skip_existing=True, **options)
        (event,) = run([folder / "flat.tif"], chosen)
        return event.kind

    pictures = {"overlay": tmp_path / "pictures"}
    assert again() == "result"
    assert again(**pictures) == "result"
    assert again(**pictures) == "skipped"
    assert again(**pictures, contrast=(100.0, 400.0)) == "result"
    assert again(**pictures, contrast=(100.0, 400.0)) == "skipped"
    assert again(**pictures, contrast="plane") == "result"
    (tmp_path / "pictures" / "flat.overlay.png").unlink()
    assert again(**pictures, contrast="plane") == "result"
    assert (tmp_path / "pictures" / "flat.overlay.png").exists()
    assert again() == "skipped"


def test_results_of_other_options_do_not_stay(general, scene, tmp_path):
    image, output = tmp_path / "cells.tif", tmp_path / "s"
    write(image, scene.image)
    first = Options(general, output, (".csv", ".roi"), threshold=0.2, overlay=output)
    run([image], first)
    assert (output / "cells.roi").exists()
    run([image], replace(first, formats=(".csv",), threshold=0.9, overlay=None))
    assert not (output / "cells.roi").exists()  # it held the spots above 0.2
    assert not (output / "cells.overlay.png").exists()  # it showed them
    again = replace(first, threshold=0.9, skip_existing=True)
    (event,) = run([image], again)
    assert event.kind == "result"  # picture and selection were of another threshold
    (event,) = run([image], again)
    assert event.kind == "skipped"
    (event,) = run([image], replace(again, formats=(".csv", ".xml")))
    assert event.kind == "result"
    assert (output / "cells.roi").exists()  # made with the same options: still right


def test_pictures_of_planes_of_other_options_do_not_stay(general, scene, tmp_path):
    """Those beside the table go; in another folder, which a forged description may name, none."""
    image, output = tmp_path / "cells.tif", tmp_path / "s"
    tifffile.imwrite(
        image, np.stack([scene.image] * 2), metadata={"axes": "TYX"}, imagej=True
    )
    first = Options(general, output, threshold=0.2, overlay=output)
    elsewhere = replace(first, output=tmp_path / "t", overlay=tmp_path / "pictures")
    for options in (first, elsewhere):
        run([image], options)
        for name in ("own.png", "x.overlay.png"):  # of an image in a folder `cells`
            (options.overlay / "cells" / name).write_bytes(b"")
        run([image], replace(options, threshold=0.9, overlay=None))
    left = sorted(p.name for p in (output / "cells").iterdir())
    assert left == ["own.png", "x.overlay.png"]
    assert len(list((tmp_path / "pictures" / "cells").iterdir())) == 4


@pytest.mark.parametrize("name", ["cells.napari.tif", "cells.isbi.tif"])
def test_a_name_that_looks_like_a_format_is_a_name(general, scene, tmp_path, name):
    image, output = tmp_path / name, tmp_path / "s"
    write(image, scene.image)
    (event,) = run([image], Options(general, output, (".csv", ".xml")))
    stem = name.removesuffix(".tif")
    assert event.output == str(output / f"{stem}.csv")
    written = {path.name for path in output.iterdir()} - {"counts.csv"}
    assert written == {f"{stem}.csv", f"{stem}.xml", f"{stem}.json"}
    assert {"image", "probability"} <= set(pd.read_csv(output / f"{stem}.csv").columns)
    assert "<TrackMate" in (output / f"{stem}.xml").read_text()


def test_a_selection_beside_a_table_without_description_is_the_users(
    general, scene, tmp_path
):
    image, output = tmp_path / "cells.tif", tmp_path / "s"
    write(image, scene.image)
    options = Options(general, output, (".csv", ".roi"))
    run([image], options)
    (output / "cells.json").unlink()
    (output / "cells.roi").write_bytes(b"labels")
    (event,) = run([image], options)
    assert event.kind == "error"
    assert "was deleted, remove it" in event.message
    assert (output / "cells.roi").read_bytes() == b"labels"


def test_a_run_killed_while_formats_go_leaves_nothing_foreign(
    general, scene, tmp_path, monkeypatch
):
    """Old files of other formats go before the description forgets them."""
    image, output = tmp_path / "cells.tif", tmp_path / "s"
    write(image, scene.image)
    both = Options(general, output, (".csv", ".roi"))
    run([image], both)

    def killed(content, path):
        raise KeyboardInterrupt

    monkeypatch.setattr("blinkcore.batch.results.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run([image], Options(general, output, (".csv",), threshold=0.9))
    monkeypatch.undo()
    (event,) = run([image], both)
    assert event.kind == "result"


@pytest.mark.parametrize("lost", [[".json"], [".json", ".csv"]])
def test_a_run_cut_between_table_and_description_goes_on(
    general, scene, tmp_path, lost, monkeypatch
):
    image, output = tmp_path / "cells.tif", tmp_path / "s"
    write(image, scene.image)
    options = Options(general, output, (".csv", ".roi"), skip_existing=True)
    run([image], options)
    if lost == [".json"]:  # only the table is surely ours then
        (output / "cells.json").unlink()
        (output / "cells.roi").unlink()
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
            run([image], options)
        monkeypatch.undo()
    (event,) = run([image], options)
    assert event.kind == "result"
    (event,) = run([image], options)
    assert event.kind == "skipped"


def test_each_channel_has_a_session_of_trackmate(general, scene, tmp_path):
    """TrackMate knows no channels of spots, and would link across them."""
    pixels = np.stack([np.stack([scene.image, scene.image[::-1]])] * 2)
    tifffile.imwrite(
        tmp_path / "m.tif", pixels, imagej=True,
        metadata={"axes": "TCYX", "finterval": 2.0},
    )  # fmt: skip
    options = Options(general, tmp_path / "o", (".csv", ".xml"), skip_existing=True)
    run([tmp_path / "m.tif"], options)
    names = {path.name for path in (tmp_path / "o").glob("*.xml")}
    assert names == {"m.channel0.xml", "m.channel1.xml"}
    spots = tables.read(tmp_path / "o" / "m.csv")
    for channel in (0, 1):
        text = (tmp_path / "o" / f"m.channel{channel}.xml").read_text()
        assert text.count("<Spot ") == (spots["channel"] == channel).sum()
        assert 'timeinterval="2.0"' in text
    (event,) = run([tmp_path / "m.tif"], options)
    assert event.kind == "skipped"
    run([tmp_path / "m.tif"], replace(options, formats=(".csv",), threshold=0.9))
    assert not list((tmp_path / "o").glob("*.xml"))  # of another threshold
