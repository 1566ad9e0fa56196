"""The import direction of the package, checked from its source: folders import downwards."""

import ast
from pathlib import Path

import pytest

# From the top. Modules of one row do not import each other.
LAYERS = [
    {"__main__"},
    {"cli", "napari"},
    {
        "batch",
        "export",
        "convert",
        "tracking",
        "colocalization",
        "report",
        "hosts",
        "experiment",
    },
    {"training"},
    {"evaluation"},
    {"datasets"},
    {"detection"},
    {"network", "simulation"},
    {"model_files"},
    {"io"},
    {"spots"},
    {"image"},
    {"large_plane"},
    {"limits"},
    {"files", "labelled", "noise", "plain_pickle", "_core", "__init__"},
]
TORCH = {"network", "model_files", "training", "detection", "export", "convert"}
# The only modules that may name TorchScript's own functions, which PyTorch may change.
TORCHSCRIPT = {
    "network/torchscript.py",
    "network/fusion.py",
    "model_files/probe.py",
}
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "blinkcore"
SOURCES = sorted(PACKAGE.rglob("*.py"))
OTHERS = sorted(
    p
    for folder in ("benchmarks", "fiji", "knime", "tests")
    for p in (ROOT / folder).rglob("*.py")
)
MAX_MODULE, MAX_FUNCTION = 350, 60  # lines


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def folder_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(folder):
    return next(i for i, names in enumerate(LAYERS) if folder in names)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "blinkcore":
                yield from (f"blinkcore.{a.name}" for a in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down(path):
    own = folder_of(path)
    inside = {m.split(".")[1] for m in imports(path) if m.startswith("blinkcore.")}
    inside -= {own, "__version__"}
    bad = [m for m in sorted(inside) if layer(m) <= layer(own)]
    assert not bad, f"{own} may not import {bad}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_torch_is_imported_only_where_networks_run(path):
    uses = any(m.split(".")[0] == "torch" for m in imports(path))
    assert not uses or folder_of(path) in TORCH


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_few_modules_name_torchscript(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set(imports(path)) | {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names |= {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    uses = any(name.startswith(("torch.jit", "torch._C")) for name in names)
    assert not uses or name_of(path) in TORCHSCRIPT


def test_every_module_has_a_layer():
    assert {folder_of(p) for p in SOURCES} <= set().union(*LAYERS)


def module_of(path):
    name = name_of(path).removesuffix(".py").removesuffix("/__init__")
    return f"blinkcore.{name.replace('/', '.')}"


def targets_of(path, known):
    """Modules that a module imports, also as `from package import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{a.name}" for a in node.names}
            yield from inner & known or {node.module} & known
        elif isinstance(node, ast.Import):
            yield from {a.name for a in node.names} & known


def test_there_is_no_circle_of_modules():
    known = {module_of(p) for p in SOURCES}
    arrows = {}
    for path in SOURCES:
        own = module_of(path)
        arrows[own] = set(targets_of(path, known)) - {own}
    assert "blinkcore.tracking.motion" in arrows["blinkcore.tracking.results"]
    while leaves := [m for m, targets in arrows.items() if not targets & set(arrows)]:
        for module in leaves:
            del arrows[module]
    assert not arrows


@pytest.mark.parametrize(
    "path", [*SOURCES, *OTHERS], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_modules_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_MODULE
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = {
        node.name: n_lines
        for node in ast.walk(ast.parse(text))
        if isinstance(node, functions)
        and (n_lines := node.end_lineno - node.lineno + 1) > MAX_FUNCTION
    }
    assert not long


@pytest.mark.parametrize(
    "path", sorted((ROOT / "csrc").iterdir()), ids=lambda p: p.name
)
def test_files_of_the_extension_are_short(path):
    assert path.read_text(encoding="utf-8").count("\n") <= MAX_MODULE
