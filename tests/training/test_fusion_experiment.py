"""What each modality is worth to a fusion whose answers are known by hand."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad
from sklearn.metrics import roc_auc_score

from mgmt_monai.networks.fusion import FusionClassifier
from mgmt_monai.slices.patients import PatientDataset
from mgmt_monai.training.fusion_experiment import modality_shares

NAMES = ("T1w", "FLAIR")


class Known(FusionClassifier):
    """Whose features are a picture's first pixel, and whose logit is the sum of T1w's: FLAIR tells nothing."""

    def slice_features(self, images, modality):
        return torch.stack([images[:, 0, 0, 0] * (modality == 0)] * self.n_features, dim=1)


@pytest.fixture
def fusion() -> Known:
    made = Known("alexnet", NAMES).eval()
    mean, variance = torch.zeros(made.n_features), torch.ones(made.n_features)
    weight = torch.full((made.n_features,), 1 / made.n_features, dtype=torch.float64)
    made.answer_linearly(weight, 0.0, mean, variance, torch.randn(50, made.n_features))
    return made


def patients(values: dict[str, tuple[float, bool]]) -> PatientDataset:
    """By patient the T1w picture's value, and whether there is a FLAIR."""
    chain = Compose([Lambdad(keys="image", func=lambda value: torch.full((2, 4, 4), float(value)))])
    data = [
        {"image": {"T1w": value, **({"FLAIR": 0.0} if flair else {})}, "label": 0, "patient_id": name}
        for name, (value, flair) in values.items()
    ]
    return PatientDataset(data, chain, NAMES)


def test_modality_that_tells_all_and_one_that_tells_nothing(fusion):
    random = np.random.default_rng(0)
    labels = {f"p{n}": n % 2 for n in range(40)}
    told = {name: (label + random.normal(0, 0.8), True) for name, label in labels.items()}

    found = modality_shares(fusion, patients(told), labels, seed=1)

    whole = roc_auc_score(list(labels.values()), [value for value, _ in told.values()])
    assert found["T1w"]["auc_falls_when_shuffled"] == pytest.approx(whole - 0.5, abs=0.03)
    assert found["T1w"]["auc_falls_without"] == pytest.approx(whole - 0.5)  # the same for everybody
    assert found["FLAIR"]["auc_falls_when_shuffled"] == pytest.approx(0.0, abs=1e-9)
    assert found["FLAIR"]["auc_falls_without"] == pytest.approx(0.0, abs=1e-9)


def test_who_lacks_a_modality_is_counted_and_judged_by_the_others(fusion):
    labels = {"a": 0, "b": 1, "c": 0, "d": 1}
    found = modality_shares(fusion, patients({"a": (0, True), "b": (1, False), "c": (0.2, False), "d": (2, True)}),
                            labels, seed=0)  # fmt: skip

    assert [found[name]["missing"] for name in NAMES] == [0, 2]
    assert found["T1w"]["auc_falls_without"] == pytest.approx(0.5)  # of a and d, whom FLAIR alone is left of
    one_class = modality_shares(fusion, patients({"a": (0, True), "c": (1, True)}), labels, seed=0)
    assert one_class["T1w"]["auc_falls_when_shuffled"] is None
