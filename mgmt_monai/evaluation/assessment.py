"""Everything that is said of one model's predictions for patients it has not seen, ready for JSON."""

from typing import Any

import pandas as pd

from mgmt_monai.evaluation import discrimination
from mgmt_monai.evaluation.balanced_accuracy import balanced_accuracy_interval
from mgmt_monai.evaluation.bootstrap import patient_auc_interval
from mgmt_monai.evaluation.calibration import calibrate
from mgmt_monai.evaluation.decision_curve import net_benefit
from mgmt_monai.evaluation.delong import auc_estimate
from mgmt_monai.evaluation.folds import fold_widen, widened
from mgmt_monai.evaluation.intervals import (
    Estimate,
    as_json,
    ends,
    number_or_none,
    wider_level,
)
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.summary import patient_figures, report


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
            ``probability``, ``threshold`` (each patient's own, chosen without the patient), ``fold``: with several,
            standard errors are taken :data:`~mgmt_monai.evaluation.folds.FOLDS_WIDEN` times as large.
        level: Of the intervals, between 0 and 1.
        n_resamples: Of the patients, for the bootstrap interval of the AUC.
        n_permutations: Of the labels, for the p-value.
        seed: Of both.

    Returns:
        ``n``, ``n_methylated``, ``level``; as ``{"value", "low", "high", "n"}``: ``auc`` (DeLong on the logit scale),
        ``auc_bootstrap``, ``accuracy``, ``sensitivity``, ``specificity``, ``precision``, ``recall``, ``f1``,
        ``balanced_accuracy``, ``calibration_slope``, ``calibration_intercept``, ``calibration_in_the_large``,
        ``net_benefit``; as numbers: ``threshold`` (the mean over the patients), ``brier``, ``brier_of_prevalence``,
        ``log_loss``, ``ece``, ``permutation_p``; as ``[low, high]``: ``brier_interval``, ``log_loss_interval``,
        ``ece_interval``; ``classification_report``, text. Undefined: ``None``.

    Raises:
        EvaluationError: A label is not 0 or 1, a probability is not finite, or ``level`` is not between 0 and 1.
    """
    label, probability = pooled["label"].to_numpy(), pooled["probability"].to_numpy()
    asked, widen = level, fold_widen(pooled["fold"])
    level = wider_level(level, widen)
    # Each patient has a threshold of its own where folds are pooled; the sign of the difference is exact.
    margin = probability - pooled["threshold"].to_numpy()
    figures = patient_figures(label, margin, level, 0.0)
    table = discrimination.counts(label, margin, 0.0)
    tp, tn = table.true_positive, table.true_negative
    methylated, unmethylated = tp + table.false_negative, tn + table.false_positive
    recall, specificity = discrimination.recall(table), discrimination.specificity(table)
    balanced = balanced_accuracy_interval(tp, methylated, tn, unmethylated, level)
    whole = auc_estimate(label, probability, level)
    bootstrap = patient_auc_interval(label, probability, level, n_resamples, seed)
    found = calibrate(label, probability, level, seed)
    p_value = permutation_test(label, probability, n_permutations, seed).p_value
    return {
        "n": whole.n,
        "n_methylated": methylated,
        "level": asked,
        "auc": as_json(whole),
        "auc_bootstrap": as_json(Estimate(whole.value, *bootstrap, whole.n)),
        "accuracy": figures["accuracy"],
        "sensitivity": figures["recall"],
        "specificity": figures["specificity"],
        "precision": figures["precision"],
        "recall": figures["recall"],
        "f1": figures["f1"],
        "balanced_accuracy": as_json(Estimate((recall + specificity) / 2, *balanced, whole.n)),
        "threshold": float(pooled["threshold"].mean()),
        "net_benefit": as_json(net_benefit(label, margin >= 0, float(pooled["threshold"].mean()), level)),
        "brier": found.brier.value,
        "brier_of_prevalence": number_or_none(found.brier_of_prevalence),
        "log_loss": found.log_loss.value,
        "ece": found.ece.value,
        **{f"{name}_interval": ends(getattr(found, name)) for name in ("brier", "log_loss", "ece")},
        "calibration_slope": as_json(found.slope),
        "calibration_intercept": as_json(found.intercept),
        "calibration_in_the_large": as_json(found.in_the_large),
        "permutation_p": number_or_none(widened(p_value, widen)),
        "classification_report": report(label, margin, 0.0),
    }
