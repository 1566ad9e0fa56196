"""`blinkcore models`."""

from __future__ import annotations

from typing import Annotated

import typer

from blinkcore.cli.app import MODELS, Debug, app
from blinkcore.cli.console import ErrorReporter
from blinkcore.cli.messages import App, print_line, with_messages

models_app = App(help="List and inspect models.", rich_markup_mode="rich")
app.add_typer(
    models_app, name="models", invoke_without_command=True, rich_help_panel=MODELS
)


@models_app.callback()
@with_messages
def models(
    context: typer.Context,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """List the models: bundled, and of the registry if there is one."""
    if context.invoked_subcommand is not None:
        return
    with ErrorReporter(debug=False):
        if format_ not in ("text", "json"):
            raise ValueError(f"--format must be text or json, got {format_!r}")
        import json
        from dataclasses import asdict

        from blinkcore.network.model import (
            about_bundled,
            bundled_models,
            read_metadata,
        )
        from blinkcore.network.registry import registered_models

        bundled = bundled_models()
        files = bundled | {
            n: path for n, path in registered_models().items() if n not in bundled
        }
        known = {n: read_metadata(path) for n, path in files.items() if path}
        if format_ == "json":
            records = {
                n: asdict(known[n]) if n in known else {"downloaded": False}
                for n in files
            }
            typer.echo(json.dumps(records, indent=1))
            return
        about = about_bundled()
        row = "{:<12}{:<11}{:>14}{:>9}  {}"
        print_line(row.format("name", "network", "spot sigma", "scenes*", "for"))
        for name in files:
            if name not in known:
                print_line(f"{name:<12}in the registry, downloaded when it is used")
                continue
            m = known[name]
            sigma = "{}-{} px".format(*m.spot_sigma) if m.spot_sigma else "not known"
            own = about.get(name, {})
            score = own.get("f1_integral_on_general_scenes")
            shown = "" if score is None else f"{score:.3f}"
            print_line(
                row.format(name, m.architecture, sigma, shown, own.get("for", ""))
            )
        print_line("* F1 integral on the same simulated scenes of all kinds")


@models_app.command("show")
def show(
    model: Annotated[
        str,
        typer.Argument(help="Name of a model, or path of its file."),
    ],
    debug: Debug = False,
) -> None:
    """Show what a model says about itself, as JSON.

    For example: blinkcore models show general
    """
    with ErrorReporter(debug):
        import json
        from dataclasses import asdict

        from blinkcore.network.model import read_metadata

        typer.echo(json.dumps(asdict(read_metadata(model)), indent=1))
