"""Public functions say what they raise, and of which shape their arrays are."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "blinkcore"
PATHS = [p for p in sorted(SOURCE.rglob("*.py")) if "cli" not in p.parts]
_ARRAYS = ("NDArray", "Tensor")
# Words by which a docstring gives a shape, or refers to where it is given.
_SHAPES = ("shape", "(height, width", "(n, ", "(n,)", "(m, ", "(N, ", "See `")


def public_functions(path):
    tree = ast.parse(path.read_text("utf-8"))
    public = [
        node
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
    ]
    methods = [
        node for one in public if isinstance(one, ast.ClassDef) for node in one.body
    ]
    return [
        node
        for node in (*public, *methods)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


def has_array(annotation):
    text = "" if annotation is None else ast.unparse(annotation)
    # A function that is handed over is described where it is called.
    return "Callable" not in text and any(name in text for name in _ARRAYS)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_errors_and_shapes_are_told(path):
    silent = []
    for node in public_functions(path):
        doc = ast.get_docstring(node) or ""
        raises = any(isinstance(n, ast.Raise) and n.exc for n in ast.walk(node))
        if raises and not any(word in doc for word in ("Raise", "Error", "errors")):
            silent.append(f"{node.name}: what it raises")
        arguments = [*node.args.args, *node.args.kwonlyargs]
        annotations = [node.returns, *(a.annotation for a in arguments)]
        if any(map(has_array, annotations)) and not any(w in doc for w in _SHAPES):
            silent.append(f"{node.name}: the shape of an array")
    assert not silent


# First words of sentences that name a thing, where a verb should say what is done.
_NO_VERBS = frozenset(
    [
        "A",
        "An",
        "Attributes",
        "Blobs",
        "Bytes",
        "Class",
        "Columns",
        "Contrast",
        "Crops",
        "Distance",
        "Files",
        "How",
        "Mean",
        "Names",
        "Of",
        "One",
        "Pairs",
        "Part",
        "Parts",
        "Path",
        "Paths",
        "Places",
        "Plane",
        "Planes",
        "Points",
        "Positions",
        "Rows",
        "Shape",
        "Size",
        "Spots",
        "The",
        "These",
        "Type",
        "Values",
        "What",
        "Where",
        "Whether",
        "Which",
    ]
) - {"Part"}  # also a verb


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_functions_begin_with_a_verb(path):
    tree = ast.parse(path.read_text("utf-8"))
    named = [
        (node.name, (ast.get_docstring(node) or "Do").split()[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and not any("property" in ast.unparse(d) for d in node.decorator_list)
    ]
    assert [name for name, word in named if word in _NO_VERBS] == []
