import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.metrics import EpochFigure

RANDOM = np.random.default_rng(0)
PATIENTS = np.repeat(np.arange(12), RANDOM.integers(1, 6, 12))
LABELS = (PATIENTS % 2).astype(float)
LOGITS = RANDOM.normal(LABELS, 1.5)
PROBABILITIES = 1 / (1 + np.exp(-LOGITS))


def by_patient(values: np.ndarray) -> np.ndarray:
    return np.array([values[patient == PATIENTS].mean() for patient in range(12)])


def figure(name: str, weigh: str = "slice") -> float:
    metric = EpochFigure(name, weigh)
    for part in np.array_split(np.arange(len(LOGITS)), 3):  # three batches
        column = [torch.as_tensor(values[part]).reshape(-1, 1) for values in (LOGITS, LABELS)]
        metric.update((*column, torch.as_tensor(PATIENTS[part])))
    return metric.compute()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loss", log_loss(LABELS, PROBABILITIES)),
        ("accuracy", accuracy_score(LABELS, PROBABILITIES >= 0.5)),
        ("auc", roc_auc_score(LABELS, PROBABILITIES)),
        ("patient_auc", roc_auc_score(by_patient(LABELS), by_patient(PROBABILITIES))),
        ("patient_log_loss", log_loss(by_patient(LABELS), by_patient(PROBABILITIES))),
    ],
)
def test_figure_over_batches_equals_scikit_learns(name, expected):
    assert figure(name) == pytest.approx(expected, rel=1e-6)


def test_loss_by_patient_is_the_mean_of_the_patients_own():
    losses = -np.log(np.where(LABELS == 1, PROBABILITIES, 1 - PROBABILITIES))
    assert figure("loss", "patient") == pytest.approx(by_patient(losses).mean(), rel=1e-6)
    weights = 1 / np.bincount(PATIENTS)[PATIENTS]
    assert figure("loss", "patient") == pytest.approx(log_loss(LABELS, PROBABILITIES, sample_weight=weights), rel=1e-6)
    assert figure("accuracy", "patient") == figure("accuracy")


@pytest.mark.parametrize("label", [0, 1])
def test_where_a_class_is_missing_the_loss_stands_and_an_auc_is_undefined(label):
    logits, patients = torch.tensor([-2.0, 0.5, 3.0]), torch.tensor([0, 0, 1])
    sign = 1 if label else -1
    losses = np.log1p(np.exp(-sign * logits.double().numpy()))  # of the one class: ln(1 + exp(-+ logit))
    expected = {("loss", "slice"): losses.mean(), ("loss", "patient"): (losses[:2].mean() + losses[2]) / 2}
    for (name, weigh), value in {**expected, ("auc", "slice"): np.nan, ("patient_auc", "slice"): np.nan}.items():
        metric = EpochFigure(name, weigh)
        metric.update((logits.reshape(-1, 1), torch.full((3, 1), float(label)), patients))
        assert metric.compute() == pytest.approx(value, rel=1e-6, nan_ok=True)


def test_reset_forgets_the_last_epoch():
    metric = EpochFigure("accuracy")
    metric.update((torch.tensor([[1.0]]), torch.tensor([[0.0]]), torch.tensor([0])))
    metric.reset()
    metric.update((torch.tensor([[1.0]]), torch.tensor([[1.0]]), torch.tensor([0])))
    assert metric.compute() == 1.0


def test_output_that_is_not_finite_is_refused():
    metric = EpochFigure("loss")
    metric.update((torch.tensor([[float("nan")]]), torch.tensor([[1.0]]), torch.tensor([0])))
    with pytest.raises(TrainingError, match="diverged"):
        metric.compute()
