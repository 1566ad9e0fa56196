"""The metadata of a model: a record that is stored in its file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any

from blinkcore.network import grid, normalize
from blinkcore.network.calibration import UNCALIBRATED, Calibration, check_threshold

if TYPE_CHECKING:
    from blinkcore.network.networks import AnyNetwork

METADATA_FILE = "blinkcore.json"  # in the archive
FORMAT_VERSION = 1
_MAX_DISTANCE = 1_000_000  # px
_MAX_NUMBER = 1e6  # of a calibration
# Fields that a network knows of itself, by the same names.
_OF_A_NETWORK = (
    "arguments", "cell_size", "cell_map", "stride", "receptive_field", "normalization",
    "merge_distance",
)  # fmt: skip


@dataclass(frozen=True)
class Metadata:
    """Description of a model, which its file holds.

    Attributes
    ----------
    architecture : str
        Name of the network.
    arguments : dict
        Sizes of the network.
    cell_size : int
        Side of a cell in px.
    cell_map : {"center", "deepblink"}
        Where the first cell begins, see `blinkcore.network.grid`.
    stride : int
        Sides of an input are multiples of it, in px.
    receptive_field : int or None
        Largest distance in px at which a pixel can change a cell; None: no limit.
    normalization : {"noise", "texture", "standard"}
        See `blinkcore.network.normalize`.
    threshold : float
        Default for the probability of a spot.
    merge_distance : float
        Candidates of neighbouring cells closer than this (px) are one spot.
    spot_sigma : tuple of float or None
        Smallest and largest width of the spots that it was trained on, in px; None: not known.
    calibration : Calibration
        See `blinkcore.network.calibration`.
    count_spread : float or None
        See `blinkcore.network.calibration.real_count`; None: not known.
    provenance : dict
        Data, command, seed, steps, version, revision.
    scores : dict
        Measured on the validation scenes of the training.
    format_version : int
        Of this record.
    """

    architecture: str
    arguments: dict[str, Any]
    cell_size: int
    cell_map: str
    stride: int
    receptive_field: int | None
    normalization: str
    threshold: float
    merge_distance: float
    spot_sigma: tuple[float, float] | None
    calibration: Calibration = UNCALIBRATED
    count_spread: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @classmethod
    def of(cls, network: AnyNetwork, **others: Any) -> Metadata:
        """Describe a network.

        Parameters
        ----------
        network : AnyNetwork
            Gives what it knows of itself, such as its cells and its receptive field.
        **others
            The fields that it does not know; `threshold` and `spot_sigma` at least.
        """
        own = {name: getattr(network, name) for name in _OF_A_NETWORK}
        architecture = type(network).__name__.lower()
        return cls(**{"architecture": architecture, **own, **others})

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """Read and check a record.

        Raises
        ------
        ValueError
            If something is missing or out of range; the message names it.
        """
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError(f"{METADATA_FILE} is nested too deep") from error
        if not isinstance(values, dict) or "format_version" not in values:
            raise ValueError(f"{METADATA_FILE} has no format_version")
        if not isinstance(values["format_version"], int):
            raise ValueError(  # noqa: TRY004 (what a file holds)
                f"{METADATA_FILE} has no format_version that is a number"
            )
        if values["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"its format is version {values['format_version']}, this blinkcore "
                f"reads up to {FORMAT_VERSION}; please upgrade blinkcore"
            )
        try:
            return cls._of(values)
        except (TypeError, AttributeError) as error:  # an entry is of another kind
            raise ValueError(f"{METADATA_FILE} is damaged: {error}") from error

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Metadata:
        """Make the record of parsed JSON, and check it."""
        names = [f.name for f in fields(cls)]
        # Fields that the first models of this format do not have.
        values.setdefault("calibration", tuple(Calibration()))
        values.setdefault("count_spread", None)
        sizes = values.get("arguments")
        if values.get("architecture") == "blink" and isinstance(sizes, dict):
            sizes.setdefault("levels", 1)
        missing = [n for n in names if n not in values]
        if missing:
            raise ValueError(f"{METADATA_FILE} lacks {', '.join(missing)}")
        values["calibration"] = _as_calibration(values["calibration"])
        metadata = cls(**{name: values[name] for name in names})
        metadata._check()
        return metadata

    def to_json(self) -> str:
        """Write the record, as `from_json` reads it."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)

    def _check(self) -> None:
        if not isinstance(self.architecture, str):
            raise ValueError("architecture must be the name of a network")  # noqa: TRY004
        for name in ("cell_size", "stride"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(
                    f"{name} must be a positive integer, got {shortened(value)}"
                )
        if self.stride % self.cell_size:
            raise ValueError(
                f"stride must be a multiple of cell_size, got {self.stride}"
            )
        if self.cell_map not in grid.ORIGINS:
            raise ValueError(f"cell_map is unknown: {shortened(self.cell_map)}")
        if self.normalization not in normalize.METHODS:
            raise ValueError(
                f"normalization is unknown: {shortened(self.normalization)}"
            )
        check_threshold(self.threshold)
        self._check_distances()
        if self.spot_sigma is not None and not _are_widths(self.spot_sigma):
            raise ValueError(
                f"spot_sigma must be two widths, got {shortened(self.spot_sigma)}"
            )
        for name in ("arguments", "provenance", "scores"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} must be names with values")  # noqa: TRY004

    def _check_distances(self) -> None:
        for name in ("merge_distance", "receptive_field", "count_spread"):
            value = getattr(self, name)
            if value is None and name != "merge_distance":
                continue
            kinds = (int,) if name == "receptive_field" else (int, float)
            if not (type(value) in kinds and 0 <= value < _MAX_DISTANCE):
                raise ValueError(
                    f"{name} must be at least 0 and below {_MAX_DISTANCE:,}"
                )


def _are_widths(values: Any) -> bool:
    """Return whether these are two numbers of px."""
    return (
        isinstance(values, tuple | list)
        and len(values) == 2
        and all(isinstance(v, int | float) and 0 < v < _MAX_DISTANCE for v in values)
    )


def _as_calibration(values: Any) -> Calibration:
    """Read an offset, a slope and, in newer models, weights of the population."""
    try:
        numbers = Calibration(*(float(value) for value in values))
        is_usable = len(values) >= 2 and all(abs(n) < _MAX_NUMBER for n in numbers)
    except (TypeError, ValueError, OverflowError):
        is_usable = False
    if (
        isinstance(values, str)
        or not is_usable
        or numbers.slope <= 0
        or min(numbers[2:]) < 0
    ):
        raise ValueError(
            "calibration must be an offset, a positive slope and, if the population of "
            f"brightness counts, weights of it that are not negative, got {shortened(values)}"
        )
    return numbers
