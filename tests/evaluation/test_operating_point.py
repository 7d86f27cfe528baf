"""Youden's threshold against scikit-learn's ROC and against thresholds chosen by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from mgmt_monai.evaluation.operating_point import youden_threshold
from mgmt_monai.evaluation.predictions import EvaluationError


def _youden(label, probability, threshold):
    called = np.asarray(probability) >= threshold
    return called[label == 1].mean() - called[label == 0].mean()


@pytest.mark.parametrize("digits", [1, 2, 6])
@pytest.mark.parametrize("seed", range(6))
def test_no_threshold_of_the_roc_curve_is_better(seed, digits):
    random = np.random.default_rng(seed)
    label = random.permutation(np.repeat([0, 1], [11, 8]))
    probability = np.round(random.random(19), digits)
    false_positive_rate, sensitivity, _ = roc_curve(label, probability, drop_intermediate=False)
    found = _youden(label, probability, youden_threshold(label, probability))
    assert found == pytest.approx((sensitivity - false_positive_rate).max())


@pytest.mark.parametrize(
    ("label", "probability", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.3, 0.7, 0.8], 0.5),
        ([0, 0, 1, 1], [0.6, 0.7, 0.8, 0.9], 0.75),
        # 0.25 and 0.5 both give 2 / 3; 0.5 is nearer to 0.5.
        ([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.9], 0.5),
        # 0.3 and 0.7 both give 1 / 2 and are as near.
        ([0, 1, 0, 1], [0.2, 0.4, 0.6, 0.8], 0.3),
        # The wrong way round: calling everyone (0.1) or no one (0.8) is best.
        ([1, 0], [0.2, 0.6], 0.8),
        ([0, 1], [1.0, 1.0], 0.5),
        ([0, 1], [0.0, 0.0], 0.5),
    ],
    ids=["separated", "separated high", "tie", "tie as near", "worse than chance", "all at 1", "all at 0"],
)
def test_threshold_by_hand(label, probability, expected):
    assert youden_threshold(label, probability) == pytest.approx(expected)


def test_neighbouring_floats_are_still_told_apart():
    low = 0.7
    high = np.nextafter(low, 1)
    assert youden_threshold([0, 1], [low, high]) == high


def test_patients_in_another_order_have_the_same_threshold():
    random = np.random.default_rng(2)
    label, probability = random.integers(0, 2, 30), np.round(random.random(30), 1)
    order = random.permutation(30)
    assert youden_threshold(label[order], probability[order]) == youden_threshold(label, probability)


def test_one_class_has_no_threshold():
    assert math.isnan(youden_threshold([1, 1], [0.2, 0.9]))


def test_bad_label_is_refused():
    with pytest.raises(EvaluationError, match="labels 0 or 1, found 2"):
        youden_threshold([0, 2], [0.2, 0.9])
