"""The documentation site: `make docs`."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.cli import get_docs_for_click

import blinkcore
from blinkcore.cli import app

project = "blinkcore"
author = copyright = "The blinkcore developers"
release = version = blinkcore.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
]
html_theme = "furo"
html_title = f"blinkcore {release}"
exclude_patterns = ["pictures"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
numpydoc_show_class_members = False
autodoc_typehints = "none"
# Links to files of the repository that are no page of the site stay as they are.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]

HERE = Path(__file__).parent


def _write_command_line(_: object) -> None:
    """Write the page of all commands and options from the program itself."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="blinkcore")
    title = text.replace("# `blinkcore`", "# Command line", 1)
    page = HERE / "generated" / "command_line.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(title, encoding="utf-8")


def setup(sphinx: object) -> None:
    """Called by Sphinx."""
    sphinx.connect("builder-inited", _write_command_line)  # type: ignore[attr-defined]
