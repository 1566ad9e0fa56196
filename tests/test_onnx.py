"""Models in ONNX: the same grids and spots, and files that do harm are refused."""

import numpy as np
import pandas as pd
import pytest

from blinkcore import predict
from blinkcore.network.metadata import METADATA_FILE
from blinkcore.network.model import load_model, load_weights, read_metadata
from programs import call_blinkcore, run_blinkcore

onnx = pytest.importorskip("onnx")
TensorProto, helper = onnx.TensorProto, onnx.helper
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "general.onnx"
    done = run_blinkcore("export", "general", "--onnx", "-o", path)
    assert done.returncode == 0, done.stderr
    assert "the same grids within" in done.stderr
    return path


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 1, 48, 80), (1, 1, 320, 208)])
def test_grids_are_the_same(exported, single, shape):
    tiles = np.random.default_rng(0).normal(0, 5, shape).astype(np.float32)
    np.testing.assert_allclose(
        load_model(exported, device="cpu")(tiles), single(tiles), atol=1e-4
    )


def test_spots_and_metadata_are_the_same(exported, single, examples):
    spots = predict(examples / "cells.tif", exported)
    expected = predict(examples / "cells.tif", single)
    pd.testing.assert_frame_equal(spots, expected, atol=1e-3)
    assert read_metadata(exported) == single.metadata
    with pytest.raises(ValueError, match=r"give the \.pt file"):
        load_weights(exported)


def of_one_node(exported, operator, **attributes):
    """The file with another network: one operator from image to grid."""
    model = onnx.load(exported)
    node = helper.make_node(operator, ["x"], ["grid"], **attributes)
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", c, "h", "w"])
             for n, c in (("x", 1), ("grid", 3))]  # fmt: skip
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    other = helper.make_model(graph, opset_imports=model.opset_import)
    helper.set_model_props(other, {p.key: p.value for p in model.metadata_props})
    return other


def body():
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_graph([], "body", [], [value])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: of_one_node(p, "Loop", body=body()), "loops"),
        (lambda p: of_one_node(p, "RandomNormalLike"), "RandomNormalLike"),
        (lambda p: of_one_node(p, "Own", domain="com.evil"), "Own"),
        (lambda p: of_one_node(p, "Identity"), "in the place of a grid"),
        (lambda p: external(onnx.load(p)), "its weights lie in other files"),
        (lambda p: external_constant(onnx.load(p)), "other files"),
        (lambda p: sparse_constant(onnx.load(p)), "sparse"),
        (lambda p: dividing(onnx.load(p)), "its network divides whole numbers"),
        (lambda p: without_metadata(onnx.load(p)), f"no {METADATA_FILE}"),
    ],
)
def test_what_no_network_needs_is_refused(exported, make, said, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(make(exported).SerializeToString())
    with pytest.raises(ValueError, match="cannot be used as a model") as caught:
        load_model(path, device="cpu")
    assert said in str(caught.value)


def external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return model


def external_constant(model):
    attribute = model.graph.node[0].attribute.add()
    attribute.tensors.add().data_location = TensorProto.EXTERNAL
    return model


def dividing(model):
    """Divide the size of the image by 0."""
    name = model.graph.input[0].name
    model.graph.node.extend(
        [
            helper.make_node("Shape", [name], ["size"]),
            helper.make_node("Sub", ["size", "size"], ["zero"]),
            helper.make_node("Div", ["size", "zero"], ["ends the process"]),
        ]
    )
    return model


def sparse_constant(model):
    model.graph.node[0].attribute.add().sparse_tensors.add()
    return model


def test_a_file_in_the_format_of_onnxruntime_is_refused(exported, tmp_path):
    """It would run what is there in its own format, and protobuf would read something else."""
    path = tmp_path / "m.onnx"
    # A field that protobuf does not know, and a text, stand before the network.
    content = b"\x78\x01\x7a\x04ORTM" + exported.read_bytes()
    assert onnx.load_from_string(content).graph.node
    path.write_bytes(content)
    with pytest.raises(ValueError, match="onnxruntime's own format"):
        load_model(path, device="cpu")


def without_metadata(model):
    del model.metadata_props[:]
    return model


@pytest.mark.parametrize("content", [b"", b"onnx", b"\x08\x07" + b"\xff" * 100])
def test_damaged_files_are_a_sentence(content, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    done = call_blinkcore("models", "show", path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
