"""Figures of discrimination against hand counts and brute force."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from mgmt_monai.evaluation.discrimination import (
    Counts,
    accuracy,
    auc,
    counts,
    f1,
    precision,
    recall,
    specificity,
)
from mgmt_monai.evaluation.predictions import EvaluationError

FIGURES = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "f1": f1,
}


@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_the_share_of_pairs_won_with_ties_half(seed):
    random = np.random.default_rng(seed)
    label = random.permutation([0] * 9 + [1] * 13)
    probability = random.integers(0, 6, 22) / 5  # many ties
    pairs = [(p > q) + (p == q) / 2 for p in probability[label == 1] for q in probability[label == 0]]
    assert auc(label, probability) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@pytest.mark.parametrize(("n_false", "n_missed"), [(0, 0), (1, 0), (1, 2), (2, 2), (3, 1), (4, 4)])
def test_label_noise_moves_the_auc_towards_a_half_as_the_formula_says(n_false, n_missed):
    """With a share a of the called methylated that are not and b of the others that are: 1/2 + (AUC - 1/2)(1 - a - b).

    Every score is there four times; of them so many stand under the wrong label, whatever the score is.
    """
    random = np.random.default_rng(n_false + 5 * n_missed)
    methylated, others = random.normal(1, 1, 15), random.normal(0, 1, 15)
    true = auc(np.repeat([1, 0], 15), np.concatenate([methylated, others]))
    called_1 = [*np.repeat(methylated, 4 - n_false), *np.repeat(others, n_false)]
    called_0 = [*np.repeat(others, 4 - n_missed), *np.repeat(methylated, n_missed)]
    found = auc(np.repeat([1, 0], [len(called_1), len(called_0)]), np.array(called_1 + called_0))
    assert found == pytest.approx(0.5 + (true - 0.5) * (1 - n_false / 4 - n_missed / 4), abs=1e-12)


def test_auc_of_one_class_is_nan():
    assert math.isnan(auc([1, 1], [0.2, 0.9]))
    assert math.isnan(auc([0], [0.2]))


def test_counts_at_a_threshold_include_the_threshold_itself():
    label = [1, 1, 1, 0, 0, 1]
    probability = [0.5, 0.9, 0.4, 0.5, 0.1, 0.49]
    assert counts(label, probability, 0.5) == Counts(2, 1, 2, 1)


def test_counts_equal_scikit_learn():
    random = np.random.default_rng(1)
    label, probability = random.integers(0, 2, 40), random.random(40)
    (tn, fp), (fn, tp) = confusion_matrix(label, probability >= 0.3)
    assert counts(label, probability, 0.3) == Counts(tp, fp, fn, tn)


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("accuracy", 12 / 20),
        ("precision", 7 / 10),
        ("recall", 7 / 12),
        ("specificity", 5 / 8),
        ("f1", 14 / 22),
    ],
)
def test_figure_by_hand(figure, expected):
    assert FIGURES[figure](Counts(7, 3, 5, 5)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("table", "undefined"),
    [
        (Counts(0, 0, 4, 3), {"precision"}),
        (Counts(0, 2, 0, 3), {"recall"}),
        (Counts(2, 0, 1, 0), {"specificity"}),
        (Counts(0, 0, 0, 5), {"precision", "recall", "f1"}),
        (Counts(0, 0, 0, 0), set(FIGURES)),
    ],
    ids=["nobody called", "nobody methylated", "nobody unmethylated", "only true negatives", "nobody"],
)
def test_figure_with_an_empty_denominator_is_nan(table, undefined):
    assert {name for name, figure in FIGURES.items() if math.isnan(figure(table))} == undefined


def test_f1_of_missing_everyone_is_zero():
    assert f1(Counts(0, 0, 4, 3)) == 0


@pytest.mark.parametrize(
    ("label", "probability", "found"),
    [
        ([0, 1], [0.5], r"\(2,\) and \(1,\)"),
        ([], [], r"\(0,\)"),
        ([0, 2], [0.1, 0.2], "found 2"),
        ([0, 1], [0.1, math.nan], "found nan at position 1"),
    ],
    ids=["shapes", "empty", "label", "nan"],
)
def test_bad_arrays_are_refused(label, probability, found):
    with pytest.raises(EvaluationError, match=found):
        auc(label, probability)


def test_counts_stay_as_they_were_counted():
    table = counts([0, 1, 1], [0.2, 0.8, 0.4])
    with pytest.raises(FrozenInstanceError):
        table.true_positive = 2
