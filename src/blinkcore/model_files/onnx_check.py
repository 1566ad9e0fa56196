"""Check what an ONNX file holds before it is run: operators of networks for images, only."""

from __future__ import annotations

from typing import Any

from blinkcore import limits
from blinkcore.files import missing

# What a network may do: arithmetic on tensors, no loops, no branches, no files.
_OPERATORS = frozenset(
    [
        "Abs",
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Greater",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "LayerNormalization",
        "LeakyRelu",
        "Less",
        "Log",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "Neg",
        "Pad",
        "Pow",
        "PRelu",
        "Range",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Resize",
        "Round",
        "Shape",
        "Sigmoid",
        "Sign",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "SpaceToDepth",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)


def metadata_of(content: bytes, name: str) -> str:
    """Check a file without running it, and return one entry of its metadata.

    Parameters
    ----------
    content : bytes
        Of the file.
    name : str
        Key of the entry.

    Returns
    -------
    str

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If it is damaged or too large, does what no network for images needs, refers to other
        files, or has no such metadata.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing("a model in ONNX", "onnx", "onnx") from error
    limits.check(len(content), limits.MODEL, "it has {} bytes")
    if content[4:8] == b"ORTM":
        raise ValueError("it is in onnxruntime's own format, not ONNX")
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # of protobuf
        raise ValueError("it is damaged or not an ONNX file") from error
    if model.functions or any(n.attribute and _has_graph(n) for n in model.graph.node):
        raise ValueError("its network has functions, loops or branches of its own")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS:
            raise ValueError(f"its network uses {node.op_type}, which is not allowed")
    _check_weights(model, onnx)
    _check_divisions(model, onnx)
    found = {entry.key: entry.value for entry in model.metadata_props}
    if name not in found:
        raise ValueError(f"it is ONNX but not a model of blinkcore: it has no {name}")
    limits.check(len(found[name]), limits.MODEL_METADATA, f"{name} has {{}} bytes")
    return str(found[name])


def _check_weights(model: Any, onnx: Any) -> None:
    """Raise ValueError unless all weights are plain tensors in the file itself."""
    tensors = [*model.graph.initializer]
    for attribute in (a for node in model.graph.node for a in node.attribute):
        tensors += [*attribute.tensors]
        if attribute.HasField("t"):
            tensors.append(attribute.t)
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise ValueError("its network has sparse weights, which are not allowed")
    if model.graph.sparse_initializer or any(
        t.data_location == onnx.TensorProto.EXTERNAL for t in tensors
    ):
        raise ValueError("its weights lie in other files")


def _check_divisions(model: Any, onnx: Any) -> None:
    """Raise ValueError if whole numbers may be divided by 0 or -1, which ends the process."""
    divisions = [node for node in model.graph.node if node.op_type == "Div"]
    if not divisions:
        return
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception as error:  # of a network whose types contradict each other
        raise ValueError("the types of its network are not known") from error
    known = {v.name: v.type.tensor_type.elem_type for v in graph.value_info}
    known |= {v.name: v.type.tensor_type.elem_type for v in graph.output}
    kinds = onnx.TensorProto
    floats = (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16)
    constants = {t.name: t for t in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for node in divisions:
        divisor = constants.get(node.input[1])
        is_safe = divisor is not None and bool(
            (onnx.numpy_helper.to_array(divisor) > 0).all()
        )
        if known.get(node.output[0]) not in floats and not is_safe:
            raise ValueError("its network divides whole numbers, which is not allowed")


def _has_graph(node: Any) -> bool:
    return any(a.HasField("g") or a.graphs for a in node.attribute)
