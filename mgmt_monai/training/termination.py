"""SIGTERM as Python's own end, so that what is open gets closed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 3.0
"""After how long a block that goes on is told again, in seconds; schedulers wait for some 30."""


@contextmanager
def termination_raises() -> Iterator[None]:
    """A SIGTERM, as schedulers send it, ends the block like Ctrl-C; outside the main thread nothing changes.

    Python drops what is raised while a finalizer runs ("Exception ignored in"), and schedulers ask but once. So a block
    that goes on is told again, by an alarm (SIGALRM, which is the block's as long as it runs); one that is closing what
    it has open is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    end = SystemExit(128 + signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        if number == signal.SIGTERM or not _is_handled(end):
            raise end

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_handled(error: BaseException) -> bool:
    """Whether this thread is in an ``except`` or ``finally`` that the error led to."""
    current = sys.exc_info()[1]
    while current is not None and current is not error:
        current = current.__context__
    return current is error
