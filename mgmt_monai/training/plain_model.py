"""The plain model beside a training: a logistic regression on the patients' mean frozen features."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mgmt_monai.networks import MGMTClassifier, WeightsReport
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.frozen_features import features_of, network_key
from mgmt_monai.slices import SliceDataset
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.stage import save_state

logger = logging.getLogger(__name__)

PLAIN = "plain"
"""Stands in the predictions tables where a stage would."""

STRENGTHS = tuple(10.0**power for power in (-6, -5, -4, -3, -2.5, -2))
"""Inverse strengths of the penalty, scikit-learn's ``C``, that are tried: with a thousand standardised features the
first leaves hardly more than the prevalence. Larger ones than the last rank new patients no better and are too sure."""

ROUNDING = 1e-5
"""Of the largest feature: a spread below it is what rounding leaves."""

N_FOLDS = 5
"""Of the cross-validation inside the training patients; fewer where a class has fewer patients."""


@dataclass(eq=False)
class PlainModel:
    """Fits it on the training patients, and makes it the network's head: scored and exported as any stage is.

    Args:
        network: With its weights loaded, and not trained yet.
        weights: What was loaded into it. Features of random weights, which no other training has, are not stored.
        slices: Of the training; they are read without augmentation.
        batch_size: Slices at a time.
        image_size: Height and width of a slice.
        seed: Of the folds.
    """

    network: MGMTClassifier
    weights: WeightsReport
    slices: SliceDataset
    batch_size: int
    image_size: int
    seed: int

    def run(self, checkpoint: Path) -> bool:
        """Fit it, give the network a head that answers it, and keep that.

        Args:
            checkpoint: Of the stage `PLAIN`.

        Returns:
            Whether it could be fitted. If not, a warning says why, and the network is as it was: the training is not
            lost for that.

        Raises:
            OSError: The checkpoint cannot be written.
        """
        self.network.eval()
        compute = partial(features_of, self.network, batch_size=self.batch_size)
        key = network_key(self.network, self.image_size) if self.weights.pretrained else ""
        try:
            means, n, total, squares = [], 0, torch.zeros(()), torch.zeros(())
            for features in (of_series.double() for of_series in self.slices.features(key, compute)):
                means.append(features.mean(dim=0))
                n, total, squares = n + len(features), total + features.sum(dim=0), squares + features.square().sum(0)
            examples, mean = torch.stack(means), total / n
            # As the network was told: those of a negative control may be permuted.
            told = np.array([item["label"] for item in self.slices.data])
            model = fit_logistic(examples.numpy(), told, self.seed)
            variance = (squares / n - mean.square()).clamp(min=0)
            self.network.answer_linearly(*linear(model), mean, variance, examples)
        except (TrainingError, SlicesError, NetworkError) as error:
            logger.warning(f"no plain model on the same features: {error}")
            return False
        checkpoint.parent.mkdir(exist_ok=True)
        save_state(self.network.state_dict(), checkpoint)
        return True


def linear(model: Pipeline) -> tuple[torch.Tensor, float]:
    """The weight of each feature, ``(D,)`` float64, and what is added.

    Args:
        model: As `fit_logistic` returns it: masking, standardising and logistic regression, all of them linear.
    """
    (mask, scaler, regression), n = model, model.n_features_in_
    weight = mask.transform(np.ones((1, n)))[0] * regression.coef_[0] / scaler.scale_
    return torch.from_numpy(weight), float(model.decision_function(np.zeros((1, n)))[0])


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
