"""Every figure of one model, against scikit-learn, scipy and statsmodels."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from mgmt_monai.evaluation.assessment import assess
from mgmt_monai.evaluation.intervals import estimate_text


@pytest.fixture(scope="module")
def pooled():
    random = np.random.default_rng(4)
    label = (np.arange(60) % 3 == 0).astype(int)
    probability = np.clip(0.4 + 0.2 * label + 0.2 * random.standard_normal(60), 0.01, 0.99)
    threshold = np.where(np.arange(60) < 30, 0.5, 0.6)
    return pd.DataFrame(
        {
            "patient_id": [f"p{number:02}" for number in range(60)],
            "label": label,
            "probability": probability,
            "threshold": threshold,
            "n_models": 1,
            "fold": 0,
        }
    )


@pytest.fixture(scope="module")
def figures(pooled):
    return assess(pooled, n_resamples=200, n_permutations=500)


def test_figures_at_each_patients_own_threshold_are_scikit_learns(pooled, figures):
    label, called = pooled["label"], (pooled["probability"] >= pooled["threshold"]).astype(int)

    expected = {
        "accuracy": metrics.accuracy_score(label, called),
        "sensitivity": metrics.recall_score(label, called),
        "recall": metrics.recall_score(label, called),
        "specificity": metrics.recall_score(label, called, pos_label=0),
        "precision": metrics.precision_score(label, called),
        "f1": metrics.f1_score(label, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, called),
    }

    assert {name: figures[name]["value"] for name in expected} == pytest.approx(expected)
    assert figures["threshold"] == pytest.approx(0.55)


def test_accuracy_has_wilsons_interval(pooled, figures):
    right = int(((pooled["probability"] >= pooled["threshold"]) == pooled["label"]).sum())

    low, high = proportion_confint(right, 60, method="wilson")

    assert (figures["accuracy"]["low"], figures["accuracy"]["high"]) == pytest.approx((low, high))


def test_probabilities_are_scored_as_scikit_learn_does(pooled, figures):
    label, probability = pooled["label"], pooled["probability"]

    assert figures["auc"]["value"] == pytest.approx(metrics.roc_auc_score(label, probability))
    assert figures["brier"] == pytest.approx(metrics.brier_score_loss(label, probability))
    assert figures["log_loss"] == pytest.approx(metrics.log_loss(label, probability))
    assert figures["brier_of_prevalence"] == pytest.approx(1 / 3 * 2 / 3)


def test_json_takes_the_figures_as_they_are(figures):
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert (figures["n"], figures["n_methylated"]) == (60, 20)


def test_one_class_leaves_undefined_figures_empty(pooled):
    found = assess(pooled[pooled["label"] == 1], n_resamples=10, n_permutations=10)

    assert found["auc"] == {"value": None, "low": None, "high": None, "n": 20}
    assert found["specificity"]["value"] is None
    assert found["recall"]["value"] is not None


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        ({"value": None, "low": None, "high": None, "n": 3}, "undefined"),
        ({"value": 0.5, "low": None, "high": None, "n": 3}, "0.50 (no interval)"),
        ({"value": 0.625, "low": 0.5, "high": 0.749, "n": 3}, "0.62 (0.50-0.75)"),
    ],
)
def test_estimate_as_text(estimate, text):
    assert estimate_text(estimate) == text
