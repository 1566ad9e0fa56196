"""What is said of the vulnerabilities that pip-audit reports, in its JSON format."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "packaging" / "audit.py"


@pytest.fixture(scope="module")
def report():
    return runpy.run_path(str(SCRIPT))["report"]


def package(*vulnerabilities):
    return {"name": "flask", "version": "0.5", "vulns": list(vulnerabilities)}


def test_a_service_that_knows_nothing_is_no_finding(report):
    lines, mended = report([{"name": "flask", "skip_reason": "not found on PyPI"}])
    assert not mended
    assert "not audited" in lines[0]


def test_vulnerabilities_are_named_and_count_if_a_version_mends_them(report):
    old = {"id": "PYSEC-2019-179", "fix_versions": ["1.0"], "aliases": []}
    new = {"id": "PYSEC-2026-1", "fix_versions": [], "aliases": []}
    assert report([package()]) == (
        ["Dependencies: 1 audited, 0 known vulnerabilities"],
        0,
    )
    lines, mended = report([package(old, new)])
    assert lines == [
        "flask 0.5: PYSEC-2019-179, mended in 1.0",
        "flask 0.5: PYSEC-2026-1, mended in no version yet",
        "Dependencies: 1 audited, 2 known vulnerabilities",
    ]
    assert mended
    assert not report([package(new)])[1]
