"""How to find spots in many files, and where to put them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from blinkcore.batch.inputs import identity
from blinkcore.detection.options import PredictOptions
from blinkcore.io import tables
from blinkcore.io.suffixes import WRITERS

if TYPE_CHECKING:
    from pathlib import Path

    from blinkcore.network.model import Model

# Options that are recorded also where they are the default, and their names there.
_ALWAYS = {
    "threshold": "threshold", "fdr": "fdr", "radius": "radius", "scale": "scale",
    "dim": "dim", "z": "z", "channel": "channel", "axes": "axes",
    "pixel_size": "pixel_size_um",
}  # fmt: skip
_LONGEST = 1e6  # s that a timer can be set to, everywhere


def check_formats(formats: tuple[str, ...]) -> None:
    """Raise ValueError unless each is the suffix of a format that is written."""
    for name in formats:
        # The description of a result is its .json.
        if name not in WRITERS or name == ".json":
            others = [w for w in WRITERS if w not in (".csv", ".parquet", ".json")]
            known = "csv or parquet, or " + ", ".join(w[1:] for w in others)
            raise ValueError(f"format must be {known}; got {name.lstrip('.')!r}")


def check_timeout(seconds: float | None) -> None:
    """Raise ValueError unless it is a time that a timer can be set to, or None."""
    if seconds is not None and not 0 < seconds <= _LONGEST:
        raise ValueError(
            f"timeout must be above 0 s and at most {_LONGEST:g} s, got {seconds:g}"
        )


def check_contrast(contrast: tuple[float, float] | str) -> None:
    """Raise ValueError unless it is "run", "plane", or a lower and a higher value."""
    if isinstance(contrast, str):
        if contrast not in ("run", "plane"):
            raise ValueError(
                f"contrast must be run, plane or LOW,HIGH, got {contrast!r}"
            )
    elif not contrast[0] < contrast[1]:
        low, high = contrast
        raise ValueError(
            f"contrast must be from a lower to a higher value, got {low:g},{high:g}"
        )


@dataclass(frozen=True)
class Options(PredictOptions):
    """How to find spots and where to put them: `PredictOptions` and the following.

    Attributes
    ----------
    model : Model
        Loaded.
    output : Path or None
        A folder for one table per input; a `.csv` or `.parquet` file for one table of
        all inputs; None: standard output.
    formats : tuple of str
        Suffixes of the files for an input in a folder, see `blinkcore.io.suffixes.WRITERS`; the
        first is its result, the others lie beside it. On standard output the first.
    overlay : Path or None
        Folder for pictures with the spots circled, `<name>.overlay.png`.
    contrast : "run", "plane" or tuple of float
        Of the pictures: one for each channel of the run, one for each plane, or the
        values that are shown as black and as white.
    skip_existing : bool
        Skip inputs whose result, made with the same options, exists already.
    labels : tuple of (str, Path)
        Column, and label image or folder of label images, by whose regions spots are
        counted; the first are the cells, see `blinkcore.detection.cells`.
    timeout : float or None
        Seconds after which an input is given up; None: no limit.

    Raises
    ------
    ValueError
        If an option makes no sense; the message begins with its name.
    """

    model: Model
    output: Path | None
    formats: tuple[str, ...] = (".csv",)
    overlay: Path | None = None
    contrast: tuple[float, float] | str = "run"
    skip_existing: bool = False
    labels: tuple[tuple[str, Path], ...] = ()
    timeout: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_formats(self.formats)
        check_timeout(self.timeout)
        check_contrast(self.contrast)

    @property
    def one_table(self) -> bool:
        """Whether all inputs share one table."""
        return self.output is None or tables.is_table(self.output)

    def _threshold(self) -> float | None:
        # With a rate of false spots there is a different one for each image.
        return None if self.fdr is not None else self.threshold_for(self.model)

    def recorded(self) -> dict[str, Any]:
        """Return the settings that decide which spots are found, for the sidecar.

        New options are recorded only where they are not the default, so that results of
        earlier versions count as made in the same way.
        """
        options: dict[str, Any] = {}
        for field in fields(PredictOptions):
            value = getattr(self, field.name)
            if field.name in _ALWAYS or value != field.default:
                plain = value._asdict() if hasattr(value, "_asdict") else value
                options[_ALWAYS.get(field.name, field.name)] = plain
        del options["threshold"]  # that of the model, if none was given
        options["labels"] = {name: identity(path) for name, path in self.labels}
        return {
            "model": {
                "name": self.model.name,
                "sha256": self.model.sha256,
                "architecture": self.model.metadata.architecture,
                "precision": self.model.precision,
            },
            "threshold": self._threshold(),
            "options": options,
        }
