"""Intervals around figures of independent patients, in closed form.

Chosen by simulated coverage (``python benchmarks/coverage.py``; ``docs/explanation/intervals.md``).
The AUC's own is in :mod:`mgmt_monai.evaluation.delong`; for slices, which are not independent, see
:mod:`mgmt_monai.evaluation.bootstrap`.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, norm

from mgmt_monai.evaluation.predictions import EvaluationError

LEAST_IN_CLASS = 5
"""Patients of each label from which on an AUC has an interval: with 2 or 3 it holds the truth in 84 of 100 studies."""


class Interval(NamedTuple):
    """The two ends of an interval; both ``nan`` when it is undefined."""

    low: float
    high: float


UNDEFINED = Interval(math.nan, math.nan)


class Estimate(NamedTuple):
    """A figure with its interval and how many it is a figure of; ``nan`` where undefined."""

    value: float
    low: float
    high: float
    n: int


def number_or_none(value: float) -> float | None:
    """A figure as JSON has it: ``None`` where it is ``nan``."""
    return None if math.isnan(value) else float(value)


def as_json(estimate: Estimate) -> dict[str, float | int | None]:
    """An estimate as JSON has it.

    Args:
        estimate: ``nan`` where undefined.

    Returns:
        ``value``, ``low``, ``high`` (``None`` where undefined) and ``n``.
    """
    return {
        **{name: number_or_none(getattr(estimate, name)) for name in ("value", "low", "high")},
        "n": int(estimate.n),
    }


def ends(estimate: Estimate) -> list[float] | None:
    """The interval of an estimate as JSON has it where the figure stands by itself.

    Args:
        estimate: ``nan`` where undefined.
    """
    return None if math.isnan(estimate.low) else [float(estimate.low), float(estimate.high)]


def with_interval(
    value: float, low: float, high: float, undefined: str = "undefined (one class only)", digits: int = 2
) -> str:
    """A figure and its interval in words; ends below zero are joined by ``to``, for a hyphen would be read as a sign.

    Args:
        value: The figure; ``nan`` where undefined.
        low: The lower end; ``nan`` without an interval.
        high: The upper end.
        undefined: What to say of an undefined figure.
        digits: After the point; a value that rounds to zero has no sign.

    Example:
        >>> with_interval(0.62, 0.51, 0.72), with_interval(-0.02, -0.1, 0.06)
        ('0.62 (0.51-0.72)', '-0.02 (-0.10 to 0.06)')
    """
    if math.isnan(value):
        return undefined
    low_, high_ = f"{low:z.{digits}f}", f"{high:z.{digits}f}"
    told = (
        "no interval" if math.isnan(low) or math.isnan(high) else (" to " if "-" in low_ else "-").join((low_, high_))
    )
    return f"{value:z.{digits}f} ({told})"


def estimate_text(estimate: Mapping[str, float | int | None], digits: int = 2) -> str:
    """An estimate as a line of text has it.

    Args:
        estimate: As `as_json` returns it.
        digits: After the point.

    Example:
        >>> estimate_text({"value": 0.62, "low": 0.48, "high": 0.743, "n": 58})
        '0.62 (0.48-0.74)'
    """
    value, low, high = (math.nan if (found := estimate[name]) is None else found for name in ("value", "low", "high"))
    return with_interval(value, low, high, "undefined", digits)


def newcombe_interval(auc: float, n_positive: int, n_negative: int, level: float = 0.95) -> Interval:
    """Newcombe's score interval of the AUC ('method 5'): the values that the data do not reject.

    A value A is kept when ``|A - auc| <= z sqrt(V(A))``, with Hanley and McNeil's variance under exponential
    scores, both sample sizes in its bracket replaced by their mean:
    ``V(A) = A (1 - A) (1 + M ((1 - A) / (2 - A) + A / (1 + A))) / (n_positive n_negative)``,
    ``M = (n_positive + n_negative) / 2 - 1``. It stays within [0, 1], has a width at an AUC of 0 and of 1, where
    DeLong's has none, and needs only what a published table says: the AUC and the two class sizes.

    Args:
        auc: The AUC found, in [0, 1], or ``nan``.
        n_positive: How many methylated, each independent of the others.
        n_negative: How many unmethylated.
        level: The share of repeated studies whose interval should hold the true AUC, between 0 and 1.

    Returns:
        The interval; undefined when ``auc`` is ``nan`` or a class is empty.

    Raises:
        EvaluationError: ``level`` is not between 0 and 1.

    Source:
        Newcombe RG. Confidence intervals for an effect size measure based on the Mann-Whitney statistic.
        Part 2: asymptotic methods and evaluation. Stat Med 2006;25:559-573.
    """
    z = normal_quantile(level)
    if math.isnan(auc) or n_positive < 1 or n_negative < 1:
        return UNDEFINED
    # The variance is the same for A and 1 - A, so the upper end is the lower end seen from the other side.
    return Interval(
        _newcombe_low(auc, n_positive, n_negative, z), 1 - _newcombe_low(1 - auc, n_positive, n_negative, z)
    )


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion, without continuity correction.

    Args:
        successes: How many of the trials, from 0 to ``trials``.
        trials: How many independent trials.
        level: The share of repeated studies whose interval should hold the true proportion.

    Returns:
        The interval within [0, 1]; undefined without a trial.

    Raises:
        EvaluationError: ``level`` is not between 0 and 1.

    Source:
        Wilson EB. J Am Stat Assoc 1927;22:209-212, by :func:`scipy.stats.binomtest`.
    """
    normal_quantile(level)
    if trials < 1:
        return UNDEFINED
    found = binomtest(successes, trials).proportion_ci(confidence_level=level, method="wilson")
    return Interval(float(found.low), float(found.high))


def logit_interval(value: float, standard_error: float, level: float = 0.95) -> Interval:
    """The interval that is symmetric on the logit scale: ``logit(value) +- z standard_error / (value (1 - value))``.

    A figure in [0, 1] is skewed near its ends and nearly symmetric on this scale; the interval never leaves [0, 1].

    Args:
        value: The figure found, strictly between 0 and 1.
        standard_error: Of the figure, above 0; carried to the logit scale by the delta method.
        level: The share of repeated studies whose interval should hold the true figure.

    Returns:
        The interval within (0, 1).

    Raises:
        EvaluationError: ``level`` is not between 0 and 1.

    Source:
        Pepe MS. The statistical evaluation of medical tests for classification and prediction. Oxford
        University Press 2003, section 5.2.
    """
    half = normal_quantile(level) * standard_error / (value * (1 - value))
    return Interval(float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def f1_interval(true_positive: int, errors: int, level: float = 0.95) -> Interval:
    """The 'Wilson indirect' interval of F1, through the proportion that F1 is a function of.

    With ``J = TP / (TP + FP + FN)``, ``F1 = 2 J / (1 + J)`` grows with J, so the ends of J's Wilson interval
    map onto the ends of F1's.

    Args:
        true_positive: TP.
        errors: FP + FN.
        level: The share of repeated studies whose interval should hold the true F1.

    Returns:
        The interval within [0, 1]; undefined when nobody is methylated and nobody was called so.

    Raises:
        EvaluationError: ``level`` is not between 0 and 1.

    Source:
        Lam KFY, Gopal V, Qian J. Confidence intervals for the F1 score: a comparison of four methods.
        arXiv:2309.14621 (2023).
    """
    low, high = wilson_interval(true_positive, true_positive + errors, level)
    return Interval(2 * low / (1 + low), 2 * high / (1 + high))


def normal_quantile(level: float) -> float:
    """The number of standard deviations that holds the middle ``level`` of a normal distribution.

    Args:
        level: Between 0 and 1, such as 0.95.

    Returns:
        Such as 1.96.

    Raises:
        EvaluationError: ``level`` is not between 0 and 1 (95 instead of 0.95).
    """
    if not 0 < level < 1:
        raise EvaluationError(f"evaluation: expected an interval level between 0 and 1, found {level}")
    return float(norm.ppf((1 + level) / 2))


def wider_level(level: float, times: float) -> float:
    """The level of which a normal distribution's interval is so many times as wide.

    Args:
        level: Between 0 and 1.
        times: How many times as large the standard error is.

    Raises:
        EvaluationError: ``level`` is not between 0 and 1.

    Example:
        >>> wider_level(0.95, 1.0), round(wider_level(0.95, 1.3), 3)
        (0.95, 0.989)
    """
    z = normal_quantile(level)
    return level if times == 1 else float(2 * norm.cdf(times * z) - 1)


def _newcombe_low(auc: float, n_positive: int, n_negative: int, z: float) -> float:
    if auc <= 0:
        return 0.0
    spread = (n_positive + n_negative) / 2 - 1

    def excess(value: float) -> float:
        shape = (1 - value) / (2 - value) + value / (1 + value)
        variance = value * (1 - value) * (1 + spread * shape) / (n_positive * n_negative)
        return (auc - value) ** 2 - z * z * variance

    # Just below 1, for at 1 itself the excess is 0 and would pass for the root that is sought.
    return float(brentq(excess, 0.0, min(auc, 1 - 1e-9), xtol=1e-12))
