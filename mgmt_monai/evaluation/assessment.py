"""Everything that is said of one model's predictions for patients it has not seen, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mgmt_monai.evaluation import discrimination
from mgmt_monai.evaluation.bootstrap import patient_auc_interval
from mgmt_monai.evaluation.calibration import calibrate
from mgmt_monai.evaluation.delong import auc_interval
from mgmt_monai.evaluation.intervals import (
    Estimate,
    Interval,
    balanced_accuracy_interval,
    f1_interval,
    wilson_interval,
)
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.sample_size import patients_needed
from mgmt_monai.evaluation.summary import report


def assess(
    pooled: pd.DataFrame,
    level: float = 0.95,
    n_resamples: int = 2000,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of one model at patient level.

    Args:
        pooled: One row a patient, as :func:`mgmt_monai.evaluation.pooling.pool` returns it: ``label``,
            ``probability``, ``threshold`` (each patient's own, chosen without the patient).
        level: Of the intervals, between 0 and 1.
        n_resamples: Of the patients, for the bootstrap interval of the AUC.
        n_permutations: Of the labels, for the p-value.
        seed: Of both.

    Returns:
        ``n``, ``n_methylated``, ``level``; as ``{"value", "low", "high", "n"}``: ``auc`` (DeLong on the logit scale),
        ``auc_bootstrap``, ``accuracy``, ``sensitivity``, ``specificity``, ``precision``, ``recall``, ``f1``,
        ``balanced_accuracy``, ``calibration_slope``, ``calibration_intercept``, ``calibration_in_the_large``; as
        numbers: ``threshold`` (the mean over the patients), ``brier``, ``brier_of_prevalence``, ``log_loss``,
        ``ece``, ``permutation_p``, ``patients_needed``; ``classification_report``, text. Undefined: ``None``.

    Raises:
        EvaluationError: A label is not 0 or 1, a probability is not finite, or ``level`` is not between 0 and 1.
    """
    label, probability = pooled["label"].to_numpy(), pooled["probability"].to_numpy()
    # Each patient has a threshold of its own where folds are pooled; the sign of the difference is exact.
    margin = probability - pooled["threshold"].to_numpy()
    table = discrimination.counts(label, margin, 0.0)
    tp, fp, fn, tn = table.true_positive, table.false_positive, table.false_negative, table.true_negative
    methylated, unmethylated, n = tp + fn, tn + fp, len(label)
    auc = discrimination.auc(label, probability)
    recall, specificity = discrimination.recall(table), discrimination.specificity(table)
    found = calibrate(label, probability, level)
    needed = math.nan if math.isnan(auc) else patients_needed(auc, methylated_share=methylated / n)
    return {
        "n": n,
        "n_methylated": methylated,
        "level": level,
        "auc": _estimate(auc, auc_interval(label, probability, level), n),
        "auc_bootstrap": _estimate(auc, patient_auc_interval(label, probability, level, n_resamples, seed), n),
        "accuracy": _estimate(discrimination.accuracy(table), wilson_interval(tp + tn, n, level), n),
        "sensitivity": _estimate(recall, wilson_interval(tp, methylated, level), methylated),
        "specificity": _estimate(specificity, wilson_interval(tn, unmethylated, level), unmethylated),
        "precision": _estimate(discrimination.precision(table), wilson_interval(tp, tp + fp, level), tp + fp),
        "recall": _estimate(recall, wilson_interval(tp, methylated, level), methylated),
        "f1": _estimate(discrimination.f1(table), f1_interval(tp, fp + fn, level), n),
        "balanced_accuracy": _estimate(
            (recall + specificity) / 2, balanced_accuracy_interval(tp, methylated, tn, unmethylated, level), n
        ),
        "threshold": float(pooled["threshold"].mean()),
        "brier": number_or_none(found.brier),
        "brier_of_prevalence": number_or_none(found.brier_of_prevalence),
        "log_loss": number_or_none(found.log_loss),
        "ece": number_or_none(found.ece),
        "calibration_slope": as_json(found.slope),
        "calibration_intercept": as_json(found.intercept),
        "calibration_in_the_large": as_json(found.in_the_large),
        "permutation_p": number_or_none(permutation_test(label, probability, n_permutations, seed).p_value),
        "patients_needed": None if math.isnan(needed) else int(needed),
        "classification_report": report(label, margin, 0.0),
    }


def as_json(estimate: Estimate) -> dict[str, float | int | None]:
    """An estimate as JSON has it.

    Args:
        estimate: ``nan`` where undefined.

    Returns:
        ``value``, ``low``, ``high`` (``None`` where undefined) and ``n``.
    """
    return {
        **{name: number_or_none(getattr(estimate, name)) for name in ("value", "low", "high")},
        "n": int(estimate.n),
    }


def estimate_text(estimate: Mapping[str, float | int | None]) -> str:
    """An estimate as a line of text has it.

    Args:
        estimate: As `as_json` returns it.

    Example:
        >>> estimate_text({"value": 0.62, "low": 0.48, "high": 0.743, "n": 58})
        '0.62 (0.48-0.74)'
    """
    if estimate["value"] is None:
        return "undefined"
    if estimate["low"] is None:
        return f"{estimate['value']:.2f} (no interval)"
    return f"{estimate['value']:.2f} ({estimate['low']:.2f}-{estimate['high']:.2f})"


def _estimate(value: float, interval: Interval, n: int) -> dict[str, float | int | None]:
    return as_json(Estimate(value, interval.low, interval.high, n))


def number_or_none(value: float) -> float | None:
    """A figure as JSON has it: ``None`` where it is ``nan``."""
    return None if math.isnan(value) else float(value)
