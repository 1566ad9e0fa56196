"""A few hundred damaged inputs for each reader; `make fuzz` runs for longer."""

import shutil

import pytest

import fuzz

KEPT = sorted(fuzz.CORPUS.glob("*/*"))


# Warnings of libraries that give up in the middle of a file.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", KEPT, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_the_corpus_is_read_or_refused(path, tmp_path, monkeypatch):
    """What `make fuzz` has kept: one input for each way in which it was refused."""
    monkeypatch.setenv("BLINKCORE_REGISTRY", "")
    mine = tmp_path / path.name.partition("-")[2]
    shutil.copy(path, mine)
    problem, _ = fuzz._outcome(lambda: fuzz.TARGETS[path.parent.name][1](mine))
    assert problem is None


def test_there_is_a_corpus_of_each_kind_of_file():
    assert {p.parent.name for p in KEPT} == set(fuzz.TARGETS) - {"models"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*fuzz.TARGETS, "numbers"])
def test_damaged_input_is_read_or_refused(name):
    count = 60 if name == "models" else 400
    total, findings = fuzz.run(name, seed=0, seconds=60.0, count=count)
    assert not findings
    assert total > 20
