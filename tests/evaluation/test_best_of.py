"""The best of many guessers against plain loops, scikit-learn and the closed form of guessing."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, rankdata
from sklearn.metrics import accuracy_score, roc_auc_score

from mgmt_monai.evaluation.best_of import best_of, best_of_p_values
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.predictions import EvaluationError


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
