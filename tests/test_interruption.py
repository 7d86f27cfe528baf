"""A request to end is heard once, whatever Python was doing just then."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from mgmt_monai import interruption
from mgmt_monai.interruption import closing, interruptible, is_interruption


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interruption, "AGAIN_S", 0.05)
    timer = signal.setitimer(signal.ITIMER_REAL, 0)  # a limit to the time of a test has the alarm
    handler = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *timer)


def ask_to_end(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


class AskedWhileFinalized:
    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        ask_to_end(self.number)
        time.sleep(0.01)


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job, as CI may be, ignores it
    yield
    signal.signal(signal.SIGINT, before)


def test_block_ends_as_a_shell_counts_it() -> None:
    with pytest.raises(SystemExit) as end, interruptible():
        ask_to_end()
        time.sleep(60)
    assert end.value.code == 143


def test_request_that_became_another_error_is_no_fault() -> None:
    told = []
    with pytest.raises(SystemExit) as end, interruptible():
        try:
            try:
                ask_to_end()
                time.sleep(60)
            except BaseException:  # as torch.save does, between two writes of its own
                raise RuntimeError("unexpected pos 64 vs 0") from None
        except RuntimeError as error:
            told.append(is_interruption(error))
            raise
    assert told == [True]
    assert not is_interruption(RuntimeError("a fault of its own"))
    assert end.value.code == 143
    assert isinstance(end.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match="a fault of its own"), interruptible():
        raise RuntimeError("a fault of its own")


@pytest.mark.parametrize(("fault", "end"), [(None, SystemExit), (RuntimeError("a process was lost"), RuntimeError)])
def test_request_while_a_run_is_closed_waits_for_that(fault: Exception | None, end: type[BaseException]) -> None:
    closed = False
    with pytest.raises(end), interruptible():
        try:
            if fault is not None:
                raise fault
        finally:
            with closing():
                ask_to_end()
                time.sleep(0.1)
                closed = True
    assert closed


@pytest.mark.parametrize(("number", "end"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_request_that_a_finalizer_swallowed_is_repeated(
    number: int, end: type[BaseException], ctrl_c_is_heard: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda told: None)  # pytest's own takes longer than until the next
    swallowed = False
    with pytest.raises(end), interruptible():
        AskedWhileFinalized(number)
        swallowed = True
        time.sleep(60)
    assert swallowed


def test_ctrl_c_that_is_ignored_stays_so(ctrl_c_is_heard: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible():
        ask_to_end(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_child_processes_that_end_with_a_terminated_block_are_no_fault() -> None:
    def complain(*_: object) -> None:  # as torch's loaders do
        raise RuntimeError("a worker was killed")

    before = signal.signal(signal.SIGCHLD, complain)
    try:
        with pytest.raises(SystemExit), interruptible():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            try:
                ask_to_end()
                time.sleep(60)
            finally:
                child.terminate()
                assert child.wait() == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_block_that_closes_what_is_open_is_left_alone() -> None:
    closed = []

    def steps() -> Iterator[int]:
        try:
            yield 1
        finally:
            time.sleep(0.2)
            closed.append("generator")

    with pytest.raises(SystemExit), interruptible():
        under_way = steps()
        try:
            next(under_way)
            ask_to_end()
            time.sleep(60)
        finally:
            under_way.close()
            time.sleep(0.2)
            closed.append("block")
    assert closed == ["generator", "block"]


def test_second_request_is_heard_while_the_first_is_answered() -> None:
    with pytest.raises(SystemExit), interruptible():
        try:
            ask_to_end()
            time.sleep(60)
        finally:
            ask_to_end()
            time.sleep(60)


def test_signals_are_as_before_afterwards() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(SystemExit), interruptible():
        ask_to_end()
        time.sleep(60)
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGALRM])
def test_signal_that_is_answered_already_is_left_to_who_answers_it(number: int) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda number, frame: heard.append(number))
    try:
        with interruptible():
            ask_to_end(number)
            time.sleep(0.01)
    finally:
        signal.signal(number, before)
    assert heard == [number]


def test_alarm_of_the_program_around_still_rings() -> None:
    rung: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(SystemExit), interruptible():
        ask_to_end()
        time.sleep(60)
    time.sleep(0.2)
    assert rung == [signal.SIGALRM]
