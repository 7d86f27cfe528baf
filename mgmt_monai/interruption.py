"""Ctrl-C and SIGTERM as Python's own ends, so that what is open gets closed."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mgmt_monai.own_process import is_own_process

AGAIN_S = 3.0
"""After how long a block that goes on is told again, in seconds; schedulers wait for some 30."""

_UNTOUCHED: dict[int, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
    signal.SIGALRM: signal.SIG_DFL,
}
"""What answers these signals where nobody, neither the user's shell nor the program around, has said otherwise."""


@contextmanager
def interruptible() -> Iterator[None]:
    """A SIGTERM, as schedulers send it, ends the block like Ctrl-C; outside the main thread nothing changes.

    Python drops what is raised while a finalizer runs ("Exception ignored in"), and people and schedulers expect to ask
    but once. So a block that goes on is told again, by an alarm (SIGALRM); one that is closing what it has open is left
    alone. A signal that is answered or ignored already, as Ctrl-C in a shell's background job or all of them in a
    block around this one, stays so; what is changed is as before when the block ends, but for SIGCHLD in a
    program of ours that is ending.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ends: dict[int, BaseException] = {
        signal.SIGTERM: SystemExit(128 + signal.SIGTERM),
        signal.SIGINT: KeyboardInterrupt(),
    }
    asked: list[BaseException] = []
    before = {number: handler for number, handler in _UNTOUCHED.items() if signal.getsignal(number) == handler}
    is_repeated = signal.SIGALRM in before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)

    def stop(number: int, frame: FrameType | None) -> None:
        if is_repeated:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        if number in ends:
            asked.append(ends[number])
        if number == signal.SIGTERM and signal.getsignal(signal.SIGCHLD) not in (None, _nothing):
            # Child processes may have been asked too, and end: torch's loaders, through this signal, call it a fault.
            before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _nothing)
        if number in ends or not _is_handled(asked[-1]):
            raise asked[-1]

    for number in tuple(before):
        if number in ends or is_repeated:
            signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if asked:  # what it interrupted made an error of its own of it, as torch.save does: of a disk that is full
            raise asked[-1] from error
        raise
    finally:
        if is_repeated:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            # A program of ours that was asked to end is ending: the last of its loaders' workers may die after this.
            if number != signal.SIGCHLD or not is_own_process():
                signal.signal(number, handler)


def is_interruption(error: BaseException) -> bool:
    """Whether an error is a request to end, or what the interrupted code made of one.

    Args:
        error: As it was caught. ``torch.save``, for example, raises an error of a full disk while a SystemExit ends it.
    """
    current: BaseException | None = error
    while current is not None and not isinstance(current, KeyboardInterrupt | SystemExit):
        current = current.__context__
    return current is not None


@contextmanager
def closing() -> Iterator[None]:
    """A SIGTERM that comes while the block closes what is open waits for its end; outside the main thread it does not.

    Whoever lost another process closes by itself, and ``torchrun`` asks it to end just then: a run that was cut there
    would count as running for ever. Where an error is on its way, it ends the process already, and says why.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if asked and sys.exc_info()[1] is None:
            os.kill(os.getpid(), signal.SIGTERM)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


def _is_handled(error: BaseException) -> bool:
    """Whether this thread is in an ``except`` or ``finally`` that the error led to."""
    current = sys.exc_info()[1]
    while current is not None and current is not error:
        current = current.__context__
    return current is error
