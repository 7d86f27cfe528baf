"""Net benefit by hand and against counting patient by patient."""

import numpy as np
import pytest

from mgmt_monai.evaluation.decision_curve import LEAST_CALLED, decision_curve, gains, net_benefit
from mgmt_monai.evaluation.predictions import EvaluationError

LABEL = [1, 1, 0, 0, 0]
PROBABILITY = [0.9, 0.3, 0.5, 0.2, 0.1]


def test_net_benefit_by_hand():
    curve = decision_curve(LABEL, PROBABILITY, [0.2, 0.5, 0.8])
    # At 0.2 both methylated and two others are acted on; at 0.5 one and one; at 0.8 one and none.
    assert curve.model == pytest.approx([2 / 5 - 2 / 5 * 0.25, 1 / 5 - 1 / 5, 1 / 5])
    assert curve.all == pytest.approx([2 / 5 - 3 / 5 * 0.25, 2 / 5 - 3 / 5, 2 / 5 - 3 / 5 * 4])
    assert curve.threshold.tolist() == [0.2, 0.5, 0.8]


def test_default_thresholds_equal_counting_patient_by_patient():
    random = np.random.default_rng(6)
    label, probability = random.integers(0, 2, 40), np.round(random.random(40), 2)
    curve = decision_curve(label, probability)
    assert len(curve.threshold) == 99
    assert (curve.threshold[0], curve.threshold[-1]) == (0.01, 0.99)
    for t, model, treat_all in zip(curve.threshold, curve.model, curve.all, strict=True):
        expected = [0.0, 0.0]
        for is_methylated, p in zip(label, probability, strict=True):
            worth = 1 / 40 if is_methylated else -t / (1 - t) / 40
            expected[0] += worth if p >= t else 0
            expected[1] += worth
        assert (model, treat_all) == pytest.approx(expected)


def test_net_benefit_has_an_interval_from_ten_called_on():
    label = np.array([1, 0] * 10)
    of_nine, of_ten = (net_benefit(label, np.arange(20) < called, 0.5) for called in (9, 10))

    assert LEAST_CALLED == 10
    assert np.isnan([of_nine.low, of_nine.high]).all()
    # Five gain 1, five lose 1, ten nothing: mean 0, standard error sqrt(10 / 19 / 20), t of 19 degrees 2.093.
    assert (of_ten.value, of_ten.low, of_ten.high) == pytest.approx((0, -0.33953, 0.33953), abs=1e-5)


@pytest.mark.parametrize(("threshold", "lost"), [(0.001, 1 / 99), (0.5, 1), (0.999, 99)])
def test_threshold_is_taken_into_1_to_99_percent(threshold, lost):
    found = gains(np.array([1, 0, 0]), np.array([True, True, False]), threshold)

    assert found == pytest.approx([1, -lost, 0])


def test_treating_all_is_worth_nothing_at_the_prevalence():
    assert decision_curve(LABEL, PROBABILITY, [0.4]).all == pytest.approx([0])


def test_perfect_probabilities_are_worth_the_prevalence_at_every_threshold():
    assert decision_curve(LABEL, LABEL).model == pytest.approx(np.full(99, 0.4))


def test_one_class_is_defined():
    curve = decision_curve([0, 0], [0.6, 0.1], [0.5])
    assert (curve.model[0], curve.all[0]) == (-0.5, -1.0)


@pytest.mark.parametrize(
    ("probability", "thresholds", "found"),
    [
        (PROBABILITY, [0.5, 1.0], "thresholds between 0 and 1"),
        (PROBABILITY, [0.0], "thresholds between 0 and 1"),
        (PROBABILITY, [float("nan")], "thresholds between 0 and 1"),
        (PROBABILITY, [[0.5]], "thresholds between 0 and 1"),
        ([3.0, 0.3, 0.5, 0.2, 0.1], [0.5], "probabilities from 0 to 1, found 3.0"),
    ],
    ids=["one", "zero", "nan", "two dimensions", "logits"],
)
def test_bad_input_is_refused(probability, thresholds, found):
    with pytest.raises(EvaluationError, match=found):
        decision_curve(LABEL, probability, thresholds)
