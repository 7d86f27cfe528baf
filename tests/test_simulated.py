"""The simulated studies have the true figures that they claim, as seen in one very large study."""

import numpy as np
import pytest
from simulations import (
    MODEL_CORRELATION,
    SLICE_CORRELATION,
    SLICES,
    binormal,
    clustered,
    paired,
    true_figures,
)
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

MANY = 200_001  # odd, so that the classes differ; the standard error of a share is about 0.001


@pytest.mark.parametrize("methylated_sd", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("true_auc", [0.5, 0.8, 0.95])
def test_binormal_has_its_auc_and_spread(true_auc, methylated_sd):
    label, score = binormal(MANY, true_auc, np.random.default_rng(1), methylated_sd)
    assert roc_auc_score(label, score) == pytest.approx(true_auc, abs=0.005)
    assert score[label == 1].std() / score[label == 0].std() == pytest.approx(methylated_sd, rel=0.02)


def test_true_figures_are_those_of_a_large_study():
    label, score = binormal(MANY, 0.8, np.random.default_rng(2))
    called = score >= 0
    assert true_figures(0.8, MANY) == pytest.approx(
        {
            "auc": roc_auc_score(label, score),
            "accuracy": accuracy_score(label, called),
            "precision": precision_score(label, called),
            "recall": recall_score(label, called),
            "specificity": recall_score(1 - label, ~called),
            "f1": f1_score(label, called),
            "balanced_accuracy": balanced_accuracy_score(label, called),
        },
        abs=0.006,
    )


def test_clustered_slices_go_together_within_a_patient():
    label, score, patient = clustered(MANY // SLICES, 0.8, np.random.default_rng(3))
    assert (np.bincount(patient) == SLICES).all()
    assert roc_auc_score(label, score) == pytest.approx(0.8, abs=0.01)
    methylated = score[label == 1].reshape(-1, SLICES)
    assert np.corrcoef(methylated[:, 0], methylated[:, 1])[0, 1] == pytest.approx(SLICE_CORRELATION, abs=0.02)


def test_paired_models_have_their_aucs_and_go_together():
    label, first, second = paired(MANY, 0.8, 0.6, np.random.default_rng(4))
    assert roc_auc_score(label, first) == pytest.approx(0.8, abs=0.005)
    assert roc_auc_score(label, second) == pytest.approx(0.6, abs=0.005)
    found = np.corrcoef(first[label == 0], second[label == 0])[0, 1]
    assert found == pytest.approx(MODEL_CORRELATION, abs=0.02)
