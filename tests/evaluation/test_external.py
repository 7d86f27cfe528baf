"""A model on other patients than its own."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from mgmt_monai.evaluation.delong import auc_interval
from mgmt_monai.evaluation.external import external


@pytest.fixture
def drawn():
    random = np.random.default_rng(0)
    label = np.arange(300) % 2
    return label, random.standard_normal(300) + label


def test_a_model_that_was_too_sure_is_recalibrated_out_of_fold(drawn):
    """Logits three times as large and moved by one: the slope a third, and after recalibration one."""
    label, score = drawn
    found = external(label, expit(3 * (score - 0.5) + 1), {})

    after = found["recalibrated"]
    assert after["slope"]["value"] == pytest.approx(1, abs=0.1)
    assert after["intercept"]["value"] == pytest.approx(0, abs=0.05)
    sure = np.mean((expit(3 * (score - 0.5) + 1) - label) ** 2)
    assert after["brier"] < np.mean((expit(score - 0.5) - label) ** 2) + 0.005 < sure
    assert (found["development"], found["difference"], found["prevalence"]) == (None, None, 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_that_part_the_labels_are_recalibrated(seed):
    probability = np.random.default_rng(seed).random(80)

    after = external((probability > 0.5).astype(int), probability, {})["recalibrated"]

    assert 0 <= after["brier"] < 0.05


def test_case_mix_is_the_auc_of_labels_drawn_from_the_probabilities(drawn):
    probability = expit(drawn[1]).round(1)[:40]
    first, second = np.triu_indices(40, 1)
    weight = probability * (1 - probability[:, None])  # the column's patient is methylated, the row's is not
    above = (probability > probability[:, None]) + 0.5 * (probability == probability[:, None])
    pairs = [(weight * above)[a, b] + (weight * above)[b, a] for a, b in zip(first, second, strict=True)]
    expected = sum(pairs) / sum(weight[a, b] + weight[b, a] for a, b in zip(first, second, strict=True))

    assert external(np.arange(40) % 2, probability, {})["auc_if_right"] == pytest.approx(expected)
    assert external([0, 1], [0.0, 0.0], {})["auc_if_right"] is None


def test_development_and_here_are_independent_patients(drawn):
    """Square and add, as of a difference of two independent means."""
    label, score = drawn
    there = {"n": 24, "n_methylated": 12, "auc": {"value": 0.9, "low": 0.8, "high": 0.96}}
    auc, (low, high) = roc_auc_score(label, score), auc_interval(label, score)

    difference = external(label, expit(score), there)["difference"]

    assert difference["value"] == pytest.approx(auc - 0.9)
    assert difference["low"] == pytest.approx(auc - 0.9 - np.hypot(auc - low, 0.06))
    assert difference["high"] == pytest.approx(auc - 0.9 + np.hypot(high - auc, 0.1))
    unknown = external(label, expit(score), {"n": 3, "auc": {"value": 0.9, "low": None, "high": None}})
    assert (unknown["development"], unknown["difference"]) == (None, None)


def test_with_few_patients_of_a_label_nothing_is_recalibrated():
    assert external([0] * 20 + [1] * 4, np.linspace(0.1, 0.9, 24), {})["recalibrated"] is None
