"""`blinkcore run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore.cli import colocalize, link, report
from blinkcore.cli.app import AFTERWARDS, Debug, app
from blinkcore.cli.console import ErrorReporter
from blinkcore.cli.messages import say, settings
from blinkcore.cli.recipe_file import known_name, read_yaml

if TYPE_CHECKING:
    from blinkcore.experiment import Recipe

# `predict` checks its options before it begins, and comes first.
_CHECKS = {
    "link": link.check_options,
    "colocalize": colocalize.check_options,
    "report": report.check_options,
}

RecipeFile = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE",
        help="YAML: images, output, samples, and options of predict, link, colocalize, "
        "report.",
    ),
]


@app.command(rich_help_panel=AFTERWARDS)
def run(recipe: RecipeFile, debug: Debug = False) -> None:
    """Run a whole experiment from a recipe; skip steps whose inputs are unchanged.

    For example: blinkcore run experiment.yaml
    """
    with ErrorReporter(debug):
        from blinkcore.experiment import run_experiment

        code = run_experiment(_read(recipe), say, settings.words())
        raise typer.Exit(code)


def _read(path: Path) -> Recipe:
    from blinkcore.experiment import KEYS, STEPS, Recipe

    content = read_yaml(path, ", ".join(KEYS))
    for key in content:
        known_name(key, KEYS, f"{path}: there is no '{key}'")
    images = content.get("images")
    listed: list[Any] = images if isinstance(images, list) else [images]
    if not images or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"{path}: 'images' must name files, folders or patterns")
    steps = {
        step: _words(path, step, {} if content[step] is None else content[step])
        for step in STEPS
        if content.get(step, False) is not False
    }
    for key in ("output", "samples"):
        if not isinstance(content.get(key) or "", str):
            raise ValueError(f"{path}: '{key}' must be a path")  # noqa: TRY004
    output = Path(content.get("output") or "results")
    samples = content.get("samples") or ""
    if samples:
        from blinkcore.report.conditions import read_sample_sheet

        read_sample_sheet(path.parent / samples)  # before hours of work, not after them
    for step, words in steps.items():
        _check_words(path, step, words)
    return Recipe(path.absolute(), tuple(listed), output, samples, steps)


def _check_words(path: Path, step: str, words: list[str]) -> None:
    """Raise ValueError if a step would refuse its options, or a file that they name."""
    command = typer.main.get_command(app).commands[step]  # type: ignore[attr-defined]
    try:
        values = command.make_context(step, ["source", *words]).params
        if step in _CHECKS:
            _CHECKS[step](values)
    except Exception as error:
        message = error.format_message() if hasattr(error, "format_message") else error
        if not isinstance(error, ValueError) and message is error:
            raise
        raise ValueError(f"{path}: {step}: {message}") from error
    from blinkcore.experiment import files_among

    for file in files_among(step, words):
        if not (path.parent / file).exists():
            raise FileNotFoundError(f"{path}: {step}: there is no {file}")


def _words(path: Path, step: str, options: Any) -> list[str]:
    """Turn the options of a step into words of a command line."""
    if options is True:
        return []
    if not isinstance(options, dict):
        raise ValueError(  # noqa: TRY004 (what a user wrote)
            f"{path}: '{step}' must hold options, each as 'name: value'"
        )
    command = typer.main.get_command(app).commands[step]  # type: ignore[attr-defined]
    known = {opt[2:] for p in command.params for opt in p.opts if opt.startswith("--")}
    # Those that the recipe itself gives.
    known -= {"output", "skip-existing", "samples", "tracks", "pairs", "help"}
    opposed = {opt[5:] for p in command.params for opt in p.secondary_opts}
    words: list[str] = []
    for key, value in options.items():
        name = known_name(key, sorted(known), f"{path}: {step}: there is no '{key}'")
        if isinstance(value, bool):
            if value or name in opposed:  # otherwise it is the default
                words.append(f"--{name}" if value else f"--no-{name}")
            continue
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, (str, int, float)):
                raise ValueError(  # noqa: TRY004 (what a user wrote)
                    f"{path}: {step}: '{key}' must be a number, a text or a list of them"
                )
            words += [f"--{name}", str(one)]
    return words
