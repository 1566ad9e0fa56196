"""`blinkcore detach`: for hosts that cannot wait, such as macros of ImageJ.

ImageJ's `exec` gives nothing back before the program has ended, so a macro could neither
show progress nor be stopped. This command returns at once, and the other one goes on alone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from blinkcore.cli.app import app
from blinkcore.cli.console import ErrorReporter

PROGRESS, WAITING = "progress.txt", "waiting"
_INTERVAL = 0.2  # s
_WATCH = "from blinkcore.cli.detach import watch; watch()"


@partial(typer.Typer.command, app)(
    hidden=True,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def detach(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the host, for this run alone.")
    ],
    words: Annotated[list[str], typer.Argument(help="Another command, with options.")],
    patience: Annotated[
        float,
        typer.Option(
            help="Seconds without a sign of the host until the command is stopped."
        ),
    ] = 30.0,
) -> None:
    """Start another command and return at once.

    What it prints goes to FOLDER/progress.txt, whose last line is "exit CODE". A host that
    changes FOLDER/waiting, and has not done so for a while, no longer waits: then the command
    is stopped.
    """
    with ErrorReporter(debug=False):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        subprocess.Popen(
            [sys.executable, "-c", _WATCH, str(patience), folder, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            **_on_its_own(),
        )  # fmt: skip


def _on_its_own() -> dict[str, Any]:
    """Return the options of a process that outlives this one and its terminal."""
    if sys.platform == "win32":
        alone = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": alone}
    return {"start_new_session": True}


def watch() -> None:
    """Run the command of this process's arguments, or stop it if nobody waits for it."""
    patience, folder, words = float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    with (folder / PROGRESS).open("w", encoding="utf-8") as out:
        command = subprocess.Popen(
            [sys.executable, "-m", "blinkcore", *words],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
        seen, since = _changed(folder / WAITING), time.monotonic()
        while command.poll() is None:
            time.sleep(_INTERVAL)
            now = _changed(folder / WAITING)
            if now != seen:
                seen, since = now, time.monotonic()
            elif seen is not None and time.monotonic() - since > patience:
                command.terminate()
                command.wait()  # once: it writes what is done before it ends
        out.write(f"\nexit {command.returncode}\n")


def _changed(waiting: Path) -> float | None:
    """Return the time of the last change; None: this host does not say that it waits."""
    try:
        return waiting.stat().st_mtime
    except OSError:
        return None
