"""Whether a stage has learnt: its best validation loss and its steps, against those of a network that has not."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import log_loss

from mgmt_monai.slices.dataset import SliceDataset

LEAST_STEPS = 10
"""Adam moves along a mean of about the last 1 / (1 - beta1) = 10 gradients: before that many steps its direction is
that of the first batches. First stages that stopped untrained on 30 to 60 patients had made 2 to 9."""

NOT_LEARNT = "this training has not learnt; its figures say nothing about the images"


@dataclass(frozen=True)
class Learning:
    """What a stage's best network has learnt.

    Args:
        best_loss: Cross-entropy of its probabilities of the validation patients, each the mean of the patient's slices.
        prevalence_loss: That of always answering the training patients' prevalence.
        n_validation: How many validation patients there are.
        steps: Of the optimizer that lead to it, of the stages before too.
        least_steps: Of a head that has learnt; 0 where it began as the plain model.
    """

    best_loss: float
    prevalence_loss: float
    n_validation: int
    steps: int
    least_steps: int = LEAST_STEPS

    @property
    def has_learnt(self) -> bool:
        """Whether it is better than the prevalence, and made enough steps for this to be no chance."""
        return self.best_loss < self.prevalence_loss and self.steps >= self.least_steps

    @property
    def sentence(self) -> str:
        """What a reader has to know; empty where it has learnt."""
        reasons = []
        if not self.best_loss < self.prevalence_loss:
            reasons.append(
                f"loss of {self.n_validation} validation patients {self.best_loss:.4f}, always answering the "
                f"prevalence: {self.prevalence_loss:.4f}"
            )
        if self.steps < self.least_steps:
            reasons.append(
                f"{self.steps} of Adam's steps before the best epoch's end, expected {self.least_steps} or more"
            )
        return f"{NOT_LEARNT} ({'; '.join(reasons)})" if reasons else ""

    def as_json(self) -> dict[str, Any]:
        """For ``metrics.json`` and ``run.json``."""
        return {"has_learnt": self.has_learnt, "sentence": self.sentence, **asdict(self)}


def learning_of(
    probabilities: Mapping[str, float], training: SliceDataset, validation: SliceDataset, steps: int, least_steps: int
) -> Learning:
    """Hold a stage's best network against always answering how many of the training are methylated.

    By patient, as all figures are: of few patients the network is too sure of single slices, and their loss is above
    the prevalence's where the patients' is not. With a reachable AUC of 0.92 and 4 validation patients that was told of
    9 of 20 trainings, by patient of 4 (without an effect 11 of 20); with 8 patients of 7, by patient of none.

    Args:
        probabilities: Of each validation patient.
        training: Of the stage, with the labels that the network was told.
        validation: Of the stage.
        steps: Of the optimizer that lead to the network.
        least_steps: Of a head that has learnt.

    Returns:
        With a ``prevalence_loss`` of 0 where the training has one class: there is nothing to learn then.
    """
    labels = [item["label"] for item in validation.data]
    answers = [probabilities[patient] for patient in validation.patient_ids]
    prevalence = float(np.mean([item["label"] for item in training.data]))
    constant = log_loss(labels, [prevalence] * len(labels), labels=[0, 1]) if 0 < prevalence < 1 else 0.0
    best = float(log_loss(labels, answers, labels=[0, 1]))
    return Learning(best, float(constant), len(labels), steps, least_steps)
