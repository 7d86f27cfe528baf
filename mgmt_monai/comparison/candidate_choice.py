"""Which candidate a comparison goes on with: chosen on validation patients alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from sklearn.metrics import log_loss

from mgmt_monai.comparison.plan import Candidate, ComparisonPlan
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.training.plain_model import PLAIN


@dataclass(frozen=True)
class Choice:
    """The candidate that was chosen."""

    candidate: Candidate
    validation_auc: float
    n_compared: int


def all_candidates(predictions: Mapping[str, pd.DataFrame], plan: ComparisonPlan) -> tuple[Candidate, ...]:
    """The plan's candidates, then a plain model a modality, where every training of it could fit one.

    ``predictions``: patient table by network.
    """
    plain = [Candidate(plan.reference_network, modality, PLAIN) for modality in plan.modalities]
    return *plan.candidates, *(each for each in plain if len(_models(predictions, each)) == plan.n_models)


def validation_figures(predictions: Mapping[str, pd.DataFrame], candidate: Candidate) -> tuple[float, float]:
    """AUC and log-loss of a candidate on validation patients, each the mean over its models (folds, seeds).

    The AUC is ``nan`` where no model has both classes.
    """
    models = _models(predictions, candidate)
    aucs = pd.Series([auc(model["label"], model["probability"]) for model in models], dtype=float)
    losses = pd.Series([log_loss(model["label"], model["probability"], labels=[0, 1]) for model in models], dtype=float)
    return float(aucs.mean()), float(losses.mean())


def choose(predictions: Mapping[str, pd.DataFrame], plan: ComparisonPlan) -> Choice:
    """The candidate with the highest validation AUC; among equals the one with the lowest validation log-loss.

    ``predictions``: patient table by network; its test rows are not looked at.
    """
    candidates = all_candidates(predictions, plan)
    found = {candidate: validation_figures(predictions, candidate) for candidate in candidates}

    def rank(candidate: Candidate) -> tuple[float, float]:
        value, loss = found[candidate]
        return (-math.inf if math.isnan(value) else value, -loss)

    best = max(candidates, key=rank)
    return Choice(best, found[best][0], len(candidates))


def _models(predictions: Mapping[str, pd.DataFrame], candidate: Candidate) -> list[pd.DataFrame]:
    """The validation rows of each model, by fold and seed."""
    table = predictions[candidate.network]
    of = (table["modality"] == candidate.modality) & (table["stage"] == candidate.stage)
    return [model for _, model in table[of & (table["split"] == "validation")].groupby(["fold", "seed"])]
