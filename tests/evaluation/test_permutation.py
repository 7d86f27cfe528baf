"""Permuted labels against full enumeration, SciPy's exact test, plain loops and the closed form of guessing."""

import itertools
import math
import time
from collections import Counter

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from mgmt_monai.evaluation import permutation
from mgmt_monai.evaluation.permutation import permutation_test


def _every_auc(label, probability):
    """The AUC under each way of choosing the methylated ones."""
    found = []
    for chosen in itertools.combinations(range(len(label)), int(np.sum(label))):
        dealt = np.zeros(len(label), dtype=int)
        dealt[list(chosen)] = 1
        found.append(roc_auc_score(dealt, probability))
    return np.array(found)


@pytest.mark.parametrize(
    "probability",
    [[0.9, 0.1, 0.8, 0.3, 0.6, 0.5, 0.2], [0.8, 0.1, 0.8, 0.3, 0.6, 0.3, 0.3]],
    ids=["no ties", "ties"],
)
def test_null_is_that_of_full_enumeration(probability):
    label = [1, 0, 1, 0, 1, 0, 0]
    every = np.round(_every_auc(label, probability), 9)
    found = permutation_test(label, probability, n_permutations=20_000, seed=3)
    assert found.observed == pytest.approx(roc_auc_score(label, probability))
    drawn = Counter(np.round(found.null, 9).tolist())
    expected = Counter(every.tolist())
    assert set(drawn) == set(expected)
    for value, count in expected.items():
        # The standard error of 20 000 draws is at most 0.0036.
        assert drawn[value] / 20_000 == pytest.approx(count / len(every), abs=0.015)
    assert found.p_value == pytest.approx((every >= found.observed - 1e-9).mean(), abs=0.015)


@pytest.mark.parametrize("seed", range(4))
def test_p_value_equals_scipys_exact_test(seed):
    random = np.random.default_rng(seed)
    label = np.repeat([0, 1], [14, 11])
    probability = random.random(25) + 0.2 * label
    exact = mannwhitneyu(probability[label == 1], probability[label == 0], alternative="greater", method="exact")
    found = permutation_test(label, probability, seed=seed)
    # Four standard errors of 10 000 permutations.
    assert found.p_value == pytest.approx(exact.pvalue, abs=4 * math.sqrt(exact.pvalue / 10_000) + 1e-4)


def test_p_value_counts_the_labels_as_they_are():
    label = np.repeat([0, 1], 29)
    found = permutation_test(label, label, n_permutations=999)
    assert found.observed == 1
    assert found.p_value == 1 / 1000


def test_constant_probability_ties_exactly_with_every_permutation():
    found = permutation_test([0, 1, 0, 1, 1], [0.1] * 5, n_permutations=50)
    assert (found.null == 0.5).all()
    assert found.p_value == 1


def test_p_value_by_the_null_that_it_reports():
    random = np.random.default_rng(0)
    label, probability = random.integers(0, 2, 31), np.round(random.random(31), 1)
    found = permutation_test(label, probability, n_permutations=500)
    assert found.null.shape == (500,)
    assert found.p_value == (1 + (found.null >= found.observed).sum()) / 501


def test_one_class_is_undefined():
    found = permutation_test([1, 1, 1], [0.2, 0.3, 0.4], n_permutations=5)
    assert math.isnan(found.observed)
    assert math.isnan(found.p_value)
    assert np.isnan(found.null).all()


def test_same_seed_same_null_and_chunks_change_nothing(monkeypatch):
    label, probability = np.tile([0, 1, 1], 8), np.random.default_rng(0).random(24)
    whole = permutation_test(label, probability, n_permutations=100, seed=6)
    other = permutation_test(label, probability, n_permutations=100, seed=7)
    monkeypatch.setattr(permutation, "_CHUNK", 24 * 7)
    parts = permutation_test(label, probability, n_permutations=100, seed=6)
    np.testing.assert_array_equal(parts.null, whole.null)
    assert (other.null != whole.null).any()


def test_ten_thousand_permutations_of_58_patients_take_well_under_a_second():
    random = np.random.default_rng(0)
    label, probability = np.tile([0, 1], 29), random.random(58)
    start = time.perf_counter()
    permutation_test(label, probability)
    assert time.perf_counter() - start < 1
