"""The speed of a trainer's epochs, by its own events, one epoch a turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine, Events
from remote import Turn

MANY = 100_000
"""Epochs: more than anyone measures."""


class EpochTurns:
    """Tells the slices a second of each epoch, and waits for the turn of the next.

    An epoch is timed from its start to the end of its last step: loading, augmentation and steps are in it;
    validation, checkpoints and the record are not. The first epoch warms up, and is told as None.

    Args:
        turn: See `remote`.
        n_slices: Of an epoch.
    """

    def __init__(self, turn: Turn, n_slices: int) -> None:
        self.turn = turn
        self.n_slices = n_slices
        self.epochs = 0
        self.started = self.ended = 0.0

    def attach(self, engine: Engine) -> None:
        """Go by the events of this engine, after its other handlers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.tell)

    def start(self) -> None:
        """The epoch begins."""
        self.started = now()

    def step(self, engine: Engine) -> None:
        """The last step is done: only then is a GPU waited for."""
        if engine.state.iteration % engine.state.epoch_length == 0:
            self.ended = now()

    def tell(self) -> None:
        """The epoch and all that comes after it are done."""
        self.epochs += 1
        self.turn(self.n_slices / (self.ended - self.started) if self.epochs > 1 else None)


def speed_turns(turn: Turn, n_slices: int, work: Callable[[], Any]) -> None:
    """The slices a second of a piece of work, which is done once a turn; it never ends by itself."""
    turn(None)
    while True:
        started = now()
        work()
        turn(n_slices / (now() - started))


def now() -> float:
    """Seconds, when a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
