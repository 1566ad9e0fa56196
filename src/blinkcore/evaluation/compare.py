"""Score methods on labelled images and compare them, with intervals.

A method is a model or a set of spots tables. Intervals are percentiles of a bootstrap over
images (tiles of one image are drawn together), for differences over the same draws.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from blinkcore import io
from blinkcore.datasets import dataset
from blinkcore.datasets.check import check_sample
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import CUTOFF, CUTOFFS, evaluate, f1_curve, match
from blinkcore.files import files_in, whole_file
from blinkcore.network.model import Model, bundled_models, load_model
from blinkcore.spots import PLACES

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from blinkcore.image import PixelSize

SCORES = ("f1_integral", "f1", "precision", "recall", "rmse")
THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)  # of the precision-recall curve
_DRAWS, _LEVEL = 2000, 0.95
_ERROR_BINS = np.linspace(0, 3, 31)  # px
_SNR_EDGES = (2.0, 4.0, 7.0)


Place = tuple[int, int, int]  # frame, channel, z


@dataclass(frozen=True)
class Case:
    """One plane with its true spots.

    Attributes
    ----------
    name : str
        Of the plane.
    source : str
        The image that it is from.
    points : ndarray of float64, shape (n, 2)
        y, x in px.
    image : ndarray or None
        The pixels; None where only labels are there.
    place : tuple of int
        Frame, channel and z of the plane in its table, 0 where the table has none.
    cramer_rao : ndarray of float64, shape (n,), or None
        Least standard error of y and of x of each spot in px; known where it is simulated.
    """

    name: str
    source: str
    points: NDArray[np.float64]
    image: NDArray[Any] | None = None
    place: Place = (0, 0, 0)
    cramer_rao: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Method:
    """What a method found.

    Attributes
    ----------
    name : str
        As the user gave it.
    spots : list of ndarray of float64, shape (n, 2 or more)
        y, x, probability of each case.
    threshold : float or None
        Probability that counts, if it is a model.
    """

    name: str
    spots: list[NDArray[np.float64]]
    threshold: float | None = None

    def kept(self, index: int) -> NDArray[np.float64]:
        """Positions that count in a case."""
        spots = self.spots[index]
        if self.threshold is not None:
            spots = spots[spots[:, 2] > self.threshold]
        return spots[:, :2]


def load(
    truth: str | os.PathLike[str],
    methods: Sequence[str],
    *,
    part: str = "test",
    threshold: float | None = None,
    unit: str = "auto",
    pixel_size: PixelSize | None = None,
    device: str = "auto",
) -> tuple[list[Case], list[Method]]:
    """Load the truth, and what methods find there.

    Labels say only where spots are: planes of a labelled image in which a method alone
    has found some are cases too, without a true spot.

    Parameters
    ----------
    truth : str or path
        Data set (.npz), file of labels, or folder of them.
    methods : sequence of str
        Models, which need a data set; or files or folders of spots tables.
    part : str
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
    cases = _cases(Path(truth), list(tables.values()), part, *about)
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
    part: str,
    unit: str,
    pixel_size: PixelSize | None,
) -> list[Case]:
    if path.suffix.lower() == ".npz":
        samples = dataset.load_dataset(path).part(part)
        return [
            Case(
                s.name,
                s.source,
                s.points,
                s.image,
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
    bound = spots[:, 2] if spots.shape[1] > 2 else None
    return Case(_name(name, place), name, spots[:, :2], place=place, cramer_rao=bound)


def _of_tables(name: str, tables: _Tables, cases: Sequence[Case]) -> Method:
    # Labels are paired by the name of their file, samples of a data set by their own.
    titles = [c.source if c.image is None else c.name for c in cases]
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


NO_SPOTS: NDArray[np.float64] = np.empty((0, 2))
_Tables = dict[str, dict[Place, "NDArray[np.float64]"]]


def _is_table(name: str) -> bool:
    path = Path(name)
    if path.is_dir() and name in bundled_models():
        raise ValueError(
            f"{name} is a bundled model and a folder here; write ./{name} for the folder, "
            "or go elsewhere for the model"
        )
    return path.is_dir() or path.suffix.lower() in dataset.LABEL_SUFFIXES


def _tables(path: Path, unit: str, pixel_size: PixelSize | None) -> _Tables:
    """Points of each plane of each file; a file without a spot has no planes."""
    return {
        name: _planes(
            io.one_image(io.read_labels(file, unit=unit, pixel_size=pixel_size), file)
        )
        for name, file in _label_files(path).items()
    }


def _fitting(tables: _Tables, names: Collection[str]) -> _Tables:
    """Tables of the images that are named; one alone fits another, whatever its name."""
    if len(tables) == len(set(names)) == 1:
        return dict(zip(names, tables.values(), strict=False))
    return {name: table for name, table in tables.items() if name in names}


def _name(table: str, place: Place) -> str:
    return table if not any(place) else f"{table}|{','.join(map(str, place))}"


def _run(
    model: Model, name: str, cases: Sequence[Case], threshold: float | None
) -> Method:
    if any(case.image is None for case in cases):
        raise ValueError(
            f"{name} is a model, and the truth has labels only; give a data set (.npz)"
        )
    least = model.metadata.threshold if threshold is None else threshold
    lowest = min(least, float(THRESHOLDS[0]))
    images = [case.image for case in cases if case.image is not None]
    spots = [find_spots(image, model, threshold=lowest)[:, :3] for image in images]
    return Method(name, spots, least)


def _label_files(path: Path) -> dict[str, Path]:
    """Files of labels by the name that they have in common with other methods'."""
    if not path.is_dir():
        with path.open("rb"):  # an OSError that names it
            pass
        return {_stem(path): path}
    files: dict[str, Path] = {}
    for file in files_in(path, dataset.LABEL_SUFFIXES):
        if io.read_sidecar(file):
            continue
        if _stem(file) in files:
            raise ValueError(f"{files[_stem(file)]} and {file} have one name")
        files[_stem(file)] = file
    if not files:
        raise ValueError(f"{path} has no files of labels in it")
    return files


def _stem(path: Path) -> str:
    known = [w for w in io.WRITERS if path.name.lower().endswith(w)]
    return path.name[: -len(known[0])] if known else path.stem


def _planes(spots: pd.DataFrame) -> dict[Place, NDArray[np.float64]]:
    """Points of each plane that has some; an axis that a table lacks is at 0.

    Simulated truth has a third column, the Cramér-Rao bound.
    """
    known = [n for n in ("y", "x", "cramer_rao") if n in spots.columns]
    points = spots[known].to_numpy(float)
    zeros = np.zeros(len(spots))
    axes = [spots.get(name, zeros) for name in PLACES.values()]
    places = np.rint(np.column_stack(axes)).astype(int).reshape(-1, 3)
    return {
        (int(place[0]), int(place[1]), int(place[2])): points[
            (places == place).all(axis=1)
        ]
        for place in np.unique(places, axis=0)
    }


def score(
    cases: Sequence[Case], methods: Sequence[Method], *, cutoff: float = CUTOFF
) -> pd.DataFrame:
    """Score each method on each case.

    Parameters
    ----------
    cases, methods
        What there is and what was found.
    cutoff : float
        See `blinkcore.evaluation.scores.evaluate`.

    Returns
    -------
    DataFrame
        `method`, `case`, `source`, the scores of `evaluate`, `snr` (median of the labels)
        and `density` (spots per 1000 px²) where there is an image.
    """
    about = [_about(case) for case in cases]
    rows = []
    for method in methods:
        for index, case in enumerate(cases):
            scores = asdict(evaluate(case.points, method.kept(index), cutoff=cutoff))
            rows.append(
                {"method": method.name, "case": case.name, "source": case.source}
                | scores
                | about[index]
            )
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _about(case: Case) -> dict[str, float]:
    if case.image is None:
        return {}
    sample = dataset.Sample(case.image, case.points, "", case.name, case.source)
    return {
        "snr": check_sample(sample).snr,
        "density": 1000 * len(case.points) / case.image.size,
    }


def summarize(table: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Mean scores with intervals, by group, and the differences between methods.

    Parameters
    ----------
    table : DataFrame
        Of `score`.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `methods`: each method's scores as (mean, low, high), low and high None where there
        is one image, of which nothing follows; `groups`: the same by SNR, density and
        image; `differences`: for each two methods that of the F1 integral.
    """
    names = list(dict.fromkeys(table["method"]))
    draws = _draws(table, seed)
    differences = [
        {
            "methods": [a, b],
            "f1_integral": _interval(
                _column(table, a, "f1_integral") - _column(table, b, "f1_integral"),
                draws,
            ),
        }
        for a, b in combinations(names, 2)
    ]
    return {
        "methods": _scores(table, names, draws),
        "differences": differences,
        "groups": _groups(table, names, seed),
        "cases": int(table["case"].nunique()),
        "images": int(table["source"].nunique()),
        "true_spots": int(table.loc[table["method"] == names[0], "n_truth"].sum()),
    }


def _scores(
    table: pd.DataFrame, names: Sequence[str], draws: NDArray[np.intp]
) -> dict[str, dict[str, list[float | None]]]:
    return {
        name: {s: _interval(_column(table, name, s), draws) for s in SCORES}
        for name in names
    }


def _column(table: pd.DataFrame, method: str, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table.loc[table["method"] == method, name].to_numpy(
        float
    )
    return values


def _draws(table: pd.DataFrame, seed: int) -> NDArray[np.intp]:
    """How often each case is in each bootstrap draw, shape (draws, cases).

    Images are drawn with replacement, all cases of each. Of one image there is no draw.
    """
    first = table["method"].iloc[0]
    image_of, sources = pd.factorize(table.loc[table["method"] == first, "source"])
    n = len(sources)
    rng = np.random.default_rng(seed)
    times = [
        np.bincount(rng.integers(n, size=n), minlength=n)
        for _ in range(_DRAWS if n > 1 else 0)
    ]
    return np.array(times, np.intp).reshape(-1, n)[:, image_of]


def _interval(
    values: NDArray[np.float64], draws: NDArray[np.intp]
) -> list[float | None]:
    """Mean and 95 % interval; None where nothing is known."""
    known = np.isfinite(values)
    if not known.any():
        return [None, None, None]
    if not len(draws):
        return [_mean(values), None, None]
    counts = draws @ known
    sums = draws @ np.where(known, values, 0.0)
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(sums[counts > 0] / counts[counts > 0], (tail, 1 - tail))
    return [_mean(values), float(low), float(high)]


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _groups(
    table: pd.DataFrame, names: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    parts: list[tuple[str, pd.DataFrame]] = []
    if "snr" in table.columns:
        for low, high in pairwise((-np.inf, *_SNR_EDGES, np.inf)):
            rows = table[(table["snr"] >= low) & (table["snr"] < high)]
            parts.append((f"SNR {low:g} to {high:g}", rows))
        thirds = table["density"].quantile([0, 1 / 3, 2 / 3, 1]).to_numpy()
        for i, title in enumerate(("low", "middle", "high")):
            above = table["density"] > thirds[i] if i else table["density"] >= thirds[0]
            rows = table[above & (table["density"] <= thirds[i + 1])]
            text = f"{title} density, {thirds[i]:.2g} to {thirds[i + 1]:.2g} / 1000 px²"
            parts.append((text, rows))
    parts += [
        (f"image {name}", rows) for name, rows in table.groupby("source", sort=False)
    ]
    return [
        {
            "group": title,
            "cases": int(rows["case"].nunique()),
            "images": int(rows["source"].nunique()),
            "methods": _scores(rows, names, _draws(rows, seed)),
        }
        for title, rows in parts
        if not rows.empty
    ]


def plot(cases: Sequence[Case], methods: Sequence[Method], path: Path) -> None:
    """Draw F1 against cutoff, precision against recall, and the errors, as PNG.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "plots need matplotlib; install it with: pip install 'blinkcore[plots]'"
        ) from error
    figure = Figure(figsize=(13, 4), layout="constrained")
    f1, precision_recall, errors = figure.subplots(1, 3)
    for method in methods:
        curves = [f1_curve(c.points, method.kept(i)) for i, c in enumerate(cases)]
        (line,) = f1.plot(CUTOFFS, np.mean(curves, axis=0), label=method.name)
        color = line.get_color()
        places = _precision_recall(cases, method)
        marker = "-" if len(places) > 1 else "o"
        precision_recall.plot(*np.transpose(places)[::-1], marker, color=color)
        distances = np.concatenate(
            [_distances(c.points, method.kept(i)) for i, c in enumerate(cases)]
        )
        errors.hist(distances, _ERROR_BINS, histtype="step", color=color)
    expected = _expected_errors(cases)
    if expected is not None:
        errors.stairs(
            expected, _ERROR_BINS, color="black", linestyle=":",
            label="Cramér-Rao bound, all spots",
        )  # fmt: skip
        errors.legend()
    f1.set(xlabel="cutoff, px", ylabel="F1", ylim=(0, 1))
    f1.legend()
    precision_recall.set(
        xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02)
    )
    precision_recall.set_title(f"over thresholds, at {CUTOFF:g} px")
    errors.set(xlabel="distance to the true spot, px", ylabel="spots")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _expected_errors(cases: Sequence[Case]) -> NDArray[np.float64] | None:
    """Count distances as they would be at best: Rayleigh, each spot by its own bound."""
    known = [c.cramer_rao for c in cases if c.cramer_rao is not None]
    if len(known) < len(cases) or not known:
        return None
    bound = np.concatenate(known)
    bound = bound[np.isfinite(bound) & (bound > 0), None]
    beyond = np.exp(-0.5 * (_ERROR_BINS / bound) ** 2).sum(axis=0)
    counts: NDArray[np.float64] = beyond[:-1] - beyond[1:]
    return counts


def _precision_recall(
    cases: Sequence[Case], method: Method
) -> list[tuple[float, float]]:
    if method.threshold is None:
        return [_counts(cases, [method.kept(i) for i in range(len(cases))])]
    return [
        _counts(cases, [s[s[:, 2] > t, :2] for s in method.spots]) for t in THRESHOLDS
    ]


def _counts(
    cases: Sequence[Case], detected: Sequence[NDArray[np.float64]]
) -> tuple[float, float]:
    """Precision and recall over all spots of all cases."""
    results = [evaluate(c.points, d) for c, d in zip(cases, detected, strict=True)]
    matched = sum(r.n_matched for r in results)
    n_found = max(1, sum(r.n_detected for r in results))
    return matched / n_found, matched / max(1, sum(r.n_truth for r in results))


def _distances(
    truth: NDArray[np.float64], detected: NDArray[np.float64]
) -> NDArray[np.float64]:
    if len(truth) == 0 or len(detected) == 0:
        return np.empty(0)
    pairs = match(truth, detected, cutoff=float(CUTOFFS[-1]))
    y, x = (truth[pairs[:, 0]] - detected[pairs[:, 1]]).T
    distances: NDArray[np.float64] = np.hypot(y, x)
    return distances
