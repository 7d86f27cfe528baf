"""Two models on the same patients: the difference of their AUCs, and the correction for many comparisons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from mgmt_monai.evaluation.delong import Placements, mean_variance, placements
from mgmt_monai.evaluation.intervals import LEAST_IN_CLASS, UNDEFINED, Interval, normal_quantile
from mgmt_monai.evaluation.predictions import EvaluationError

_NO_VARIANCE = 1e-25
"""Below it a variance is rounding: with 10,000 patients a class the smallest real one is above 1e-17."""


@dataclass(frozen=True)
class PairedComparison:
    """Two AUCs over the same patients.

    Args:
        auc_a: Of the first model, in [0, 1].
        auc_b: Of the second model, in [0, 1].
        difference: ``auc_a - auc_b``, in [-1, 1].
        low: Lower end of the difference's interval.
        high: Its upper end.
        p_value: Two-sided, of no difference.
    """

    auc_a: float
    auc_b: float
    difference: float
    low: float
    high: float
    p_value: float


def compare_paired(
    label: ArrayLike, probability_a: ArrayLike, probability_b: ArrayLike, level: float = 0.95, widen: float = 1.0
) -> PairedComparison:
    """DeLong's paired test of two AUCs, and the interval of their difference.

    Where the variance of the difference is 0 the data do not say how far off it may be. Models that put the
    patients into the same order differ by exactly 0 (p = 1). Other models of equal AUC have p = 1 and no interval
    (both perfect, say), and of unequal AUC neither p nor interval.

    Args:
        label: Shape ``(n,)``, 0 or 1, one a patient.
        probability_a: Shape ``(n,)``, the first model's.
        probability_b: Shape ``(n,)``, the second model's, of the same patients in the same order.
        level: Of the interval, between 0 and 1.
        widen: How many times as large the standard error is taken (:mod:`mgmt_monai.evaluation.folds`).

    Returns:
        The comparison; all ``nan`` when a class is absent, interval and p-value ``nan`` with fewer than
        `LEAST_IN_CLASS` patients in one.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not finite, or ``level`` is not
            between 0 and 1.

    Source:
        DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver operating
        characteristic curves: a nonparametric approach. Biometrics 1988;44:837-845.
    """
    a, b = placements(label, probability_a), placements(label, probability_b)
    if not all(map(len, a)):
        return PairedComparison(*[math.nan] * 6)
    auc_a, auc_b = float(a.methylated.mean()), float(b.methylated.mean())
    # The variance of the paired differences is var(a) + var(b) - 2 cov(a, b) without writing out the covariance.
    variance = mean_variance(Placements(a.methylated - b.methylated, a.unmethylated - b.unmethylated))
    same_order = np.array_equal(rankdata(probability_a), rankdata(probability_b))
    return paired(auc_a, auc_b, widen**2 * variance, min(map(len, a)), same_order, level)


def paired(
    auc_a: float, auc_b: float, variance: float, fewest: int, same_order: bool, level: float
) -> PairedComparison:
    """What is told of two AUCs and the variance of their difference, where a class has ``fewest`` patients."""
    z, difference = normal_quantile(level), auc_a - auc_b
    if fewest < LEAST_IN_CLASS:
        return PairedComparison(auc_a, auc_b, difference, *UNDEFINED, math.nan)
    if variance < _NO_VARIANCE:
        ends = Interval(0.0, 0.0) if same_order else UNDEFINED
        return PairedComparison(auc_a, auc_b, difference, *ends, 1.0 if math.isclose(auc_a, auc_b) else math.nan)
    error = math.sqrt(variance)
    p_value = float(2 * norm.sf(abs(difference) / error))
    low, high = max(-1.0, difference - z * error), min(1.0, difference + z * error)
    return PairedComparison(auc_a, auc_b, difference, low, high, p_value)


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """P-values corrected for their number by Holm's step-down method.

    Args:
        p_values: Shape ``(k,)``, in [0, 1]. ``nan`` is a test that could not be made: it is not counted.

    Returns:
        Shape ``(k,)``, in the same order, each in [0, 1] or ``nan`` where it was; empty for none.

    Raises:
        EvaluationError: A p-value is outside [0, 1].

    Source:
        Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.
    """
    found = np.array(p_values, dtype=np.float64)
    made = ~np.isnan(found)
    outside = found[made][(found[made] < 0) | (found[made] > 1)]
    if len(outside):
        raise EvaluationError(f"evaluation: expected p-values from 0 to 1, found {outside[0]}")
    order = np.argsort(found)[: made.sum()]  # nan comes last
    still_to_test = np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(still_to_test * found[order]), 1)
    return found
