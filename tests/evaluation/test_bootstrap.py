"""Resampling patients with all their slices, against scikit-learn on slices that are really repeated."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from simulations import binormal, clustered, covered
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from mgmt_monai.evaluation import bootstrap
from mgmt_monai.evaluation.bootstrap import FIGURES, patient_auc_interval, resampled_figures, slice_intervals
from mgmt_monai.evaluation.delong import auc_and_variance
from mgmt_monai.evaluation.intervals import newcombe_interval
from mgmt_monai.evaluation.predictions import EvaluationError


@pytest.fixture
def slices():
    """Nine patients with 1 to 4 slices each; probabilities rounded, so that there are ties."""
    random = np.random.default_rng(8)
    n_slices = [1, 4, 2, 3, 3, 1, 2, 4, 2]
    patient = np.repeat([f"{number:05d}" for number in range(9)], n_slices)
    label = np.repeat([1, 1, 0, 1, 0, 0, 1, 1, 0], n_slices)
    return label, np.round(random.random(len(label)), 1), patient


def test_resampled_figures_equal_scikit_learn_on_repeated_slices(slices):
    label, probability, patient = slices
    found = resampled_figures(*slices, n_resamples=20, seed=4)
    of_patient = np.array([label[patient == who][0] for who in np.unique(patient)])
    drawn = bootstrap._draw(of_patient, 20, np.random.default_rng(4))
    for number in range(20):
        index = np.repeat(np.arange(len(label)), np.repeat(drawn[number], np.unique(patient, return_counts=True)[1]))
        label_, probability_ = label[index], probability[index]
        called = probability_ >= 0.5
        expected = {
            "auc": roc_auc_score(label_, probability_),
            "accuracy": accuracy_score(label_, called),
            "precision": precision_score(label_, called, zero_division=np.nan),
            "recall": recall_score(label_, called),
            "specificity": recall_score(1 - label_, ~called),
            "f1": f1_score(label_, called),
        }
        assert {figure: found[figure][number] for figure in FIGURES} == pytest.approx(expected, nan_ok=True)


def test_draw_keeps_the_number_of_patients_in_each_class():
    of_patient = np.array([0, 1, 1, 0, 1])
    drawn = bootstrap._draw(of_patient, 300, np.random.default_rng(0))
    assert (drawn[:, of_patient == 1].sum(axis=1) == 3).all()
    assert (drawn[:, of_patient == 0].sum(axis=1) == 2).all()
    # Each of three is drawn once on average: 300 resamples have a standard error of 0.05.
    assert drawn[:, 1].mean() == pytest.approx(1, abs=0.2)


def test_same_seed_same_intervals_and_another_seed_others(slices):
    once, again = (slice_intervals(*slices, n_resamples=200, seed=1) for _ in range(2))
    other = slice_intervals(*slices, n_resamples=200, seed=2)
    np.testing.assert_array_equal(list(once.values()), list(again.values()))
    assert once["auc"] != other["auc"]


def test_chunks_do_not_change_the_figures(slices, monkeypatch):
    whole = resampled_figures(*slices, n_resamples=50, seed=1)["recall"]
    monkeypatch.setattr(bootstrap, "_CHUNK", 7 * len(np.unique(slices[2])))
    parts = resampled_figures(*slices, n_resamples=50, seed=1)["recall"]
    assert len(parts) == 50
    # Chunks draw class by class in turn, so the draws differ; their spread must not.
    assert parts.mean() == pytest.approx(whole.mean(), abs=0.15)


def test_repeating_every_slice_does_not_narrow_the_interval(slices):
    once = slice_intervals(*slices, n_resamples=300)["accuracy"]
    tenfold = slice_intervals(*(np.repeat(each, 10) for each in slices), n_resamples=300)["accuracy"]
    assert tenfold == pytest.approx(once, abs=1e-12)


def test_interval_is_the_resampled_standard_error_away_on_the_logit_scale(slices):
    label, probability, _ = slices
    found = slice_intervals(*slices, n_resamples=400, seed=3)
    resampled = resampled_figures(*slices, n_resamples=400, seed=3)
    values = {"auc": roc_auc_score(label, probability), "f1": f1_score(label, probability >= 0.5)}
    for figure, value in values.items():
        # Four of the nine patients are unmethylated: the standard error grows by sqrt(4 / 3).
        error = np.std(resampled[figure], ddof=1) * math.sqrt(4 / 3) / (value * (1 - value))
        ends = expit(logit(value) + 1.959964 * error * np.array([-1, 1]))
        assert found[figure] == pytest.approx(ends, abs=1e-6)


def test_patients_alike_in_every_figure_do_not_give_certainty():
    # Every patient has two of three slices right, so that all resamples agree: 2 of 3 of 6 patients, not 2/3 for sure.
    label = np.repeat([0, 0, 0, 1, 1, 1], 3)
    probability = np.where(label == 1, *(np.tile(each, 6) for each in ([0.9, 0.8, 0.2], [0.1, 0.2, 0.8])))
    found = slice_intervals(label, probability, np.repeat(np.arange(6), 3), n_resamples=50)
    assert found["accuracy"] == pytest.approx(proportion_confint(4, 6, method="wilson"))
    assert found["recall"] == pytest.approx(proportion_confint(2, 3, method="wilson"))
    # TP / (TP + FP + FN) = 6 / 12, carried over to F1.
    low, high = proportion_confint(3, 6, method="wilson")
    assert found["f1"] == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))


def test_patients_with_one_slice_have_the_same_auc_interval_at_either_level():
    label, score = binormal(30, 0.7, np.random.default_rng(4))
    of_slices = slice_intervals(label, score, np.arange(30), n_resamples=100, seed=5)["auc"]
    assert patient_auc_interval(label, score, n_resamples=100, seed=5) == of_slices


def test_patient_auc_interval_has_delongs_width():
    label, score = binormal(200, 0.8, np.random.default_rng(6))
    value, variance = auc_and_variance(label, score)
    low, high = patient_auc_interval(label, score, n_resamples=4000)
    # The resamples' Monte Carlo error is 1 / sqrt(2 * 4000) = 1.1 %.
    assert (logit(high) - logit(low)) / 2 * value * (1 - value) / 1.959964 == pytest.approx(
        math.sqrt(variance), rel=0.05
    )
    assert (logit(high) + logit(low)) / 2 == pytest.approx(logit(value))


@pytest.mark.parametrize(
    ("label", "score", "value"),
    [
        ([0] * 6 + [1] * 5, range(11), 1.0),
        ([0] * 6 + [1] * 5, [1] * 11, 0.5),
    ],
    ids=["perfect", "constant"],
)
def test_patient_auc_interval_is_newcombes_where_resamples_know_nothing(label, score, value):
    expected = newcombe_interval(value, sum(label), len(label) - sum(label))
    assert patient_auc_interval(label, score, n_resamples=40) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("label", [[1] * 9, [0] * 5 + [1] * 4], ids=["one class", "four in a class"])
def test_patient_auc_interval_of_a_tiny_class_is_undefined(label):
    assert all(math.isnan(end) for end in patient_auc_interval(label, np.arange(9) % 4, n_resamples=10))


def test_all_slices_right_gives_the_closed_interval_of_as_many_patients():
    label = np.repeat([0, 0, 0, 1, 1, 1, 1], 6)
    patient = np.repeat(np.arange(7), 6)
    found = slice_intervals(label, np.where(label == 1, 0.9, 0.1), patient, n_resamples=50)
    assert found["auc"] == newcombe_interval(1.0, 4, 3)
    assert found["accuracy"] == pytest.approx(proportion_confint(7, 7, method="wilson"))
    assert found["recall"] == pytest.approx(proportion_confint(4, 4, method="wilson"))
    assert found["specificity"] == pytest.approx(proportion_confint(3, 3, method="wilson"))
    low, high = proportion_confint(4, 4, method="wilson")
    assert found["f1"] == pytest.approx((2 * low / (1 + low), 1.0))
    assert high == pytest.approx(1.0)


def test_figure_undefined_in_many_resamples_has_no_interval():
    # One of ten patients is ever called methylated: left out of (4 / 5)^5 = 33 % of the resamples.
    label = np.repeat([0, 1], 5)
    probability = np.array([0.1] * 9 + [0.9])
    found = slice_intervals(label, probability, np.arange(10), n_resamples=400)
    assert math.isnan(found["precision"].low)
    assert not math.isnan(found["recall"].low)


@pytest.mark.parametrize("label", [[1, 1, 1], [1, 0, 0]], ids=["one class", "one patient in a class"])
def test_too_few_patients_have_no_interval(label):
    found = slice_intervals(label, [0.2, 0.6, 0.7], ["a", "b", "c"], n_resamples=20)
    assert all(math.isnan(end) for interval in found.values() for end in interval)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"label": [0, 1, 1]}, "patient a: expected one label"),
        ({"patient_id": ["a", "a"]}, "found 2 and 3"),
        ({"n_resamples": 0}, "at least 1 resample, found 0"),
        ({"level": 95}, "level between 0 and 1, found 95"),
    ],
    ids=["two labels", "ids", "resamples", "level"],
)
def test_bad_input_is_refused(change, found):
    sound = {"label": [0, 0, 1], "probability": [0.1, 0.2, 0.3], "patient_id": ["a", "a", "b"]}
    with pytest.raises(EvaluationError, match=found):
        slice_intervals(**(sound | change))


def test_slice_auc_covers_the_truth_although_slices_go_together():
    random = np.random.default_rng(2)
    found = [
        slice_intervals(*clustered(40, 0.7, random), threshold=0.0, n_resamples=200, seed=study)["auc"]
        for study in range(200)
    ]
    share, _ = covered(found, 0.7)
    # The Monte Carlo error of 200 studies is 0.015; slices taken as independent would cover about 0.72.
    assert 0.90 <= share <= 0.99


def test_two_thousand_resamples_of_seed_0_where_nothing_else_is_asked_for(slices):
    assert slice_intervals(*slices) == slice_intervals(*slices, 0.95, 0.5, 2000, 0)
    label, probability, _ = slices
    assert patient_auc_interval(label, probability) == patient_auc_interval(label, probability, 0.95, 2000, 0)
    assert patient_auc_interval(label, probability) != patient_auc_interval(label, probability, 0.95, 2000, 1)
