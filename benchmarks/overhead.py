"""How much longer does an epoch take than its steps alone, on batches that are augmented and in place already?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from measurement import Measure, Size, Way
from ours import EPOCH, STEPS
from remote import Ask, remote_process

LIMIT = 1.10 if torch.cuda.is_available() else 1.05
STAGES = {"transfer": "stage 1", "fine_tune": "fine-tuning"}

MEASURE = Measure(
    name="overhead",
    title="Epoch over the same steps in place",
    unit="ms a slice",
    higher_is_better=False,
    ours=f"stage 1, {EPOCH}",
    at_most={f"{title}, {STEPS}": LIMIT for title in STAGES.values()},
    beside={f"{title}, {STEPS}": f"{title}, {EPOCH}" for title in STAGES.values()},
    note="same network, optimizer and batches, with and without loading and augmentation",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Of both stages, the epochs of the real trainer, and its steps on batches that it kept."""
    with ExitStack() as stack:
        found = []
        for stage, title in STAGES.items():
            process = remote_process("ours.epochs_and_steps", size, stage=stage, n_patients=size.patients)
            ask = stack.enter_context(process)
            found += [Way(f"{title}, {what}", _ms_a_slice(ask, what)) for what in (EPOCH, STEPS)]
        yield found


def _ms_a_slice(ask: Ask, what: str) -> Callable[[], float]:
    return lambda: 1000 / ask(what)
