"""Figures of an epoch, from all its slices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.engines import Evaluator
from sklearn.metrics import log_loss
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mgmt_monai.evaluation import discrimination
from mgmt_monai.training.errors import DivergedError
from mgmt_monai.training.prepare_batch import weighs_by_patient
from mgmt_monai.training.ranks import from_all_ranks

#: One figure, nan where it is undefined, of ``(n,)`` logits, labels (0 or 1) and indices of the slices' patients.
_Figure = Callable[[Tensor, Tensor, Tensor], float]


def _slice_loss(logits: Tensor, labels: Tensor, patients: Tensor) -> float:
    """Mean binary cross-entropy of the slices."""
    return float(binary_cross_entropy_with_logits(logits.double(), labels.double()))


def _patient_loss(logits: Tensor, labels: Tensor, patients: Tensor) -> float:
    """Mean over patients of the mean binary cross-entropy of their slices."""
    losses = binary_cross_entropy_with_logits(logits.double(), labels.double(), reduction="none")
    return float(np.mean(_means(losses, labels, patients)[0]))


def _slice_accuracy(logits: Tensor, labels: Tensor, patients: Tensor) -> float:
    """Share of slices on the right side of probability 0.5."""
    return float(((logits >= 0) == (labels > 0.5)).double().mean())


def _slice_auc(logits: Tensor, labels: Tensor, patients: Tensor) -> float:
    """AUC over slices."""
    return discrimination.auc(labels.numpy().astype(int), torch.sigmoid(logits).numpy())


def _patient_auc(logits: Tensor, labels: Tensor, patients: Tensor) -> float:
    """AUC over patients; a patient's probability is the mean over its slices."""
    probabilities, answers = _means(torch.sigmoid(logits.double()), labels, patients)
    return discrimination.auc(answers, probabilities)


def _patient_log_loss(logits: Tensor, labels: Tensor, patients: Tensor) -> float:
    """Cross-entropy of the patients' probabilities."""
    probabilities, answers = _means(torch.sigmoid(logits.double()), labels, patients)
    return float(log_loss(answers, probabilities, labels=[0, 1]))


def _means(values: Tensor, labels: Tensor, patients: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Each patient's mean over its slices, and its label."""
    first, inverse = np.unique(patients.numpy(), return_index=True, return_inverse=True)[1:]
    sums = np.bincount(inverse, weights=values.numpy())
    return sums / np.bincount(inverse), labels.numpy().astype(int)[first]


FIGURES: dict[str, _Figure] = {
    "loss": _slice_loss,
    "patient_loss": _patient_loss,
    "accuracy": _slice_accuracy,
    "auc": _slice_auc,
    "patient_auc": _patient_auc,
    "patient_log_loss": _patient_log_loss,
}


class EpochFigure(Metric):
    """One of `FIGURES`, as an Ignite metric of a MONAI engine that does not decollate.

    Args:
        figure: ``loss``, ``accuracy``, ``auc``, ``patient_auc`` or ``patient_log_loss``. Undefined figures are nan.
        weigh: ``patient``: each patient weighs the same in a loss; ``slice``: each slice does.

    Raises:
        TrainingError: Another word for ``weigh``.
    """

    def __init__(self, figure: str, weigh: str = "slice") -> None:
        self.figure = FIGURES["patient_loss" if weighs_by_patient(weigh) and figure == "loss" else figure]
        super().__init__()

    def attach(self, engine: Engine, name: str, *usage: Any) -> None:
        """Be computed by ``engine``; an evaluator that failed runs again."""
        super().attach(engine, name, *usage)
        if isinstance(engine, Evaluator) and not engine.has_event_handler(run_anew):
            engine.add_event_handler(Events.EXCEPTION_RAISED, run_anew)

    def reset(self) -> None:
        """Forget the last epoch."""
        self._columns = (_Column(), _Column(), _Column())

    def iteration_completed(self, engine: Engine) -> None:
        """Take a batch: logits ``(B, 1)``, labels ``(B, 1)`` or with weights ``(B, 2)``, ``patient_index`` ``(B,)``."""
        output = engine.state.output
        self.update((output["pred"], output["label"][:, :1], engine.state.batch["patient_index"]))

    def update(self, output: tuple[Tensor, Tensor, Tensor]) -> None:
        """Add logits, labels, patient indices."""
        for column, values in zip(self._columns, output, strict=True):
            column.add(values.detach().flatten())

    def compute(self) -> float:
        """The figure over all that was added, in every process.

        Raises:
            DivergedError: The network's output is not finite.
        """
        own = [column.values.cpu() for column in self._columns]
        logits, labels, patients = (torch.cat(part) for part in zip(*from_all_ranks(own), strict=True))
        if not torch.isfinite(logits).all():
            raise DivergedError(
                "the network's output is not finite: the training diverged. Lower transfer_learning_rate or "
                "fine_tune_learning_rate, whichever stage it is in, and start a new run."
            )
        return self.figure(logits, labels, patients)


def run_anew(engine: Engine, error: BaseException) -> None:
    """Raise the error that ended the engine's run, so that the next run is one: ignite's would do nothing, in silence.

    Args:
        engine: Whose run it was.
        error: Is raised again.
    """
    engine._internal_run_generator = None
    raise error


class _Column:
    """Values of all steps of an epoch, on the device they come from: a GPU would be waited for at every step.

    In one block that doubles: as pieces between the steps' own blocks they would keep those from being used again.
    """

    def __init__(self) -> None:
        self._block = torch.empty(0)
        self._n = 0

    @property
    def values(self) -> Tensor:
        """All that were added."""
        return self._block[: self._n]

    def add(self, values: Tensor) -> None:
        """Put values behind the others; those of the first step say of which type all are."""
        n = self._n + len(values)
        if n > len(self._block):
            block = values.new_empty(max(4096, 2 * n))
            block[: self._n] = self.values
            self._block = block
        self._block[self._n : n] = values
        self._n = n
