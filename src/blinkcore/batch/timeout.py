"""A time limit for a block of code."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# Functions that run on the way into a limited block and out of it.
_AROUND = (
    (__file__, "time_limit"),
    (contextlib.__file__, "__enter__"),
    (contextlib.__file__, "__exit__"),
)
_AGAIN = 0.1  # s; the signal is repeated in case the code that it met swallowed it


class _TimeIsOver(BaseException):
    """Passes handlers of `Exception`, such as a reader that tries the next decoder."""


def has_time_limits() -> bool:
    """Return whether time can be limited: in the main thread of a system with timers."""
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "setitimer")


@contextlib.contextmanager
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

    def end(_number: int, frame: FrameType | None) -> None:
        nonlocal is_over
        if not is_within:
            return
        is_over = True
        # On the way into the block or out of it nothing would catch it; it comes again.
        if (
            frame is None
            or (frame.f_code.co_filename, frame.f_code.co_name) not in _AROUND
        ):
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
