"""Whether a stage has learnt: its best validation loss and its steps, against those of a network that has not."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mgmt_monai.slices.dataset import SliceDataset

LEAST_STEPS = 10
"""Adam moves along a mean of about the last 1 / (1 - beta1) = 10 gradients: before that many steps its direction is
that of the first batches. First stages that stopped untrained on 30 to 60 patients had made 2 to 9."""

NOT_LEARNT = "this training has not learnt; its figures say nothing about the images"


@dataclass(frozen=True)
class Learning:
    """What a stage's best network has learnt.

    Args:
        best_loss: Its validation loss.
        prevalence_loss: That of always answering the training patients' prevalence.
        steps: Of the optimizer that lead to it, of the stages before too.
    """

    best_loss: float
    prevalence_loss: float
    steps: int

    @property
    def has_learnt(self) -> bool:
        """Whether it is better than the prevalence, and made enough steps for this to be no chance."""
        return self.best_loss < self.prevalence_loss and self.steps >= LEAST_STEPS

    @property
    def sentence(self) -> str:
        """What a reader has to know; empty where it has learnt."""
        reasons = []
        if not self.best_loss < self.prevalence_loss:
            reasons.append(
                f"lowest validation loss {self.best_loss:.4f}, always answering the prevalence: "
                f"{self.prevalence_loss:.4f}"
            )
        if self.steps < LEAST_STEPS:
            reasons.append(f"{self.steps} of Adam's steps before the best epoch's end, expected {LEAST_STEPS} or more")
        return f"{NOT_LEARNT} ({'; '.join(reasons)})" if reasons else ""

    def as_json(self) -> dict[str, Any]:
        """For ``metrics.json`` and ``run.json``."""
        return {"has_learnt": self.has_learnt, "sentence": self.sentence, **asdict(self)}


def prevalence_loss(training: SliceDataset, validation: SliceDataset, weigh: str) -> float:
    """Validation loss of always answering how many of the training are methylated.

    Args:
        training: Of the stage.
        validation: Of the stage.
        weigh: What weighs the same: each ``patient`` or each ``slice``.

    Returns:
        Mean binary cross-entropy; 0 where the training has one class: there is nothing to learn then.

    Source: with training share p and validation share q, the cross-entropy -q ln p - (1 - q) ln(1 - p).
    """
    p, q = (_share(of, weigh) for of in (training, validation))
    if not 0 < p < 1:
        return 0.0
    return -q * math.log(p) - (1 - q) * math.log1p(-p)


def _share(slices: SliceDataset, weigh: str) -> float:
    labels = [item["label"] for item in slices.data]
    return float(np.average(labels, weights=None if weigh == "patient" else slices.slice_counts))
