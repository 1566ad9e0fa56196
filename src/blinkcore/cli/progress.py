"""Bars on a terminal: images, planes of the current image, and the time left."""

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
        self._planes: TaskID | None = None

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
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            transient=True,
        )
        if n_inputs > 1:
            self._images = self._progress.add_task("images", total=n_inputs)
        self._progress.start()

    def plane(self, image: str, done: int, total: int) -> None:
        """Show how many planes of the present input are done."""
        if self._progress is None:
            return
        if self._planes is None:
            name = image if len(image) <= _WIDTH else f"…{image[1 - _WIDTH :]}"
            self._planes = self._progress.add_task(name, total=total)
        self._progress.update(self._planes, completed=done, refresh=done == total)

    def input_done(self) -> None:
        """Count an input."""
        if self._progress is None:
            return
        if self._planes is not None:
            self._progress.remove_task(self._planes)
            self._planes = None
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
