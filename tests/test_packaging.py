"""What surrounds the package: versions, workflows, recipes."""

import importlib.util
import re
import shlex

import pytest

import blinkcore
from test_docs import ROOT, problem_of

WORKFLOWS = [
    "workflows/nextflow/main.nf",
    "workflows/nextflow/example.nf",
    "workflows/snakemake/Snakefile",
    "packaging/Dockerfile",
]


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The module, over a copy of the files that name the version."""
    path = ROOT / "packaging" / "release.py"
    spec = importlib.util.spec_from_file_location("release", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in (*module.PLACES, "CHANGELOG.md"):
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / name).read_text("utf-8"), "utf-8")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_all_files_name_the_same_version(release):
    versions = {name: release.version_in(name) for name in release.PLACES}
    assert set(versions.values()) == {blinkcore.__version__}, versions


def test_a_release_changes_all_of_them(release, tmp_path, capsys):
    release.release("7.8.9rc1")
    assert {release.version_in(name) for name in release.PLACES} == {"7.8.9rc1"}
    changes = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## 7\.8\.9rc1, \d{4}-\d\d-\d\d$", changes, re.MULTILINE)
    assert "Unreleased" not in changes
    cff = (tmp_path / "CITATION.cff").read_text("utf-8")
    assert "cff-version: 1.2.0" in cff
    with pytest.raises(SystemExit, match="no section 'Unreleased'"):
        release.release("7.9.0")
    with pytest.raises(SystemExit, match="a version is like"):
        release.release("next")


def test_a_release_needs_files_that_agree(release, tmp_path):
    (tmp_path / "CITATION.cff").write_text("version: 0.0.1\n")
    with pytest.raises(SystemExit, match=r"CITATION\.cff names version 0\.0\.1"):
        release.release("7.8.9")
    assert release.version_in("knime/knime.yml") == blinkcore.__version__


def commands_of(text):
    """Yield the words of each call of blinkcore in a script, without its variables."""
    joined = re.sub(r"\\+\n\s*", " ", text).replace('" "', " ")
    for line in re.findall(r"\bblinkcore ((?:predict|merge)\b[^\n>]*)", joined):
        filled = re.sub(r"\$?\{params\.options\}|\$\{args\}", "", line.strip(' "'))
        filled = re.sub(r"\$?\{[^}]*\}", "x.csv", filled)
        yield shlex.split(filled)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_program_takes_the_commands_of_workflows(name):
    commands = list(commands_of((ROOT / name).read_text("utf-8")))
    assert commands
    assert [problem_of(words) for words in commands] == [""] * len(commands)


def test_the_tool_of_galaxy_has_options_that_there_are():
    text = (ROOT / "workflows" / "galaxy" / "blinkcore_predict.xml").read_text("utf-8")
    options = set(re.findall(r"--[a-z][a-z-]+", text)) - {"--version"}
    assert len(options) > 5
    words = [word for option in sorted(options) for word in _given(option)]
    assert problem_of(["predict", *words, "a.tif"]) == ""


def _given(option):
    values = {"--threshold": "0.5", "--fdr": "0.1", "--radius": "3", "--channel": "0"}
    return (option, values.get(option, "x"))


def test_files_of_hosts_are_where_architecture_says():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    paths = re.findall(
        r"`((?:src|csrc|docs|fiji|knime|workflows|packaging)/[^`*<]+)`", text
    )
    assert [path for path in paths if not (ROOT / path).exists()] == []
