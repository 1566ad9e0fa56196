"""Connect to a scheduler of dask, or start workers on this computer, and wait for results."""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from blinkcore.files import missing

logger = logging.getLogger(__name__)

_ANSWER = 30.0  # s in which a scheduler must answer
_PATIENCE = 10.0  # s after which it is looked whether there are workers
_MAX_WORKERS = 1024
_MAX_DEATHS = 10  # of workers of this computer, at one task
# For workers that this process starts: waiting threads release their core, and a tile's
# memory is kept for the next one. Dask's own settings return each array to the system,
# which took as long as the network itself.
_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


class SchedulerLostError(ConnectionError):
    """The scheduler is gone, so no further image can be searched in this run."""


class Workers:
    """Connection to a scheduler and its workers.

    Parameters
    ----------
    scheduler : str
        Address of a dask scheduler, such as ``tcp://host:8786``; ``local`` for a process on
        each core of this computer, or their number.

    Raises
    ------
    ImportError
        If dask.distributed is not installed.
    OSError
        If the scheduler does not answer.
    ValueError
        If there is no such scheduler.
    """

    def __init__(self, scheduler: str) -> None:
        self._name = scheduler
        self._has_warned = False
        self.client, self._cluster = _connected(scheduler)

    def __len__(self) -> int:
        try:
            return len(self.client.nthreads())
        except OSError as error:
            raise self._lost() from error

    def close(self) -> None:
        """Disconnect; end the workers that this process started."""
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()

    def result(self, future: Any) -> Any:
        """Wait for the result of a task; say so once if no worker is there.

        Raises
        ------
        SchedulerLostError
            If the scheduler is gone.
        RuntimeError
            If the workers that ran the task died again and again.
        Exception
            What the task raised.
        """
        from distributed import wait
        from distributed.scheduler import KilledWorker

        try:
            while not future.done():
                with suppress(TimeoutError, asyncio.TimeoutError):
                    wait([future], timeout=_PATIENCE)
                if not future.done() and not self._has_warned and not len(self):
                    self._has_warned = True
                    logger.warning(
                        "--scheduler %s has no workers; waiting for one", self._name
                    )
            return self.client.gather(future)
        except KilledWorker as error:
            raise RuntimeError(
                "each worker that searched it died, perhaps for lack of memory"
            ) from error
        except CancelledError as error:
            raise self._lost() from error
        except ConnectionError as error:
            if future.status == "error":  # the task's own, of an image at a URL
                raise
            raise self._lost() from error

    def _lost(self) -> SchedulerLostError:
        return SchedulerLostError(
            f"the scheduler {self._name} is gone; --skip-existing continues with another one"
        )


def _connected(scheduler: str) -> tuple[Any, Any]:
    """Connect to a scheduler; return the client, and the cluster if it is local."""
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise missing("--scheduler", "dask", "cluster") from error
    # Their logs are for those who run a cluster. Dask has given some a level of their own.
    for name in ("asyncio", "distributed", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler == "local" or scheduler.isdecimal():
        n_workers = (os.cpu_count() or 1) if scheduler == "local" else int(scheduler)
        if not 1 <= n_workers <= _MAX_WORKERS:
            raise ValueError(
                f"--scheduler needs at least one process, and at most {_MAX_WORKERS} on "
                "one computer"
            )
        dask.config.set(_LOCAL)  # dask looks at some of it later on
        cluster = _local(n_workers)
        return Client(cluster), cluster
    if "://" not in scheduler:
        raise ValueError(
            f"--scheduler must be local, a number of processes, or an address like "
            f"tcp://host:8786; got {scheduler!r}"
        )
    try:
        return Client(scheduler, timeout=_ANSWER), None
    except OSError as error:
        raise OSError(
            f"--scheduler {scheduler} does not answer within {_ANSWER:g} s"
        ) from error
    except ValueError as error:
        raise ValueError(f"--scheduler {scheduler}: {error}") from error


_LOCAL = {
    "distributed.nanny.pre-spawn-environ": _ENVIRONMENT,
    # Otherwise a worker that dies twice within 15 s is not started again.
    "distributed.deploy.lost-worker-timeout": "1000h",
    "distributed.scheduler.allowed-failures": _MAX_DEATHS,
}


def _local(n_workers: int) -> Any:
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
        )
    except RuntimeError as error:
        raise OSError(
            f"--scheduler: a process for it did not start or died ({error})"
        ) from error
