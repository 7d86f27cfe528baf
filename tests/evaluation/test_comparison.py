"""The paired test against DeLong's formulas written out, resampled patients and swapped models."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from simulations import paired
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from mgmt_monai.evaluation.comparison import PairedComparison, compare_paired, holm
from mgmt_monai.evaluation.predictions import EvaluationError

LABEL = np.repeat([0, 1], 5)


def _brute_force(label, first, second):
    """AUCs, S10 / m + S01 / n (2 x 2) of DeLong et al. 1988, equations 2 to 6, over every pair."""

    def psi(x, y):
        return 1.0 if y < x else 0.5 if y == x else 0.0

    cases, controls = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    m, n = len(cases), len(controls)
    scores = (first, second)
    v10 = [[sum(psi(s[i], s[j]) for j in controls) / n for i in cases] for s in scores]
    v01 = [[sum(psi(s[i], s[j]) for i in cases) / m for j in controls] for s in scores]
    theta = [sum(row) / m for row in v10]
    covariance = np.zeros((2, 2))
    for r in range(2):
        for s in range(2):
            s10 = sum((v10[r][i] - theta[r]) * (v10[s][i] - theta[s]) for i in range(m)) / (m - 1)
            s01 = sum((v01[r][j] - theta[r]) * (v01[s][j] - theta[s]) for j in range(n)) / (n - 1)
            covariance[r, s] = s10 / m + s01 / n
    return theta, covariance


@pytest.mark.parametrize("decimals", [8, 1], ids=["no ties", "ties"])
@pytest.mark.parametrize("level", [0.95, 0.9])
def test_comparison_equals_the_covariance_over_every_pair(decimals, level):
    label, first, second = paired(23, 0.8, 0.6, np.random.default_rng(5))
    first, second = np.round(first, decimals), np.round(second, decimals)
    (auc_a, auc_b), covariance = _brute_force(label, first, second)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = compare_paired(label, first, second, level)
    z = norm.ppf((1 + level) / 2)
    assert (found.auc_a, found.auc_b, found.difference) == pytest.approx((auc_a, auc_b, auc_a - auc_b))
    assert (found.low, found.high) == pytest.approx((auc_a - auc_b - z * error, auc_a - auc_b + z * error))
    assert found.p_value == pytest.approx(2 * (1 - norm.cdf(abs(auc_a - auc_b) / error)))


def test_standard_error_is_that_of_resampled_patients():
    random = np.random.default_rng(6)
    label, first, second = paired(100, 0.8, 0.7, random)
    found = compare_paired(label, first, second)
    differences = []
    for _ in range(500):
        drawn = np.concatenate([random.choice(np.flatnonzero(label == value), 50) for value in (0, 1)])
        differences.append(roc_auc_score(label[drawn], first[drawn]) - roc_auc_score(label[drawn], second[drawn]))
    # The Monte Carlo error of a standard deviation of 500 is 3 %.
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(np.std(differences), rel=0.12)


def test_p_value_is_that_of_swapping_the_models_within_patients():
    random = np.random.default_rng(8)
    label, first, second = paired(100, 0.75, 0.7, random)
    found = compare_paired(label, first, second)
    swapped = []
    for _ in range(1000):
        swap = random.random(100) < 0.5
        one, other = np.where(swap, second, first), np.where(swap, first, second)
        swapped.append(abs(roc_auc_score(label, one) - roc_auc_score(label, other)))
    share = np.mean(np.array(swapped) >= abs(found.difference))
    assert 0.01 < share < 0.5  # neither end, where the two would agree anyhow
    # The Monte Carlo error is at most 0.016.
    assert found.p_value == pytest.approx(share, abs=0.05)


def test_models_swapped_change_only_the_sign():
    label, first, second = paired(40, 0.8, 0.6, np.random.default_rng(9))
    there, back = compare_paired(label, first, second), compare_paired(label, second, first)
    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low))
    assert back.p_value == pytest.approx(there.p_value)


def test_identical_order_differs_by_nothing():
    _, first, _ = paired(10, 0.6, 0.6, np.random.default_rng(10))
    found = compare_paired(LABEL, first, 1 / (1 + np.exp(-first)))
    assert found == PairedComparison(found.auc_a, found.auc_a, 0.0, 0.0, 0.0, 1.0)
    assert found.auc_a == pytest.approx(roc_auc_score(LABEL, first))


def test_two_perfect_models_are_not_shown_to_be_equally_good():
    found = compare_paired(LABEL, range(10), [1, 0, *range(2, 10)])
    assert (found.auc_a, found.auc_b, found.difference, found.p_value) == (1.0, 1.0, 0.0, 1.0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_variance_and_unequal_aucs_have_neither_p_value_nor_interval():
    found = compare_paired(LABEL, range(10), [0.5] * 10)
    assert (found.auc_a, found.auc_b, found.difference) == (1.0, 0.5, 0.5)
    assert all(math.isnan(each) for each in (found.low, found.high, found.p_value))


@pytest.mark.parametrize("n", [1, 4])
def test_fewer_than_5_in_a_class_have_aucs_only(n):
    found = compare_paired([1] * n + [0] * 40, [0.5] * n + [0.2, 0.7] * 20, [0.9] * n + [0.2, 0.7] * 20)
    assert (found.auc_a, found.auc_b, found.difference) == (0.5, 1.0, -0.5)
    assert all(math.isnan(each) for each in (found.low, found.high, found.p_value))


@pytest.mark.parametrize("label", [[1, 1, 1], [0, 0, 0]], ids=["methylated only", "unmethylated only"])
def test_one_class_absent_is_undefined_throughout(label):
    found = compare_paired(label, [0.1, 0.2, 0.3], [0.3, 0.2, 0.1])
    assert all(math.isnan(each) for each in vars(found).values())


def test_models_of_other_patients_are_refused():
    with pytest.raises(EvaluationError, match=r"found shapes \(10,\) and \(5,\)"):
        compare_paired(LABEL, range(10), range(5))


def test_holm_by_hand():
    # In order 0.01, 0.03, 0.04: times 3, 2, 1 and never falling.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1, 1])


@pytest.mark.parametrize("k", [1, 2, 30])
def test_holm_equals_statsmodels_with_ties_and_what_could_not_be_made(k):
    random = np.random.default_rng(k)
    p_values = np.concatenate([random.random(k).round(2), [0.0, 1.0], 0.01 * random.random(k)])
    mixed = random.permutation(np.concatenate([p_values, np.full(k, math.nan)]))
    made = ~np.isnan(mixed)

    np.testing.assert_allclose(holm(mixed)[made], multipletests(mixed[made], method="holm")[1], rtol=1e-12)
    assert np.isnan(holm(mixed)[~made]).all()


def test_holm_does_not_count_a_test_that_could_not_be_made():
    np.testing.assert_allclose(holm([0.02, math.nan, 0.04]), [0.04, math.nan, 0.04])
    assert np.isnan(holm([math.nan])).all()


def test_holm_of_nothing_is_nothing():
    assert holm([]).shape == (0,)


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(EvaluationError, match=r"p-values from 0 to 1, found 1\.2"):
        holm([0.3, 1.2])
