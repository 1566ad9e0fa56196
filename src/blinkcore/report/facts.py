"""How the results of a report were made, from their descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blinkcore import io
from blinkcore.files import files_in

if TYPE_CHECKING:
    from pathlib import Path


def run_facts(source: Path, tracks: Path | None = None) -> list[tuple[str, str]]:
    """Say how results and their tracks were made, from their descriptions."""
    known = _descriptions(source, is_nested=True)
    if source.is_dir():  # what other commands wrote into folders within it
        made = [c for c in known if "step" not in c]
        known = made or known
    if not known:
        return []
    first = known[0]
    facts = [
        ("blinkcore", str(first.get("blinkcore", ""))),
        ("made", str(first.get("created", ""))),
        *_model_facts(first),
        ("command", " ".join(map(str, first.get("command", [])))),
    ]
    others = {str(c.get("model")) + str(c.get("options")) for c in known}
    if len(others) > 1:
        facts.append(
            ("note", f"{len(others)} different models or options in this folder")
        )
    linked = _descriptions(tracks, is_nested=False) if tracks else []
    words = {" ".join(map(str, content.get("command", []))) for content in linked}
    facts += [("tracks", text) for text in sorted(words)]
    return facts + _warning_facts(known)


def _descriptions(source: Path, *, is_nested: bool) -> list[dict[str, Any]]:
    if not source.is_dir():
        about = io.description_of(source)
        return [] if about is None else [about]
    paths = files_in(source, (".json",), recursive=is_nested)
    return [content for path in paths if (content := io.read_sidecar(path))]


def _model_facts(about: dict[str, Any]) -> list[tuple[str, str]]:
    options = (about.get("options") or {}).items()
    facts = [
        ("options", ", ".join(f"{k}: {v}" for k, v in options if v not in (None, {})))
    ]
    if model := about.get("model"):
        facts = [
            ("model", f"{model.get('name')} ({model.get('sha256', '')[:12]})"),
            ("threshold", str(about.get("threshold"))),
            *facts,
        ]
    return facts


def _warning_facts(known: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Collect the warnings about the images; those of one kind together."""
    kinds: dict[str, list[str]] = {}
    for content in known:
        for record in filter(lambda r: isinstance(r, dict), content["images"]):
            for text in record.get("warnings") or ():
                kind = " ".join(w for w in str(text).split() if w.isalpha())
                kinds.setdefault(kind, []).append(f"{record.get('image')}: {text}")
    return [("warning", f"{texts[0]}{_and_more(texts)}") for texts in kinds.values()]


def _and_more(texts: list[str]) -> str:
    n = len(texts) - 1
    return f" (and {n} more image{'s' if n > 1 else ''})" if n else ""
