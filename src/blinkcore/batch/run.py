"""Run `predict` on many files: what to read, where to write, what became of each.

A failing file never stops the others, finished results are kept, and every table has a
`.json` beside it that says how it was made.
"""

from __future__ import annotations

import logging
import traceback
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blinkcore import io
from blinkcore.batch.collected import FAILURES, Collected
from blinkcore.batch.counts import CELLS, IMAGES, write_counts
from blinkcore.batch.image import predict_input
from blinkcore.batch.inputs import (
    Event,
    Input,
    identity,
    output_names,
)
from blinkcore.batch.labels import about_labels, check_labels, label_images
from blinkcore.batch.lock import lock_of, locked
from blinkcore.batch.results import Result
from blinkcore.batch.scheduler import SchedulerLostError
from blinkcore.batch.timeout import time_limit
from blinkcore.batch.unfinished import kept, unfinished_path
from blinkcore.detection.overlay import percentiles
from blinkcore.files import error_sentence, remove
from blinkcore.io import tables
from blinkcore.io.tables import safe_name
from blinkcore.spots import AXIS_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.batch.cluster import Cluster
    from blinkcore.batch.options import Options

logger = logging.getLogger(__name__)

_LOOKED_AT = 16  # inputs that are read for the contrast, or submitted ahead of time
_NEARLY_BLACK = 0.05  # of the range of grey values
_UNFORESEEN = (
    "blinkcore did not expect this; please report it with this file, --debug shows more"
)


def predict_files(
    inputs: list[Input],
    options: Options,
    on_progress: Callable[[str, str, int, int], None] | None = None,
    cluster: Cluster | None = None,
) -> Generator[Event]:
    """Find spots in many files; yield the outcome of each as soon as it is known.

    Parameters
    ----------
    inputs : list of Input
        From `find_inputs`.
    options : Options
        How to find spots, and where to write them.
    on_progress : callable, optional
        Called with the input's name and what `blinkcore.detection.predict.predict_image`
        tells of its planes and tiles.
    cluster : Cluster, optional
        Its workers find the candidates.

    Yields
    ------
    Event
        One per input. Files of one OME-TIFF set count as one input.

    Raises
    ------
    ValueError
        If a table to continue does not match, or label images do not fit the inputs.
    OSError
        If the table of all inputs cannot be written; the message says where a copy was
        saved.
    """
    one_table, output = options.one_table, options.output
    # all.csv and all.parquet share one description, so they share a lock.
    lock = locked(output.with_suffix("")) if one_table and output else nullcontext()
    with lock:
        run = _Run(
            options,
            output_names(inputs),
            label_images(inputs, options.labels),
            Collected.start(options) if one_table else None,
            check_scale=options.scale == 1.0,
            on_progress=on_progress,
            cluster=cluster,
            contrast=_contrast(inputs, options),
        )
        try:
            yield from run.events(inputs)
        finally:
            if run.collected is not None:
                run.collected.write(last=True)
            problem = run.write_counts()
        if problem is not None:
            yield problem


@dataclass
class _Run:
    """State that the inputs of a run share."""

    options: Options
    names: dict[Path, Path]
    labels: dict[Path, dict[str, Path]]
    collected: Collected | None
    check_scale: bool
    on_progress: Callable[[str, str, int, int], None] | None = None
    cluster: Cluster | None = None
    contrast: dict[int, tuple[float, float]] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)  # kinds of warnings that were given
    records: list[dict[str, Any]] = field(default_factory=list)  # of finished inputs

    def events(self, inputs: list[Input]) -> Generator[Event]:
        """Process the inputs in order, and yield what became of each."""
        covered: set[str] = set()
        regions = {identity(p) for own in self.labels.values() for p in own.values()}
        for number, item in enumerate(inputs):
            if self.cluster is not None:
                coming, others = inputs[number : number + _LOOKED_AT], regions | covered
                kept = [i for i in coming if identity(i.source) not in others]
                # An error is reported when this input is processed.
                with suppress(SchedulerLostError):
                    self.cluster.look_ahead(kept, self._is_done)
            if identity(item.source) in regions:
                yield Event("skipped", item.name, message="a label image")
                continue
            if identity(item.source) in covered:
                yield Event("skipped", item.name, message="part of an earlier image")
                continue
            covered.update(identity(path) for path in item.parts)
            try:
                event = self._process(item)
            except SchedulerLostError as lost:  # so are the other inputs
                why = error_sentence(lost)
                self._note_failed(inputs[number:], why)
                yield Event("error", item.name, message=why)
                return
            if event.kind == "error":
                self._note_failed([item], event.message)
            if self.cluster is not None:
                self.cluster.forget(item)
            # Until the first result: the check takes longer than a small image itself.
            self.check_scale = self.check_scale and event.kind != "result"
            yield event

    def _note_failed(self, items: list[Input], why: str) -> None:
        """Record in the table of all inputs that some could not be searched."""
        errors = [{"image": safe_name(one.name), "error": why} for one in items]
        if self.collected is not None:
            self.collected.failed += errors

    def write_counts(self) -> Event | None:
        """Write the tables of counts; return the error if they cannot be written."""
        output = self.options.output
        if output is None:
            return None
        records = self.records if self.collected is None else self.collected.records
        for name in (IMAGES, CELLS):
            is_taken = any(n == Path(name) for n in self.names.values())
            path = tables.counts_path(output, name, is_taken=is_taken)
            try:
                write_counts(records, name, path)
            except FAILURES as error:
                return Event("error", str(path), message=error_sentence(error))
        return None

    def _process(self, item: Input) -> Event:
        """Find spots in one file and write them; errors become events."""
        options, collected = self.options, self.collected
        result = Result.of(self.names[item.path], options)
        output = str(result.table if collected is None else options.output or "-")
        try:
            check_labels(item, self.labels.get(item.path, {}), options.labels)
            if self._is_done(item):
                self._clear(result)
                self._remember(result)
                return Event(
                    "skipped", item.name, output, message="its result is there"
                )
            lock = locked(result.base) if collected is None else nullcontext()
            with lock:
                spots, record, undrawn = self._find_and_write(item, result)
        except SchedulerLostError:
            raise
        except Exception as error:
            logger.debug("%s", item.name, exc_info=True)
            return Event(
                "error",
                item.name,
                output,
                message=_reason(error),
                details=_details(error),
            )
        if undrawn is not None:
            message = f"its table is written, but not the picture: {_reason(undrawn)}"
            return Event("error", item.name, output, len(spots), message=message)
        n_dim = record["dim_specks_left_out"]
        return Event("result", item.name, output, len(spots), n_dim)

    def _find_and_write(
        self, item: Input, result: Result
    ) -> tuple[pd.DataFrame, dict[str, Any], Exception | None]:
        """Find the spots of a file and write them.

        Returns its spots, its record, and why its pictures could not be drawn.
        """
        options, collected = self.options, self.collected
        tell = partial(self.on_progress, item.name) if self.on_progress else None
        path = self._unfinished(result)
        with kept(path, resume=options.skip_existing) as unfinished:
            with time_limit(options.timeout):
                image, spots, record = predict_input(
                    item, options, self.labels.get(item.path, {}), self.check_scale,
                    self.warned, unfinished, tell, self.cluster,
                )  # fmt: skip
            if collected is not None:
                collected.add(spots, record)
            else:
                lost = result.write(spots, image, item.file, record)
                _warn_lost_columns(lost, self.warned)
                self.records.append(record)
            undrawn = None
            try:
                result.write_pictures(image, spots, self.contrast, record)
            except Exception as error:
                logger.debug("%s", item.name, exc_info=True)
                undrawn = error
        return spots, record, undrawn

    def _is_done(self, item: Input) -> bool:
        """Return whether the result of an input is there; errors as of `Result.record_of`."""
        result = Result.of(self.names[item.path], self.options)
        if self.collected is None:
            record = result.record_of(item)
        else:
            record = self.collected.record_of(item)
        labels = about_labels(self.labels.get(item.path, {}))
        return (
            record is not None
            and result.has_pictures(record)
            and record.get("labels", {}) == labels
        )

    def _unfinished(self, result: Result) -> Path | None:
        """Return the file that keeps what is known of an image; None: nothing is kept."""
        table = self.options.output
        if self.collected is None:
            return unfinished_path(result.base.parent, result.base.name)
        if table is None:
            return None
        # In one table images of several folders may have the same name.
        return unfinished_path(table.parent, f"{table.name} {result.base}")

    def _clear(self, result: Result) -> None:
        """Remove what a run leaves that was killed after it had written this result."""
        one = self.collected is not None
        path = self._unfinished(result)
        if path is None or not (one or lock_of(result.base).exists()):
            return
        lock = nullcontext() if one else locked(result.base)
        with suppress(OSError, ValueError), lock:  # what a living run has stays
            remove(path)

    def _remember(self, result: Result) -> None:
        """Take the counts of an existing result from its description."""
        before = io.read_sidecar(result.sidecar)
        if self.collected is None and before is not None:
            self.records += before["images"]


def _reason(error: Exception) -> str:
    """Say in one sentence why an image failed."""
    if isinstance(error, FAILURES):
        return error_sentence(error)
    return f"{type(error).__name__}: {error_sentence(error)} ({_UNFORESEEN})"


def _details(error: Exception) -> str:
    """Return the traceback of an error that nobody foresaw; empty for others."""
    if isinstance(error, FAILURES):
        return ""
    return "".join(traceback.format_exception(error))


def _contrast(inputs: list[Input], options: Options) -> dict[int, tuple[float, float]]:
    """Choose one contrast for each channel, from middle planes of some of the inputs.

    Empty where there are no pictures, or another contrast is asked for.
    """
    if options.overlay is None or options.contrast != "run":
        return {}
    seen: dict[int, list[tuple[str, NDArray[Any]]]] = {}
    for item in inputs[:: max(1, len(inputs) // _LOOKED_AT)]:
        with suppress(Exception):  # reported when its turn comes
            image = options.read(item.source)
            for channel in {c for _, c, _ in image.places(options.channel)}:
                middle = image.middle_plane(channel).data
                seen.setdefault(channel, []).append((item.name, middle))
    chosen = {}
    for channel, named in seen.items():
        limits = percentiles([plane for _, plane in named])
        if limits is not None:
            chosen[channel] = limits
    dark = [
        name
        for channel, limits in chosen.items()
        for name, plane in seen[channel]
        if _is_dark(plane, limits)
    ]
    if dark:
        logger.warning(
            "%s: its picture is nearly black in the contrast of the whole run; "
            "--contrast plane gives each picture its own",
            dark[0],
        )
    return chosen


def _is_dark(plane: NDArray[Any], contrast: tuple[float, float]) -> bool:
    """Return whether even the brightest pixels of a plane are nearly black."""
    own, (low, high) = percentiles([plane]), contrast
    return own is not None and own[1] - low < _NEARLY_BLACK * (high - low)


def _warn_lost_columns(lost: dict[str, list[str]], warned: set[str]) -> None:
    """Warn, once per format, of columns that no file holds and of lost positions."""
    nowhere = set.intersection(*map(set, lost.values()))
    for suffix, columns in lost.items():
        missing = [c for c in columns if c in nowhere or c in AXIS_COLUMNS.values()]
        if missing and suffix not in warned:
            warned.add(suffix)
            logger.warning("%s files cannot hold %s", suffix, ", ".join(missing))
