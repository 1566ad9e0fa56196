"""Spots tables as points layers: to show, to open, to save.

napari puts integers at pixel centres, as blinkcore does, so positions go over unchanged.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from blinkcore import io
from blinkcore.io.tables import NAPARI_AXES
from blinkcore.spots import COLUMN_OF, COLUMNS, check_spots, ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    LayerData = tuple[Any, dict[str, Any], str]


def axes_of(spots: pd.DataFrame) -> str:
    """Return the axes that a table has columns for, in the order of `TCZYX`."""
    return "".join(a for a, name in COLUMN_OF.items() if name in spots.columns)


def points_layer(
    spots: pd.DataFrame,
    name: str,
    axes: str | None = None,
    shape: tuple[int, ...] | None = None,
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Turn a spots table into the data and options of a points layer.

    Parameters
    ----------
    spots : DataFrame
        A spots table of one image.
    name : str
        Of the layer.
    axes : str, optional
        The layer's dimensions out of `TCZYX`, in any order; those of the table if not
        given.
    shape : tuple of int, optional
        Of the image, along these axes; some formats need it when the points are saved.

    Returns
    -------
    data : ndarray of float64, shape (n, len(axes))
        Positions in px.
    options : dict
        For `napari.layers.Points`: rings, coloured by probability where there is one.
    """
    axes = axes or axes_of(spots)
    columns = [COLUMN_OF[a] for a in axes]
    features = spots.drop(columns=columns).reset_index(drop=True)
    options: dict[str, Any] = {
        "name": name,
        "features": features,
        "metadata": {"axes": axes, "shape": shape},
        "size": 8,
        "face_color": "transparent",
        "border_width": 0.12,
        "border_color": "yellow",
    }
    # Without a point there is nothing to colour, and napari would not find the scale.
    if "probability" in features.columns and len(features):
        options |= {
            "border_color": "probability",
            "border_colormap": "plasma",
            "border_contrast_limits": (0.0, 1.0),
        }
    return spots[columns].to_numpy(np.float64), options


def spots_table(
    data: NDArray[np.float64],
    axes: str | None = None,
    features: Mapping[str, Sequence[Any]] | pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Turn points back into a spots table.

    Parameters
    ----------
    data : ndarray, shape (n, 2 to 5)
        Positions in px.
    axes : str, optional
        See `points_layer`; if not given, the usual axes for this number of dimensions.
    features : DataFrame, optional
        Of the points. Columns that a spots table does not have are left out.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        If the axes do not fit the number of dimensions.
    """
    n_dimensions = np.shape(data)[1]
    axes = axes or NAPARI_AXES.get(n_dimensions)
    if axes is None or len(axes) != n_dimensions:
        raise ValueError(
            f"points of 2 to 5 dimensions can be spots, these have {n_dimensions}"
        )
    spots = pd.DataFrame(np.asarray(data), columns=[COLUMN_OF[a] for a in axes])
    for name in ("frame", "channel"):
        if name in spots.columns:
            spots[name] = spots[name].round()
    table = pd.DataFrame({} if features is None else dict(features))
    for name in table.columns:
        known = name in COLUMNS and name not in spots.columns
        # Positions come from the points, which the user may have moved.
        if known and not name.endswith("_um") and table[name].notna().any():
            # A point that a person added belongs to no track.
            missing = 0 if name in ("frame", "channel") else -1
            whole = COLUMNS[name] == "int64"
            values = table[name].fillna(missing) if whole else table[name]
            spots[name] = values.to_numpy()
    return check_spots(ordered(spots), source="the layer")


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return what reads a file of spots for napari, or None for any other file."""
    if not isinstance(path, str):
        return None
    try:
        spots = io.read_labels(path)
    except (OSError, ValueError):
        return None

    def read(_: str | list[str]) -> list[LayerData]:
        if "image" not in spots.columns:
            return _layers(spots, Path(path).stem)
        return [
            layer
            for image, part in spots.groupby("image", sort=False)
            for layer in _layers(
                part.drop(columns="image"), f"{Path(str(image)).stem} spots"
            )
        ]

    return read


def _layers(spots: pd.DataFrame, name: str) -> list[LayerData]:
    """Return the points, and the tracks where spots are linked."""
    layers: list[LayerData] = [(*points_layer(spots, name), "points")]
    if {"track", "frame"} <= set(spots.columns):
        layers.append((*tracks_layer(spots, f"{name} tracks"), "tracks"))
    return layers


def tracks_layer(
    spots: pd.DataFrame, name: str
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Turn the tracks of a spots table into the data and options of a tracks layer.

    Parameters
    ----------
    spots : DataFrame
        With `track` and `frame`; spots of no track (below 0) are left out.
    name : str
        Of the layer.

    Returns
    -------
    data : ndarray of float64, shape (n, 1 + axes)
        Number of the track, then frame, channel, z (where there are), y and x.
    options : dict
        For `napari.layers.Tracks`.
    """
    linked = spots[spots["track"] >= 0].sort_values(["track", "frame"], kind="stable")
    columns = ["track", *(COLUMN_OF[a] for a in axes_of(spots))]
    return linked[columns].to_numpy(np.float64), {"name": name, "tail_length": 20}


def write_points(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save the visible points of a layer in the format that the suffix says.

    Raises
    ------
    ValueError
        If the points have more than five dimensions.
    """
    data = np.asarray(data, np.float64)
    features = pd.DataFrame(dict(attributes.get("features", {})))
    shown = np.broadcast_to(attributes.get("shown", True), len(data))
    known = attributes.get("metadata", {})
    axes, shape = known.get("axes"), known.get("shape")
    spots = spots_table(data[shown], axes, features[shown] if len(features) else None)
    sizes = dict(zip(axes, shape, strict=True)) if axes and shape else None
    lost = io.write_spots(spots, path, sizes=sizes)
    if lost:
        from napari.utils.notifications import show_info

        show_info(f"{Path(path).name} cannot hold {', '.join(lost)}")
    return [path]


def simulated_scene() -> list[LayerData]:
    """Draw a scene and its true spots, to try the plugin on."""
    from blinkcore.simulation.presets import ranges_of
    from blinkcore.simulation.scenes import simulate

    rng = np.random.default_rng(1)
    scene = simulate((256, 256), rng, ranges=ranges_of("smfish"))
    truth = pd.DataFrame(scene.points, columns=["y", "x"])
    points, options = points_layer(truth, "true spots")
    return [
        (scene.image, {"name": "simulated spots"}, "image"),
        (points, options | {"visible": False}, "points"),
    ]
