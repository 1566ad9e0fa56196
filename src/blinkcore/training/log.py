"""The log of a training run: a CSV, TensorBoard if it is installed, and a plot."""

from __future__ import annotations

import csv
import logging
import time
from typing import TYPE_CHECKING, Any

from blinkcore.evaluation.scores import SCORES
from blinkcore.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)


_HEADER = ["step", "loss", "learning_rate", "seconds", *SCORES]


def check_own_log(model: Path) -> None:
    """Refuse to train where the files of the log would replace files of the user.

    Parameters
    ----------
    model : Path
        The model that is to be written.

    Raises
    ------
    ValueError
        If there is a CSV or a picture of its name that no training wrote.
    """
    table, picture = model.with_suffix(".csv"), model.with_suffix(".png")
    is_own = False
    if table.is_file():
        with table.open(encoding="utf-8", errors="replace") as file:
            is_own = file.readline().startswith(",".join(_HEADER[:4]))
    is_trained = model.exists() or model.with_suffix(".checkpoint").exists()
    for path, may_be_replaced in ((table, is_own), (picture, is_own or is_trained)):
        if path.exists() and not may_be_replaced:
            raise ValueError(
                f"{path} exists and is not the log of a training, which would replace it; "
                "move it, or choose another name for the model"
            )


class Log:
    """Writes each validation to a CSV, to TensorBoard and to the log.

    Parameters
    ----------
    model : Path
        The model that is trained; the log lies beside it.
    step : int
        Steps done before; if it is 0, a new CSV is started.
    """

    def __init__(self, model: Path, step: int) -> None:
        self.path = model.with_suffix(".csv")
        self.first, self.started = step, time.monotonic()
        if step == 0:
            self._write("w", _HEADER)
        self.board = _tensorboard(model.with_suffix(".tensorboard"), step)

    def add(
        self, step: int, steps: int, loss: float, rate: float, scores: dict[str, float]
    ) -> None:
        """Log one validation after `step` of `steps` steps."""
        seconds = time.monotonic() - self.started
        self._write("a", [step, loss, rate, seconds, *scores.values()])
        if self.board is not None and step > 0:
            for name, value in {"loss": loss, "learning_rate": rate, **scores}.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()
        left = seconds / max(step - self.first, 1) * (steps - step)
        about_loss = "the model to start from" if step == 0 else f"loss {loss:.5f}"
        logger.info(
            "step %d of %d: %s, F1 integral %.3f, F1 %.3f, RMSE %.2f px%s",
            *(step, steps, about_loss),
            *(scores["f1_integral"], scores["f1"], scores["rmse"]),
            f", {left / 60:.0f} min left" if step > self.first else "",
        )

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.board is not None:
            self.board.close()

    def _write(self, mode: str, values: Sequence[object]) -> None:
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(values)


def _tensorboard(folder: Path, step: int) -> Any:
    """Open a TensorBoard log that starts at a step, if TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=step)


def plot_log(log: Path, picture: Path) -> Path | None:
    """Draw the curves of a training as PNG, if matplotlib is installed.

    Parameters
    ----------
    log : Path
        CSV that `train` wrote.
    picture : Path
        PNG to write.

    Returns
    -------
    Path or None
        The picture; None without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    with log.open(newline="", encoding="utf-8") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = [row for row in rows if row["step"] > 0] or rows
    steps = [row["step"] for row in rows]
    left.plot(steps, [row["loss"] for row in rows])
    left.set(xlabel="step", ylabel="loss")
    for name in ("f1_integral", "precision", "recall"):
        right.plot(steps, [row[name] for row in rows], label=name.replace("_", " "))
    right.set(xlabel="step", ylim=(0, 1), title="validation")
    right.legend()
    with atomic_write(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return picture
