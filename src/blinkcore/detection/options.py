"""How to find spots: the options that the library, a batch and the command line share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blinkcore import io
from blinkcore.detection.fit import METHODS, Camera, check_camera
from blinkcore.detection.scale import check_factor
from blinkcore.image import check_axes
from blinkcore.network.calibration import check_fdr, check_threshold

if TYPE_CHECKING:
    import os

    from blinkcore.image import Image, PixelSize
    from blinkcore.network.model import Model

MAX_RADIUS = 50.0  # px
Z_MODES = ("objects", "planes", "max")


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options that decide which spots are found in an image; checked on creation.

    Attributes
    ----------
    threshold : float or None
        Probability above which a spot counts, in [0, 1); None: the model's own.
    fdr : float or None
        Expected share of false spots among those found, in (0, 1), instead of a
        threshold: see `blinkcore.network.calibration`.
    radius : float or None
        Measure the light of each spot in a disk of this radius in px, above 0 and at most
        50, see `blinkcore.detection.measure`; None: do not measure.
    measure : {"poisson", "lsq"} or None
        Fit a Gaussian to each spot, see `blinkcore.detection.fit`; instead of `radius`.
    camera : Camera or None
        Offset and gain for that fit; None: counts are treated as photons.
    molecules : bool
        Divide the intensity by the channel's median: the number of molecules in a
        clump, if most spots are single molecules.
    scale : float or "auto"
        Resample planes by this factor before the model sees them, if spots are wider or
        narrower than those that it was trained on; positions are those of the image.
        "auto": the width of the image's blobs decides, see
        `blinkcore.detection.scale.scale_factor`.
    dim : bool
        Keep dim specks that look like spots but belong to another class of brightness than
        the image's spots; otherwise the image's own population of brightness decides, over
        all planes of a channel, see `blinkcore.network.calibration`.
    z : {"objects", "planes", "max"}
        For a stack: "objects" joins the detections of its planes to one row per spot,
        see `blinkcore.detection.objects`; "planes" gives a row for each plane in which
        a spot is seen; "max" searches the maximum projection.
    channel : int or None
        Only this channel, from 0; of a colour picture red, green or blue; None: all.
    axes : str or None
        One letter of `TCZYX` per dimension, in the file's order; None: the file's.
    pixel_size : PixelSize or None
        In µm, instead of what the file says.
    level : int
        Resolution level of OME-Zarr, from 0, the finest.
    truncated : bool
        Read what is left of files that were cut off.

    Raises
    ------
    ValueError
        If an option makes no sense; the message begins with its name.
    """

    threshold: float | None = None
    fdr: float | None = None
    radius: float | None = None
    measure: str | None = None
    camera: Camera | None = None
    molecules: bool = False
    scale: float | str = 1.0
    dim: bool = False
    z: str = "objects"
    channel: int | None = None
    axes: str | None = None
    pixel_size: PixelSize | None = None
    level: int = 0
    truncated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", self.axes.upper() if self.axes else None)
        for name in ("threshold", "fdr", "radius"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.fdr is not None:
            check_fdr(self.fdr, self.threshold)
        if self.radius is not None and not 0 < self.radius <= MAX_RADIUS:
            raise ValueError(
                f"radius must be above 0 and at most {MAX_RADIUS:g} px, got {self.radius}"
            )
        self._check_measures()
        self._check_planes()
        if self.scale != "auto":
            try:
                object.__setattr__(self, "scale", float(self.scale))
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"scale must be a factor or 'auto', got {self.scale!r}"
                ) from error
            check_factor(float(self.scale))

    def _check_planes(self) -> None:
        if self.z not in Z_MODES:
            raise ValueError(f"z must be one of {', '.join(Z_MODES)}, got {self.z!r}")
        if self.channel is not None and self.channel < 0:
            raise ValueError(f"channel counts from 0, got {self.channel}")
        if self.level < 0:
            raise ValueError(f"level counts from 0, got {self.level}")
        if self.axes is not None:
            check_axes(self.axes, (1,) * len(self.axes))

    def threshold_for(self, model: Model) -> float:
        """Return the probability above which a spot counts: the option, or the model's own."""
        own = model.metadata.threshold
        return own if self.threshold is None else self.threshold

    def read(self, source: str | os.PathLike[str]) -> Image:
        """Read an image as these options have it; errors as of `blinkcore.io.read_image`."""
        return io.read_image(
            source,
            axes=self.axes,
            pixel_size=self.pixel_size,
            rgb=self.channel is not None,
            truncated=self.truncated,
            level=self.level,
        )

    def _check_measures(self) -> None:
        if self.measure is not None and self.measure not in METHODS:
            raise ValueError(
                f"measure must be one of {', '.join(METHODS)}, got {self.measure!r}"
            )
        if self.measure is not None and self.radius is not None:
            raise ValueError("measure fits spots, radius sums their light: give one")
        if self.camera is not None:
            check_camera(self.camera)
            if self.measure is None:
                raise ValueError(
                    "camera is for the fit of spots, which measure asks for"
                )
        if self.molecules and self.measure is None and self.radius is None:
            raise ValueError("molecules needs intensities: give measure or radius")


def _number(name: str, value: Any) -> Any:
    """Return a number, also of a text such as the command line has; None stays."""
    if value is None:
        return value
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number, got {value!r}") from error
