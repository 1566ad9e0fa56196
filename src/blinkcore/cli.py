"""The command line: one thin function a command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="blinkcore",
    help="Find fluorescent spots in microscopy images, threshold-free and sub-pixel.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    pass


@app.command()
def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file (.pt).")],
    network: Annotated[str, typer.Option(help="blink or deepblink.")] = "blink",
    filters: Annotated[int, typer.Option(help="Channels of the first level.")] = 24,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of weights and scenes.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on.")] = False,
    device: Annotated[str, typer.Option(help="For PyTorch.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that draw scenes.")] = 1,
) -> None:
    """Train a network on simulated scenes."""
    import logging

    from blinkcore.train import TrainConfig
    from blinkcore.train import train as run

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = {"filters": filters} if network == "blink" else {"filters": [filters] * 3}
    config = TrainConfig(network=network, arguments=arguments, steps=steps, seed=seed)
    run(config, output, resume=resume, device=device, workers=workers)


def main() -> None:
    """Run the command line."""
    app()
