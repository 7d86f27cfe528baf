"""What a model tells beyond a control: against a likelihood ratio, and how often it errs."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import norm, rankdata
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression

from mgmt_monai.evaluation.added_value import added_value, association, logistic


def pair(random, n=100, control=0.5, model=0.5, shared=0.0):
    """Labels, model and control: true AUCs of their own, and what they share beside the label."""
    label = np.arange(n) % 2
    first = random.standard_normal(n) + label * math.sqrt(2) * norm.ppf(control)
    own = random.standard_normal(n) + label * math.sqrt(2) * norm.ppf(model)
    return label, shared * first + math.sqrt(1 - shared**2) * own, first


def test_it_is_near_the_likelihood_ratio_of_statsmodels():
    label, model, control = pair(np.random.default_rng(2), n=400, control=0.65, model=0.6, shared=0.3)
    scores = [norm.ppf(rankdata(each) / 401) for each in (control, model)]
    base = sm.add_constant(np.column_stack([scores[0], scores[0] ** 2]))
    small = sm.Logit(label, base).fit(disp=0)
    large = sm.Logit(label, np.column_stack([base, scores[1]])).fit(disp=0)
    ratio = math.copysign(math.sqrt(2 * (large.llf - small.llf)), large.params[-1])

    assert norm.isf(added_value(label, model, control)) == pytest.approx(ratio, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "n_studies"),
    [
        pytest.param({"n": 40}, 300, id="nothing"),
        pytest.param({"n": 40, "control": 0.8, "shared": 0.9}, 300, id="the control's"),
        pytest.param({"n": 200, "control": 0.9, "shared": 0.7}, 2000, marks=pytest.mark.slow, id="many"),
    ],
)
def test_a_model_that_knows_the_control_alone_adds_nothing(settings, n_studies):
    random = np.random.default_rng(7)
    share = np.mean([added_value(*pair(random, **settings)) <= 0.025 for _ in range(n_studies)])

    assert share < 0.025 + 3 * math.sqrt(0.025 * 0.975 / n_studies)


def test_a_signal_of_its_own_is_found_beside_a_control():
    random = np.random.default_rng(8)

    assert np.mean([added_value(*pair(random, control=0.7, model=0.8)) <= 0.025 for _ in range(50)]) > 0.9


def test_a_control_that_parts_the_classes_leaves_nothing_and_a_constant_one_all():
    random = np.random.default_rng(1)
    label = np.arange(40) % 2
    model = label + 0.3 * random.standard_normal(40)

    assert added_value(label, model, [0.1, 0.9] * 20) > 0.3
    assert added_value(label, model, [0.5] * 40) < 0.001


def test_only_strata_of_both_classes_count():
    random = np.random.default_rng(4)
    label, model, control = pair(random, n=60, model=0.75)
    more = np.r_[label, np.ones(20, dtype=int)], np.r_[model, np.full(20, -9.0)], np.r_[control, np.zeros(20)]

    alone = added_value(label, model, control, np.zeros(60, dtype=int))

    assert added_value(*more, np.repeat([0, 1], [60, 20])) == pytest.approx(alone)
    assert math.isnan(added_value([0, 1], [0.1, 0.2], [0.3, 0.4], np.array([0, 1])))


def test_association_is_among_patients_of_one_label():
    random = np.random.default_rng(6)
    label, model, control = pair(random, n=200, control=0.9, model=0.9)

    assert np.corrcoef(model, control)[0, 1] > 0.3  # through the label
    assert association(label, model, control) > 0.05
    assert association(label, *pair(random, n=200, shared=0.5)[1:]) < 0.001
    assert association(label, model, np.ones(200)) == 1


def test_association_is_the_t_test_of_a_regression_with_the_groups():
    label, model, control = pair(np.random.default_rng(3), n=15, control=0.7, model=0.7, shared=0.4)
    scores = [norm.ppf(rankdata(each) / 16) for each in (control, model)]
    fitted = sm.OLS(scores[1], np.column_stack([label == 0, label == 1, scores[0]]).astype(float)).fit()

    assert association(label, model, control) == pytest.approx(student.sf(fitted.tvalues[-1], 15 - 3))


def test_ridge_logistic_regression_is_scikit_learns():
    random = np.random.default_rng(9)
    design, label = random.standard_normal((30, 3)), np.arange(30) % 2
    theirs = LogisticRegression(C=1 / 0.3, fit_intercept=False, tol=1e-10).fit(design, label)

    assert logistic(design, label, np.full(3, 0.3)) == pytest.approx(theirs.coef_[0], abs=1e-6)
