"""Which candidate a comparison goes on with: chosen on validation patients alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from sklearn.metrics import log_loss

from mgmt_monai.comparison.plan import Candidate, ComparisonPlan
from mgmt_monai.evaluation.discrimination import auc

LAST_STAGE = "fine_tune"
"""The stage whose network is the result of a training."""


@dataclass(frozen=True)
class Choice:
    """The candidate that was chosen."""

    candidate: Candidate
    validation_auc: float
    n_compared: int


def validation_figures(
    predictions: Mapping[str, pd.DataFrame], candidate: Candidate, stage: str = LAST_STAGE
) -> tuple[float, float]:
    """AUC and log-loss of a candidate on validation patients, each the mean over its models (folds, seeds).

    Returns:
        AUC (``nan`` where no model has both classes) and log-loss.
    """
    table = predictions[candidate.network]
    chosen = table[
        (table["modality"] == candidate.modality) & (table["stage"] == stage) & (table["split"] == "validation")
    ]
    models = [model for _, model in chosen.groupby(["fold", "seed"])]
    aucs = pd.Series([auc(model["label"], model["probability"]) for model in models], dtype=float)
    losses = pd.Series([log_loss(model["label"], model["probability"], labels=[0, 1]) for model in models], dtype=float)
    return float(aucs.mean()), float(losses.mean())


def choose(predictions: Mapping[str, pd.DataFrame], plan: ComparisonPlan) -> Choice:
    """The candidate with the highest validation AUC; among equals the one with the lowest validation log-loss.

    Args:
        predictions: Patient table by network; its test rows are not looked at.
        plan: Whose candidates they are.
    """
    found = {candidate: validation_figures(predictions, candidate) for candidate in plan.candidates}

    def rank(candidate: Candidate) -> tuple[float, float]:
        value, loss = found[candidate]
        return (-math.inf if math.isnan(value) else value, -loss)

    best = max(plan.candidates, key=rank)
    return Choice(best, found[best][0], len(plan.candidates))
