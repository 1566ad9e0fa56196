"""Checks of `blinkcore predict` before it reads an image."""

from __future__ import annotations

import logging
import os
import re
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blinkcore import limits
from blinkcore.cli.app import looks_like_file, options_named, parse_pixel_size
from blinkcore.files import missing

if TYPE_CHECKING:
    from blinkcore.batch.inputs import Event, Input
    from blinkcore.detection.fit import Camera
    from blinkcore.detection.options import PredictOptions

logger = logging.getLogger(__name__)


def input_names(inputs: list[str] | None, list_: Path | None) -> list[str]:
    """Join what is given on the command line and in --list."""
    names = [*(inputs or []), *_listed(list_)]
    if not names:
        raise ValueError("there is no input; give images, folders or --list FILE")
    return names


def _listed(path: Path | None) -> list[str]:
    if path is None:
        return []
    if path.exists() and not path.is_file():  # a pipe may never end
        raise ValueError(f"--list {path} is not a file")
    try:
        limits.check(path.stat().st_size, limits.LIST, f"--list {path} has {{}} bytes")
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"--list {path} is not a UTF-8 text file") from error
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line.strip()]


def parse_shard(text: str | None) -> tuple[int, int]:
    """Parse --shard, I/N with I from 1; return the start and step of a slice."""
    if text is None:
        return 0, 1
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    number, total = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= total:
        raise ValueError(f"--shard must be I/N with I from 1 to N, got {text!r}")
    return number - 1, total


def limit_memory(text: str | None) -> None:
    """Apply --max-memory: a number of bytes, or one with K, M, G or T after it."""
    if text is None:
        return
    found = re.fullmatch(
        r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE
    )
    if found is None:
        raise ValueError(f"--max-memory must be like 500M or 8G, got {text!r}")
    unit = 1 << 10 * " KMGT".index(found[2].upper() or " ")
    if float(found[1]) == 0:
        raise ValueError("--max-memory must be above 0")
    limits.set_max_memory(int(float(found[1]) * unit))


def checked_timeout(seconds: float | None) -> float | None:
    """Check what --timeout says."""
    from blinkcore.batch.options import check_timeout
    from blinkcore.batch.timeout import has_time_limits

    with options_named():
        check_timeout(seconds)
    if seconds is not None and not has_time_limits():
        raise ValueError("--timeout needs timers, which this system does not have")
    return seconds


def checked_options(values: dict[str, Any]) -> PredictOptions:
    """Check the detection options; an error names the option of the command line."""
    from dataclasses import fields

    from blinkcore.detection.options import PredictOptions

    parse: dict[str, Any] = {
        "camera": _parse_camera, "scale": _parse_scale, "pixel_size": parse_pixel_size,
    }  # fmt: skip
    given = values | {"truncated": values["allow_truncated"]}
    names = [field.name for field in fields(PredictOptions)]
    with options_named():
        return PredictOptions(
            **{n: parse[n](given[n]) if n in parse else given[n] for n in names}
        )


def region_columns(values: list[str] | None) -> tuple[tuple[str, Path], ...]:
    """Parse --labels, each a path or NAME=PATH; the first are the cells."""
    from blinkcore.spots import COLUMNS

    found: dict[str, Path] = {}
    for number, text in enumerate(values or []):
        name, mark, path = text.partition("=")
        if not mark or not name.isidentifier():
            name, path = ("cell" if number == 0 else f"label{number + 1}"), text
        if name in found or name in COLUMNS.keys() - {"cell"}:
            raise ValueError(f"--labels {text}: there is a column {name!r} already")
        found[name] = Path(path)
    return tuple(found.items())


def check_names(overlay: Path | None, status: Path | None) -> None:
    """Refuse a folder of pictures with the name of a file, and a status without `.json`."""
    if overlay is not None and looks_like_file(overlay):
        raise ValueError(f"--overlay {overlay} looks like a file; give a folder")
    if status is not None and status.suffix.lower() != ".json":
        raise ValueError(f"--status must end in .json, got {status}")


def check_report(page: Path | None, target: Path | None) -> None:
    """Refuse a report that could not be written."""
    if page is None:
        return
    if page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--report must end in .html, got {page}")
    if target is None:
        raise ValueError("--report needs results in files: give --output")
    for name in ("jinja2", "plotly"):
        if find_spec(name) is None:
            raise missing("--report", name, "report")


def check_usage(progress: str | None, formats: tuple[str, ...], device: str) -> None:
    """Refuse options that are wrong for any image, before anything is read."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ValueError(
            f"--device must be auto, cpu, cuda, cuda:1 or mps, got {device!r}"
        )
    if progress not in (None, "bar", "json", "none"):
        raise ValueError(f"--progress must be bar, json or none, got {progress!r}")
    from blinkcore.batch.options import check_formats

    with options_named():
        check_formats(formats)


def _parse_camera(text: str | None) -> Camera | None:
    if text is None:
        return None
    from blinkcore.detection.fit import Camera

    try:
        return Camera(*(float(part) for part in text.split(",")))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"camera must be OFFSET,GAIN or OFFSET,GAIN,READ_NOISE, got {text!r}"
        ) from error


def _parse_scale(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def check_format(
    target: Path | None, formats: tuple[str, ...], status: Path | None
) -> None:
    """Refuse a format that cannot be written, and a status in the place of a result."""
    from blinkcore.io import tables
    from blinkcore.io.suffixes import WRITERS, sidecar_path

    one_table = target is not None and tables.is_table(target)
    if target and not one_table and target.suffix in WRITERS and not target.is_dir():
        raise ValueError(
            f"--output {target}: one table of all is .csv or .parquet; for others give a "
            f"folder and --format {target.suffix[1:]}"
        )
    if target and not one_table and looks_like_file(target):
        raise ValueError(
            f"--output {target}: no table is written as {target.suffix}; one table of all "
            "is .csv or .parquet, anything else is a folder (which may have this name if "
            "you make it first)"
        )
    if (target is None or one_table) and len(formats) > 1:
        raise ValueError("--format of several needs a folder as --output")
    if target and one_table and formats not in ((".csv",), (target.suffix.lower(),)):
        raise ValueError(
            f"--output {target} is one table of all, and --format {formats[0][1:]} is of "
            "files in a folder; leave one of them out"
        )
    if target is None or one_table:
        tables.check_format(target.suffix if target else formats[0])
    elif {".parquet", ".spots.zarr"} & set(formats):
        tables.check_format(".parquet")
    own = sidecar_path(target) if target is not None and one_table else None
    if status is not None and own is not None and status.absolute() == own.absolute():
        raise ValueError(f"--status {status} is where the table's own .json goes")


def check_writable(target: Path | None, overlay: Path | None) -> None:
    """Refuse outputs that cannot be written, before anything is computed."""
    from blinkcore.io import tables

    one_table = target is not None and tables.is_table(target)
    if target and one_table and target.is_dir():
        raise ValueError(
            f"--output {target} is an existing folder; choose another name for the table"
        )
    for place in (target.parent if target and one_table else target, overlay):
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
            if not os.access(place, os.W_OK):
                raise PermissionError(
                    13, "this folder cannot be written to", str(place)
                )


_FEW = 4  # inputs that are looked at before PyTorch is loaded, which takes seconds


def unreadable(
    items: list[Input], how: PredictOptions, timeout: float | None
) -> list[Event]:
    """Return the errors of a few inputs if none of them can be read, else nothing."""
    from blinkcore.batch.inputs import Event
    from blinkcore.batch.timeout import time_limit
    from blinkcore.files import error_sentence

    if len(items) > _FEW:
        return []

    def problem(item: Input) -> str:
        try:
            logging.disable(logging.WARNING)  # warnings are said when its turn comes
            with time_limit(timeout):
                how.read(item.source).middle_plane(how.channel)
        except (OSError, ValueError, ImportError) as error:
            problem_of[item] = error
            return error_sentence(error)
        except Exception:  # noqa: BLE001 (said when its turn comes)
            return ""
        finally:
            logging.disable(logging.NOTSET)
        return ""

    problem_of: dict[Input, Exception] = {}
    problems = list(takewhile(bool, map(problem, items)))  # reads no more than it must
    if len(problems) < len(items):
        return []
    for item, error in problem_of.items():
        logger.debug("%s", item.name, exc_info=error)
    return [
        Event("error", item.name, message=message)
        for item, message in zip(items, problems, strict=True)
    ]


def shared_out(items: list[Input], labels: tuple[tuple[str, Path], ...]) -> list[Input]:
    """Leave out files that belong to another input, which --shard must not separate.

    Label images belong to an image, and later files of an OME-TIFF set to its first one.
    """
    from blinkcore.batch.inputs import identity
    from blinkcore.batch.labels import label_images

    found = label_images(items, labels)
    covered = {identity(p) for own in found.values() for p in own.values()}
    kept = []
    for item in items:
        if identity(item.source) not in covered:
            kept.append(item)
            covered.update(identity(path) for path in item.parts)
    return kept
