"""Ctrl-C and SIGTERM as Python's own ends, so that what is open gets closed."""

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
def interruptible() -> Iterator[None]:
    """A SIGTERM, as schedulers send it, ends the block like Ctrl-C; outside the main thread nothing changes.

    Python drops what is raised while a finalizer runs ("Exception ignored in"), and people and schedulers expect to ask
    but once. So a block that goes on is told again, by an alarm (SIGALRM, which is the block's as long as it runs); one
    that is closing what it has open is left alone. A Ctrl-C that is ignored, as in a shell's background job, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ends: dict[int, BaseException] = {signal.SIGTERM: SystemExit(128 + signal.SIGTERM)}
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        ends[signal.SIGINT] = KeyboardInterrupt()
    asked: list[BaseException] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        if number in ends:
            asked.append(ends[number])
        if number == signal.SIGTERM:
            # Child processes may have been asked too, and end: torch's loaders, through this signal, call it a fault.
            signal.signal(signal.SIGCHLD, _nothing)
        if number in ends or not _is_handled(asked[-1]):
            raise asked[-1]

    before = {number: signal.signal(number, stop) for number in (*ends, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


def _is_handled(error: BaseException) -> bool:
    """Whether this thread is in an ``except`` or ``finally`` that the error led to."""
    current = sys.exc_info()[1]
    while current is not None and current is not error:
        current = current.__context__
    return current is error
