"""Permuted labels against full enumeration, SciPy's exact test, plain loops and the closed form of guessing."""

import itertools
import math
import time
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom, mannwhitneyu, rankdata
from sklearn.metrics import accuracy_score, roc_auc_score

from mgmt_monai.evaluation import permutation
from mgmt_monai.evaluation.permutation import best_of, best_of_p_values, permutation_test
from mgmt_monai.evaluation.predictions import EvaluationError


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


@pytest.fixture
def candidates():
    """Four candidates for twelve patients, the second nearly a copy of the first; rounded, so that there are ties."""
    random = np.random.default_rng(9)
    first = random.random(12)
    others = random.random((2, 12))
    return np.tile([0, 1], 6), np.round(np.stack([first, first + 0.05 * random.random(12), *others]), 1)


def _dealt(label, n_permutations, seed):
    random = np.random.default_rng(seed)
    return [random.permuted(label.astype(float)) for _ in range(n_permutations)]


def test_best_auc_equals_a_loop_with_scikit_learn(candidates):
    label, probabilities = candidates
    found = best_of(label, probabilities, n_permutations=60, seed=2)
    expected = [max(roc_auc_score(dealt, each) for each in probabilities) for dealt in _dealt(label, 60, 2)]
    assert found.null == pytest.approx(expected, abs=1e-12)
    assert found.expected == pytest.approx(np.mean(expected))
    assert found.n_candidates == 4


@pytest.mark.parametrize("form", ["number", "of each candidate", "of each patient"])
def test_best_accuracy_equals_a_loop_with_scikit_learn(candidates, form):
    label, probabilities = candidates
    random = np.random.default_rng(1)
    thresholds = {
        "number": 0.4,
        "of each candidate": np.array([[0.3], [0.5], [0.6], [0.4]]),
        "of each patient": random.random((4, 12)),
    }[form]
    found = best_of(label, probabilities, "accuracy", thresholds, n_permutations=60, seed=2)
    at = np.broadcast_to(thresholds, (4, 12))
    expected = [
        max(accuracy_score(dealt, p >= t) for p, t in zip(probabilities, at, strict=True))
        for dealt in _dealt(label, 60, 2)
    ]
    np.testing.assert_array_equal(found.null, expected)


def test_figures_of_one_guesser_among_four_patients_by_hand():
    # It calls two of four: accuracies 0, 1/2 and 1 with chances 1/6, 4/6 and 1/6.
    found = best_of([0, 0, 1, 1], [[0.1, 0.2, 0.8, 0.9]], "accuracy", n_permutations=2000)
    assert set(found.null.tolist()) == {0.0, 0.5, 1.0}
    assert found.percentile_95 == 1.0
    assert found.expected == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("n_permutations", [1, 19, 20, 21, 50])
def test_percentile_is_the_smallest_figure_that_95_in_100_do_not_exceed(candidates, n_permutations):
    found = best_of(*candidates, n_permutations=n_permutations)
    enough = [value for value in found.null if (found.null <= value).sum() >= 0.95 * n_permutations]
    assert found.percentile_95 == min(enough)


def test_best_of_24_independent_guessers_is_the_closed_form():
    n, guessers = 53, 24
    at_most = [binom.cdf(right, n, 0.5) ** guessers for right in range(n + 1)]
    mean = sum(1 - chance for chance in at_most) / n
    assert mean == pytest.approx(0.633, abs=5e-4)
    label = np.repeat([0, 1], [26, 27])
    random = np.random.default_rng(8)
    found = [best_of(label, random.random((guessers, n)), "accuracy", seed=run) for run in range(5)]
    assert np.mean([each.expected for each in found]) == pytest.approx(mean, abs=0.005)
    high = next(right for right in range(n + 1) if at_most[right] >= 0.95) / n
    assert high == pytest.approx(0.698, abs=5e-4)
    # A step of the accuracy is one patient in 53.
    assert [each.percentile_95 for each in found] == pytest.approx([high] * 5, abs=1.01 / n)


def test_copies_of_one_candidate_are_not_counted_as_many(candidates):
    label, probabilities = candidates
    one = best_of(label, probabilities[:1], n_permutations=300)
    copies = best_of(label, np.repeat(probabilities[:1], 20, axis=0), n_permutations=300)
    assert copies.n_candidates == 20
    np.testing.assert_array_equal(copies.null, one.null)


def test_best_of_one_is_the_permutation_test(candidates):
    label, probabilities = candidates
    alone = permutation_test(label, probabilities[0], n_permutations=200, seed=4)
    np.testing.assert_array_equal(best_of(label, probabilities[:1], n_permutations=200, seed=4).null, alone.null)


def test_best_auc_of_one_class_is_undefined():
    found = best_of([1, 1], [[0.2, 0.3]], n_permutations=5)
    assert math.isnan(found.expected)
    assert math.isnan(found.percentile_95)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"probabilities": [0.2, 0.3]}, r"\(candidates, patients\), found shape \(2,\)"),
        ({"probabilities": np.empty((0, 2))}, r"found shape \(0, 2\)"),
        ({"probabilities": [[0.2, 0.3, 0.4]]}, r"found shapes \(2,\) and \(3,\)"),
        ({"probabilities": [[0.2, 0.3], [0.2, math.nan]]}, "found nan at position 1"),
        ({"figure": "f1"}, "figure auc or accuracy, found f1"),
        ({"figure": "accuracy", "thresholds": [0.1, 0.2, 0.3]}, r"of shape \(1, 2\), found shape \(3,\)"),
        ({"figure": "accuracy", "thresholds": math.nan}, "finite thresholds, found nan"),
        ({"n_permutations": 0}, "at least 1 permutation, found 0"),
    ],
    ids=["one dimension", "none", "patients", "nan", "figure", "thresholds", "nan threshold", "permutations"],
)
def test_bad_candidates_are_refused(arguments, found):
    with pytest.raises(EvaluationError, match=found):
        best_of(**({"label": [0, 1], "probabilities": [[0.2, 0.3]]} | arguments))


def test_p_value_of_the_best_counts_how_often_chance_does_as_well():
    """All 6 ways to deal two methylated among four patients, for two candidates."""
    label = np.array([0, 0, 1, 1])
    scores = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.1, 0.3, 0.4]])
    best = [
        max(roc_auc_score([int(n in pair) for n in range(4)], each) for each in scores)
        for pair in itertools.combinations(range(4), 2)
    ]
    assert best.count(1.0) == 1

    assert best_of_p_values(label, scores, n_permutations=20_000)[0] == pytest.approx(1 / 6, abs=0.01)


@pytest.mark.parametrize("n_studies", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_best_of_many_guessers_is_above_chance_no_more_often_than_asked(n_studies):
    random = np.random.default_rng(8)
    label = np.arange(60) % 2
    found = []
    for seed in range(n_studies):
        guesses = random.uniform(size=(9, 60))
        chosen = int(np.argmax(rankdata(guesses, axis=1) @ label))  # by the test itself: most rank sum, best AUC
        found.append(best_of_p_values(label, guesses, n_permutations=400, seed=seed)[chosen] <= 0.05)

    assert 0.01 < np.mean(found) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / n_studies)


@pytest.fixture
def three_candidates():
    random = np.random.default_rng(12)
    return np.arange(20) % 2, random.uniform(size=(3, 20))


def test_ten_thousand_permutations_of_seed_0_where_nothing_else_is_asked_for(three_candidates):
    label, scores = three_candidates
    found = best_of(label, scores).null
    np.testing.assert_array_equal(found, best_of(label, scores, n_permutations=10_000, seed=0).null)
    assert best_of_p_values(label, scores)[1] == best_of_p_values(label, scores, 10_000, 0)[1]


@pytest.mark.parametrize("seed", range(6))
def test_p_value_counts_the_observed_figure_among_the_permuted(three_candidates, seed):
    label, scores = three_candidates
    null = best_of(label, scores, n_permutations=7, seed=seed).null
    observed = roc_auc_score(label, scores[1])
    reached = sum(each > observed - 1e-9 for each in null.tolist())
    assert best_of_p_values(label, scores, n_permutations=7, seed=seed)[1] == pytest.approx((1 + reached) / 8)
