"""The widget: find the spots of an image layer, and filter them by probability."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    FloatSlider,
    Label,
    LineEdit,
    PushButton,
    create_widget,
)
from napari.layers import Image as ImageLayer
from napari.layers import Points
from napari.qt.threading import thread_worker
from napari.utils.notifications import show_warning

from blinkcore import io
from blinkcore.detection.options import PredictOptions
from blinkcore.detection.predict import candidates_of_plane, predict_image
from blinkcore.detection.scale import scale_warning
from blinkcore.image import AXES, Image, canonical_axes, check_axes
from blinkcore.io.tables import NAPARI_AXES
from blinkcore.napari.layers import points_layer
from blinkcore.network.model import DEFAULT, bundled_models, load_model
from blinkcore.spots import AXIS_COLUMNS, ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import pandas as pd
    from napari.viewer import Viewer

    from blinkcore.network.model import Model

# Less probable spots are not looked for: they would be many, and mostly noise.
_MIN_PROBABILITY = 0.1
# Properties that points copy from their image layer, so that they lie on it.
_PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class SpotDetection(Container[Any]):
    """Find the spots of an image layer.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Viewer whose layers are offered.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self._viewer = napari_viewer
        self._worker: Any = None
        self.image: Any = create_widget(annotation=ImageLayer, label="Image")
        self.model = ComboBox(
            label="Model", choices=list(bundled_models()), value=DEFAULT
        )
        self.model_file = FileEdit(
            label="or file", filter="*.pt", nullable=True, value=None
        )
        self.axes = LineEdit(
            label="Axes", tooltip=f"One letter per dimension, out of {AXES}."
        )
        self.plane_only = CheckBox(
            label="Shown plane only", tooltip="To try it on one plane of a stack."
        )
        self.start = PushButton(text="Find spots")
        self.spots: Any = create_widget(annotation=Points, label="Spots")
        self.min_probability = FloatSlider(
            label="Probability above",
            min=_MIN_PROBABILITY,
            max=1.0,
            step=0.01,
            value=0.5,
        )
        self.n_shown = Label(value="")
        super().__init__(
            widgets=[
                *(self.image, self.model, self.model_file, self.axes, self.plane_only),
                *(self.start, self.spots, self.min_probability, self.n_shown),
            ]
        )
        for widget, react in self._reactions():
            widget.changed.connect(react)
        self.reset_choices()
        self._suggest_axes()

    def _reactions(self) -> list[tuple[Any, Callable[[], None]]]:
        return [
            (self.image, self._suggest_axes),
            (self.start, self._start_or_stop),
            (self.spots, self._hide),
            (self.min_probability, self._hide),
        ]

    def _suggest_axes(self) -> None:
        layer = self.image.value
        if layer is not None:
            labels = "".join(str(label) for label in layer.axis_labels).upper()
            usual = NAPARI_AXES.get(layer.ndim, "")
            known = labels if set(labels) <= set(AXES) else _axes_of_file(layer)
            self.axes.value = known or usual
            self.plane_only.visible = layer.ndim > 2

    def _start_or_stop(self) -> None:
        if self._worker is not None:
            self._worker.quit()
            return
        layer = self.image.value
        if layer is None:
            raise ValueError("open an image first")
        image, axes = _image_of(layer, self.axes.value.upper())
        file = self.model_file.value
        model = load_model(str(file) if file else self.model.value)
        warning = scale_warning(image, model)
        if warning:
            show_warning(warning)
        self.min_probability.value = max(_MIN_PROBABILITY, model.metadata.threshold)
        only = (
            _shown_place(self._viewer, layer, axes) if self.plane_only.value else None
        )
        total = 1 if only else image.n_planes()
        self._worker = thread_worker(_find, progress={"total": total, "desc": "Spots"})(
            image, model, only
        )
        self._worker.returned.connect(lambda spots: self._show(spots, layer, axes))
        self._worker.finished.connect(self._finished)
        self.start.text = "Stop"
        self._worker.start()

    def _finished(self) -> None:
        self._worker = None
        self.start.text = "Find spots"

    def _show(self, spots: pd.DataFrame, layer: ImageLayer, axes: str) -> None:
        shape = tuple(_pixels_of(layer).shape)
        points, options = points_layer(spots, f"{layer.name} spots", axes, shape)
        placement = {name: getattr(layer, name) for name in _PLACEMENT}
        shown = self._viewer.add_points(points, ndim=layer.ndim, **options, **placement)
        self.reset_choices()
        self.spots.value = shown
        self._hide()

    def _hide(self) -> None:
        """Hide the points whose probability is not above the slider."""
        layer = self.spots.value
        if layer is None or "probability" not in layer.features:
            self.n_shown.value = ""
            return
        # Points that a person added have no probability; they stay.
        sure = ~(layer.features["probability"].to_numpy() <= self.min_probability.value)
        layer.shown = sure
        # napari (seen in 0.9.2) draws hidden points all the same, unless the viewer has
        # sliders. Points of size 0 are invisible if no least size on the screen is set.
        layer.canvas_size_limits = (0, layer.canvas_size_limits[1])
        layer.size = np.where(sure, layer.current_size, 0)
        self.n_shown.value = f"{sure.sum()} of {len(sure)} shown"


def _pixels_of(layer: ImageLayer) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def _axes_of_file(layer: ImageLayer) -> str:
    """Return the axes from the layer's file, in the layer's order; empty if ambiguous."""
    path = layer.source.path
    if path is None:
        return ""
    try:
        sizes = io.read_image(path).sizes
    except (OSError, ValueError, ImportError):
        return ""
    letters = [a for a, n in sizes.items() if n > 1 and a not in "YX"]
    fits = [
        "".join(order) + "YX"
        for order in permutations(letters)
        if tuple(sizes[a] for a in (*order, "Y", "X")) == layer.data.shape
    ]
    return fits[0] if len(fits) == 1 else ""


def _image_of(layer: ImageLayer, axes: str) -> tuple[Image, str]:
    """Return the pixels of a layer as an image, and the layer's own axes."""
    if layer.rgb:
        raise ValueError(
            f"{layer.name} is a colour picture; split its channels first (right click "
            "on the layer: Split RGB)"
        )
    pixels = _pixels_of(layer)
    check_axes(axes, pixels.shape)
    letters = canonical_axes(axes)
    return Image(pixels.transpose([axes.index(a) for a in letters]), letters), axes


def _shown_place(viewer: Viewer, layer: ImageLayer, axes: str) -> dict[str, int]:
    """Return the frame, channel and z of a layer that the viewer shows."""
    at = layer.world_to_data(viewer.dims.point)
    index = {a: round(float(place)) for a, place in zip(axes, at, strict=True)}
    return {"T": index.get("T", 0), "C": index.get("C", 0), "Z": index.get("Z", 0)}


def _find(
    image: Image, model: Model, only: dict[str, int] | None
) -> Generator[None, None, pd.DataFrame]:
    """Find spots as `blinkcore.predict` does: those of a z-stack are joined over its planes.

    It stops after each plane, so that napari can show how far it is, and end it.
    """
    options = PredictOptions(threshold=_MIN_PROBABILITY)
    if only is not None:
        index = tuple(only[a] for a in image.axes if a in only)
        spots = predict_image(
            Image(np.asarray(image.data[index]), "YX"), model, options
        )
        yield
        for axis, name in AXIS_COLUMNS.items():
            if axis in image.axes:
                spots[name] = only[axis]
        return ordered(spots)
    candidates = []
    for place in image.places():
        candidates.append(candidates_of_plane(image, place, model, 1.0))
        yield
    return predict_image(image, model, options, candidates=candidates)
