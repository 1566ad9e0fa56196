"""Set the version in every file that names it, and date the changelog.

    python packaging/release.py 0.2.0

Ends with a sentence, and changes nothing, if a file does not name the present version where
it should, or the changelog has nothing unreleased.
"""

import re
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Where the version stands; `{}` is the version.
PLACES = {
    "src/blinkcore/__init__.py": '__version__ = "{}"',
    "CITATION.cff": "version: {}",
    "knime/knime.yml": 'version: "{}"',
    "packaging/recipe.yaml": '  version: "{}"',
    "workflows/galaxy/blinkcore_predict.xml": '<token name="@TOOL_VERSION@">{}</token>',
    "workflows/nextflow/environment.yml": "    - blinkcore=={}",
    "workflows/snakemake/environment.yml": "      - blinkcore=={}",
}
NUMBER = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"


def version_in(name: str) -> str | None:
    """Read the version that a file names, None if it does not name one once."""
    before, after = (re.escape(text) for text in PLACES[name].split("{}"))
    text = (ROOT / name).read_text("utf-8")
    found = re.findall(f"^ *{before.lstrip(' ')}({NUMBER}){after}", text, re.MULTILINE)
    return found[0] if len(found) == 1 else None


def release(version: str) -> None:
    """Write the version into all files, and today's date into the changelog."""
    if not re.fullmatch(NUMBER, version):
        sys.exit(f"a version is like 0.2.0 or 0.2.0rc1, got {version!r}")
    versions = {name: version_in(name) for name in PLACES}
    present = versions["src/blinkcore/__init__.py"]
    wrong = [
        name for name, found in versions.items() if found != present or found is None
    ]
    if wrong:
        sys.exit(f"{wrong[0]} names version {versions[wrong[0]]} and not {present}")
    changes = ROOT / "CHANGELOG.md"
    text = changes.read_text("utf-8")
    if text.count("\n## Unreleased\n") != 1:
        sys.exit("CHANGELOG.md has no section 'Unreleased'")
    for name, line in PLACES.items():
        path = ROOT / name
        old, new = re.escape(line.strip().format(present)), line.strip().format(version)
        content = path.read_text("utf-8")
        changed = re.sub(
            f"^( *){old}", rf"\g<1>{new}", content, count=1, flags=re.MULTILINE
        )
        path.write_text(changed, "utf-8")
    dated = f"\n## {version}, {date.today().isoformat()}\n"
    changes.write_text(text.replace("\n## Unreleased\n", dated), "utf-8")
    print(f"version {version} in {len(PLACES)} files and CHANGELOG.md")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    release(sys.argv[1])
