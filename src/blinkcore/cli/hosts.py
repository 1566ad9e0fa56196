"""`blinkcore fiji` and `blinkcore knime`: the files for these programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blinkcore.cli.app import PROGRAMS, app
from blinkcore.cli.console import ErrorReporter
from blinkcore.cli.messages import App, say

fiji_app = App(help="Install the macros for Fiji and ImageJ.", no_args_is_help=True)
knime_app = App(help="Copy the extension for KNIME.", no_args_is_help=True)
app.add_typer(fiji_app, name="fiji", rich_help_panel=PROGRAMS)
app.add_typer(knime_app, name="knime", rich_help_panel=PROGRAMS)


@fiji_app.callback()
@knime_app.callback()
def _group() -> None:
    pass


@fiji_app.command("install")
def install(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of Fiji or ImageJ; if not given, the usual places."
        ),
    ] = None,
) -> None:
    """Copy the macros into the plugins of Fiji or ImageJ.

    For example: blinkcore fiji install ~/Fiji.app
    """
    with ErrorReporter(debug=False):
        from blinkcore.hosts import install_fiji

        written = install_fiji(folder)
        say(f"Wrote {written}; start Fiji again: Plugins > Blinkcore")


@knime_app.command("bundle")
def bundle(
    folder: Annotated[Path, typer.Argument(help="Folder to create.")] = Path(
        "blinkcore-knime"
    ),
) -> None:
    """Copy the KNIME extension, ready for KNIME's bundling tool.

    For example: blinkcore knime bundle blinkcore-knime
    """
    with ErrorReporter(debug=False):
        from blinkcore.hosts import bundle_knime

        written = bundle_knime(folder)
        say(
            f"Wrote {written}; bundle it with KNIME's build-python-extension, or name it in "
            "knime.ini as -Dknime.python.extension.debug_knime_yaml_list="
            f"{written.absolute()}"
        )
