"""Whether acting on the probability does more good than treating everyone or no one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from mgmt_monai.evaluation.calibration import checked_probabilities
from mgmt_monai.evaluation.intervals import LEAST_IN_CLASS, UNDEFINED, Estimate
from mgmt_monai.evaluation.predictions import EvaluationError

THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))
"""0.01 to 0.99."""

LEAST_CALLED = 10
"""Patients called methylated, from which on a net benefit has an interval."""


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


def gains(label: np.ndarray, called: np.ndarray, threshold: float) -> np.ndarray:
    """What acting does for each patient, whose mean is the net benefit.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        called: Shape ``(n,)``, whether one acts.
        threshold: That says how one weighs the two errors; taken into 0.01 to 0.99.

    Returns:
        Shape ``(n,)``: 1 for a methylated patient, ``-t / (1 - t)`` for another, 0 where one does not act.
    """
    t = min(0.99, max(0.01, threshold))
    return called * np.where(label == 1, 1.0, -t / (1 - t))


def net_benefit(label: np.ndarray, called: np.ndarray, threshold: float, level: float = 0.95) -> Estimate:
    """The net benefit at one threshold, with Student's interval of a mean.

    Args:
        label: As `gains` takes it.
        called: As `gains` takes it.
        threshold: As `gains` takes it.
        level: Of the interval.

    Returns:
        No interval with fewer than `LEAST_CALLED` patients called, or `LEAST_IN_CLASS` in a class.

    Source:
        Vickers AJ, Cronin AM, Elkin EB, Gonen M. BMC Med Inform Decis Mak 2008;8:53; Sande SZ et al. Stat Med
        2020;39:2980-3002 (asymptotic variance).
    """
    values = gains(label, called, threshold)
    n, value = len(values), float(values.mean())
    if called.sum() < LEAST_CALLED or min(label.sum(), n - label.sum()) < LEAST_IN_CLASS:
        return Estimate(value, *UNDEFINED, n)
    half = float(student.ppf((1 + level) / 2, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(value, value - half, value + half, n)


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
