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

ROUNDING = 1e-6
"""Of a loss: what a constant answer may gain by its last digits, which of blank images go with the number of slices."""

NOT_LEARNT = "this training has not learnt; its figures say nothing about the images"
NOT_SHOWN = "this training is not shown to have learnt: with so few validation patients, chance gains as much"


@dataclass(frozen=True)
class Learning:
    """What a stage's best network has learnt.

    Args:
        best_loss: Cross-entropy of its probabilities of the validation patients, each the mean of the patient's slices.
        prevalence_loss: That of always answering the training patients' prevalence.
        constant_loss: That of always answering those patients' own prevalence: no constant has a lower one.
        n_validation: How many validation patients there are.
        steps: Of the optimizer that lead to it, of the stages before too.
        least_steps: Of a head that has learnt; 0 where it began as the plain model.
        best_epoch: Of the stage; 0: its start was kept.
    """

    best_loss: float
    prevalence_loss: float
    constant_loss: float
    n_validation: int
    steps: int
    least_steps: int = LEAST_STEPS
    best_epoch: int = 1

    @property
    def loss_to_beat(self) -> float:
        """Below that of every constant, and below the prevalence's by more than chance gains."""
        return min(self.constant_loss - ROUNDING, self.prevalence_loss - chance_gain(self.n_validation))

    @property
    def has_learnt(self) -> bool:
        """Whether it is better than what knows nothing of the images may be, after enough steps."""
        return not self.sentence

    @property
    def sentence(self) -> str:
        """What a reader has to know; empty where it has learnt."""
        reasons = []
        if not self.best_loss < self.loss_to_beat:
            reasons.append(
                f"loss of {self.n_validation} validation patients {self.best_loss:.4f}, expected below "
                f"{self.loss_to_beat:.4f}: always answering the prevalence has {self.prevalence_loss:.4f}"
            )
        if self.steps < self.least_steps:
            reasons.append(
                f"{self.steps} of Adam's steps before the best epoch's end, expected {self.least_steps} or more"
            )
        better = self.best_loss < min(self.constant_loss, self.prevalence_loss) - ROUNDING
        lead = NOT_SHOWN if better and self.steps >= self.least_steps else NOT_LEARNT
        return f"{lead} ({'; '.join(reasons)})" if reasons else ""

    def as_json(self) -> dict[str, Any]:
        """For ``metrics.json`` and ``run.json``."""
        return {"has_learnt": self.has_learnt, "sentence": self.sentence, **asdict(self)}


def chance_gain(n_validation: int) -> float:
    """How far one number that fits n patients lowers their mean loss by chance: 1 / 2n on average.

    Twice the gain in log-likelihood has a chi-squared distribution of one degree of freedom (Wilks SS. Ann Math Stat
    1938;9:60-62), whose mean is 1. The choice of an epoch is such a number.
    """
    return 1 / (2 * n_validation)


def learning_of(
    probabilities: Mapping[str, float],
    training: SliceDataset,
    validation: SliceDataset,
    steps: int,
    least_steps: int,
    best_epoch: int = 1,
) -> Learning:
    """Hold a stage's best network against what knows nothing of the images, as `Learning.loss_to_beat` says.

    By patient, as all figures are: of few patients the network is too sure of single slices.

    Args:
        probabilities: Of each validation patient.
        training: Of the stage, with the labels that the network was told.
        validation: Of the stage.
        steps: Of the optimizer that lead to the network.
        least_steps: Of a head that has learnt.
        best_epoch: Whose network it is.

    Returns:
        With losses to beat of 0 where the training, or the validation, has one class: there is nothing to learn, or to
        see it by.
    """
    labels = [item["label"] for item in validation.data]
    answers = [probabilities[patient] for patient in validation.patient_ids]
    prevalence = float(np.mean([item["label"] for item in training.data]))

    def always(answer: float) -> float:
        return float(log_loss(labels, [answer] * len(labels), labels=[0, 1])) if 0 < answer < 1 else 0.0

    best = float(log_loss(labels, answers, labels=[0, 1]))
    return Learning(
        best, always(prevalence), always(float(np.mean(labels))), len(labels), steps, least_steps, best_epoch
    )
