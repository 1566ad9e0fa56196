"""What is compared: which planes are cases, and what each method found there."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore import io
from blinkcore.datasets.dataset import of_scenes
from blinkcore.evaluation import compare
from blinkcore.evaluation.methods import Method, load
from blinkcore.image import PixelSize
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate
from programs import call_blinkcore


def tables(folder, **files):
    for name, table in files.items():
        io.write_spots(pd.DataFrame(table), folder / f"{name}.csv")
    return str(folder)


def scores_of(truth, detected):
    return compare.score(*load(truth, [detected]))


def test_a_table_without_places_is_that_of_the_first_plane(tmp_path):
    places = {"y": [1.0, 5.0], "x": [2.0, 6.0]}
    truth = tables(tmp_path / "t", a=places, b=places)
    first = {"frame": [0, 0], "channel": [0, 0], "z": [0, 0]}
    detected = tables(tmp_path / "d", a=places | first, b=places | first)
    for one, other in ((truth, detected), (detected, truth)):
        assert (scores_of(one, other)["f1"] == 1.0).all()


def test_images_and_planes_without_true_spots_count(tmp_path):
    nothing = {"frame": np.empty(0, int), "y": np.empty(0), "x": np.empty(0)}
    spot = {"frame": [0], "y": [1.0], "x": [2.0]}
    two_frames = {"frame": [0, 1, 1], "y": [1.0, 1, 5], "x": [2.0, 2, 5]}
    truth = tables(tmp_path / "t", a=spot, b=nothing, c=nothing)
    detected = tables(tmp_path / "d", a=two_frames, b=two_frames, c=nothing)
    rows = scores_of(truth, detected)
    assert rows["n_detected"].sum() == 6
    assert rows["n_matched"].sum() == 1
    assert rows[rows["source"] == "c"]["f1"].tolist() == [1.0]


def test_an_image_without_detections_is_missed_not_refused(tmp_path):
    nothing = {"y": np.empty(0), "x": np.empty(0)}
    spot = {"y": [1.0], "x": [2.0]}
    truth = tables(tmp_path / "t", a=spot, b=spot)
    rows = scores_of(truth, tables(tmp_path / "d", a=spot, b=nothing))
    assert rows["recall"].tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="no table of b"):
        scores_of(truth, tables(tmp_path / "e", a=spot, other=spot))


def test_spots_of_several_images_are_not_laid_over_one_another(tmp_path):
    spot = {"y": [1.0], "x": [2.0]}
    truth = tables(tmp_path / "t", a=spot)
    both = {"image": ["a", "b"], "y": [1.0, 1], "x": [2.0, 2]}
    with pytest.raises(ValueError, match="spots of 2 images"):
        scores_of(truth, tables(tmp_path / "d", a=both))
    with pytest.raises(ValueError, match="spots of 2 images"):
        io.write_spots(pd.DataFrame(both), tmp_path / "both.roi")


def test_results_of_every_format_are_read_beside_their_descriptions(tmp_path):
    spot = {"y": [1.0], "x": [2.0]}
    truth = tables(tmp_path / "t", **{"a_0.5uM": spot, "a_0.1uM": spot})
    for suffix in (".roi", ".isbi.xml", ".napari.csv"):
        folder = tmp_path / suffix[1:]
        for name in ("a_0.5uM", "a_0.1uM"):
            io.write_spots(pd.DataFrame(spot), folder / f"{name}{suffix}")
            content = json.dumps({"blinkcore": "0", "images": []})
            (folder / f"{name}.json").write_text(content)
        assert (scores_of(truth, str(folder))["f1"] == 1.0).all()


def test_planes_are_named_by_their_place_and_stand_in_order(tmp_path):
    places = {"frame": [2, 0, 0], "channel": [0, 1, 0], "z": [0, 0, 3]}
    truth = tables(tmp_path / "t", a=places | {"y": [1.0, 2, 3], "x": [4.0, 5, 6]})
    cases, methods = load(truth, [truth])
    assert [case.name for case in cases] == ["a|0,0,3", "a|0,1,0", "a|2,0,0"]
    assert [case.source for case in cases] == ["a"] * 3
    assert [spots.tolist() for spots in methods[0].spots] == [
        [[3, 6]], [[2, 5]], [[1, 4]],
    ]  # fmt: skip
    assert methods[0].name == truth
    first = tables(tmp_path / "f", a={"y": [1.0], "x": [2.0]})
    assert load(first, [])[0][0].name == "a"


def test_tables_of_other_names_say_so(tmp_path):
    spot = {"y": [1.0], "x": [2.0]}
    truth = tables(tmp_path / "t", a=spot, b=spot)
    with pytest.raises(ValueError, match=r"has no table of a; its names differ$"):
        load(truth, [tables(tmp_path / "d", c=spot, d=spot)])
    with pytest.raises(ValueError, match=r"has no table of b$"):
        load(truth, [tables(tmp_path / "e", a=spot, d=spot)])


def test_positions_in_micrometres_need_the_size_of_a_pixel(tmp_path):
    path = tmp_path / "t" / "a.csv"
    path.parent.mkdir()
    path.write_text("y,x\n1.0,2.0\n")
    with pytest.raises(ValueError, match="size of a pixel is not known"):
        load(path, [], unit="um")
    size = PixelSize(None, 0.5, 0.25)
    for place in (path, path.parent):
        (case,), _ = load(place, [], unit="um", pixel_size=size)
        assert case.points.tolist() == [[2.0, 8.0]]


def test_a_probability_must_exceed_the_threshold():
    spots = np.array([[1.0, 2.0, 0.5], [3.0, 4.0, 0.51]])
    assert Method("m", [spots], 0.5).kept(0).tolist() == [[3.0, 4.0]]
    assert Method("m", [spots]).kept(0).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_planes_that_any_method_has_are_cases(tmp_path):
    spot = {"y": [1.0], "x": [2.0]}
    truth = tables(tmp_path / "t", a=spot | {"frame": [0]}, b={"y": [], "x": []})
    one = tables(tmp_path / "1", a=spot | {"frame": [3]}, b={"y": [], "x": []})
    two = tables(tmp_path / "2", a=spot | {"frame": [5]}, b={"y": [], "x": []})
    cases, _ = load(truth, [one, two])
    assert [case.place for case in cases] == [
        (0, 0, 0),
        (3, 0, 0),
        (5, 0, 0),
        (0, 0, 0),
    ]


def test_a_model_brings_its_threshold_and_doubtful_candidates(tmp_path, general):
    dense = simulate((256, 256), np.random.default_rng(3), ranges=PRESETS["smfish"])
    of_scenes([dense], (0, 0, 1), 0).save(tmp_path / "d.npz")
    (case,), (own, stricter) = load(tmp_path / "d.npz", ["general", "precise"])
    assert own.threshold == general.metadata.threshold != stricter.threshold
    assert own.spots[0].shape[1] == 3
    assert 0.05 < own.spots[0][:, 2].min() < own.threshold
    assert case.plane is not None
    _, (asked,) = load(tmp_path / "d.npz", ["general"], threshold=0.9)
    assert asked.threshold == 0.9
    assert asked.spots[0].tolist() == own.spots[0].tolist()


def test_tables_of_ome_tiffs_are_those_of_their_samples(general, scene, tmp_path):
    """The image is called a.ome.tif, its table a.ome.csv, its labels a.csv."""
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.ome.tif", scene.image)
    labels = pd.DataFrame(scene.points, columns=["y", "x"])
    labels.to_csv(tmp_path / "in" / "a.csv", index=False)
    made = call_blinkcore("dataset", "create", "in", "in", "-o", "d.npz", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    done = call_blinkcore(
        "predict", "in/a.ome.tif", "-o", "out", "--format", "napari.csv,roi",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for part in ("train", "valid", "test"):
        done = call_blinkcore("evaluate", "d.npz", "out", "--split", part, cwd=tmp_path)
        if "has no split" not in done.stderr:
            assert done.returncode == 0, done.stderr
            break
    else:
        pytest.fail("the sample is in no split")
