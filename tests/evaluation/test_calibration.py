"""Calibration against scikit-learn's regression, its calibration curve, and values by hand."""

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss
from statsmodels.stats.proportion import proportion_confint

from mgmt_monai.evaluation.calibration import CLIP, calibrate, reliability_curve
from mgmt_monai.evaluation.predictions import EvaluationError


@pytest.fixture(autouse=True)
def _no_warning_leaks():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def patients():
    """53 patients whose probabilities are too extreme by a factor of 2 in the logit, and too low."""
    random = np.random.default_rng(4)
    logits = random.normal(0, 1, 53)
    return (random.random(53) < expit(logits)).astype(int), expit(2 * logits - 0.5)


def test_slope_and_intercept_equal_unpenalised_scikit_learn(patients):
    label, probability = patients
    found = calibrate(label, probability)
    model = LogisticRegression(C=math.inf, tol=1e-10).fit(logit(probability)[:, None], label)
    assert found.slope.value == pytest.approx(model.coef_[0, 0], abs=1e-5)
    assert found.intercept.value == pytest.approx(model.intercept_[0], abs=1e-5)
    assert found.slope.n == found.in_the_large.n == 53


def test_wald_intervals_from_the_information_matrix(patients):
    label, probability = patients
    found = calibrate(label, probability, level=0.9)
    x = np.column_stack([np.ones(53), logit(probability)])
    fitted = expit(found.intercept.value + found.slope.value * logit(probability))
    sd = np.sqrt(np.diag(np.linalg.inv(x.T @ (x * (fitted * (1 - fitted))[:, None]))))
    for estimate, error in zip((found.intercept, found.slope), sd, strict=True):
        # 1.6449 standard deviations hold the middle 90 %.
        assert estimate.low == pytest.approx(estimate.value - 1.644854 * error, rel=1e-4)
        assert estimate.high == pytest.approx(estimate.value + 1.644854 * error, rel=1e-4)


def test_in_the_large_shifts_the_mean_probability_onto_the_prevalence(patients):
    label, probability = patients
    found = calibrate(label, probability).in_the_large
    expected = brentq(lambda shift: (expit(shift + logit(probability)) - label).sum(), -9, 9)
    shifted = expit(expected + logit(probability))
    half = 1.959964 / math.sqrt((shifted * (1 - shifted)).sum())
    assert found[:3] == pytest.approx((expected, expected - half, expected + half), abs=1e-5)


def test_two_groups_by_hand():
    # At 0.2 and 0.8, ten patients each, of whom 3 and 6 are methylated: the regression meets both shares, so that
    # intercept +- slope * logit(0.8) = logit(0.3) and logit(0.6). The logit of 0.8 is log 4.
    label = np.repeat([1, 0, 1, 0], [3, 7, 6, 4])
    probability = np.repeat([0.2, 0.8], 10)
    found = calibrate(label, probability)
    assert found.intercept.value == pytest.approx((math.log(3 / 7) + math.log(1.5)) / 2, abs=1e-6)
    assert found.slope.value == pytest.approx((math.log(1.5) - math.log(3 / 7)) / (2 * math.log(4)), abs=1e-6)
    # Brier: 3 of 0.64 and 7 of 0.04, 6 of 0.04 and 4 of 0.64, over 20.
    assert found.brier.value == pytest.approx((7 * 0.64 + 13 * 0.04) / 20)
    assert found.brier_of_prevalence == pytest.approx(0.45 * 0.55)
    # Seven losses of 0.64 and thirteen of 0.04, mean 0.25: Student's interval (19 degrees of freedom), log scale.
    sd = math.sqrt((7 * 0.39**2 + 13 * 0.21**2) / 19)
    factor = math.exp(2.0930241 * sd / math.sqrt(20) / 0.25)
    assert (found.brier.low, found.brier.high) == pytest.approx((0.25 / factor, 0.25 * factor))
    assert found.log_loss.value == pytest.approx(-(13 * math.log(0.8) + 7 * math.log(0.2)) / 20)
    assert found.ece.value == pytest.approx((10 * 0.1 + 10 * 0.2) / 20)


def test_scores_equal_scikit_learn(patients):
    label, probability = patients
    found = calibrate(label, probability)
    assert found.brier.value == pytest.approx(brier_score_loss(label, probability))
    assert found.brier_of_prevalence == pytest.approx(brier_score_loss(label, np.full(53, label.mean())))
    assert found.log_loss.value == pytest.approx(log_loss(label, probability))


def test_reliability_curve_equals_scikit_learn_with_quantile_bins(patients):
    label, probability = patients
    found = reliability_curve(label, probability, n_bins=5)
    observed, mean = calibration_curve(label, probability, n_bins=5, strategy="quantile")
    assert found.observed == pytest.approx(observed)
    assert found.probability == pytest.approx(mean)
    assert found.n.sum() == 53
    assert set(found.n.tolist()) <= {10, 11}


def test_each_bin_has_its_wilson_interval(patients):
    found = reliability_curve(*patients, n_bins=4, level=0.8)
    methylated = np.round(found.observed * found.n).astype(int)
    low, high = proportion_confint(methylated, found.n, alpha=0.2, method="wilson")
    assert found.low == pytest.approx(low, abs=1e-9)
    assert found.high == pytest.approx(high, abs=1e-9)


def test_equal_probabilities_share_a_bin():
    found = reliability_curve([0, 1, 0, 1, 1, 1], [0.3, 0.3, 0.3, 0.3, 0.3, 0.9], n_bins=5)
    assert found.n.tolist() == [5, 1]
    assert found.observed.tolist() == [0.6, 1.0]


def test_expected_calibration_error_weighs_bins_by_their_patients(patients):
    label, probability = patients
    order = np.argsort(probability)
    # 53 patients: the inner edges lie between the ranks 11, 21, 32 and 42 and the next one.
    bins = np.split(order, [11, 21, 32, 42])
    gaps = [len(each) / 53 * abs(label[each].mean() - probability[each].mean()) for each in bins]
    assert calibrate(label, probability).ece.value == pytest.approx(sum(gaps))


def test_certain_probabilities_count_as_the_clip():
    label, probability = np.array([0, 1, 0, 1]), np.array([0.0, 0.0, 1.0, 1.0])
    found = calibrate(label, probability)
    # One right and one wrong at either end.
    assert found.log_loss.value == pytest.approx(-(math.log(CLIP) + math.log(1 - CLIP)) / 2)
    assert found.slope.value == pytest.approx(0, abs=1e-6)
    assert found.brier.value == 0.5


def test_clip_is_the_last_step_of_a_float32_below_one():
    assert np.float32(1 - CLIP) == np.nextafter(np.float32(1), np.float32(0))
    assert np.float32(1 - CLIP / 4) == 1


@pytest.mark.parametrize(
    ("label", "probability"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.8]),
        ([1, 1, 0, 0], [0.1, 0.2, 0.7, 0.8]),
        ([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]),
        ([0, 1, 1, 0], [0.4, 0.4, 0.4, 0.4]),
    ],
    ids=["separated", "separated the wrong way", "separated but for a tie", "no variation"],
)
def test_no_finite_slope_is_nan_and_in_the_large_is_not(label, probability):
    found = calibrate(label, probability)
    assert np.isnan([*found.slope[:3], *found.intercept[:3]]).all()
    assert found.slope.n == 4
    assert np.isfinite(found.in_the_large[:3]).all()


def test_in_the_large_without_variation_by_hand():
    # One of four methylated, all given 0.5: the shift is logit(1 / 4), its variance 1 / (4 * 3 / 16).
    found = calibrate([0, 0, 1, 0], [0.5] * 4).in_the_large
    half = 1.959964 * math.sqrt(4 / 3)
    assert found[:3] == pytest.approx((-math.log(3), -math.log(3) - half, -math.log(3) + half), abs=1e-5)


def test_one_class_has_no_calibration_but_a_brier_score():
    found = calibrate([1, 1], [0.5, 0.75])
    assert np.isnan([found.slope.value, found.intercept.value, found.in_the_large.value]).all()
    assert found.brier.value == pytest.approx((0.25 + 0.0625) / 2)
    assert found.brier_of_prevalence == 0
    assert found.log_loss.value == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)


@pytest.mark.parametrize("scale", [1e-7, 1, 30], ids=["nearly constant", "usual", "clipped at both ends"])
@pytest.mark.parametrize("seed", range(5))
def test_fit_solves_the_score_equations_however_the_logits_lie(seed, scale):
    random = np.random.default_rng(seed)
    logits = np.clip(scale * random.standard_t(1, 40), -16, 16)
    label = random.permutation(np.repeat([0, 1], 20))
    found = calibrate(label, expit(logits))
    x = logit(expit(logits))
    residual = label - expit(found.intercept.value + found.slope.value * x)
    assert residual.sum() == pytest.approx(0, abs=1e-3)
    assert (residual * (x - x.mean()) / x.std()).sum() == pytest.approx(0, abs=1e-3)
    assert (label - expit(found.in_the_large.value + x)).sum() == pytest.approx(0, abs=1e-3)


def test_intervals_hold_the_truth_of_53_patients():
    random = np.random.default_rng(1)
    held = np.zeros(3)
    n_studies = 300
    for _ in range(n_studies):
        logits = random.normal(0, 1, 53)
        label = (random.random(53) < expit(logits)).astype(int)
        found = calibrate(label, expit(logits))
        for number, (estimate, truth) in enumerate(((found.slope, 1), (found.intercept, 0), (found.in_the_large, 0))):
            held[number] += estimate.low <= truth <= estimate.high
    # The Monte Carlo error of 300 studies is 0.013.
    assert ((held / n_studies >= 0.91) & (held / n_studies <= 0.99)).all(), held / n_studies


@pytest.mark.parametrize(
    ("function", "arguments", "found"),
    [
        (calibrate, {"probability": [0.2, 1.5]}, "from 0 to 1, found 1.5 at position 1"),
        (calibrate, {"probability": [-0.5, 0.5]}, "from 0 to 1, found -0.5 at position 0"),
        (calibrate, {"label": [0, 2]}, "labels 0 or 1, found 2"),
        (calibrate, {"level": 95}, "level between 0 and 1, found 95"),
        (reliability_curve, {"n_bins": 0}, "at least 1 bin, found 0"),
        (reliability_curve, {"level": 1.0}, "level between 0 and 1, found 1.0"),
    ],
    ids=["above", "below", "label", "level", "bins", "level of the curve"],
)
def test_bad_input_is_refused(function, arguments, found):
    with pytest.raises(EvaluationError, match=found):
        function(**({"label": [0, 1], "probability": [0.2, 0.6]} | arguments))
