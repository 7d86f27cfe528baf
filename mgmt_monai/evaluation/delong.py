"""DeLong's variance of the AUC and the intervals it gives: the field's usual method, here for comparison.

The default is :func:`mgmt_monai.evaluation.intervals.newcombe_interval`; why is in
``docs/explanation/intervals.md``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import rankdata

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.intervals import UNDEFINED, Interval, normal_quantile


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
        DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845; by midranks as in Sun X, Xu W.
        IEEE Signal Process Lett 2014;21:1389-1393.
    """
    label_, probability_ = checked_arrays(label, probability)
    positive, negative = probability_[label_ == 1], probability_[label_ == 0]
    if not len(positive) or not len(negative):
        return math.nan, math.nan
    ranks = rankdata(np.concatenate([positive, negative]))
    # Placement of each: the share of the other class that it beats.
    won = (ranks[: len(positive)] - rankdata(positive)) / len(negative)
    lost_to = 1 - (ranks[len(positive) :] - rankdata(negative)) / len(positive)
    if len(positive) < 2 or len(negative) < 2:
        return float(won.mean()), math.nan
    variance = won.var(ddof=1) / len(positive) + lost_to.var(ddof=1) / len(negative)
    return float(won.mean()), float(variance)


def delong_interval(label: ArrayLike, probability: ArrayLike, level: float = 0.95) -> Interval:
    """``auc +- z sd``, cut to [0, 1]; of no width at an AUC of 0 or 1.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.
        level: Between 0 and 1.

    Returns:
        The interval; undefined with fewer than two in a class.

    Raises:
        EvaluationError: As :func:`auc_and_variance`, or ``level`` is not between 0 and 1.
    """
    z = normal_quantile(level)
    value, variance = auc_and_variance(label, probability)
    if math.isnan(variance):
        return UNDEFINED
    half = z * math.sqrt(variance)
    return Interval(max(0.0, value - half), min(1.0, value + half))


def logit_delong_interval(label: ArrayLike, probability: ArrayLike, level: float = 0.95) -> Interval:
    """DeLong's interval on the logit scale, carried back; undefined at an AUC of 0 or 1.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.
        level: Between 0 and 1.

    Returns:
        The interval within [0, 1]; undefined with fewer than two in a class or at an AUC of 0 or 1.

    Raises:
        EvaluationError: As :func:`auc_and_variance`, or ``level`` is not between 0 and 1.

    Source:
        Pepe MS. The statistical evaluation of medical tests for classification and prediction. Oxford
        University Press 2003, section 5.2.
    """
    z = normal_quantile(level)
    value, variance = auc_and_variance(label, probability)
    if math.isnan(variance) or value in (0.0, 1.0):
        return UNDEFINED
    half = z * math.sqrt(variance) / (value * (1 - value))
    return Interval(float(expit(logit(value) - half)), float(expit(logit(value) + half)))
