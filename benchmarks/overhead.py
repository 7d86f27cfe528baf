"""How much longer does an epoch take than its steps alone, on batches that are augmented and in place already?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from measurement import Measure, Size, Way
from remote import remote

LIMIT = 1.10 if torch.cuda.is_available() else 1.05
STAGES = {"transfer": "stage 1", "fine_tune": "fine-tuning"}

MEASURE = Measure(
    name="overhead",
    title="Epoch over the same steps in place",
    unit="ms a slice",
    higher_is_better=False,
    ours="stage 1, epoch",
    at_most={f"{title}, steps in place": LIMIT for title in STAGES.values()},
    beside={f"{title}, steps in place": f"{title}, epoch" for title in STAGES.values()},
    note="same network, optimizer and batches, with and without loading and augmentation",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Of both stages, the epochs of the real trainer, and its steps on batches that it kept."""
    with ExitStack() as stack:
        found = []
        for stage, title in STAGES.items():
            for work, name in (("epochs", f"{title}, epoch"), ("steps_in_place", f"{title}, steps in place")):
                arguments: dict[str, Any] = {"stage": stage, "n_patients": size.patients}
                way = stack.enter_context(remote(name, f"ours.{work}", size, **arguments))
                found.append(replace(way, run=_ms_a_slice(way)))
        yield found


def _ms_a_slice(way: Way) -> Callable[[], float]:
    return lambda: 1000 / way.run()
