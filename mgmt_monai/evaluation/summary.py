"""Every figure of one model at patient and slice level, with its interval, ready for JSON."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from mgmt_monai.evaluation import discrimination
from mgmt_monai.evaluation.bootstrap import FIGURES, slice_intervals
from mgmt_monai.evaluation.delong import auc_interval
from mgmt_monai.evaluation.discrimination import CLASS_NAMES, Counts
from mgmt_monai.evaluation.intervals import Estimate, Interval, as_json, f1_interval, wilson_interval
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, SLICE_COLUMNS, EvaluationError, checked_table

UNITS = ("patient", "slice")
"""What is counted: the patient is the unit, the slice is printed beside it."""

_ONE_MODEL = ("modality", "stage", "split", "seed")


def summarise(
    patient_table: pd.DataFrame,
    slice_table: pd.DataFrame,
    level: float = 0.95,
    threshold: float = 0.5,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of one model on one split.

    Folds may be pooled, each patient once; modality, stage, split and seed must be one.

    Args:
        patient_table: The columns of :data:`~mgmt_monai.evaluation.predictions.PATIENT_COLUMNS`.
        slice_table: The same patients' slices, the columns of
            :data:`~mgmt_monai.evaluation.predictions.SLICE_COLUMNS`.
        level: Of the intervals, between 0 and 1.
        threshold: Called methylated when ``probability >= threshold``.
        n_resamples: How often the patients are resampled for the slices' intervals.
        seed: Of the resampling.

    Returns:
        ``level``, ``threshold``; ``model``: the modality, stage, split and seed; ``patient`` and ``slice``: for
        each of ``auc``, ``accuracy``, ``precision``, ``recall``, ``specificity``, ``f1`` a dict of ``value``,
        ``low``, ``high`` (``None`` where undefined) and ``n``, the number of patients or slices that the figure
        is a share of (recall: the methylated; specificity: the unmethylated; precision: those called
        methylated; else all); ``classification_report``: scikit-learn's text for ``patient`` and ``slice``.
        :func:`json.dumps` takes it as it is.

    Raises:
        EvaluationError: A table breaks the schema or holds more than one model, the two hold different
            patients or labels, or ``level`` is not between 0 and 1.
    """
    patients = checked_table(patient_table, PATIENT_COLUMNS)
    slices = checked_table(slice_table, SLICE_COLUMNS)
    model = _one_model(patients, slices)
    intervals = slice_intervals(
        slices["label"], slices["probability"], slices["patient_id"], level, threshold, n_resamples, seed
    )
    return {
        "level": level,
        "threshold": threshold,
        "model": model,
        "patient": patient_figures(patients["label"], patients["probability"], level, threshold),
        "slice": _figures(slices["label"], slices["probability"], threshold, intervals),
        "classification_report": {
            unit: report(table["label"], table["probability"], threshold)
            for unit, table in zip(UNITS, (patients, slices), strict=True)
        },
    }


def patient_figures(
    label: pd.Series | np.ndarray,
    probability: pd.Series | np.ndarray,
    level: float = 0.95,
    threshold: float = 0.5,
) -> dict[str, dict[str, Any]]:
    """The six figures of independent patients with their closed-form intervals.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, in [0, 1].
        level: Of the intervals, between 0 and 1.
        threshold: Called methylated when ``probability >= threshold``.

    Returns:
        As ``patient`` in :func:`summarise`.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not finite, or ``level`` is not
            between 0 and 1.
    """
    table = discrimination.counts(label, probability, threshold)
    tp, fp, fn, tn = table.true_positive, table.false_positive, table.false_negative, table.true_negative
    intervals = {
        "auc": auc_interval(label, probability, level),
        "accuracy": wilson_interval(tp + tn, tp + fp + fn + tn, level),
        "precision": wilson_interval(tp, tp + fp, level),
        "recall": wilson_interval(tp, tp + fn, level),
        "specificity": wilson_interval(tn, tn + fp, level),
        "f1": f1_interval(tp, fp + fn, level),
    }
    return _figures(label, probability, threshold, intervals)


def report(label: pd.Series | np.ndarray, probability: pd.Series | np.ndarray, threshold: float = 0.5) -> str:
    """scikit-learn's classification report, the classes by name; undefined figures read ``nan``.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.
        threshold: Called methylated when ``probability >= threshold``.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not finite.
    """
    label_, probability_ = discrimination.checked_arrays(label, probability)
    called = (probability_ >= threshold).astype(int)
    return str(
        classification_report(label_, called, labels=[0, 1], target_names=CLASS_NAMES, digits=3, zero_division=math.nan)
    )


def figure_line(summary: Mapping[str, Any], unit: str = "patient") -> str:
    """The AUC as a sentence of a log or a page.

    Args:
        summary: What :func:`summarise` returned.
        unit: ``patient`` or ``slice``.

    Returns:
        Such as ``AUC 0.71 (95 % interval 0.52-0.85, 24 patients)``.

    Example:
        >>> auc = {"value": 0.708, "low": 0.52, "high": 0.849, "n": 24}
        >>> figure_line({"level": 0.95, "patient": {"auc": auc}})
        'AUC 0.71 (95 % interval 0.52-0.85, 24 patients)'
    """
    found = summary[unit]["auc"]
    what = f"{found['n']} {unit}{'' if found['n'] == 1 else 's'}"
    if found["value"] is None:
        return f"AUC undefined ({what})"
    if found["low"] is None:
        return f"AUC {found['value']:.2f} (interval undefined, {what})"
    ends = f"{100 * summary['level']:g} % interval {found['low']:.2f}-{found['high']:.2f}"
    return f"AUC {found['value']:.2f} ({ends}, {what})"


def _figures(
    label: pd.Series | np.ndarray,
    probability: pd.Series | np.ndarray,
    threshold: float,
    intervals: Mapping[str, Interval],
) -> dict[str, dict[str, Any]]:
    table = discrimination.counts(label, probability, threshold)
    values = {
        "auc": discrimination.auc(label, probability),
        "accuracy": discrimination.accuracy(table),
        "precision": discrimination.precision(table),
        "recall": discrimination.recall(table),
        "specificity": discrimination.specificity(table),
        "f1": discrimination.f1(table),
    }
    return {
        figure: as_json(Estimate(values[figure], *intervals[figure], _denominator(table, figure))) for figure in FIGURES
    }


def _denominator(table: Counts, figure: str) -> int:
    methylated = table.true_positive + table.false_negative
    unmethylated = table.true_negative + table.false_positive
    called = table.true_positive + table.false_positive
    return {"recall": methylated, "specificity": unmethylated, "precision": called}.get(
        figure, methylated + unmethylated
    )


def _one_model(patients: pd.DataFrame, slices: pd.DataFrame) -> dict[str, Any]:
    model: dict[str, Any] = {}
    for column in _ONE_MODEL:
        found = sorted({*patients[column].tolist(), *slices[column].tolist()})
        if len(found) != 1:
            raise EvaluationError(
                f"predictions, column {column}: expected one {column} to summarise, "
                f"found {', '.join(map(str, found)) or 'no prediction'}; select one first"
            )
        model[column] = found[0]
    twice = patients["patient_id"][patients["patient_id"].duplicated()]
    if len(twice):
        raise EvaluationError(
            f"predictions, patient {twice.iloc[0]}: expected each patient once over all folds, "
            "found more than one row; select one fold first"
        )
    of_patient = dict(zip(patients["patient_id"], patients["label"], strict=True))
    of_slice = dict(zip(slices["patient_id"], slices["label"], strict=True))
    for who in [*of_patient, *of_slice]:
        if of_patient.get(who) != of_slice.get(who):
            raise EvaluationError(
                f"predictions, patient {who}: expected the same label in the patient and the slice table, "
                f"found {of_patient.get(who, 'no row')} and {of_slice.get(who, 'no row')}"
            )
    return model
