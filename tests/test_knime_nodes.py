"""The KNIME nodes, held by KNIME's own node proxy, with tables in Arrow files.

They need a checkout of knime/knime-python, named by KNIME_PYTHON, and the versions of
pandas, pyarrow and Markdown that it works with (see knime/README.md). What runs then is
KNIME's own Python code, from the JSON of a dialog to the Arrow file of a result. Java is
not here: the classes below stand where it would.
"""

import json
import os
import sys
import threading
import warnings
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore import predict
from knime_backend import Failed, Java, Node, same_schema, table_in

KNIME = Path(__file__).parents[1] / "knime"
CHECKOUT = os.environ.get("KNIME_PYTHON")
pytestmark = pytest.mark.slow

# Every node, and the names of its inputs.
PORTS = {
    "spot_detection": ["Input Images # 0", "Model"],
    "spot_model_reader": [],
    "spot_evaluation": ["Input True spots # 0", "Input Detected spots # 1"],
    "spot_counts": ["Input Spots # 0", "Images"],
    "spot_linking": ["Input Spots # 0"],
}
FS_LOCATION = json.dumps(
    {
        "type": "struct",
        "traits": {
            "logical_type": '{"value_factory_class":"org.knime.filehandling.core.data'
            '.location.FSLocationValueFactory"}'
        },
        "inner": [{"type": "simple", "traits": {}}] * 3,
    }
)


@pytest.fixture(scope="module")
def backend():
    """KNIME's backend with the extension loaded, as in the process that KNIME starts."""
    if not CHECKOUT:
        pytest.skip("needs KNIME_PYTHON, a checkout of knime/knime-python")
    if int(pd.__version__.partition(".")[0]) > 2:
        pytest.skip("KNIME's table code needs pandas 2")
    for part in ("", ".nodes", ".views", ".arrow", ".arrow.types"):
        sys.path.append(f"{CHECKOUT}/org.knime.python3{part}/src/main/python")
    sys.path.append(str(KNIME / "src"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripts of views that only KNIME has
        import _node_backend_launcher as launcher
        import knime._arrow._backend
        import knime._backend._gateway as gateway
        import knime._views
        import knime.api.types

        gateway.client_server = MagicMock()  # Java's classes, which take any schema
        launcher._to_java_list = list
        launcher._create_linked_hashmap = dict
        knime.api.types.register_python_value_factory(
            "knime.types.builtin",
            "FSLocationValueFactory",
            "Path",
            '{"type": "struct", "inner_types": ["string", "string", "string"]}',
            FS_LOCATION,
            "knime.types.builtin.FSLocationValue",
        )
        backend = launcher._KnimeNodeBackend()
        backend.loadExtension("blinkcore", "blinkcore_nodes", "0.1.0")
    return backend


@pytest.fixture
def table(backend, tmp_path):
    """Function that writes columns as a table of KNIME and gives its file."""
    import knime._arrow._table as arrow
    import knime._backend._gateway as gateway
    import knime.api.table

    java = Java(tmp_path / "in")
    java.folder.mkdir()

    def write(**columns):
        file = java.new_file()
        sink = gateway.data_sink_mapper(file)
        knime.api.table._backend = arrow._ArrowBackend(lambda: sink)
        made = knime.api.table.Table.from_pandas(pd.DataFrame(columns))
        made._write_to_sink(sink)
        sink.close()
        knime.api.table._backend = None
        return file

    return write


@pytest.fixture
def paths(table):
    return lambda values: table(file=pd.array(values, dtype="string"))


@pytest.fixture
def new(backend, tmp_path):
    def make(node_id):
        folder = tmp_path / f"out-{node_id}"
        folder.mkdir(exist_ok=True)
        return Node(backend, node_id, PORTS[node_id], folder)

    return make


def test_knime_lists_the_nodes_with_their_descriptions(backend):
    nodes = {n["id"]: n for n in json.loads(backend.retrieveNodesAsJson())}
    assert set(nodes) == set(PORTS)
    for node in nodes.values():
        assert node["short_description"].endswith(".")
        assert "Missing" not in node["full_description"]
        assert node["icon_path"] == "icons/blinkcore.png"
    (category,) = json.loads(backend.retrieveCategoriesAsJson())
    assert category["level_id"] == "blinkcore"


def test_detection_gives_the_promised_table(new, paths, images):
    node, files = new("spot_detection"), paths([images[0], None, images[1]])
    spec, _, _ = node.configure(files)
    assert "Using the column 'file'" in node.java.warnings[0]
    made, _, _ = node.execute(files)
    same_schema(made, spec)
    expected = predict(images[0])
    found = table_in(made).to_pandas()
    assert len(found) == made.size
    np.testing.assert_allclose(found[["y", "x"]], expected[["y", "x"]], atol=1e-4)
    assert found.index.is_unique
    assert "1 missing cells were skipped" in node.java.warnings[-1]
    assert node.java.shares[-1] == 1.0
    page = node.java.view.read_text(encoding="utf-8")
    assert page.count("data:image/png") == 2


def test_detection_takes_paths_of_list_files(new, table, images):
    from knime.types.builtin import FSLocationValue

    values = [FSLocationValue("LOCAL", None, path) for path in images]
    files = table(Path=pd.Series([*values, None]))
    node = new("spot_detection").set(column="Path")
    spec, _, _ = node.configure(files)
    made, _, _ = node.execute(files)
    same_schema(made, spec)
    assert set(table_in(made).to_pandas()["image"]) == {images[0]}
    assert "1 missing cells were skipped" in node.java.warnings[-1]
    elsewhere = table(Path=pd.Series([FSLocationValue("RELATIVE", "x", "/data/a.tif")]))
    node.configure(elsewhere)
    with pytest.raises(Failed, match=r"/data/a\.tif is not on this computer") as failed:
        node.execute(elsewhere)
    assert failed.value.known


def test_detection_without_spots_keeps_the_schema(new, paths, images):
    node, files = new("spot_detection").set(images__measured="fit"), paths([images[1]])
    spec, _, _ = node.configure(files)
    made, _, _ = node.execute(files)
    same_schema(made, spec)
    assert made.size == 0


def test_detection_takes_the_model_of_a_reader(new, paths, images):
    reader, node = new("spot_model_reader"), new("spot_detection")
    (spec,) = reader.configure()
    (model,) = reader.execute()
    same_schema(model, spec)
    assert table_in(model).to_pandas()["model"].tolist() == ["general"]
    node.set(spots__model="nosuch", column="file")
    files = paths(images)
    node.configure(files, model)
    made, _, _ = node.execute(files, model)
    assert made.size > 10


def test_the_dialog_shows_its_fields(new, paths, images):
    dialog = new("spot_detection").dialog(paths(images))
    assert dialog["data"]["model"]["spots"]["threshold"] == 0.5
    labels = json.dumps(dialog["ui_schema"])
    for name in ("column", "spots", "images"):
        assert name in labels


def test_errors_are_sentences_for_the_user(new, paths, table, images, tmp_path):
    broken = tmp_path / "b.tif"
    broken.write_text("no image")
    node = new("spot_detection").set(column="file")

    def fails(words, call, *arguments):
        with pytest.raises(Failed, match=words) as failed:
            call(*arguments)
        assert failed.value.known, failed.value.details

    fails(r"b\.tif", node.execute, paths(["", str(broken), str(broken)]))
    fails("not in the table", node.configure, table(other=["a"]))
    fails("no column of String", new("spot_detection").configure, table(n=[1.0]))
    fails("not one of a Spot Model Reader", node.configure, paths(images), table(n=[1]))
    node.set(spots__model="nosuch")
    fails("no model 'nosuch'", node.execute, paths(images))
    fails("name or the file of a model", lambda: node.set(spots__model=" "))
    fails("max value", lambda: node.set(spots__threshold=1.5))


def test_a_canceled_node_says_so_and_nothing_else(new, paths, tmp_path):
    big = tmp_path / "big.tif"
    tifffile.imwrite(big, np.zeros((200, 1024, 1024), np.uint8), imagej=True)
    node = new("spot_detection").set(column="file")
    threading.Timer(2.0, node.java.canceled.set).start()
    with pytest.raises(Failed, match="Canceled"):
        node.execute(paths([str(big)]))


def test_evaluation_gives_scores(new, table):
    node = new("spot_evaluation").set(cutoff=2.0)
    truth = table(y=[1.0, 20.0], x=[1.0, 9.0])
    detected = table(y=[1.0, 40.0], x=[1.5, 9.0])
    (spec,) = node.configure(truth, detected)
    (made,) = node.execute(truth, detected)
    same_schema(made, spec)
    row = table_in(made).to_pandas().iloc[0]
    assert (row["f1"], row["rmse"], row["n_truth"]) == (0.5, 0.5, 2)
    with pytest.raises(Failed, match="no column 'y'"):
        node.configure(table(a=[1.0]), detected)


def test_detection_feeds_evaluation(new, paths, images):
    """A table goes from one node into the next, as in a workflow."""
    files = paths([images[0]])
    detection = new("spot_detection").set(column="file")
    spots, _, _ = detection.execute(files)
    node = new("spot_evaluation")
    node.configure(spots, spots)
    (made,) = node.execute(spots, spots)
    assert table_in(made).to_pandas()["f1_integral"].tolist() == [1.0]


def test_counts_have_images_without_spots(new, paths, images):
    files = paths(images)
    spots, _, _ = new("spot_detection").set(column="file").execute(files)
    node = new("spot_counts").set(column="file")
    (spec,) = node.configure(spots, files)
    (made,) = node.execute(spots, files)
    same_schema(made, spec)
    rows = table_in(made).to_pandas().set_index("image")
    assert rows.loc[images[0], "n"] == spots.size
    assert rows.loc[images[1], ["n", "expected"]].tolist() == [0, 0]


def test_images_that_could_not_be_read_do_not_count_as_empty(
    new, paths, images, tmp_path
):
    broken = tmp_path / "b.tif"
    broken.write_text("no image")
    detection = new("spot_detection").set(column="file")
    files = paths([*images, str(broken)])
    _, spec, of_counts = detection.configure(files)
    spots, searched, counts = detection.execute(files)
    same_schema(searched, spec)
    same_schema(counts, of_counts)
    rows = table_in(searched).to_pandas().set_index("image")
    assert rows["n"].tolist()[:2] == [spots.size, 0]
    assert rows["n"].isna().tolist() == rows["error"].notna().tolist() == [0, 0, 1]
    node = new("spot_counts")
    (spec,) = node.configure(spots, searched)
    (made,) = node.execute(spots, searched)
    same_schema(made, spec)
    counts = table_in(made).to_pandas()
    assert sorted(counts["image"]) == sorted(images)


def test_spots_are_linked(new, table):
    spots = table(
        image=["a", "b", "a", "a"], frame=[0, 0, 1, 0], channel=[0] * 4,
        y=[1.0, 1.0, 2.0, 40.0], x=[5.0] * 4,
    )  # fmt: skip
    node = new("spot_linking").set(radius=3.0)
    spec, of_tracks = node.configure(spots)
    made, described = node.execute(spots)
    same_schema(made, spec)
    same_schema(described, of_tracks)
    tracks = table_in(made).to_pandas()["track"].tolist()
    assert tracks[0] == tracks[2]
    assert len(set(tracks)) == 3
    with pytest.raises(Failed, match="no column 'frame'"):
        node.configure(table(image=["a"], y=[1.0], x=[1.0]))
