"""The plain model beside a training: a logistic regression on the patients' mean frozen features."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS
from mgmt_monai.networks import MGMTClassifier, WeightsReport
from mgmt_monai.networks.frozen_features import features_of, network_key
from mgmt_monai.slices import SliceDataset
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.stage import StageProgress, load_network

logger = logging.getLogger(__name__)

PLAIN = "plain"
"""Stands in the predictions tables where a stage would."""

STRENGTHS = tuple(10.0**power for power in range(-6, 1))
"""Inverse strengths of the penalty, scikit-learn's ``C``, that are tried: with a thousand standardised features the
first leaves hardly more than the prevalence, and the last can learn some hundred patients by heart."""

ROUNDING = 1e-5
"""Of the largest feature: a spread below it is what rounding leaves, which in blank images tells how many slices were
averaged."""

N_FOLDS = 5
"""Of the cross-validation inside the training patients; fewer where a class has fewer patients."""


@dataclass(eq=False)
class PlainModel:
    """Fits it on the training patients, and has it say something of the others.

    Args:
        network: Takes the first stage's best checkpoint, whose backbone is as it was loaded.
        weights: What was loaded into it. Features of random weights, which no other training has, are not stored.
        datasets: Slices of ``train``, ``validation`` and ``test``; they are read without augmentation.
        batch_size: Slices at a time.
        image_size: Height and width of a slice.
        seed: Of the folds.
    """

    network: MGMTClassifier
    weights: WeightsReport
    datasets: Mapping[str, SliceDataset]
    batch_size: int
    image_size: int
    seed: int

    def run(self, first: StageProgress, cohort: ModalityCohort) -> pd.DataFrame:
        """Its probabilities of validation and test patients.

        Args:
            first: The first stage.
            cohort: Whose patients they are.

        Returns:
            A patient table of the stage `PLAIN`; empty, with a warning, where it cannot be fitted or the features
            cannot be computed. The training is not lost for that.
        """
        load_network(self.network, first.best_checkpoint)
        self.network.eval()
        try:
            features = {split: self._means(slices) for split, slices in self.datasets.items()}
            # As the network was told: those of a negative control may be permuted.
            told = np.array([item["label"] for item in self.datasets["train"].data])
            model = fit_logistic(features.pop("train"), told, self.seed)
        except (TrainingError, SlicesError) as error:
            logger.warning(f"no plain model on the same features: {error}")
            return pd.DataFrame(columns=list(PATIENT_COLUMNS))
        labels = {patient.patient_id: patient.label for patient in cohort.manifest.patients}
        rows = [
            {
                "patient_id": patient_id,
                "modality": cohort.modality,
                "stage": PLAIN,
                "split": split,
                "fold": cohort.fold_number,
                "seed": self.seed,
                "label": labels[patient_id],
                "probability": probability,
                "n_slices": n_slices,
            }
            for split, means in features.items()
            for patient_id, n_slices, probability in zip(
                self.datasets[split].patient_ids,
                self.datasets[split].slice_counts,
                model.predict_proba(means)[:, 1].tolist(),
                strict=True,
            )
        ]
        return pd.DataFrame(rows, columns=list(PATIENT_COLUMNS))

    def _means(self, slices: SliceDataset) -> np.ndarray:
        """Mean features of each series, ``(series, D)`` float64."""
        compute = partial(features_of, self.network, batch_size=self.batch_size)
        key = network_key(self.network, self.image_size) if self.weights.pretrained else ""
        each = slices.features(key, compute)
        return np.stack([features.double().mean(dim=0).numpy() for features in each])


def fit_logistic(features: np.ndarray, labels: np.ndarray, seed: int) -> Pipeline:
    """A logistic regression on standardised features, whose ridge penalty is chosen by cross-validated log-loss.

    Args:
        features: ``(patients, D)``.
        labels: ``(patients,)``, 0 or 1.
        seed: Of the folds.

    Returns:
        scikit-learn's ``StandardScaler`` and ``LogisticRegression``, fitted to all of them; features that do not vary
        count as 0.

    Raises:
        TrainingError: A class has fewer than two patients, or a feature is not finite.
    """
    counts = np.bincount(labels, minlength=2)
    if counts.min() < 2:
        raise TrainingError(
            "expected 2 training patients or more of each class, found "
            f"{counts[0]} unmethylated and {counts[1]} methylated. Train on more patients."
        )
    if not np.isfinite(features).all():
        raise TrainingError("expected finite features, found others. Check the network's weights.")
    folds = StratifiedKFold(min(N_FOLDS, counts.min()), shuffle=True, random_state=seed)
    varies = features.std(axis=0) > ROUNDING * np.abs(features).max()
    model = make_pipeline(
        FunctionTransformer(partial(np.multiply, varies)), StandardScaler(), LogisticRegression(max_iter=1000)
    )
    grid = {"logisticregression__C": STRENGTHS}
    fitted: Pipeline = GridSearchCV(model, grid, scoring="neg_log_loss", cv=folds).fit(features, labels).best_estimator_
    logger.info(f"plain model: C = {fitted[-1].C:g} of {STRENGTHS[0]:g} to {STRENGTHS[-1]:g}")
    return fitted
