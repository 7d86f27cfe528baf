"""DeLong's variance of the AUC, and the interval of a patient-level AUC that rests on it.

How often the interval holds the truth is in ``docs/explanation/intervals.md``.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from mgmt_monai.evaluation.discrimination import auc, checked_arrays
from mgmt_monai.evaluation.intervals import (
    LEAST_IN_CLASS,
    UNDEFINED,
    Estimate,
    Interval,
    logit_interval,
    newcombe_interval,
    normal_quantile,
)

SMALL_CLASS = 25
"""Below it one class's variance is not to be relied on; by simulation (``docs/explanation/intervals.md``)."""


class Placements(NamedTuple):
    """Where each one stands among those of the other class; both have the AUC as their mean.

    ``methylated``, shape ``(m,)``: the share of the unmethylated below each methylated one, ties half.
    ``unmethylated``, shape ``(k,)``: the share of the methylated above each unmethylated one, ties half.
    """

    methylated: np.ndarray
    unmethylated: np.ndarray


def auc_interval(label: ArrayLike, probability: ArrayLike, level: float = 0.95) -> Interval:
    """The interval of the AUC of independent patients: DeLong's on the logit scale.

    With fewer than `SMALL_CLASS` patients in a class its ends are the outer ones of this interval and Newcombe's: few
    patients often vary too little, and DeLong's then holds the truth in as few as 78 of 100 studies, Newcombe's where
    the classes have unequal spreads in 87.

    Where DeLong's variance is 0, at an AUC of 0 or 1 and with a constant probability, it is Newcombe's.

    Args:
        label: Shape ``(n,)``, 0 or 1, one a patient.
        probability: Shape ``(n,)``.
        level: The share of repeated studies whose interval should hold the true AUC, between 0 and 1.

    Returns:
        The interval within [0, 1]; undefined with fewer than `LEAST_IN_CLASS` patients in a class.

    Raises:
        EvaluationError: As :func:`auc_and_variance`, or ``level`` is not between 0 and 1.

    Source:
        :func:`auc_and_variance`, :func:`~mgmt_monai.evaluation.intervals.logit_interval` and
        :func:`~mgmt_monai.evaluation.intervals.newcombe_interval`.
    """
    normal_quantile(level)
    value, variance = auc_and_variance(label, probability)
    methylated = int(np.sum(label))
    unmethylated = np.size(label) - methylated
    if min(methylated, unmethylated) < LEAST_IN_CLASS:
        return UNDEFINED
    if variance == 0:
        return newcombe_interval(value, methylated, unmethylated, level)
    interval = logit_interval(value, math.sqrt(variance), level)
    if min(methylated, unmethylated) >= SMALL_CLASS:
        return interval
    other = newcombe_interval(value, methylated, unmethylated, level)
    return Interval(min(interval.low, other.low), max(interval.high, other.high))


def auc_estimate(label: ArrayLike, probability: ArrayLike, level: float = 0.95) -> Estimate:
    """The AUC of independent patients with its interval, and how many they are.

    Args:
        label: Shape ``(n,)``, 0 or 1, one a patient.
        probability: Shape ``(n,)``.
        level: Of the interval, between 0 and 1.

    Raises:
        EvaluationError: As :func:`auc_interval`.
    """
    return Estimate(auc(label, probability), *auc_interval(label, probability, level), np.size(label))


def auc_and_variance(label: ArrayLike, probability: ArrayLike) -> tuple[float, float]:
    """The AUC and DeLong's variance of it.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.

    Returns:
        The AUC (``nan`` when a class is absent) and its variance (``nan`` with fewer than two in a class; 0 at
        an AUC of 0 or 1, which is the method's weakness).

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not finite.

    Source:
        DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
    """
    found = placements(label, probability)
    if not len(found.methylated) or not len(found.unmethylated):
        return math.nan, math.nan
    return float(found.methylated.mean()), mean_variance(found)


def placements(label: ArrayLike, probability: ArrayLike) -> Placements:
    """Where each one stands among those of the other class.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.

    Returns:
        Each in the order in which its class has it; ``nan`` when the other class is absent.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not finite.

    Source:
        By midranks: Sun X, Xu W. IEEE Signal Process Lett 2014;21:1389-1393.
    """
    label_, probability_ = checked_arrays(label, probability)
    positive, negative = probability_[label_ == 1], probability_[label_ == 0]
    ranks = rankdata(np.concatenate([positive, negative]))
    below = ranks[: len(positive)] - rankdata(positive)
    above = len(positive) - (ranks[len(positive) :] - rankdata(negative))
    with np.errstate(invalid="ignore"):
        return Placements(np.true_divide(below, len(negative)), np.true_divide(above, len(positive)))


def mean_variance(found: Placements) -> float:
    """DeLong's variance of the mean placement, or of a difference of mean placements.

    Args:
        found: Placements, or the difference of two models' placements.

    Returns:
        The variance; ``nan`` with fewer than two in a class.
    """
    if min(map(len, found)) < 2:
        return math.nan
    return float(sum(each.var(ddof=1) / len(each) for each in found))
