"""Whether acting on the probability does more good than treating everyone or no one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mgmt_monai.evaluation.calibration import checked_probabilities
from mgmt_monai.evaluation.predictions import EvaluationError

THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))
"""0.01 to 0.99."""


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit at each threshold probability, each array of shape ``(n_thresholds,)``.

    Args:
        threshold: The probability from which one would act.
        model: Net benefit of acting on the model, in true positives a patient.
        all: Of acting on every patient. Of acting on none it is 0.
    """

    threshold: np.ndarray
    model: np.ndarray
    all: np.ndarray


def decision_curve(
    label: ArrayLike, probability: ArrayLike, thresholds: Sequence[float] | np.ndarray = THRESHOLDS
) -> DecisionCurve:
    """Net benefit of the model and of treating all: ``TP / n - FP / n * t / (1 - t)`` at the threshold t.

    The threshold says how one weighs the two errors: who acts from 0.2 on takes four needless actions for one needed.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, in [0, 1]; acted on when ``probability >= t``.
        thresholds: Each between 0 and 1, both excluded.

    Returns:
        The two curves, the thresholds in the order given.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not in [0, 1], or a threshold is not
            between 0 and 1.

    Source:
        Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating prediction models. Med Decis
        Making 2006;26:565-574.

    Example:
        >>> curve = decision_curve([1, 0, 1, 0], [0.9, 0.6, 0.4, 0.1], [0.5])
        >>> float(curve.model[0]), float(curve.all[0])
        (0.0, 0.0)
    """
    label_, probability_ = checked_probabilities(label, probability)
    at = np.asarray(thresholds, dtype=np.float64)
    if at.ndim != 1 or not ((at > 0) & (at < 1)).all():
        raise EvaluationError(f"evaluation: expected thresholds between 0 and 1 (0 and 1 excluded), found {at}")
    called = probability_[None, :] >= at[:, None]
    odds = at / (1 - at)
    prevalence = label_.mean()
    return DecisionCurve(
        threshold=at,
        model=(called @ label_ - (called @ (1 - label_)) * odds) / len(label_),
        all=prevalence - (1 - prevalence) * odds,
    )
