"""A bundle's model on other patients than its own: beside its development, before and after recalibration."""

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from mgmt_monai.evaluation.added_value import logistic
from mgmt_monai.evaluation.calibration import CLIP, Calibration, calibrate, checked_probabilities
from mgmt_monai.evaluation.delong import auc_estimate
from mgmt_monai.evaluation.intervals import LEAST_IN_CLASS, Estimate, as_json, ends
from mgmt_monai.evaluation.permutation import dealt_folds
from mgmt_monai.json_file import JsonFileError, read_json

logger = logging.getLogger(__name__)

N_FOLDS, N_REPEATS = 5, 20
"""Of the recalibration: a patient's probability is recalibrated on the patients of other folds."""


def developments(paths: Iterable[Path], rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """What bundles say of their own test patients, where the results of ``predict --batch`` lie beside its table.

    Args:
        paths: Of the tables.
        rows: Of each model, as :func:`mgmt_monai.evaluation.model_rows.read_rows` returns them: those of a bundle have
            a column ``bundle``.

    Returns:
        For each model of a bundle ``n``, ``n_methylated``, ``auc``, ..., as its result's ``evaluation``; empty where no
        result is found. Other models are left out.
    """
    told: dict[tuple[str, str], dict[str, Any]] = {}
    asked = {
        name: (str(of["bundle"].iloc[0]), str(of["modality"].iloc[0])) for name, of in rows.items() if "bundle" in of
    }
    for path in {path.parent: path for path in paths}.values() if asked else ():
        for result in sorted(path.parent.glob("*/prediction.json")):
            if {*asked.values()} <= told.keys():
                break
            try:
                series = read_json(result, "mgmt_monai.inference", "prediction.schema.json")["series"]
            except JsonFileError as error:
                logger.warning(f"{result}: expected a study's result, found another: it is not asked ({error})")
                continue
            for one in series:
                told.setdefault((one["bundle"], one["modality"]), one["evaluation"])
    return {name: told.get(key, {}) for name, key in asked.items()}


def external(
    label: ArrayLike, probability: ArrayLike, development: Mapping[str, Any], level: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """What an external validation says beside the usual figures.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, in [0, 1].
        development: Of the model, as `developments` returns it.
        level: Of the intervals.
        seed: Of the folds.

    Returns:
        ``development`` (``n``, ``n_methylated``, ``auc``; None unknown), ``difference`` (this AUC minus that one, its
        interval by square and add, for their patients are others); ``prevalence``; ``auc_if_right``, that such
        probabilities would have if they were right: how easily such patients are told apart, the case mix;
        ``recalibrated``, None with under `N_FOLDS` patients of a label: ``slope``, ``intercept``, ``brier`` and
        ``brier_interval`` after a logistic recalibration out of fold (the mean of `N_REPEATS` times `N_FOLDS` folds).

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not in [0, 1].

    Source:
        Van Klaveren D et al. Stat Med 2016;35:4136-4152 (the model-based c); Debray TPA et al. J Clin Epidemiol
        2015;68:279-289 (case mix); Steyerberg EW et al. Stat Med 2004;23:2567-2586 (recalibration); Newcombe RG. Stat
        Med 1998;17:873-890 (square and add).
    """
    y, p = checked_probabilities(label, probability)
    own, auc = auc_estimate(y, p, level), development.get("auc") or {}
    known = development if None not in (auc.get("value"), auc.get("low"), auc.get("high")) and auc else {}
    difference = None
    if known and not math.isnan(own.low):
        value = own.value - auc["value"]
        low = value - math.hypot(own.value - own.low, auc["high"] - auc["value"])
        high = value + math.hypot(own.high - own.value, auc["value"] - auc["low"])
        difference = as_json(Estimate(value, low, high, own.n))
    after = _recalibrated(y, p, level, seed)
    return {
        "development": {key: known.get(key) for key in ("n", "n_methylated", "auc")} if known else None,
        "difference": difference,
        "prevalence": float(y.mean()),
        "auc_if_right": _auc_if_right(p),
        "recalibrated": after and {
            "slope": as_json(after.slope), "intercept": as_json(after.intercept),
            "brier": after.brier.value, "brier_interval": ends(after.brier),
        },
    }  # fmt: skip


def _recalibrated(label: np.ndarray, probability: np.ndarray, level: float, seed: int) -> Calibration | None:
    if min(label.sum(), len(label) - label.sum()) < max(N_FOLDS, LEAST_IN_CLASS):
        return None
    logits = logit(np.clip(probability, CLIP, 1 - CLIP))
    design = np.column_stack([np.ones(len(label)), logits])
    random, mean = np.random.default_rng(seed), np.zeros(len(label))
    for _ in range(N_REPEATS):
        fold = dealt_folds(label, N_FOLDS, random)
        for number in range(N_FOLDS):
            test = fold == number
            mean[test] += expit(design[test] @ logistic(design[~test], label[~test], np.repeat(1e-6, 2))) / N_REPEATS
    return calibrate(label, mean.clip(0, 1), level, seed)  # a sum of rounded numbers may be above 1


def _auc_if_right(probability: np.ndarray) -> float | None:
    """The share of pairs in order, of labels drawn from the probabilities; None of fewer than two patients."""
    p = np.sort(probability)
    both = p.sum() * (1 - p).sum() - (p * (1 - p)).sum()
    if not both > 0:
        return None
    below = np.cumsum(1 - p) - (1 - p)  # of the unmethylated below each; equal ones count half
    value, first, n = np.unique(p, return_index=True, return_counts=True)
    tied = value * (1 - value) * n * (n - 1) / 2
    lower = np.repeat(below[first], n)
    return float(((p * lower).sum() + tied.sum()) / both)
