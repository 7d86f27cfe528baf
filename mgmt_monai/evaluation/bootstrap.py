"""Intervals for slices: resampled by patient, because slices of one patient go together."""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.intervals import (
    UNDEFINED,
    Interval,
    f1_interval,
    newcombe_interval,
    normal_quantile,
    wilson_interval,
)
from mgmt_monai.evaluation.predictions import EvaluationError

FIGURES = ("auc", "accuracy", "precision", "recall", "specificity", "f1")
"""The figures, in the order in which they are reported."""

MOST_UNDEFINED = 0.05
"""Above this share of resamples without a figure, its interval is undefined rather than quietly selective."""

_CHUNK = 8_000_000
_logger = logging.getLogger(__name__)


def resampled_figures(
    label: ArrayLike,
    probability: ArrayLike,
    patient_id: ArrayLike,
    threshold: float = 0.5,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The figures over slices in resamples of the patients.

    Methylated and unmethylated patients are drawn with replacement apart from each other (stratified), as many
    as there are, each with all of its slices.

    Args:
        label: Shape ``(n_slices,)``, 0 or 1, the same over a patient's slices.
        probability: Shape ``(n_slices,)``.
        patient_id: Shape ``(n_slices,)``, whose slice it is.
        threshold: Called methylated when ``probability >= threshold``.
        n_resamples: How many resamples, at least 1.
        seed: Of the resampling; the same seed gives the same figures.

    Returns:
        For each of :data:`FIGURES` an array of shape ``(n_resamples,)``, ``nan`` where it is undefined.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1 or differs within a patient, a probability is not
            finite, or ``n_resamples`` is below 1.
    """
    label_, probability_, patient, of_patient = _patients(label, probability, patient_id)
    if n_resamples < 1:
        raise EvaluationError(f"evaluation: expected at least 1 resample, found {n_resamples}")
    random = np.random.default_rng(seed)
    cells = _cells(label_, probability_ >= threshold, patient, len(of_patient))
    parts = []
    chunk = max(1, _CHUNK // max(len(label_), 1))
    for start in range(0, n_resamples, chunk):
        drawn = _draw(of_patient, min(chunk, n_resamples - start), random)
        parts.append(np.vstack([_weighted_auc(label_, probability_, drawn[:, patient]), *_shares(drawn @ cells)]))
    return dict(zip(FIGURES, np.hstack(parts), strict=True))


def slice_intervals(
    label: ArrayLike,
    probability: ArrayLike,
    patient_id: ArrayLike,
    level: float = 0.95,
    threshold: float = 0.5,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of the figures over slices, from resampled patients.

    The ends are percentiles of the resampled figures, moved outwards as Student's t and the small-sample
    variance ask for with as many patients as the smaller class has (Hesterberg's expanded percentiles).

    - Resamples in which a figure is undefined are left out; when they are more than :data:`MOST_UNDEFINED` of
      all, the interval is undefined and a warning says so.
    - Where no resample moves the figure (all slices right, or all wrong, so that it sits at 0 or 1), the resamples
      know nothing. The interval is then the closed one for the number of patients, as if each had one slice.

    Args:
        label: Shape ``(n_slices,)``, 0 or 1, the same over a patient's slices.
        probability: Shape ``(n_slices,)``.
        patient_id: Shape ``(n_slices,)``, whose slice it is.
        level: Between 0 and 1.
        threshold: Called methylated when ``probability >= threshold``.
        n_resamples: How many resamples.
        seed: Of the resampling.

    Returns:
        For each of :data:`FIGURES` its interval; undefined where the figure is, and with fewer than two patients
        in a class.

    Raises:
        EvaluationError: As :func:`resampled_figures`, or ``level`` is not between 0 and 1.

    Source:
        Hesterberg TC. What teachers should know about the bootstrap. Am Stat 2015;69:371-386, section 3.3.
        Resampling whole clusters: Davison AC, Hinkley DV. Bootstrap methods and their application. 1997, 3.8.
    """
    normal_quantile(level)
    resampled = resampled_figures(label, probability, patient_id, threshold, n_resamples, seed)
    label_, probability_, patient, of_patient = _patients(label, probability, patient_id)
    smaller = min(int((of_patient == 0).sum()), int((of_patient == 1).sum()))
    if smaller < 2:
        return dict.fromkeys(FIGURES, UNDEFINED)
    contributing = _contributing(_cells(label_, probability_ >= threshold, patient, len(of_patient)))
    found = {}
    for figure, values in resampled.items():
        undefined = float(np.isnan(values).mean())
        defined = values[~np.isnan(values)]
        if undefined > MOST_UNDEFINED:
            if len(defined):
                _logger.warning(
                    "%s over slices: undefined in %.0f %% of the resamples, so it has no interval",
                    figure,
                    100 * undefined,
                )
            found[figure] = UNDEFINED
        elif defined.min() == defined.max() and defined[0] in (0.0, 1.0):
            found[figure] = _at_the_edge(figure, defined[0], of_patient, contributing, level)
        else:
            tail = _expanded_tail(smaller, level)
            low, high = np.quantile(defined, [tail, 1 - tail])
            found[figure] = Interval(float(low), float(high))
    return found


def _patients(
    label: ArrayLike, probability: ArrayLike, patient_id: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    label_, probability_ = checked_arrays(label, probability)
    ids, patient = np.unique(np.asarray(patient_id), return_inverse=True)
    if patient.shape != label_.shape:
        raise EvaluationError(
            f"evaluation: expected as many patient ids as labels, found {patient.size} and {label_.size}"
        )
    of_patient = np.zeros(len(ids), dtype=np.int64)
    of_patient[patient] = label_
    if (of_patient[patient] != label_).any():
        who = ids[patient[np.flatnonzero(of_patient[patient] != label_)[0]]]
        raise EvaluationError(f"evaluation, patient {who}: expected one label over all slices, found both")
    return label_, probability_, patient, of_patient


def _draw(of_patient: np.ndarray, n_resamples: int, random: np.random.Generator) -> np.ndarray:
    """How often each patient is drawn: shape ``(n_resamples, n_patients)``, int64."""
    drawn = np.zeros((n_resamples, len(of_patient)), dtype=np.int64)
    for value in (0, 1):
        members = np.flatnonzero(of_patient == value)
        if len(members):
            drawn[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), n_resamples)
    return drawn


def _cells(label: np.ndarray, called: np.ndarray, patient: np.ndarray, n_patients: int) -> np.ndarray:
    """Each patient's TP, FP, FN, TN over its slices: shape ``(n_patients, 4)``, int64."""
    cell = np.where(label == 1, np.where(called, 0, 2), np.where(called, 1, 3))
    table = np.zeros((n_patients, 4), dtype=np.int64)
    np.add.at(table, (patient, cell), 1)
    return table


def _shares(cells: np.ndarray) -> list[np.ndarray]:
    """Accuracy, precision, recall, specificity, F1 of cells of shape ``(n_resamples, 4)``."""
    tp, fp, fn, tn = cells.T.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return [
            (tp + tn) / (tp + fp + fn + tn),
            tp / (tp + fp),
            tp / (tp + fn),
            tn / (tn + fp),
            2 * tp / (2 * tp + fp + fn),
        ]


def _weighted_auc(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The AUC under each row of slice weights of shape ``(n_resamples, n_slices)``; ties count half."""
    order = np.argsort(probability, kind="stable")
    starts = np.flatnonzero(np.diff(probability[order], prepend=-np.inf))
    ordered = weight[:, order]
    positive = np.add.reduceat(ordered * label[order], starts, axis=1)
    negative = np.add.reduceat(ordered * (1 - label[order]), starts, axis=1)
    beaten = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return (positive * beaten).sum(axis=1) / pairs


def _contributing(cells: np.ndarray) -> dict[str, int]:
    """How many patients have a slice in each figure's denominator."""
    tp, fp, fn, tn = (cells > 0).T
    return {
        "accuracy": len(cells),
        "precision": int((tp | fp).sum()),
        "recall": int((tp | fn).sum()),
        "specificity": int((tn | fp).sum()),
        "f1": int((tp | fp | fn).sum()),
    }


def _at_the_edge(
    figure: str, value: float, of_patient: np.ndarray, contributing: dict[str, int], level: float
) -> Interval:
    if figure == "auc":
        return newcombe_interval(value, int((of_patient == 1).sum()), int((of_patient == 0).sum()), level)
    n_patients = contributing[figure]
    right = n_patients if value == 1 else 0
    if figure == "f1":
        return f1_interval(right, n_patients - right, level)
    return wilson_interval(right, n_patients, level)


def _expanded_tail(n_patients: int, level: float) -> float:
    """The share cut off at each end: that of a normal at the t quantile, variance corrected by n / (n - 1)."""
    reach = math.sqrt(n_patients / (n_patients - 1)) * student.ppf((1 + level) / 2, n_patients - 1)
    return float(norm.cdf(-reach))
