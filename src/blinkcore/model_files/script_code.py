"""Which TorchScript a model may hold: what convolutional networks need, and nothing else.

The grammar of TorchScript in a file is a subset of Python's, so Python's own parser
reads it. None of it is run here.
"""

from __future__ import annotations

import ast
import re
import tokenize
from typing import Any

from blinkcore.model_files.script_arguments import Arguments, constants_of
from blinkcore.model_files.script_lists import check_lists
from blinkcore.model_files.script_loops import calls_of, check_loop, with_arguments
from blinkcore.model_files.script_names import check_names
from blinkcore.model_files.script_structure import check_structure
from blinkcore.model_files.script_text import check_text
from blinkcore.model_files.script_work import (
    BUILTINS,
    Work,
    assigned,
    check_work,
    types_of_parameters,
)

_ARITHMETIC = (
    "add add_ sub sub_ rsub mul mul_ div div_ neg abs pow square sqrt rsqrt exp log log1p expm1 "
    "floor ceil round floordiv remainder clamp clamp_ clamp_min clamp_max maximum minimum "
    "where mean sum amax amin max min var std var_mean std_mean sign nan_to_num matmul bmm baddbmm "
    "einsum floor_divide linalg_vector_norm"
)
_COMPARISON = (
    "eq ne lt le gt ge __is__ __isnot__ __not__ __contains__ __and__ __or__ logical_and "
    "logical_or logical_not"
)
_CONVOLUTIONS = (
    "conv1d", "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d", "_convolution", "_convolution_mode",
)  # fmt: skip
_LAYERS = " ".join(_CONVOLUTIONS) + (
    " linear addmm batch_norm instance_norm group_norm "
    "layer_norm rms_norm dropout dropout_ alpha_dropout alpha_dropout_ feature_dropout feature_dropout_ max_pool2d max_pool3d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d pad "
    "constant_pad_nd reflection_pad2d replication_pad2d"
)
_ACTIVATIONS = (
    "relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ selu gelu silu silu_ mish mish_ prelu "
    "celu celu_ glu log_sigmoid hardtanh hardtanh_ hardswish hardswish_ hardsigmoid hardsigmoid_ selu_ rrelu rrelu_ threshold threshold_ softshrink hardshrink softplus sigmoid sigmoid_ tanh "
    "tanh_ softmax log_softmax"
)
_RESAMPLING = (
    "pixel_shuffle pixel_unshuffle channel_shuffle im2col upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d "
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa"
)
_SHAPES = (
    "list size dim len numel cat stack chunk split unbind slice select narrow squeeze unsqueeze unsqueeze_ squeeze_ view "
    "reshape flatten permute transpose contiguous to type_as detach expand expand_as repeat repeat_interleave unflatten roll __range_length "
    "__derive_index"
)
_MESSAGES = "format warn"
_LISTS = "append pop"
_GROUPS = (
    _ARITHMETIC, _COMPARISON, _LAYERS, _ACTIVATIONS, _RESAMPLING, _SHAPES, _MESSAGES, _LISTS,
)  # fmt: skip
OPERATORS = frozenset(name for group in _GROUPS for name in group.split())
_PRIMITIVES = frozenset(
    [
        "dtype",
        "device",
        "layout",
        "RaiseException",
        "unchecked_unwrap_optional",
        "NumToTensor",
        "min",
        "max",
    ]
)
_STATEMENTS = (
    ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.AnnAssign,
    ast.Assign, ast.Return, ast.If, ast.For, ast.Pass, ast.Expr, ast.Call, ast.keyword,
    ast.Attribute, ast.Name, ast.Subscript, ast.Tuple, ast.List, ast.Dict, ast.Constant,
    ast.UnaryOp, ast.USub, ast.Load, ast.Store,
)  # fmt: skip
_SPECIAL = frozenset({"__len__", "__contains__"})
_FILE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*/)*[A-Za-z_][A-Za-z0-9_]*\.py")
# Types that values may be cast to: PyTorch does not check a cast to a class.
_TYPES = frozenset(
    ["Tensor", "int", "float", "bool", "str", "NoneType", "number", "List", "Tuple", "Dict", "Optional"]
)  # fmt: skip


def check_code(code: dict[str, str], data: Any = None) -> dict[str, ast.Module]:
    """Parse and check the code of a model.

    Parameters
    ----------
    code : dict of str
        Name of a file in the archive to its text.
    data : object
        Its objects, as `blinkcore.plain_pickle.parse_model` reads them.

    Returns
    -------
    dict of Module
        Code by the name of its module, such as `__torch__.torch.nn.modules.conv`.

    Raises
    ------
    ValueError
        If it does what no convolutional network needs; the message says what and where.
    """
    trees = _parsed(code)
    modules = {
        w.removesuffix(".py").replace("/", "."): tree for w, tree in trees.items()
    }
    try:
        for where, tree in trees.items():
            _check_statements(tree, where)
        _check_functions(trees, modules, data)
        check_lists(modules)
        check_work(modules)
    except RecursionError as error:
        raise ValueError("its code is nested too deep") from error
    return modules


def _check_statements(tree: ast.Module, where: str) -> None:
    for node in ast.walk(tree):
        is_allowed = isinstance(node, _STATEMENTS)
        if not is_allowed:
            raise ValueError(f"its code uses {_kind(node)} ({where})")


def _check_functions(
    trees: dict[str, ast.Module], modules: dict[str, ast.Module], data: Any
) -> None:
    """Check all functions and methods, knowing what each is called with anywhere."""
    functions = frozenset(Work(modules).functions)
    for where, tree in trees.items():
        check_structure(tree, where)
    calls = calls_of(trees.values())
    constants = constants_of(trees.values(), data)
    for where, tree in trees.items():
        for top in tree.body:
            is_method = isinstance(top, ast.ClassDef)
            for node in ast.walk(top):
                if isinstance(node, ast.FunctionDef):
                    _check_function(
                        node, where, calls, functions, constants, is_method=is_method
                    )


def _parsed(code: dict[str, str]) -> dict[str, ast.Module]:
    trees = {}
    for name, text in code.items():
        where = name.removeprefix("code/")
        # `a.b.py` would stand for the module of `a/b.py`.
        if not _FILE.fullmatch(where):
            raise ValueError(f"its code has an odd name {where!r}")
        try:
            check_text(text, where)
            trees[where] = ast.parse(text)
        except (SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
            raise ValueError(f"its code {where} is damaged") from error
    return trees


def check_purpose(code: dict[str, str]) -> None:
    """Check that the code of a model is that of a network for images.

    Parameters
    ----------
    code : dict of str
        Name of a file in the archive to its text, checked.

    Raises
    ------
    ValueError
        If it has no convolution. Such a file is refused before PyTorch, which takes seconds
        and half a gigabyte, is loaded to try it.
    """
    if not any(
        f"torch.{name}(" in text for name in _CONVOLUTIONS for text in code.values()
    ):
        raise ValueError(
            "its code has no convolution, so it is not a network for images"
        )


def _check_function(
    function: ast.FunctionDef,
    where: str,
    calls: dict[str, list[list[ast.expr]]],
    functions: frozenset[str],
    constants: dict[str, list[ast.expr | None]],
    *,
    is_method: bool,
) -> None:
    name = function.name
    if name.startswith("__") and name.endswith("__") and name not in _SPECIAL:
        raise ValueError(
            f"its code has a method {name}, which runs by itself ({where})"
        )
    known = assigned(function)
    nodes = list(ast.walk(function))
    needs_arguments = any(map(_depends_on_arguments, nodes))
    given = (
        with_arguments(function, known, calls.get(name, []), is_method=is_method)
        if needs_arguments
        else known
    )
    types = types_of_parameters(function)
    own = function.args.args[0].arg if is_method else ""
    arguments = Arguments(known, given, own, types, constants, where)
    for node in nodes:
        if isinstance(node, ast.Call):
            _check_call(node, known, where)
            arguments.check(node)
        elif isinstance(node, ast.For):
            check_loop(node, given, where)
    check_names(function, where, functions)


def _depends_on_arguments(node: ast.AST) -> bool:
    """Return whether what a function is called with matters; collecting it takes long."""
    return isinstance(node, ast.For) or (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("torch.floordiv", "torch.remainder", "torch.to")
    )


def _check_call(call: ast.Call, known: dict[str, list[ast.expr]], where: str) -> None:
    name = ast.unparse(call.func)
    module, _, last = name.rpartition(".")
    if module == "torch":
        is_allowed = last in OPERATORS
    elif module == "ops.prim":
        is_allowed = last in _PRIMITIVES
    elif module.partition(".")[0] in ("ops", "torch"):
        is_allowed = False
    elif module:  # a method of the network, or a function of the file
        is_allowed = not module.startswith("__torch__.torch.classes")
    else:
        if name in ("annotate", "unchecked_cast", "uninitialized"):
            _check_cast(call, where)
        # A name that is set to functions of the file; `check_work` looks them up.
        is_allowed = name in BUILTINS or name in known
    if not is_allowed:
        raise ValueError(f"its code calls {name}, which no network needs ({where})")


def _check_cast(call: ast.Call, where: str) -> None:
    """Refuse casts to anything but types of PyTorch and lists of them."""
    for node in ast.walk(call.args[0]) if call.args else ():
        is_name = isinstance(node, ast.Name) and node.id in _TYPES
        if not (is_name or isinstance(node, (ast.Subscript, ast.Tuple, ast.Load))):
            raise ValueError(f"its code casts to {ast.unparse(call.args[0])} ({where})")


def _kind(node: ast.AST) -> str:
    words = {"While": "a loop without a bound", "Import": "an import"}
    name = type(node).__name__
    return words.get(name, f"a {name}")
