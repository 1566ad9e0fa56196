"""Read the YAML recipes of `train` and `run`, and reject unknown option names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blinkcore import limits
from blinkcore.files import check_regular, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def read_yaml(path: Path, wanted: str) -> dict[Any, Any]:
    """Read a recipe; `wanted` says what it must hold."""
    import yaml

    check_regular(path)
    with path.open("rb") as file:
        if b"\0" in file.read(1024):
            raise ValueError(f"{path} is not a recipe: it is not a text file")
    limits.check_file(path, limits.RECIPE)
    # That of libyaml, if PyYAML has it, refuses deep nesting, which takes the other minutes.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_text("utf-8")
        aliases = [
            e for e in yaml.parse(text, loader) if isinstance(e, yaml.AliasEvent)
        ]
        content = {} if aliases else yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        at = f" (line {where.line + 1})" if where else ""
        raise ValueError(f"{path} is not valid YAML{at}") from error
    if aliases:  # parts that hold parts again and again would fill the memory
        mark = aliases[0].start_mark
        line = mark.line + 1 if mark else 1
        raise ValueError(f"{path} has aliases, which recipes may not (line {line})")
    if not isinstance(content, dict):
        raise ValueError(  # noqa: TRY004 (what a user wrote, not a wrong call)
            f"{path} must hold {wanted}"
        )
    return content


def known_name(key: Any, known: Collection[str], problem: str) -> str:
    """Return a key as an option's name; raise ValueError with a hint if unknown."""
    name = str(key).replace("_", "-")
    if name not in known:
        raise ValueError(f"{problem}; {did_you_mean(name, known)}")
    return name
