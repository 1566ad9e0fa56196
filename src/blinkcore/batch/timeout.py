"""A time limit for a block of code."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_AGAIN = 0.1  # s; the signal is repeated in case the code that it met swallowed it


class _TimeIsOver(BaseException):
    """Passes handlers of `Exception`, such as a reader that tries the next decoder."""


def has_time_limits() -> bool:
    """Tell whether time can be limited: in the main thread of a system with timers."""
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "setitimer")


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """End a block that takes too long, as soon as Python code runs in it.

    Parameters
    ----------
    seconds : float or None
        None: no limit.

    Raises
    ------
    TimeoutError
        When the time is over.
    """
    if seconds is None:
        yield
        return

    is_within, is_over = True, False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_over
        if is_within:
            is_over = True
            raise _TimeIsOver

    before = signal.signal(signal.SIGALRM, end)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
            yield
        finally:
            is_within = False
    except _TimeIsOver:
        pass
    except Exception:
        if not is_over:  # otherwise the signal caused it
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if is_over:
        raise TimeoutError(f"it took longer than {seconds:g} s (--timeout)")
