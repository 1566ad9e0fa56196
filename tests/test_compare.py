import json

import numpy as np
import pandas as pd
import pytest

from blinkcore import io
from blinkcore.datasets import dataset
from blinkcore.evaluation import compare
from blinkcore.evaluation.compare import _interval
from blinkcore.evaluation.methods import Case, Method
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
        (("d.npz", "general", "--split", "valid"), "no split 'valid'"),
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
