"""A whole experiment by one recipe."""

import json

import numpy as np
import pytest
import tifffile

from programs import call_blinkcore, run_blinkcore


@pytest.fixture
def recipe(tmp_path, examples):
    folder = tmp_path / "in"
    folder.mkdir()
    cells = tifffile.imread(examples / "cells.tif")[:160, :160]
    for name in "ab":
        movie = np.stack([[cells, np.roll(cells, 1, axis=0)]] * 3)
        tifffile.imwrite(
            folder / f"{name}.tif", movie, imagej=True, metadata={"axes": "TCYX"}
        )
    (tmp_path / "samples.csv").write_text(
        "image,condition\na.tif,control\nb.tif,treated\n"
    )
    path = tmp_path / "experiment.yaml"
    path.write_text(
        """
images: in
output: out
samples: samples.csv
predict:
  threshold: 0.5
  format: csv
link:
  radius: 3
  gap: 1
colocalize:
  distance: 2
report:
  contrast: plane
""",
        encoding="utf-8",
    )
    return path


@pytest.mark.slow
def test_all_steps_are_done_once(recipe, tmp_path):
    done = run_blinkcore("run", recipe)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    for name in ("spots/a.csv", "spots/counts.csv", "tracks", "pairs", "report.html"):
        assert (out / name).exists(), name
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "treated" in page
    assert "Colocalization of each image" in page
    about = json.loads((out / "experiment.json").read_text(encoding="utf-8"))
    assert list(about["steps"]) == ["predict", "link", "colocalize", "report"]
    assert about["steps"]["link"]["command"][:2] == ["blinkcore", "link"]
    assert "radius: 3" in about["recipe"]

    again = run_blinkcore("run", recipe)
    assert again.returncode == 0
    assert again.stderr.count("nothing has changed") == 3
    assert "2 skipped" in again.stderr

    recipe.write_text(recipe.read_text().replace("radius: 3", "radius: 4"))
    (tmp_path / "in" / "broken.tif").write_text("no image")
    third = run_blinkcore("run", recipe)
    assert third.returncode == 1
    assert "broken.tif" in third.stderr
    # The links are made again, and so is the report, which shows them.
    assert third.stderr.count("nothing has changed") == 1
    assert "Wrote" in third.stderr


def test_a_changed_mask_is_no_reason_to_skip_the_pairs(recipe, tmp_path):
    (tmp_path / "masks").mkdir()
    for name in "ab":
        mask = np.ones((160, 160), np.uint8)
        tifffile.imwrite(tmp_path / "masks" / f"{name}.tif", mask)
    text = recipe.read_text().partition("link:")[0]
    recipe.write_text(text + "colocalize:\n  labels: masks\n")
    assert run_blinkcore("run", recipe).returncode == 0
    assert run_blinkcore("run", recipe).stderr.count("nothing has changed") == 1
    tifffile.imwrite(tmp_path / "masks" / "a.tif", np.full((160, 160), 7, np.uint8))
    again = run_blinkcore("run", recipe)
    assert again.returncode == 0, again.stderr
    assert "nothing has changed" not in again.stderr
    (tmp_path / "in" / "b.tif").unlink()
    last = run_blinkcore("run", recipe)
    assert "b.tif is not there any more" in last.stderr
    assert "to leave them out" in last.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("images: in\nsamples: none.csv", "none.csv"),
        ("images: in\nlink: {gap: few}", "link: Invalid value for '--gap'"),
        ("images: in\nlink: {radius: abc}", "link: --radius must be"),
        ("images: in\nlink: {format: foo}", "link: --format must be"),
        ("images: in\ncolocalize: {distance: 2parsec}", "--distance must be"),
        ("images: in\ncolocalize: {channels: 5}", "--channels must be"),
        ("images: in\nreport: {contrast: foo}", "report: --contrast must be"),
        ("images: in\ncolocalize: {labels: none}", "colocalize: there is no none"),
        ("images: in\ncolocalize: {calibration: b.tif}", "there is no b.tif"),
        ("images: in\0", "not a text file"),
        ("[1]", "must hold images"),
        ("a: [", "not valid YAML"),
        ("output: x", "'images' must name"),
        ("images: in\npredikt: {}", "did you mean 'predict'?"),
        ("images: in\npredict: {treshold: 0.5}", "did you mean 'threshold'?"),
        ("images: in\nlink: 3", "'link' must hold options"),
        ("images: nowhere", "nowhere"),
        ("images: in\npredict: {threshold: 7}", "threshold"),
    ],
)
def test_a_wrong_recipe_is_a_sentence(text, said, tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(text)
    done = call_blinkcore("run", path)
    assert not (tmp_path / "results").exists()
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_paths_may_hold_any_sign(recipe, tmp_path):
    """`=` in a calibration, `#` in a folder; and a recipe need not make tables."""
    (tmp_path / "in").rename(tmp_path / "in#1")
    shift = {"model": "translation", "matrix": [[1, 0], [0, 1]], "offset": [0, 0]}
    (tmp_path / "s=1.json").write_text(
        json.dumps(shift | {"n_pairs": 9, "residual": 0})
    )
    recipe.write_text(
        "images: in#1\noutput: out\ncolocalize: {calibration: s=1.json}\n"
    )
    done = call_blinkcore("run", recipe)
    assert done.returncode == 0, done.stderr
    assert "not there any more" not in done.stderr
    recipe.write_text("images: in#1\noutput: roi\npredict: {format: roi}\n")
    done = call_blinkcore("run", recipe)
    assert done.returncode == 0, done.stderr
