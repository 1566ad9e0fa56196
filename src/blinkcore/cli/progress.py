"""Bars on a terminal: images, planes or tiles of the current one, and the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_WIDTH = 24  # characters of a name


class Bar:
    """Bars on stderr, until they are stopped; does nothing before it is started."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._images: TaskID | None = None
        self._image: TaskID | None = None

    def start(self, n_inputs: int) -> None:
        """Show how many of several inputs are done."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            transient=True,
        )
        if n_inputs > 1:
            self._images = self._progress.add_task("images", total=n_inputs, unit="")
        self._progress.start()

    def advance(self, image: str, unit: str, done: int, total: int) -> None:
        """Show how many planes of the present input are done, or tiles of its only one."""
        if self._progress is None:
            return
        if self._image is None:
            name = image if len(image) <= _WIDTH else f"…{image[1 - _WIDTH :]}"
            self._image = self._progress.add_task(name, total=total, unit="")
        self._progress.update(
            self._image, completed=done, unit=f"{unit}s", refresh=done == total
        )

    def input_done(self) -> None:
        """Count an input."""
        if self._progress is None:
            return
        if self._image is not None:
            self._progress.remove_task(self._image)
            self._image = None
        if self._images is not None:
            self._progress.advance(self._images)

    def say(self, text: str) -> bool:
        """Write a line above the bars; tells whether there are any."""
        if self._progress is None:
            return False
        self._progress.console.print(
            text, markup=False, highlight=False, soft_wrap=True
        )
        return True

    def stop(self) -> None:
        """Remove the bars."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
