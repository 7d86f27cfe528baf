"""DeLong's variance against pROC's published tests and against explicit loops."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from simulations import delong_interval

from mgmt_monai.evaluation.delong import auc_and_variance, auc_interval
from mgmt_monai.evaluation.intervals import newcombe_interval
from mgmt_monai.evaluation.predictions import EvaluationError

# The WFNS grade of 113 patients with subarachnoid haemorrhage (Turck et al., Intensive Care Med 2010;36:107),
# counted by outcome: the worked example of the R package pROC, whose tests print AUC and variance to 15 digits.
GRADES = (1, 2, 3, 4, 5)
GOOD = (37, 20, 3, 8, 4)
POOR = (2, 12, 1, 8, 18)


@pytest.fixture
def wfns():
    label = np.repeat([0, 1], [sum(GOOD), sum(POOR)])
    return label, np.concatenate([np.repeat(GRADES, GOOD), np.repeat(GRADES, POOR)]).astype(float)


def test_auc_and_variance_equal_proc(wfns):
    value, variance = auc_and_variance(*wfns)
    assert value == pytest.approx(0.823678861788618, rel=1e-12)
    assert variance == pytest.approx(0.00146991470882363, rel=1e-12)


def test_delong_interval_is_the_variance_of_proc_away(wfns):
    half = 1.959963984540054 * math.sqrt(0.00146991470882363)
    assert delong_interval(*wfns) == pytest.approx((0.823678861788618 - half, 0.823678861788618 + half))


@pytest.mark.parametrize(("level", "z"), [(0.95, 1.959963984540054), (0.99, 2.5758293035489004)], ids=str)
def test_auc_interval_is_symmetric_on_the_logit_scale(wfns, level, z):
    value, sd = 0.823678861788618, math.sqrt(0.00146991470882363)
    centre, half = math.log(value / (1 - value)), z * sd / (value * (1 - value))
    expected = [1 / (1 + math.exp(-end)) for end in (centre - half, centre + half)]
    assert auc_interval(*wfns, level) == pytest.approx(expected)


def test_variance_equals_explicit_loops_without_ties():
    random = np.random.default_rng(3)
    positive, negative = random.normal(1, 1, 7), random.normal(0, 1, 11)
    won = [np.mean([p > q for q in negative]) for p in positive]
    lost = [np.mean([p > q for p in positive]) for q in negative]
    label = [1] * 7 + [0] * 11
    _, variance = auc_and_variance(label, np.concatenate([positive, negative]))
    assert variance == pytest.approx(np.var(won, ddof=1) / 7 + np.var(lost, ddof=1) / 11, rel=1e-12)


@pytest.mark.parametrize(
    ("label", "score", "value"),
    [
        ([0] * 5 + [1] * 6, range(11), 1.0),
        ([1] * 5 + [0] * 6, range(11), 0.0),
        ([0] * 5 + [1] * 6, [0.4] * 11, 0.5),
    ],
    ids=["perfect", "perfectly wrong", "constant"],
)
def test_auc_interval_without_a_variance_is_newcombes(label, score, value):
    _, variance = auc_and_variance(label, score)
    assert variance == 0
    assert auc_interval(label, score) == newcombe_interval(value, sum(label), len(label) - sum(label))


@pytest.mark.parametrize("label", [[1] * 9, [0] * 5 + [1] * 4, [0] * 4 + [1] * 5], ids=str)
def test_auc_interval_of_fewer_than_five_in_a_class_is_undefined(label):
    assert all(math.isnan(end) for end in auc_interval(label, [0.1, 0.2, 0.3] * 3))


def test_auc_interval_refuses_a_level_in_per_cent():
    with pytest.raises(EvaluationError, match="level between 0 and 1, found 95"):
        auc_interval([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.8], 95)


def test_plain_delong_has_no_width_at_perfect_separation():
    assert delong_interval([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6]) == (1.0, 1.0)


def test_one_in_a_class_has_an_auc_and_no_variance():
    value, variance = auc_and_variance([1, 0, 0], [0.5, 0.2, 0.7])
    assert value == 0.5
    assert math.isnan(variance)
    assert all(math.isnan(end) for end in delong_interval([1, 0, 0], [0.5, 0.2, 0.7]))


@pytest.mark.parametrize("true_auc", [0.5, 0.9])
@pytest.mark.parametrize(("methylated", "unmethylated"), [(5, 18), (5, 48), (20, 180)])
def test_intervals_of_a_small_class_hold_the_truth(methylated, unmethylated, true_auc):
    """Of 200 studies; 0.95 less three standard errors is 0.904."""
    random = np.random.default_rng(9)
    label = np.repeat([1, 0], [methylated, unmethylated])
    shift = label * np.sqrt(2) * norm.ppf(true_auc)
    found = [auc_interval(label, random.standard_normal(len(label)) + shift) for _ in range(200)]

    assert np.mean([low <= true_auc <= high for low, high in found]) > 0.904
