"""The KNIME extension: its runner with the real program, its nodes in KNIME's Python code.

The nodes need a checkout of knime/knime-python, named by KNIME_PYTHON, and the versions of
pandas, pyarrow and Markdown that it works with (see knime/README.md). What runs then is
KNIME's own code for parameters, schemas and Arrow tables; the Java side is not here.
"""

import importlib.util
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

from blinkcore import predict

KNIME = Path(__file__).parents[1] / "knime"
CHECKOUT = os.environ.get("KNIME_PYTHON")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def cli():
    spec = importlib.util.spec_from_file_location(
        "blinkcore_cli", KNIME / "src" / "blinkcore_cli.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["blinkcore_cli"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def images(tmp_path, examples):
    """Two files of one name in two folders, one with spots and one without."""
    cells = tifffile.imread(examples / "cells.tif")
    paths = [tmp_path / "a b" / "x.tif", tmp_path / "c" / "x.tif"]
    for path, pixels in zip(paths, (cells, np.full_like(cells, 100)), strict=True):
        path.parent.mkdir()
        tifffile.imwrite(path, pixels)
    return [str(path) for path in paths]


def promised(cli, table, *, measured=False):
    kinds = cli.columns(measured=measured)
    assert list(table.columns) == list(kinds)
    for name, kind in kinds.items():
        if kind != "string":
            assert table[name].dtype == kind, name
    assert table.index.equals(pd.RangeIndex(len(table)))


def test_spots_are_those_of_the_program(cli, images):
    shares = []
    found = cli.predict(
        images, n_pictures=1, progress=lambda share, text: shares.append(share)
    )
    promised(cli, found.spots)
    expected = predict(images[0])
    assert len(expected) > 10
    own = found.spots[found.spots["image"] == images[0]]
    np.testing.assert_allclose(own[["y", "x"]], expected[["y", "x"]], atol=1e-4)
    assert found.failed == []
    assert shares[-1] == 1.0
    (picture,) = found.pictures
    assert picture[:4] == b"\x89PNG"


def test_no_images_and_no_spots_keep_the_schema(cli, images):
    promised(cli, cli.predict([]).spots)
    found = cli.predict([images[1]], radius=3)
    promised(cli, found.spots, measured=True)
    assert len(found.spots) == 0


def test_a_broken_image_is_named_and_the_others_are_done(cli, images, tmp_path):
    broken = tmp_path / "text.tif"
    broken.write_text("no image")
    found = cli.predict([str(broken), *images])
    assert len(found.failed) == 1
    assert "text.tif" in found.failed[0]
    assert set(found.spots["image"]) == {images[0]}


def test_the_programs_sentence_is_the_error(cli, images):
    with pytest.raises(cli.ProgramError, match="there is no model 'nosuch'"):
        cli.predict(images, model="nosuch")
    with pytest.raises(cli.ProgramError, match="there is no model 'nosuch'"):
        cli.model_metadata("nosuch")


def test_a_thousand_paths_go_through_a_file(cli, images):
    found = cli.predict([images[1]] * 5000)  # one path is read once
    assert found.failed == []


def test_cancel_ends_the_program_within_a_second(cli, tmp_path):
    big = tmp_path / "big.tif"
    tifffile.imwrite(big, np.zeros((200, 1024, 1024), np.uint8), imagej=True)
    canceled = threading.Event()
    threading.Timer(3.0, canceled.set).start()
    moment = []

    def is_canceled():
        if canceled.is_set() and not moment:
            moment.append(time.monotonic())
        return canceled.is_set()

    with pytest.raises(cli.Canceled):
        cli.predict([str(big)], is_canceled=is_canceled)
    assert time.monotonic() - moment[0] < 1.5  # not a speed: a promise to the host


def test_scores_are_those_of_the_program(cli):
    truth = pd.DataFrame(
        {"image": ["a", "a", "b"], "y": [1.0, 20, 5], "x": [1.0, 9, 5]}
    )
    detected = truth.assign(y=truth["y"] + 1.0).iloc[[0, 2]]
    scores = cli.evaluate(truth, detected, cutoff=1.5)
    assert scores["recall"] == pytest.approx((0.5 + 1.0) / 2)
    assert scores["precision"] == 1.0
    assert scores["rmse"] == pytest.approx(1.0)
    assert cli.evaluate(truth, detected, cutoff=0.5)["f1"] == 0.0


def test_the_layout_is_what_knime_needs():
    assert not (KNIME / "__init__.py").exists()
    assert not (KNIME / "extension.py").exists()
    assert (KNIME / "src" / "blinkcore_nodes.py").exists()
    with PIL.Image.open(KNIME / "icons" / "blinkcore.png") as icon:
        assert icon.size == (16, 16)
    text = (KNIME / "knime.yml").read_text(encoding="utf-8")
    assert 'version: "0.1.0"' in text  # a string, not a number
    assert "extension_module: src/blinkcore_nodes\n" in text


# The nodes, in KNIME's own Python code.


class Context:
    """What a node is given by KNIME."""

    def __init__(self):
        self.warnings, self.shares = [], []

    def set_warning(self, text):
        self.warnings.append(text)

    def set_progress(self, share, text=""):
        self.shares.append(share)

    def is_canceled(self):
        return False


@pytest.fixture(scope="module")
def nodes(cli):
    if not CHECKOUT:
        pytest.skip("needs KNIME_PYTHON, a checkout of knime/knime-python")
    if int(pd.__version__.partition(".")[0]) > 2:
        pytest.skip("KNIME's table code needs pandas 2")
    for part in ("", ".nodes", ".views", ".arrow", ".arrow.types"):
        sys.path.append(f"{CHECKOUT}/org.knime.python3{part}/src/main/python")
    sys.path.append(str(KNIME / "src"))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripts of views that only KNIME has
        import blinkcore_nodes
        import knime._arrow._backend
        import knime._arrow._table
        import knime.api.table
    backend = knime._arrow._table._ArrowBackend(lambda: None)
    knime.api.table._backend = backend
    return blinkcore_nodes


def table_of(**columns):
    import knime.api.table

    return knime.api.table.Table.from_pandas(pd.DataFrame(columns))


def paths_of(values):
    return table_of(file=pd.array(values, dtype="string"))


def set_up(node, **values):
    """Validate and set parameters as KNIME does, from nested values."""
    import knime.extension.parameter as parameters

    content = parameters.extract_parameters(node)
    for name, value in values.items():
        *groups, last = name.split("__")
        place = content["model"]
        for group in groups:
            place = place[group]
        place[last] = value
    parameters.validate_parameters(node, content, "0.1.0")
    parameters.inject_parameters(node, content, "0.1.0", False)
    return node


def same_schema(table, schema):
    assert list(table.schema.column_names) == list(schema.column_names)
    assert [c.ktype for c in table.schema] == [c.ktype for c in schema]


def test_detection_gives_the_promised_table(nodes, images):
    node, context = set_up(nodes.SpotDetection()), Context()
    table = paths_of([images[0], None, images[1]])
    schema = node.configure(context, table.schema)
    assert "taken for the files" in context.warnings[0]
    spots, view = node.execute(context, table)
    same_schema(spots, schema)
    expected = predict(images[0])
    found = spots.to_pandas()
    np.testing.assert_allclose(found[["y", "x"]], expected[["y", "x"]], atol=1e-4)
    assert found.index.is_unique
    assert "1 missing cells were skipped" in context.warnings[-1]
    assert context.shares[-1] == 1.0
    assert view.html.count("data:image/png") == 2


def test_detection_without_spots_keeps_the_schema(nodes, images):
    node, context = set_up(nodes.SpotDetection(), images__measures=True), Context()
    table = paths_of([images[1]])
    schema = node.configure(context, table.schema)
    spots, _ = node.execute(context, table)
    same_schema(spots, schema)
    assert spots.num_rows == 0


def test_detection_takes_the_model_of_a_reader(nodes, images):
    reader, context = set_up(nodes.SpotModelReader()), Context()
    model = reader.execute(context)
    same_schema(model, reader.configure(context))
    assert model.to_pandas()["model"].tolist() == ["general"]
    node = set_up(nodes.SpotDetection(), spots__model="nosuch", column="file")
    table = paths_of(images)
    node.configure(context, table.schema, model.schema)
    spots, _ = node.execute(context, table, model)
    assert spots.num_rows > 10


def test_errors_are_sentences_for_the_user(nodes, images, tmp_path):
    import knime.extension as knext

    node, context = set_up(nodes.SpotDetection(), column="file"), Context()
    broken = tmp_path / "b.tif"
    broken.write_text("no image")
    with pytest.raises(knext.InvalidParametersError, match=r"b\.tif"):
        node.execute(context, paths_of([str(broken)]))
    wrong = set_up(nodes.SpotDetection(), column="file", spots__model="nosuch")
    with pytest.raises(knext.InvalidParametersError, match="no model 'nosuch'"):
        wrong.execute(context, paths_of(images))
    with pytest.raises(knext.InvalidParametersError, match="not in the table"):
        node.configure(context, table_of(other=["a"]).schema)
    with pytest.raises(knext.InvalidParametersError, match="no column of String"):
        nodes.SpotDetection().configure(context, table_of(n=[1.0]).schema)
    with pytest.raises(ValueError, match="name or the file of a model"):
        set_up(nodes.SpotDetection(), spots__model=" ")
    with pytest.raises(ValueError, match="max value"):
        set_up(nodes.SpotDetection(), spots__threshold=1.5)


def test_paths_elsewhere_are_refused(nodes):
    class Location:
        fs_category, path = "RELATIVE", "/data/a.tif"

    with pytest.raises(ValueError, match="is not on this computer"):
        nodes._local_path(Location())
    Location.fs_category = "LOCAL"
    assert nodes._local_path(Location()) == "/data/a.tif"


def test_evaluation_gives_scores(nodes):
    node, context = set_up(nodes.SpotEvaluation(), cutoff=2.0), Context()
    truth = table_of(y=[1.0, 20.0], x=[1.0, 9.0])
    detected = table_of(y=[1.0, 40.0], x=[1.5, 9.0])
    schema = node.configure(context, truth.schema, detected.schema)
    scores = node.execute(context, truth, detected)
    same_schema(scores, schema)
    row = scores.to_pandas().iloc[0]
    assert (row["f1"], row["rmse"], row["n_truth"]) == (0.5, 0.5, 2)
    import knime.extension as knext

    with pytest.raises(knext.InvalidParametersError, match="no column 'y'"):
        node.configure(context, table_of(a=[1.0]).schema, detected.schema)


def test_evaluation_knows_images_without_labels_or_detections(cli):
    """The detection node always gives frame, channel and z; labels need not."""
    truth = pd.DataFrame({"image": ["a", "b"], "y": [1.0, 5], "x": [1.0, 5]})
    zero = {"frame": 0, "channel": 0, "z": 0.0}
    same = cli.evaluate(truth, truth.assign(**zero), cutoff=3.0)
    assert same["f1"] == 1.0
    detected = pd.DataFrame({"image": ["a", "c"], "y": [1.0, 5], "x": [1.0, 5]})
    scores = cli.evaluate(truth, detected.assign(**zero), cutoff=3.0)
    assert scores["recall"] < 0.7
    assert scores["precision"] < 0.7


def test_a_late_failure_is_an_error(cli, images, monkeypatch):
    def full(words, status, tell, is_canceled):
        content = {"ok": False, "error": "disk full", "failed": []}
        status.write_text(__import__("json").dumps(content))
        return ""

    monkeypatch.setattr(cli, "run", full)
    with pytest.raises(cli.ProgramError, match="disk full"):
        cli.predict(images)
