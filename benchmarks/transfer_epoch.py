"""How fast is an epoch of the first stage, in which the frozen backbone is passed through and the head is trained?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from measurement import Measure, Size, Way
from remote import remote

MEASURE = Measure(
    name="transfer_epoch",
    title="Stage-1 epoch, EfficientNet-B0",
    unit="slices/s",
    higher_is_better=True,
    ours="bundles/t1w.json, train",
    must={"SupervisedTrainer, CacheDataset": 4},
    beside={"SupervisedTrainer, PersistentDataset": "bundles/t1w.json, train"},
    note="300 x 300, batches of 128, warm; loading, augmentation and steps, without validation",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Ours and the stock trainer on two data sets, each in a process of its own."""
    with ExitStack() as stack:
        work: dict[str, Any] = {"stage": "transfer", "n_patients": size.patients}
        yield [
            stack.enter_context(remote(MEASURE.ours, "ours.epochs", size, warm=True, **work)),
            *(
                stack.enter_context(
                    remote(f"SupervisedTrainer, {name}", "stock.epochs", size, warm=True, dataset=name, **work)
                )
                for name in ("CacheDataset", "PersistentDataset")
            ),
        ]
