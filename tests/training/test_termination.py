"""A request to end is heard once, whatever Python was doing just then."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from mgmt_monai.training import termination
from mgmt_monai.training.termination import termination_raises


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination, "AGAIN_S", 0.05)


def ask_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class AskedWhileFinalized:
    def __del__(self) -> None:
        ask_to_end()
        time.sleep(0.01)


def test_block_ends_as_a_shell_counts_it() -> None:
    with pytest.raises(SystemExit) as end, termination_raises():
        ask_to_end()
        time.sleep(60)
    assert end.value.code == 143


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_request_that_a_finalizer_swallowed_is_repeated() -> None:
    swallowed = False
    with pytest.raises(SystemExit) as end, termination_raises():
        AskedWhileFinalized()
        swallowed = True
        time.sleep(60)
    assert swallowed and end.value.code == 143


def test_block_that_closes_what_is_open_is_left_alone() -> None:
    closed = []

    def steps() -> Iterator[int]:
        try:
            yield 1
        finally:
            time.sleep(0.2)
            closed.append("generator")

    with pytest.raises(SystemExit), termination_raises():
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
    with pytest.raises(SystemExit), termination_raises():
        try:
            ask_to_end()
            time.sleep(60)
        finally:
            ask_to_end()
            time.sleep(60)


def test_signals_are_as_before_afterwards() -> None:
    numbers = (signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(SystemExit), termination_raises():
        ask_to_end()
        time.sleep(60)
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
