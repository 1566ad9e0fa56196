"""The options that choose spots: each is used, recorded, offered and documented."""

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest

import blinkcore
from blinkcore.batch.options import Options
from blinkcore.detection.fit import Camera
from blinkcore.detection.options import PredictOptions
from blinkcore.image import PixelSize
from programs import call_blinkcore

SOURCE = Path(blinkcore.__file__).parent
DOCS = Path(__file__).parents[1] / "docs"
NAMES = [field.name for field in fields(PredictOptions)]
OTHER = {
    "threshold": 0.9, "fdr": 0.1, "radius": 2.0, "scale": 2.0, "dim": True,
    "z": "max", "channel": 1, "axes": "TYX", "pixel_size": PixelSize(None, 0.1, 0.1), "level": 1,
    "measure": "lsq", "camera": Camera(100, 2), "molecules": True, "truncated": True,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_in_the_description(general, name):
    """Else --skip-existing would keep results that were made with another value."""
    assert name in OTHER, f"give {name} a value in OTHER that is not its default"
    options = Options(general, None)
    needed = {"camera": {"measure": "lsq"}, "molecules": {"radius": 3.0}}
    options = replace(options, **needed.get(name, {}))
    changed = replace(options, **{name: OTHER[name]})
    assert changed.recorded() != options.recorded()


def functions_that_use_options():
    """Yield functions of the package but those of the command line and the options' checks."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.parent.name == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            is_function = isinstance(node, ast.FunctionDef)
            if is_function and not (path.name == "options.py" and node.name[0] == "_"):
                yield node


def test_every_option_is_used():
    used = {
        node.attr
        for function in functions_that_use_options()
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value).rpartition(".")[2] in ("options", "self", "how")
    }
    assert set(NAMES) <= used


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_offered_and_documented(name):
    option = {"truncated": "--allow-truncated"}.get(name, "--" + name.replace("_", "-"))
    pages = ("predict.md", "results.md", "formats.md", "security.md")
    assert option in call_blinkcore("predict", "--help").stdout
    assert any(option in (DOCS / page).read_text("utf-8") for page in pages)
