"""Commands in the documentation are ones that the program takes."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer

from blinkcore import cli

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for pattern in (
        "README.md",
        "docs/*.md",
        "fiji/*.md",
        "knime/*.md",
        "CONTRIBUTING.md",
    )
    for path in sorted(ROOT.glob(pattern))
]
# After these a shell begins something else.
_ENDS = {"|", ">", ">>", "2>", "&&", ";", "&", "<"}


def commands_in(text):
    """Yield the words of each line `$ blinkcore ...`, without the first."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in re.findall(r"^(?: *\$ | {4,})blinkcore (.+)$", joined, re.MULTILINE):
        words = shlex.split(line, comments=True)
        end = next((i for i, word in enumerate(words) if word in _ENDS), len(words))
        yield words[:end]


def check(words):
    """Parse a command as the program would, without running it."""
    command = typer.main.get_command(cli.app)
    while words and hasattr(command, "commands"):
        if words[0] in ("--help", "-h", "--version"):
            return
        name, *words = words
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    is_recipe = any(word.endswith((".yaml", ".yml")) for word in words)
    if not is_recipe and not {"--help", "-h", "..."} & set(words):
        command.make_context(command.name, list(words))


def problem_of(words):
    """Give the sentence with which the program would refuse a command."""
    try:
        check(words)
    except Exception as error:
        # Typer has its own copy of click, and so of its exceptions.
        if not hasattr(error, "format_message"):
            raise
        return error.format_message()
    return ""


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_commands_are_taken(page):
    wrong = [
        f"blinkcore {shlex.join(words)}: {problem}"
        for words in commands_in(page.read_text("utf-8"))
        if (problem := problem_of(words))
    ]
    assert not wrong


def test_links_to_files_lead_somewhere():
    pages = [*PAGES, *ROOT.glob("*.md"), *ROOT.glob("benchmarks/**/*.md")]
    lost = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / link).exists() and (ROOT / "benchmarks").exists()
    ]
    assert not lost


def test_there_are_commands_to_check():
    every = [words for page in PAGES for words in commands_in(page.read_text("utf-8"))]
    assert len(every) > 40
    assert "No such option" in problem_of(["predict", "a.tif", "--treshold", "1"])


def test_the_examples_of_helps_are_taken():
    command = typer.main.get_command(cli.app)
    helps = [one.help or "" for one in command.commands.values()]
    lines = re.findall(r"For example: blinkcore (.+)", "\n".join(helps))
    assert len(lines) >= 10
    assert [
        problem for line in lines if (problem := problem_of(shlex.split(line)))
    ] == []


def test_the_example_of_python_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    found: dict[str, object] = {}
    exec(code, found)  # noqa: S102
    assert len(found["spots"]) > 500


def test_the_examples_of_the_page_on_python_run(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    found = {"array": np.zeros((2, 64, 64), np.uint8)}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, found)  # noqa: S102
    assert (tmp_path / "spots.csv").exists()
