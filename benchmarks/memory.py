"""Does the memory of a training grow with the number of patients?"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from epoch_turns import MANY
from ignite.engine import Engine, Events
from made_series import made_cohort, train_series
from measurement import Measure, Size, Way
from monai.transforms import Compose
from remote import Turn, remote
from torch import Tensor, nn

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.cohort.open_cohort import open_cohort
from mgmt_monai.cohort.series import Series

N_SLICES = 8
"""Of each patient."""

SAMPLES = 12
"""From the second epoch on, over as many steps whatever the number of patients: what the allocator keeps grows with the
steps at first, and that is not the data's."""

OURS = ("ours, few patients", "ours, ten times as many")
CACHED = ("CacheDataset, few patients", "CacheDataset, ten times as many")

MEASURE = Measure(
    name="memory",
    title="Memory, ten times the patients",
    unit="MiB",
    higher_is_better=False,
    ours=OURS[1],
    at_most={OURS[0]: 1.05},
    beside={CACHED[0]: CACHED[1]},
    note="60 and 600 patients, 8 slices of 300 x 300 each; the most PSS of all processes from the second epoch on, "
    "over equally many steps, with a network of one layer, the stock way without augmentation",
    rounds=3,
)


class RepeatedCohort(ModalityCohort):
    """A cohort in which each patient stands for many, of 8 slices each: their files are the same.

    Args:
        n_patients: For the training.
        settings: Those of `open_cohort`.
    """

    def __init__(self, n_patients: int, **settings: Any) -> None:
        opened = open_cohort(**settings)
        super().__init__(opened.manifest, opened.modality, opened.dataset_dir)
        self.n_patients = n_patients
        self.manifest_hash = f"{self.manifest_hash}-{n_patients}"

    def items(self, split: str) -> list[dict[str, Any]]:
        """The patients of a split, as `ModalityCohort.items` gives them."""
        found = super().items(split)
        return repeated(found, self.n_patients if split == "train" else len(found), split)


class OneLayer(nn.Module):
    """A network with the methods that our training asks for, and next to no memory."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(64, 1)

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (B, 1), of slices (B, 1, H, W)."""
        return self.dense(nn.functional.adaptive_avg_pool2d(images, 8).flatten(1))

    def set_stage(self, stage: str) -> None:
        """All stages are alike."""

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """All of them."""
        return list(self.parameters())


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Ours and CacheDataset, a new process for every figure."""
    made_cohort(size.data, size.patients)
    found = []
    for names, work in ((OURS, "memory.ours"), (CACHED, "memory.stock_way")):
        for name, n_patients in zip(names, (size.few_patients, size.many_patients), strict=True):
            found.append(Way(name, _in_new_process(name, work, size, n_patients), warm=True))
    yield found


def ours(turn: Turn, size: Size, n_patients: int) -> None:
    """Epochs of the bundle's first stage; the figure is the memory from the second on."""
    from ours import ready_stage, workflow

    with TemporaryDirectory() as folder:
        settings = {
            "cohort::_target_": "memory.RepeatedCohort",
            "cohort::n_patients": n_patients,
            "network_def::_target_": "memory.OneLayer",
            "loaded_weights::_disabled_": True,
            "slice_fraction": 1.0,
        }
        cohort = made_cohort(size.data, size.patients)
        made = workflow(size, cohort, Path(folder) / "runs", ("t1w",), **settings)
        stage, _ = ready_stage(made, "transfer")
        turn(None)
        watch = _Watch(stage.trainer, size)
        stage.run()
        turn(watch.most_mib)


def stock_way(turn: Turn, size: Size, n_patients: int) -> None:
    """Epochs on CacheDataset; the figure is the memory from the second on."""
    import stock

    items = stock.slice_items(repeated(train_series(made_cohort(size.data, size.patients)), n_patients, "train"), 1.0)
    with TemporaryDirectory() as folder:
        kept = stock.cached("CacheDataset", items, Compose(stock.slice_chain(size.image_size)), Path(folder))
        trainer = stock.trainer(OneLayer(), "transfer", kept, size.transfer_batch, num_workers=0, max_epochs=MANY)
        turn(None)
        watch = _Watch(trainer, size)
        trainer.run()
        turn(watch.most_mib)


def repeated(items: Sequence[dict[str, Any]], n_patients: int, split: str) -> list[dict[str, Any]]:
    """So many patients of 8 slices each, which share the series of these."""
    found = []
    for number in range(n_patients):
        item = items[number % len(items)]
        patient_id = f"{split}-{number:05d}"
        found.append({**item, "image": _middle(item["image"], patient_id), "patient_id": patient_id})
    return found


def tree_mib(process_id: int, proc: Path = Path("/proc")) -> float:
    """The memory of a process and of all that it started, what they share counted once (PSS), in MiB.

    Args:
        process_id: Of the process.
        proc: Linux' folder of processes.

    Source:
        proc_pid_smaps_rollup(5); the field is in kB.
    """
    own = 0.0
    try:
        rollup = (proc / str(process_id) / "smaps_rollup").read_text()
        own = next(float(line.split()[1]) / 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        children = [
            int(child)
            for thread in (proc / str(process_id) / "task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
    except OSError:  # it has ended meanwhile
        return own
    return own + sum(tree_mib(child, proc) for child in children)


class _Watch:
    """The most memory of this process and its children from a trainer's second epoch on; then the trainer ends."""

    def __init__(self, trainer: Engine, size: Size) -> None:
        self.most_mib = 0.0
        self.n_steps = math.ceil(size.many_patients * N_SLICES / size.transfer_batch)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._sample)

    def _sample(self, engine: Engine) -> None:
        step = engine.state.iteration - engine.state.epoch_length
        if step >= 1 and step % max(1, self.n_steps // SAMPLES) == 0:
            self.most_mib = max(self.most_mib, tree_mib(os.getpid()))
        if step >= self.n_steps:
            engine.terminate()


def _middle(series: Series, patient_id: str) -> Series:
    start = (series.n_slices - N_SLICES) // 2
    return replace(series[slice(start, start + N_SLICES)], patient_id=patient_id)


def _in_new_process(name: str, work: str, size: Size, n_patients: int) -> Callable[[], float]:
    def run() -> float:
        with remote(name, work, size, n_patients=n_patients) as way:
            return way.run()

    return run
