"""Find candidates in many processes, on this or other computers (dask.distributed).

Workers read the pixels themselves, so all must see the files under the same names. They
return candidates; this process decides which are spots, over a whole image in the order
of its planes, so the table does not depend on the workers' number or timing.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np

from blinkcore.batch.scheduler import Workers
from blinkcore.batch.timeout import time_limit
from blinkcore.detection.options import PredictOptions
from blinkcore.detection.predict import Part, candidates_of_plane
from blinkcore.detection.projection import searched
from blinkcore.detection.scale import scale_factor
from blinkcore.detection.tiles import TILE
from blinkcore.large_plane import LARGE
from blinkcore.network.device import get_threads, set_threads
from blinkcore.network.model import Model, load_model
from blinkcore.network.normalize import plane_scaling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blinkcore.batch.inputs import Input
    from blinkcore.batch.options import Options
    from blinkcore.detection.predict import OnProgress
    from blinkcore.image import Image
    from blinkcore.network.normalize import Scaling

    Place = tuple[int, int, int]

_TASKS = 4  # per worker, that are submitted in advance
_ROWS = 2  # rows of tiles in a part of a large plane
_RUN = uuid4().hex  # identifies this process


class _Source(NamedTuple):
    """Image that a worker reads, and how."""

    name: str
    is_url: bool
    options: PredictOptions
    version: str  # changes with the file, which a worker's cache may outlive

    def read(self) -> Image:
        image = self.options.read(self.name if self.is_url else Path(self.name))
        return searched(image, self.options)


class _Network(NamedTuple):
    """Which model a worker runs, and how: precision and threads change the last bits."""

    name: str
    sha256: str
    device: str
    precision: str
    n_threads: int


# Threads of one worker would share the place in an open file; the network has its own threads.
_one_at_a_time = Lock()


@lru_cache(maxsize=2)
def _image(source: _Source) -> Image:
    return source.read()


@lru_cache(maxsize=1)
def _model(network: _Network) -> Model:
    set_threads(network.n_threads)
    model = load_model(
        network.name, device=network.device, amp=network.precision != "float32"
    )
    if (model.sha256, model.precision) != (network.sha256, network.precision):
        raise ValueError(
            f"a worker has another model {network.name}, or computes in {model.precision} "
            f"and not in {network.precision} (--no-amp makes all alike)"
        )
    return model


def _scaling(source: _Source, place: Place, network: _Network) -> Scaling:
    with _one_at_a_time:
        method = _model(network).metadata.normalization
        return plane_scaling(_image(source).plane(*place).data, method)


def _candidates(
    source: _Source,
    place: Place,
    network: _Network,
    factor: float,
    scaling: Scaling | None = None,
    rows: slice | None = None,
) -> NDArray[np.float64]:
    part = None if scaling is None or rows is None else Part(scaling, rows)
    with _one_at_a_time:
        return candidates_of_plane(
            _image(source), place, _model(network), factor, part=part
        )


class Cluster:
    """Workers that find candidates.

    Parameters
    ----------
    scheduler : str
        See `blinkcore.batch.scheduler.Workers`.
    options : Options
        How to find spots.
    model_name : str
        What the model was loaded as: its name, or a path that the workers see, too.

    Raises
    ------
    ImportError, OSError, ValueError
        See `blinkcore.batch.scheduler.Workers`.
    """

    def __init__(self, scheduler: str, options: Options, model_name: str) -> None:
        self._options = options
        path = Path(model_name)
        model = options.model
        self._network = _Network(
            str(path.absolute()) if path.is_file() else model_name,
            model.sha256,
            model.device,
            model.precision,
            get_threads(),
        )
        self._tried: set[str] = set()
        self._given: dict[str, tuple[float, deque[list[Any]]]] = {}
        self._workers = Workers(scheduler)
        self._client = self._workers.client

    def close(self) -> None:
        """Cancel open tasks and disconnect; end workers that this process started."""
        with suppress(ConnectionError, CancelledError):
            for _, planes in self._given.values():
                self._client.cancel([f for futures in planes for f in futures])
        self._workers.close()

    def look_ahead(self, items: list[Input], is_done: Callable[[Input], bool]) -> None:
        """Submit the planes of the next inputs, as many as keep the workers busy."""
        for item in items:
            if str(item.source) in self._tried:
                continue
            n_given = sum(len(p) for _, planes in self._given.values() for p in planes)
            if n_given >= _TASKS * max(1, len(self._workers)):
                return
            self._tried.add(str(item.source))
            # What is wrong with a file is reported when its turn comes.
            with suppress(Exception), time_limit(self._options.timeout):
                if is_done(item):
                    continue
                image = self._source(item).read()
                options = self._options
                factor = scale_factor(
                    image, options.model, options.scale, options.channel
                )
                self._submit(item, image, factor)

    def forget(self, item: Input) -> None:
        """Cancel and drop the tasks of an input that is finished."""
        _, planes = self._given.pop(str(item.source), (1.0, deque()))
        self._client.cancel([f for futures in planes for f in futures])

    def finder(
        self, item: Input, image: Image, on_progress: OnProgress
    ) -> Callable[[float, int], Iterator[NDArray[np.float64]]]:
        """Return the `find` argument of `predict_image` for an input.

        It tells `on_progress` of the parts of a large single plane, as of tiles, and yields
        the candidates of each plane, of shape (n, 5), see
        `blinkcore.detection.candidates.COLUMNS`.
        """

        def find(factor: float, start: int) -> Iterator[NDArray[np.float64]]:
            before = self._given.get(str(item.source))
            if before is None or before[0] != factor:
                self._submit(item, image, factor)
            _, planes = self._given[str(item.source)]
            for _ in range(min(start, len(planes))):  # done by an interrupted run
                self._client.cancel(planes.popleft())
            single = start + len(planes) == 1
            while planes:
                # Drop the futures, so that the scheduler can free their results.
                yield self._gathered(planes.popleft(), on_progress if single else None)

        return find

    def _gathered(
        self, parts: list[Any], on_progress: OnProgress | None
    ) -> NDArray[np.float64]:
        """Wait for the candidates of the parts of a plane, and tell of each part."""
        found, n = [], len(parts)
        while parts:
            found.append(self._workers.result(parts.pop(0)))
            if on_progress is not None:
                on_progress("tile", len(found), n)
        return np.concatenate(found)

    def _source(self, item: Input) -> _Source:
        options, how = self._options, fields(PredictOptions)  # without the model
        return _Source(
            item.url or str(item.path.absolute()),
            bool(item.url),
            PredictOptions(**{f.name: getattr(options, f.name) for f in how}),
            _state(item),
        )

    def _submit(self, item: Input, image: Image, factor: float) -> None:
        """Submit the planes of an image, each as one task or as one for each part."""
        source, network, submit = self._source(item), self._network, self._client.submit
        image = searched(image, self._options)
        height, width = image.size("Y"), image.size("X")
        whole = self._options.model.metadata.receptive_field is None
        planes: deque[list[Any]] = deque()
        for place in image.places(self._options.channel):
            if factor != 1.0 or whole or height * width <= LARGE:
                planes.append(
                    [submit(_candidates, source, place, network, factor, pure=False)]
                )
                continue
            scaling = submit(_scaling, source, place, network, pure=False)
            step = _ROWS * TILE
            parts = [slice(top, top + step) for top in range(0, height, step)]
            planes.append(
                [
                    submit(
                        _candidates, source, place, network, factor, scaling, rows,
                        pure=False,
                    )
                    for rows in parts
                ]
            )  # fmt: skip
        self._given[str(item.source)] = (factor, planes)


def _state(item: Input) -> str:
    """Identify the content of an input; of OME-Zarr (a folder or URL) that of this run."""
    state = item.state()
    return _RUN if state is None else str(state)
