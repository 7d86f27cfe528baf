"""Closed-form intervals against statsmodels and against the equations that they solve."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import norm
from simulations import binormal, covered
from statsmodels.stats.proportion import proportion_confint

from mgmt_monai.evaluation.balanced_accuracy import balanced_accuracy_interval
from mgmt_monai.evaluation.intervals import (
    f1_interval,
    logit_interval,
    newcombe_interval,
    normal_quantile,
    wilson_interval,
)
from mgmt_monai.evaluation.predictions import EvaluationError


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (7, 12), (37, 53), (1, 1)])
def test_wilson_interval_equals_statsmodels(successes, trials, level):
    expected = proportion_confint(successes, trials, alpha=1 - level, method="wilson")
    assert wilson_interval(successes, trials, level) == pytest.approx(expected, abs=1e-9)


def test_wilson_interval_without_a_trial_is_undefined():
    assert all(math.isnan(end) for end in wilson_interval(0, 0))


@pytest.mark.parametrize(("true_positive", "errors"), [(0, 4), (9, 0), (9, 6)])
def test_f1_interval_maps_the_interval_of_the_jaccard_share(true_positive, errors):
    low, high = proportion_confint(true_positive, true_positive + errors, method="wilson")
    expected = (2 / (1 + 1 / low) if low else 0.0, 2 / (1 + 1 / high))
    assert f1_interval(true_positive, errors) == pytest.approx(expected, abs=1e-9)


def test_logit_interval_by_hand():
    # 1.959964 * 0.1 / 0.25 = 0.783986 from 0 on the logit scale: e^0.783986 = 2.190183.
    assert logit_interval(0.5, 0.1) == pytest.approx((1 / 3.190183, 2.190183 / 3.190183), abs=1e-6)


def test_logit_interval_of_a_proportion_equals_statsmodels_logistic_regression():
    # The intercept of a regression on nothing else is the logit, its Wald interval this one; 9 of 12.
    model = sm.Logit(np.repeat([1, 0], [9, 3]), np.ones(12)).fit(disp=False)
    expected = 1 / (1 + np.exp(-model.conf_int()[0]))
    assert logit_interval(0.75, math.sqrt(0.75 * 0.25 / 12)) == pytest.approx(expected, abs=1e-6)


def test_balanced_accuracy_interval_by_hand():
    # 'Square and add' on the distances from 3/4 and 5/8 to the ends of their Wilson intervals.
    (low_a, high_a), (low_b, high_b) = (proportion_confint(*each, method="wilson") for each in ((9, 12), (10, 16)))
    low = 0.6875 - math.sqrt((0.75 - low_a) ** 2 + (0.625 - low_b) ** 2) / 2
    high = 0.6875 + math.sqrt((high_a - 0.75) ** 2 + (high_b - 0.625) ** 2) / 2
    assert balanced_accuracy_interval(9, 12, 10, 16) == pytest.approx((low, high))


def test_balanced_accuracy_interval_stays_within_zero_and_one():
    low, high = balanced_accuracy_interval(12, 12, 16, 16)
    assert 0.7 < low < high == pytest.approx(1)


@pytest.mark.parametrize("counts", [(0, 0, 3, 4), (3, 4, 0, 0)], ids=["no methylated", "no unmethylated"])
def test_balanced_accuracy_interval_of_one_class_is_undefined(counts):
    assert all(math.isnan(end) for end in balanced_accuracy_interval(*counts))


def _hanley_mcneil_se(area, n_positive, n_negative):
    """Hanley and McNeil 1982, equation 2, with Q1 and Q2 of the exponential model."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n_positive - 1) * (q1 - area**2) + (n_negative - 1) * (q2 - area**2)
    return math.sqrt(variance / (n_positive * n_negative))


@pytest.mark.parametrize("n", [2, 6, 27, 100])
@pytest.mark.parametrize("area", [0.0, 0.3, 0.5, 0.71, 0.95, 1.0])
def test_newcombe_ends_lie_z_hanley_mcneil_errors_away_when_classes_are_equal(area, n):
    low, high = newcombe_interval(area, n, n)
    for end in (low, high):
        # Squared: at an end of 0 or 1 the root alone would ask for more digits than a float has.
        assert (end - area) ** 2 == pytest.approx((1.959964 * _hanley_mcneil_se(end, n, n)) ** 2, abs=1e-7)
    assert low <= area <= high
    assert high - low > 0.01


def test_newcombe_of_unequal_classes_uses_their_mean_in_the_bracket():
    low, _ = newcombe_interval(0.7, 40, 10)
    # At its own end the squared distance is z^2 V, V = A (1 - A) (2 N - 1 - (3 N - 3) / ((2 - A) (1 + A))) / (m n).
    n = 25
    variance = low * (1 - low) * (2 * n - 1 - (3 * n - 3) / ((2 - low) * (1 + low))) / 400
    assert (0.7 - low) ** 2 == pytest.approx(norm.ppf(0.975) ** 2 * variance, rel=1e-8)


def test_newcombe_is_the_same_seen_from_either_class():
    low, high = newcombe_interval(0.31, 14, 39)
    assert newcombe_interval(0.69, 39, 14) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_newcombe_at_a_perfect_auc_reaches_one_and_not_only_one():
    low, high = newcombe_interval(1.0, 6, 6)
    assert high == 1.0
    assert 0.6 < low < 0.75


@pytest.mark.parametrize(("area", "n_positive", "n_negative"), [(math.nan, 3, 3), (0.5, 0, 3), (0.5, 3, 0)], ids=str)
def test_newcombe_without_an_auc_is_undefined(area, n_positive, n_negative):
    assert all(math.isnan(end) for end in newcombe_interval(area, n_positive, n_negative))


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, math.nan])
def test_level_outside_zero_to_one_is_refused(level):
    with pytest.raises(EvaluationError, match="level between 0 and 1"):
        normal_quantile(level)


@pytest.mark.parametrize(("n_patients", "true_auc"), [(12, 0.95), (53, 0.6), (53, 0.8), (200, 0.5)])
def test_newcombe_covers_the_truth_as_often_as_it_says(n_patients, true_auc):
    random = np.random.default_rng(11)
    found = []
    for _ in range(500):
        label, score = binormal(n_patients, true_auc, random)
        won = (score[label == 1][:, None] > score[label == 0]).mean()
        found.append(newcombe_interval(won, int(label.sum()), n_patients - int(label.sum())))
    share, _ = covered(found, true_auc)
    # The Monte Carlo error of 500 studies is 0.010.
    assert 0.92 <= share <= 0.985
