"""Planes with their true spots, and the spots that each method found there.

A method is a model or a set of spots tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blinkcore import io
from blinkcore.datasets import dataset
from blinkcore.detection.predict import find_spots
from blinkcore.files import check_readable, files_in
from blinkcore.io.suffixes import LABELS, is_folder_of_labels, stem_of_spots
from blinkcore.io.tables import is_counts
from blinkcore.network.grid import PROBABILITY
from blinkcore.network.model import Model, bundled_models, load_model
from blinkcore.network.registry import registered_models
from blinkcore.spots import AXIS_COLUMNS

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from blinkcore.image import PixelSize
    from blinkcore.labelled import LabelledPlane

PR_THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)  # of the precision-recall curve
Place = tuple[int, int, int]  # frame, channel, z
# Columns of labels: simulated truth has the Cramér-Rao bound, too.
_COLUMNS = ("y", "x", "cramer_rao")
_BOUND = 2


@dataclass(frozen=True)
class Case:
    """True spots of one plane, whose pixels may be unknown.

    Attributes
    ----------
    name : str
        Of the plane.
    source : str
        The image that it is from.
    points : ndarray of float64, shape (n, 2)
        y, x in px.
    plane : LabelledPlane or None
        The points with the pixels; None if there are only labels.
    place : tuple of int
        Frame, channel and z of the plane in its table, 0 where the table has none.
    cramer_rao : ndarray of float64, shape (n,), or None
        Smallest standard error of y and of x of each spot in px; known where it is simulated.
    """

    name: str
    source: str
    points: NDArray[np.float64]
    plane: LabelledPlane | None = None
    place: Place = (0, 0, 0)
    cramer_rao: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Method:
    """Spots that a method found.

    Attributes
    ----------
    name : str
        As the user gave it.
    spots : list of ndarray of float64, shape (n, 2 or more)
        y, x, probability of each case.
    threshold : float or None
        Probability above which a spot counts; None for tables.
    """

    name: str
    spots: list[NDArray[np.float64]]
    threshold: float | None = None

    def kept(self, index: int) -> NDArray[np.float64]:
        """Return the positions y, x (n, 2), in px, of the spots that count in a case."""
        spots = self.spots[index]
        if self.threshold is not None:
            spots = spots[spots[:, PROBABILITY] > self.threshold]
        return spots[:, :2]


def load(
    truth: str | os.PathLike[str],
    methods: Sequence[str],
    *,
    split: str = "test",
    threshold: float | None = None,
    unit: str = "auto",
    pixel_size: PixelSize | None = None,
    device: str = "auto",
) -> tuple[list[Case], list[Method]]:
    """Load the truth, and what methods find there.

    Labels list only planes with spots. A plane of a labelled image in which a method
    alone found spots is a case too, without true spots.

    Parameters
    ----------
    truth : str or path
        Data set (.npz), file of labels, or folder of them.
    methods : sequence of str
        Models, which need a data set; or files or folders of spots tables.
    split : str
        Of a data set.
    threshold : float, optional
        For models, instead of their own.
    unit, pixel_size
        Of tables, see `blinkcore.io.read_labels`.
    device : str
        For models.

    Raises
    ------
    OSError, ValueError
        If something cannot be read, or does not fit the truth.
    """
    about = (unit, pixel_size)
    tables = {name: _tables(Path(name), *about) for name in methods if _is_table(name)}
    cases = _cases(Path(truth), list(tables.values()), split, *about)
    found = [
        _of_tables(name, tables[name], cases)
        if name in tables
        else _run(load_model(name, device=device), name, cases, threshold)
        for name in methods
    ]
    return cases, found


def _cases(
    path: Path,
    methods: Sequence[_Tables],
    split: str,
    unit: str,
    pixel_size: PixelSize | None,
) -> list[Case]:
    if path.suffix.lower() == ".npz":
        samples = dataset.load_dataset(path).split(split)
        return [
            Case(
                s.name,
                s.source,
                s.points,
                s,
                cramer_rao=None if s.cramer_rao is None else np.array(s.cramer_rao),
            )
            for s in samples
        ]
    truth = _tables(path, unit, pixel_size)
    planes = {name: set(places) for name, places in truth.items()}
    for tables in methods:
        for name, places in _fitting(tables, truth).items():
            planes[name] |= set(places)
    return [
        _case(name, place, truth[name].get(place, NO_SPOTS))
        for name in truth
        for place in sorted(planes[name] or {(0, 0, 0)})
    ]


def _case(name: str, place: Place, spots: NDArray[np.float64]) -> Case:
    bound = spots[:, _BOUND] if spots.shape[1] > _BOUND else None
    return Case(_name(name, place), name, spots[:, :2], place=place, cramer_rao=bound)


def _of_tables(name: str, tables: _Tables, cases: Sequence[Case]) -> Method:
    # Labels are paired by the name of their file, samples of a data set by their own.
    titles = [
        c.source if c.plane is None else _WITHOUT_OME.sub("", c.name) for c in cases
    ]
    fitting = _fitting(tables, titles)
    missing = [title for title in titles if title not in fitting]
    if missing:
        why = "; its names differ" if not fitting else ""
        raise ValueError(f"{name} has no table of {missing[0]}{why}")
    found = [
        fitting[title].get(case.place, NO_SPOTS)[:, :2]
        for title, case in zip(titles, cases, strict=True)
    ]
    return Method(name, found)


# Data sets of version 0.1 call the image of a.ome.tif a.ome, and tables are of a.
_WITHOUT_OME = re.compile(r"\.ome(?![A-Za-z])")
NO_SPOTS: NDArray[np.float64] = np.empty((0, 2))
_Tables = dict[str, dict[Place, "NDArray[np.float64]"]]


def _is_table(name: str) -> bool:
    path = Path(name)
    if path.is_dir() and name in {**bundled_models(), **registered_models()}:
        raise ValueError(
            f"{name} is a model and a folder here; write ./{name} for the folder, or run in "
            "another folder to use the model"
        )
    return path.is_dir() or path.name.lower().endswith(LABELS)


def _tables(path: Path, unit: str, pixel_size: PixelSize | None) -> _Tables:
    """Return the points of each plane of each file; a file without a spot has no planes."""
    return {
        name: _planes(
            io.one_image(io.read_labels(file, unit=unit, pixel_size=pixel_size), file)
        )
        for name, file in _label_files(path).items()
    }


def _fitting(tables: _Tables, names: Collection[str]) -> _Tables:
    """Select the tables of the named images; a single table fits a single image."""
    if len(tables) == len(set(names)) == 1:
        return dict(zip(names, tables.values(), strict=False))
    return {name: table for name, table in tables.items() if name in names}


def _name(table: str, place: Place) -> str:
    return table if not any(place) else f"{table}|{','.join(map(str, place))}"


def _run(
    model: Model, name: str, cases: Sequence[Case], threshold: float | None
) -> Method:
    if any(case.plane is None for case in cases):
        raise ValueError(
            f"{name} is a model, and the truth has labels only; give a data set (.npz)"
        )
    chosen = model.metadata.threshold if threshold is None else threshold
    lowest = min(chosen, float(PR_THRESHOLDS[0]))
    images = [case.plane.image for case in cases if case.plane is not None]
    spots = [find_spots(image, model, threshold=lowest)[:, :3] for image in images]
    return Method(name, spots, chosen)


def _label_files(path: Path) -> dict[str, Path]:
    """List files of labels by the name under which methods are compared."""
    if not is_folder_of_labels(path):
        if not path.is_dir():
            check_readable(path)
        return {stem_of_spots(path): path}
    files: dict[str, Path] = {}
    for file in files_in(path, LABELS):
        if io.read_sidecar(file) or is_counts(file):
            continue
        if stem_of_spots(file) in files:
            own = files[stem_of_spots(file)]
            if io.description_of(own) is not None:  # the same result in another format
                continue
            raise ValueError(f"{files[stem_of_spots(file)]} and {file} share one name")
        files[stem_of_spots(file)] = file
    if not files:
        raise ValueError(f"{path} has no files of labels in it")
    return files


def _planes(spots: pd.DataFrame) -> dict[Place, NDArray[np.float64]]:
    """Return the points of each plane that has some; an axis that a table lacks is at 0."""
    known = [n for n in _COLUMNS if n in spots.columns]
    points = spots[known].to_numpy(float)
    zeros = np.zeros(len(spots))
    axes = [spots.get(name, zeros) for name in AXIS_COLUMNS.values()]
    places = np.rint(np.column_stack(axes)).astype(int).reshape(-1, 3)
    return {
        (int(place[0]), int(place[1]), int(place[2])): points[
            (places == place).all(axis=1)
        ]
        for place in np.unique(places, axis=0)
    }
