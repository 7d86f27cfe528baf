"""Whether a probability means what it says: of those given 0.7, are seven in ten methylated?"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit
from scipy.stats import norm
from scipy.stats import t as student
from statsmodels.discrete.discrete_model import Logit
from statsmodels.tools.tools import add_constant

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.intervals import (
    LEAST_IN_CLASS,
    UNDEFINED,
    Estimate,
    Interval,
    normal_quantile,
    wilson_interval,
)
from mgmt_monai.evaluation.predictions import EvaluationError

CLIP = 2.0**-24
"""Probabilities below it, or above 1 minus it, count as that for logits and logarithms, which have no value at 0 and 1.
It is the smallest distance from 1 at which a float32 sigmoid is not yet rounded to 1, so a network's 1.0 says no more.
"""

N_RESAMPLES = 500
"""For the ECE's interval."""

BINS = 5
"""About ten patients a bin in a test set of fifty; more bins would show the noise of the patients."""


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities are from what they say.

    Args:
        slope: 1 when right; below 1 when the probabilities are too extreme, 0 when they say nothing.
        intercept: Of the same fit; 0 when right.
        in_the_large: The intercept with the slope held at 1: above 0 when the probabilities are too low on average.
        brier: Mean squared difference of probability and label, in [0, 1].
        brier_of_prevalence: The same if every patient were given the share of methylated ones, in [0, 0.25].
        log_loss: Mean negative log-likelihood, in nats.
        ece: Expected calibration error over :data:`BINS` bins, in [0, 1].
    """

    slope: Estimate
    intercept: Estimate
    in_the_large: Estimate
    brier: Estimate
    brier_of_prevalence: float
    log_loss: Estimate
    ece: Estimate


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """The share of methylated patients against the probability, each array of shape ``(n_bins,)``.

    Args:
        probability: Mean probability in the bin.
        observed: Share of methylated patients in the bin.
        low: Lower end of the share's Wilson interval.
        high: Its upper end.
        n: Patients in the bin, at least 1.
    """

    probability: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


def calibrate(label: ArrayLike, probability: ArrayLike, level: float = 0.95, seed: int = 0) -> Calibration:
    """Calibration of probabilities for independent patients.

    Slope and intercept are those of a logistic regression of the label on the probability's logit; calibration in the
    large is the intercept with the logit as offset. Their intervals are Wald's, estimate +- z standard errors. Brier
    score and log-loss are means over patients, with Student's interval on the log scale. The ECE's goes from its value,
    cleared of the bias of resampled patients, minus z of their standard deviations (from 0 where labels drawn from the
    probabilities give as large an ECE) to its value plus z of them.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, in [0, 1]; clipped by :data:`CLIP` where a logarithm is taken of it.
        level: Of the intervals, between 0 and 1.
        seed: Of the resampling, `N_RESAMPLES` times.

    Returns:
        Slope and intercept are ``nan`` where no finite ones exist: a class is absent, all probabilities are equal, or
        a threshold separates the classes. In the large is ``nan`` when a class is absent. With fewer than
        `LEAST_IN_CLASS` patients in a class Brier score, log-loss and ECE have no interval.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not in [0, 1], or ``level`` is not
            between 0 and 1.

    Source:
        Cox DR. Two further applications of a model for binary regression. Biometrika 1958;45:562-565.
        Van Calster B, McLernon DJ, van Smeden M, et al. Calibration: the Achilles heel of predictive analytics.
        BMC Med 2019;17:230. Brier GW. Mon Weather Rev 1950;78:1-3; Bradley AA, Schwartz SS, Hashino T. Weather
        Forecast 2008;23:992-1006 (its interval). Brocker J, Smith LA. Weather Forecast 2007;22:651-661 (labels drawn
        from the probabilities).
    """
    label_, probability_ = checked_probabilities(label, probability)
    z = normal_quantile(level)
    clipped = np.clip(probability_, CLIP, 1 - CLIP)
    slope, intercept = _slope_and_intercept(label_, logit(clipped), z)
    prevalence = float(label_.mean())
    given = np.where(label_ == 1, clipped, 1 - clipped)
    shown = min(label_.sum(), len(label_) - label_.sum()) >= LEAST_IN_CLASS
    return Calibration(
        slope=slope,
        intercept=intercept,
        in_the_large=in_the_large(label_, probability_, level),
        brier=_of_losses((probability_ - label_) ** 2, level, shown),
        brier_of_prevalence=prevalence * (1 - prevalence),
        log_loss=_of_losses(-np.log(given), level, shown),
        ece=_ece(label_, probability_, z, shown, seed),
    )


def in_the_large(label: ArrayLike, probability: ArrayLike, level: float = 0.95) -> Estimate:
    """Calibration in the large alone, as `calibrate` has it.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, in [0, 1].
        level: Of the interval.

    Raises:
        EvaluationError: As `calibrate`.
    """
    label_, probability_ = checked_probabilities(label, probability)
    z = normal_quantile(level)
    if label_.min() == label_.max():
        return Estimate(math.nan, *UNDEFINED, len(label_))
    fitted = _fit(label_, np.ones((len(label_), 1)), offset=logit(np.clip(probability_, CLIP, 1 - CLIP)))
    return _wald(fitted.params[0], fitted.bse[0], z, len(label_))


def reliability_curve(
    label: ArrayLike, probability: ArrayLike, n_bins: int = BINS, level: float = 0.95
) -> ReliabilityCurve:
    """Patients in bins of about equal size by rising probability, and how many of each bin are methylated.

    Bin edges are quantiles of the probabilities. Equal probabilities share a bin, so with many of them a bin can be
    empty; it is left out.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, in [0, 1].
        n_bins: How many bins at most, at least 1.
        level: Of the intervals, between 0 and 1.

    Returns:
        The curve, by rising probability.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not in [0, 1], ``n_bins`` is below 1,
            or ``level`` is not between 0 and 1.
    """
    label_, probability_ = checked_probabilities(label, probability)
    if n_bins < 1:
        raise EvaluationError(f"evaluation: expected at least 1 bin, found {n_bins}")
    bin_ = _bins(probability_, n_bins)
    n = np.bincount(bin_)
    methylated = np.bincount(bin_, weights=label_)
    intervals = [wilson_interval(int(k), int(of), level) for k, of in zip(methylated, n, strict=True)]
    return ReliabilityCurve(
        probability=np.bincount(bin_, weights=probability_) / n,
        observed=methylated / n,
        low=np.array([interval.low for interval in intervals]),
        high=np.array([interval.high for interval in intervals]),
        n=n,
    )


def checked_probabilities(label: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities, of which the value counts and not only the order.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, in [0, 1].

    Returns:
        The labels as int64, the probabilities as float64.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not in [0, 1].
    """
    label_, probability_ = checked_arrays(label, probability)
    outside = np.flatnonzero((probability_ < 0) | (probability_ > 1))
    if len(outside):
        raise EvaluationError(
            f"evaluation: expected probabilities from 0 to 1, found {probability_[outside[0]]} at position "
            f"{outside[0]}; give probabilities, not logits"
        )
    return label_, probability_


def _bins(probability: np.ndarray, n_bins: int = BINS) -> np.ndarray:
    edges = np.quantile(probability, np.linspace(0, 1, n_bins + 1))
    return np.unique(np.searchsorted(edges[1:-1], probability), return_inverse=True)[1]


def _of_losses(losses: np.ndarray, level: float, shown: bool) -> Estimate:
    """The mean of the patients' losses, which are skewed and above 0."""
    n, value = len(losses), float(losses.mean())
    ends = UNDEFINED
    if shown and value > 0:
        error = float(losses.std(ddof=1)) / math.sqrt(n) / value
        factor = math.exp(min(700.0, float(student.ppf((1 + level) / 2, n - 1)) * error))
        ends = Interval(value / factor, value * factor)
    return Estimate(value, *ends, n)


def _ece(label: np.ndarray, probability: np.ndarray, z: float, shown: bool, seed: int) -> Estimate:
    n = len(label)
    bins = _bins(probability)
    in_bin = np.eye(int(bins.max()) + 1)[bins]

    def of(residuals: np.ndarray) -> np.ndarray:  # a row a resample
        return np.abs(residuals @ in_bin).sum(axis=-1) / n

    value = float(of(label - probability))
    if not shown:
        return Estimate(value, *UNDEFINED, n)
    random = np.random.default_rng(seed)
    resampled = of(random.multinomial(n, np.full(n, 1 / n), N_RESAMPLES) * (label - probability))
    calibrated = of((random.random((N_RESAMPLES, n)) < probability) - probability)
    half, bias = z * float(resampled.std()), max(0.0, float(resampled.mean()) - value)
    told = value > np.quantile(calibrated, norm.cdf(z))
    return Estimate(value, max(0.0, value - bias - half) if told else 0.0, min(1.0, value + half), n)


def _slope_and_intercept(label: np.ndarray, logits: np.ndarray, z: float) -> tuple[Estimate, Estimate]:
    negative, positive = logits[label == 0], logits[label == 1]
    # With one predictor, finite estimates exist exactly when the classes overlap (Albert and Anderson, Biometrika
    # 1984;71:1-10); equal logits are the case of a common end.
    overlap = len(negative) and len(positive) and negative.max() > positive.min() and positive.max() > negative.min()
    if not overlap:
        undefined = Estimate(math.nan, *UNDEFINED, len(label))
        return undefined, undefined
    centre, scale = logits.mean(), logits.std()
    fitted = _fit(label, add_constant((logits - centre) / scale, has_constant="add"))
    # Standardised for the optimiser's sake; this carries the estimates back.
    back = np.array([[1, -centre / scale], [0, 1 / scale]])
    intercept, slope = back @ fitted.params
    sd_intercept, sd_slope = np.sqrt(np.diag(back @ fitted.cov_params() @ back.T))
    return _wald(slope, sd_slope, z, len(label)), _wald(intercept, sd_intercept, z, len(label))


def _fit(label: np.ndarray, predictors: np.ndarray, offset: np.ndarray | None = None) -> Any:
    # BFGS: Newton's first step overshoots where the logits are extreme. A step of BFGS that does is taken back, after
    # exp has met its limits.
    with np.errstate(over="ignore", divide="ignore"):
        return Logit(label, predictors, offset=offset).fit(method="bfgs", maxiter=500, gtol=1e-7, disp=0)


def _wald(value: float, sd: float, z: float, n: int) -> Estimate:
    return Estimate(float(value), float(value - z * sd), float(value + z * sd), n)
