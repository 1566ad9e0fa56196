"""The import direction of the package, checked from its source."""

import ast
from pathlib import Path

import pytest

LAYERS = [
    {"__main__"},
    {"cli"},
    {"console"},
    {"batch", "compare", "suggest", "export", "napari"},
    {"train", "predict", "convert", "check"},
    {"model", "losses", "dataset"},
    {"presets", "scale"},
    {
        "fdr",
        "io",
        "grid",
        "refine",
        "normalize",
        "simulate",
        "networks",
        "fusion",
        "evaluate",
        "overlay",
        "measure",
        "registry",
    },
    {"spots", "bound"},
    {"image", "files", "_core", "__init__"},
]
TORCH = {"networks", "fusion", "losses", "model", "train", "predict", "convert"}
PACKAGE = Path(__file__).parents[1] / "src" / "blinkcore"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(module):
    return next(i for i, names in enumerate(LAYERS) if module in names)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "blinkcore":
                yield from (f"blinkcore.{a.name}" for a in node.names)
            else:
                yield node.module


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_imports_point_down(path):
    own = module_of(path)
    if own == "__init__":  # public names, imported when they are used
        return
    inside = {m.split(".")[1] for m in imports(path) if m.startswith("blinkcore.")}
    inside -= {own, "__version__"}
    bad = [m for m in sorted(inside) if layer(m) <= layer(own)]
    assert not bad, f"{own} may not import {bad}"


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_torch_is_imported_only_where_networks_run(path):
    uses = any(m.split(".")[0] == "torch" for m in imports(path))
    assert not uses or module_of(path) in TORCH


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_only_model_says_torch_jit(path):
    assert "torch.jit" not in path.read_text(encoding="utf-8") or path.stem == "model"


def test_every_module_has_a_layer():
    modules = {module_of(p) for p in SOURCES} - {"__init__"}
    assert modules <= set().union(*LAYERS)
