"""What the plots of an evaluation show."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from blinkcore import io
from blinkcore.datasets.dataset import of_scenes
from blinkcore.evaluation.methods import Case, Method, load
from blinkcore.evaluation.plots import plot
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate

Figure = pytest.importorskip("matplotlib.figure").Figure


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
