import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from blinkcore import io
from blinkcore.datasets import dataset
from blinkcore.datasets.dataset import of_scenes
from blinkcore.evaluation import compare
from blinkcore.evaluation.compare import _interval
from blinkcore.evaluation.methods import Case, Method, load
from blinkcore.evaluation.plots import plot
from blinkcore.image import PixelSize
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate
from programs import call_blinkcore


@pytest.fixture
def cases():
    rng = np.random.default_rng(0)
    return [
        Case(f"c{i}", f"s{i // 2}", rng.uniform(0, 100, (20, 2))) for i in range(12)
    ]


def method(cases, name, keep=1.0, error=0.1, seed=0):
    """Find a share of the spots, with an error."""
    rng = np.random.default_rng(seed)
    found = [
        c.points[: round(keep * len(c.points))]
        + rng.normal(0, error, (round(keep * len(c.points)), 2))
        for c in cases
    ]
    return Method(name, found)


def test_scores_and_differences_are_those_of_known_methods(cases):
    methods = [method(cases, "all"), method(cases, "half", keep=0.5)]
    summary = compare.summarize(compare.score(cases, methods))
    whole, half = (summary["methods"][n] for n in ("all", "half"))
    assert whole["recall"][0] == 1.0
    assert half["recall"][0] == pytest.approx(0.5, abs=0.03)
    assert whole["rmse"][0] == pytest.approx(0.1 * np.sqrt(2), rel=0.15)
    mean, low, high = summary["differences"][0]["f1_integral"]
    assert low < mean < high
    assert low > 0.2
    assert (summary["cases"], summary["images"]) == (12, 6)


def test_a_method_less_itself_is_exactly_zero(cases):
    methods = [method(cases, "a"), method(cases, "b")]
    (difference,) = compare.summarize(compare.score(cases, methods))["differences"]
    assert difference["f1_integral"] == [0.0, 0.0, 0.0]


def test_one_image_tells_nothing_of_others():
    cases = [Case(f"c{i}", "one", np.array([[5.0, 5.0 + i]])) for i in range(3)]
    summary = compare.summarize(
        compare.score(cases, [method(cases, "a"), method(cases, "b", seed=1)])
    )
    assert summary["methods"]["a"]["f1"] == [1.0, None, None]
    assert summary["differences"][0]["f1_integral"][1:] == [None, None]


def test_intervals_draw_whole_images():
    """Cases of one image that are all alike leave the width of as many images."""
    values = np.repeat([0.0, 1.0] * 10, 50)
    table = pd.DataFrame({"method": "m", "source": np.repeat(np.arange(20), 50)})
    low, high = compare._interval(values, compare._draws(table, 0))[1:]
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(20), rel=0.2)


def test_the_cutoff_decides(cases):
    far = method(cases, "far", error=2.0)
    near, wide = (
        compare.score(cases, [far], cutoff=c)["recall"].mean() for c in (0.5, 6.0)
    )
    assert near < 0.2
    assert wide > 0.9


@pytest.fixture
def labelled(tmp_path, scene, easy):
    from blinkcore.simulation.scenes import simulate

    scenes = [
        simulate((96, 96), np.random.default_rng(i), ranges=easy) for i in range(6)
    ]
    dataset.of_scenes(scenes, (0, 0, 1), 0).save(tmp_path / "d.npz")
    for folder, shift in (("truth", 0.0), ("other", 0.2)):
        for i, s in enumerate(scenes):
            table = pd.DataFrame(s.points + shift, columns=["y", "x"])
            io.write_spots(table, tmp_path / folder / f"scene{i:05d}.csv")
    return tmp_path


def evaluate(*arguments, cwd):
    return call_blinkcore("evaluate", *arguments, cwd=cwd)


@pytest.mark.slow
def test_models_and_tables_side_by_side(labelled):
    options = ("--cutoff", "3", "--cutoff", "0.25", "-o", "out")
    done = evaluate("d.npz", "general", "other", *options, cwd=labelled)
    assert done.returncode == 0, done.stderr
    assert "F1 integral, general less other" in done.stdout
    assert "F1 at 0.25 px" in done.stdout
    summary = json.loads((labelled / "out" / "summary.json").read_text())
    assert summary["methods"]["other"]["rmse"][0] == pytest.approx(
        0.2 * np.sqrt(2), abs=1e-4
    )
    assert summary["methods"]["general"]["f1"][0] > 0.9
    rows = pd.read_csv(labelled / "out" / "scores.csv")
    assert len(rows) == 2 * 12
    recall = rows.groupby(["method", "cutoff"])["recall"].mean()["other"]
    assert recall[3.0] == 1.0
    assert recall[0.25] < 0.05  # all are 0.28 px off
    groups = pd.read_csv(labelled / "out" / "groups.csv")
    of_image = groups[groups["group"].str.startswith("image ")]
    assert set(of_image["images"]) == {1}
    assert of_image["mean"].notna().any()
    assert of_image[["low", "high"]].isna().all(axis=None)
    assert groups["group"].str.startswith("SNR ").any()
    assert (labelled / "out" / "plots.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_tables_alone_and_two_single_files(labelled):
    done = evaluate("truth", "other", cwd=labelled)
    assert done.returncode == 0, done.stderr
    assert "0.283" in done.stdout
    one = evaluate("truth/scene00000.csv", "other/scene00001.csv", cwd=labelled)
    assert one.returncode == 0, one.stderr


def test_wrong_use_is_one_sentence(labelled):
    for arguments, words in (
        (("truth", "general"), "labels only"),
        (("d.npz", "nosuch"), "no model 'nosuch'"),
        (("d.npz", "general", "--part", "valid"), "no part 'valid'"),
        (
            ("truth", "d.npz"),
            "d.npz cannot be used as a model: it is not a TorchScript",
        ),
        (("nothing", "other"), "nothing"),
        (("truth", "other", "--cutoff", "0"), "--cutoff"),
    ):
        done = evaluate(*arguments, cwd=labelled)
        assert done.returncode == 2, arguments
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


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


def test_errors_at_best_are_those_of_the_bound(tmp_path):
    """From a data set and from tables: as many spots, a tenth of a pixel or so apart."""
    from blinkcore.evaluation.plots import _ERROR_BINS, _expected_errors

    scene = simulate((256, 256), np.random.default_rng(3), ranges=PRESETS["particle"])
    of_scenes([scene], (0, 0, 1), 0).save(tmp_path / "d.npz")
    truth = pd.DataFrame(scene.points, columns=["y", "x"])
    (tmp_path / "labels").mkdir()
    truth["cramer_rao"] = scene.cramer_rao()
    io.write_spots(truth, tmp_path / "labels" / "a.csv")
    expected = []
    for path in (tmp_path / "d.npz", tmp_path / "labels"):
        cases, methods = load(path, [str(tmp_path / "labels")] if path.is_dir() else [])
        assert cases[0].points.shape == scene.points.shape
        assert all(method.spots[0].shape[1] == 2 for method in methods)
        expected.append(_expected_errors(cases))
    np.testing.assert_allclose(*expected, atol=0.5)
    assert expected[0].sum() == pytest.approx(len(scene.points), abs=1)
    middle = np.average(_ERROR_BINS[:-1] + 0.05, weights=expected[0])
    assert middle == pytest.approx(
        np.sqrt(np.pi / 2) * scene.cramer_rao().mean(), abs=0.03
    )
    assert _expected_errors([cases[0], replace(cases[0], cramer_rao=None)]) is None


def test_the_interval_leaves_a_fortieth_on_each_side():
    """A 95 % interval: one resample an image, whose means are 0, 0.001 to 1."""
    values = np.arange(1001) / 1000
    mean, low, high = _interval(values, np.eye(1001, dtype=np.intp))
    assert mean == pytest.approx(0.5)
    assert low == pytest.approx(0.025)
    assert high == pytest.approx(0.975)


def test_groups_are_parts_of_the_planes():
    """By SNR, by thirds of the density and by image; every plane is once in each of them."""
    snr = [-1.0, 1.99, 2.0, 3.9, 4.0, 7.0, 8.0, 9.0, 3.0]
    table = pd.DataFrame(
        {
            "method": "m", "case": list("abcdefghi"), "source": list("zzzyyyxxx"),
            "snr": snr, "density": np.arange(9.0), "n_truth": 1,
            "f1_integral": np.arange(9.0) / 10, "f1": 1.0, "precision": 1.0,
            "recall": 1.0, "rmse": 0.1,
        }
    )  # fmt: skip
    groups = {g["group"]: g for g in compare.summarize(table)["groups"]}
    assert {name: (g["cases"], g["images"]) for name, g in groups.items()} == {
        "SNR -inf to 2": (2, 1),
        "SNR 2 to 4": (3, 3),
        "SNR 4 to 7": (1, 1),
        "SNR 7 to inf": (3, 2),
        "low density, 0 to 2.7 / 1000 px²": (3, 1),
        "middle density, 2.7 to 5.3 / 1000 px²": (3, 1),
        "high density, 5.3 to 8 / 1000 px²": (3, 1),
        "image z": (3, 1),
        "image y": (3, 1),
        "image x": (3, 1),
    }
    assert list(groups)[-3:] == ["image z", "image y", "image x"]
    mean, low, high = groups["SNR 7 to inf"]["methods"]["m"]["f1_integral"]
    assert (mean, low, high) == pytest.approx((0.6, 0.5, 0.65))
    of_one_image = groups["image y"]["methods"]["m"]["f1_integral"]
    assert of_one_image == [pytest.approx(0.4), None, None]
    without = compare.summarize(table.drop(columns=["snr", "density"]))["groups"]
    assert [g["group"] for g in without] == ["image z", "image y", "image x"]


def test_a_summary_is_drawn_anew_only_by_another_seed(cases):
    scores = compare.score(cases, [method(cases, "a", keep=0.7, error=1.0)])
    one, same, other = (compare.summarize(scores, seed=s) for s in (0, 0, 1))
    assert one == same == compare.summarize(scores)
    drawn, anew = (s["methods"]["a"]["f1_integral"] for s in (one, other))
    assert drawn[0] == anew[0]
    assert drawn[1:] != anew[1:]
    assert one["groups"] != []


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


def test_plots_show_what_they_say(tmp_path, monkeypatch):
    figures = []
    draw = Figure.savefig

    def kept(figure, *arguments, **options):
        figures.append(figure)
        return draw(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", kept)
    points = np.array([[10.0, 10.0], [30.0, 30.0], [50.0, 50.0], [70.0, 70.0]])
    case = Case("a", "a", points, cramer_rao=np.full(4, 0.5))
    found = np.column_stack([points[:3], [0.9, 0.5, 0.22]])
    found[:, 0] += [0.25, 0.25, 2.05]
    methods = [Method("model", [found], 0.3), Method("table", [found[:1, :2]])]
    plot([case], methods, tmp_path / "p.png")
    f1, precision_recall, errors = figures[0].axes
    assert (f1.get_xlabel(), f1.get_ylabel(), f1.get_ylim()) == (
        "cutoff, px",
        "F1",
        (0, 1),
    )
    assert [line.get_label() for line in f1.lines] == ["model", "table"]
    assert f1.lines[0].get_ydata()[-1] == pytest.approx(2 * 2 / 6)  # two above 0.3
    assert f1.lines[1].get_ydata()[-1] == pytest.approx(2 * 1 / 5)
    labels = precision_recall.get_xlabel(), precision_recall.get_ylabel()
    assert labels == ("recall", "precision")
    assert precision_recall.get_xlim() == (0, 1)
    assert precision_recall.get_ylim() == (0, 1.02)
    curve, point = precision_recall.lines
    assert curve.get_xdata()[[0, 8, -1]].tolist() == [
        0.75,
        0.5,
        0.0,
    ]  # 0.05, 0.45, 0.95
    assert curve.get_linestyle() == "-"
    assert (point.get_xdata().tolist(), point.get_ydata().tolist()) == ([0.25], [1.0])
    assert point.get_marker() == "o"
    assert (errors.get_xlabel(), errors.get_ylabel()) == (
        "distance to the true spot, px", "spots",
    )  # fmt: skip
    outlines = [patch.get_path().vertices for patch in errors.patches[:2]]
    assert [outline[:, 1].max() for outline in outlines] == [2, 1]
    (bound,) = (text for text in errors.get_legend().get_texts())
    assert bound.get_text() == "Cramér-Rao bound, all spots"


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
    assert case.image is not None
    _, (asked,) = load(tmp_path / "d.npz", ["general"], threshold=0.9)
    assert asked.threshold == 0.9
    assert asked.spots[0].tolist() == own.spots[0].tolist()
