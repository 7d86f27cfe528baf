"""DeLong's variance against pROC's published tests and against explicit loops."""

import math

import numpy as np
import pytest

from mgmt_monai.evaluation.delong import auc_and_variance, delong_interval, logit_delong_interval

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


def test_logit_delong_interval_by_hand(wfns):
    value, sd = 0.823678861788618, math.sqrt(0.00146991470882363)
    centre, half = math.log(value / (1 - value)), 1.959963984540054 * sd / (value * (1 - value))
    expected = [1 / (1 + math.exp(-end)) for end in (centre - half, centre + half)]
    assert logit_delong_interval(*wfns) == pytest.approx(expected)


def test_variance_equals_explicit_loops_without_ties():
    random = np.random.default_rng(3)
    positive, negative = random.normal(1, 1, 7), random.normal(0, 1, 11)
    won = [np.mean([p > q for q in negative]) for p in positive]
    lost = [np.mean([p > q for p in positive]) for q in negative]
    label = [1] * 7 + [0] * 11
    _, variance = auc_and_variance(label, np.concatenate([positive, negative]))
    assert variance == pytest.approx(np.var(won, ddof=1) / 7 + np.var(lost, ddof=1) / 11, rel=1e-12)


def test_perfect_separation_shows_why_it_is_not_the_default():
    label, score = [0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6]
    assert delong_interval(label, score) == (1.0, 1.0)
    assert all(math.isnan(end) for end in logit_delong_interval(label, score))


def test_one_in_a_class_has_an_auc_and_no_variance():
    value, variance = auc_and_variance([1, 0, 0], [0.5, 0.2, 0.7])
    assert value == 0.5
    assert math.isnan(variance)
    assert all(math.isnan(end) for end in delong_interval([1, 0, 0], [0.5, 0.2, 0.7]))
