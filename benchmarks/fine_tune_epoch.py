"""How fast is an epoch of the second stage, in which all weights but BatchNorm's are trained?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from measurement import Measure, Size, Way
from remote import remote

MEASURE = Measure(
    name="fine_tune_epoch",
    title="Fine-tuning epoch, EfficientNet-B0",
    unit="slices/s",
    higher_is_better=True,
    ours="bundles/t1w.json, fine_tune",
    must={"SupervisedTrainer, CacheDataset": 3},
    note="300 x 300, batches of 32, so that both fit into memory; loading, augmentation, steps, without validation",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Ours and the stock trainer, each in a process of its own."""
    work: dict[str, Any] = {"stage": "fine_tune", "n_patients": size.fine_tune_patients}
    with (
        remote(MEASURE.ours, "ours.epochs", size, warm=True, **work) as ours,
        remote(
            "SupervisedTrainer, CacheDataset", "stock.epochs", size, warm=True, dataset="CacheDataset", **work
        ) as cached,
    ):
        yield [ours, cached]
