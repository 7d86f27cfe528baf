"""Intervals from resampled patients: for slices, which go together within a patient, and for the patients' AUC."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.intervals import (
    LEAST_IN_CLASS,
    UNDEFINED,
    Interval,
    f1_interval,
    logit_interval,
    newcombe_interval,
    normal_quantile,
    wilson_interval,
)
from mgmt_monai.evaluation.predictions import EvaluationError

FIGURES = ("auc", "accuracy", "precision", "recall", "specificity", "f1")
"""The figures, in the order in which they are reported."""

MOST_UNDEFINED = 0.05
"""Above this share of resamples without a figure, its interval is undefined rather than quietly selective."""

_CHUNK = 4_000_000


def patient_auc_interval(
    label: ArrayLike, probability: ArrayLike, level: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> Interval:
    """The interval of the AUC of independent patients from the stratified bootstrap.

    As :func:`slice_intervals` with one slice a patient.

    Args:
        label: Shape ``(n,)``, 0 or 1, one a patient.
        probability: Shape ``(n,)``.
        level: Between 0 and 1.
        n_resamples: How many resamples, at least 1.
        seed: Of the resampling.

    Returns:
        The interval within [0, 1]; undefined with fewer than
        :data:`~mgmt_monai.evaluation.intervals.LEAST_IN_CLASS` patients in a class.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not finite, ``n_resamples`` is below
            1, or ``level`` is not between 0 and 1.

    Source:
        As :func:`slice_intervals`.
    """
    normal_quantile(level)
    sample = _sample(label, probability, np.arange(np.size(label)), 0.5)
    found = _interval("auc", _resampled(sample, n_resamples, seed)["auc"], sample, level)
    return UNDEFINED if sample.smaller < LEAST_IN_CLASS else found


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

    The standard deviation of the resampled figures is the figure's standard error, times ``sqrt(n / (n - 1))`` with n
    the patients of the smaller class, because resamples of few patients vary too little. The interval is symmetric on
    the logit scale.

    - Resamples in which a figure is undefined are left out; when they are more than :data:`MOST_UNDEFINED` of
      all, the interval is undefined.
    - Where no resample moves the figure (all slices right, or all wrong, or every patient with the same share), the
      resamples know nothing. The interval is then the closed one for the number of patients, as if each had one slice.

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
        Efron B, Tibshirani RJ. An introduction to the bootstrap. 1993, chapters 6 and 13 (standard errors, and
        intervals on a transformed scale). Few patients: Hesterberg TC. Am Stat 2015;69:371-386, section 3.3.
        Resampling whole clusters: Davison AC, Hinkley DV. Bootstrap methods and their application. 1997, 3.8.
    """
    normal_quantile(level)
    sample = _sample(label, probability, patient_id, threshold)
    resampled = _resampled(sample, n_resamples, seed)
    if sample.smaller < 2:
        return dict.fromkeys(FIGURES, UNDEFINED)
    found = {}
    for figure, values in resampled.items():
        undefined = float(np.isnan(values).mean())
        defined = values[~np.isnan(values)]
        found[figure] = UNDEFINED if undefined > MOST_UNDEFINED else _interval(figure, defined, sample, level)
    return found


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
    return _resampled(_sample(label, probability, patient_id, threshold), n_resamples, seed)


class _Sample(NamedTuple):
    """What a resample needs to know of each patient, so that its cost grows with the patients, not the slices."""

    label: np.ndarray  # (n_patients,), 0 or 1
    cells: np.ndarray  # (n_patients, 4), TP, FP, FN, TN over the patient's slices
    wins: np.ndarray  # (methylated, unmethylated), pairs of slices in which the methylated is higher, ties half

    @property
    def smaller(self) -> int:
        return min(self.wins.shape)


def _sample(label: ArrayLike, probability: ArrayLike, patient_id: ArrayLike, threshold: float) -> _Sample:
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
    cells = _cells(label_, probability_ >= threshold, patient, len(ids))
    return _Sample(of_patient, cells, _wins(of_patient, probability_, patient))


def _cells(label: np.ndarray, called: np.ndarray, patient: np.ndarray, n_patients: int) -> np.ndarray:
    cell = np.where(label == 1, np.where(called, 0, 2), np.where(called, 1, 3))
    table = np.zeros((n_patients, 4), dtype=np.int64)
    np.add.at(table, (patient, cell), 1)
    return table


def _wins(of_patient: np.ndarray, probability: np.ndarray, patient: np.ndarray) -> np.ndarray:
    order = np.lexsort((probability, patient))
    sorted_slices = np.split(probability[order], np.flatnonzero(np.diff(patient[order])) + 1)
    methylated, unmethylated = (np.flatnonzero(of_patient == value) for value in (1, 0))
    others = np.concatenate([sorted_slices[who] for who in unmethylated]) if len(unmethylated) else np.zeros(0)
    whose = np.repeat(np.arange(len(unmethylated)), [len(sorted_slices[who]) for who in unmethylated])
    wins = np.zeros((len(methylated), len(unmethylated)))
    for row, who in enumerate(methylated):
        slices = sorted_slices[who]
        below, not_above = (np.searchsorted(slices, others, side) for side in ("left", "right"))
        wins[row] = np.bincount(whose, len(slices) - (below + not_above) / 2, minlength=len(unmethylated))
    return wins


def _resampled(sample: _Sample, n_resamples: int, seed: int) -> dict[str, np.ndarray]:
    if n_resamples < 1:
        raise EvaluationError(f"evaluation: expected at least 1 resample, found {n_resamples}")
    random = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // len(sample.label))
    parts = [
        _figures(sample, _draw(sample.label, min(chunk, n_resamples - start), random))
        for start in range(0, n_resamples, chunk)
    ]
    return dict(zip(FIGURES, np.hstack(parts), strict=True))


def _draw(of_patient: np.ndarray, n_resamples: int, random: np.random.Generator) -> np.ndarray:
    """How often each patient is drawn: shape ``(n_resamples, n_patients)``, int64."""
    drawn = np.zeros((n_resamples, len(of_patient)), dtype=np.int64)
    for value in (0, 1):
        members = np.flatnonzero(of_patient == value)
        shape = n_resamples, len(members)
        if len(members):
            # Counted by hand: several times as fast as drawing from a multinomial.
            cell = random.integers(len(members), size=shape) + len(members) * np.arange(n_resamples)[:, None]
            drawn[:, members] = np.bincount(cell.ravel(), minlength=math.prod(shape)).reshape(shape)
    return drawn


def _figures(sample: _Sample, drawn: np.ndarray) -> np.ndarray:
    """:data:`FIGURES` with each patient as often as drawn: shape ``(6, n_resamples)``."""
    # Floating point is several times as fast; the sums are whole or half numbers, so that a perfect AUC is exactly 1.
    weight = drawn.astype(np.float64)
    tp, fp, fn, tn = (weight @ sample.cells.astype(np.float64)).T
    methylated, unmethylated = (weight[:, sample.label == value] for value in (1, 0))
    won = ((methylated @ sample.wins) * unmethylated).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.vstack(
            [
                won / ((tp + fn) * (fp + tn)),
                (tp + tn) / (tp + fp + fn + tn),
                tp / (tp + fp),
                tp / (tp + fn),
                tn / (tn + fp),
                2 * tp / (2 * tp + fp + fn),
            ]
        )


def _interval(figure: str, resampled: np.ndarray, sample: _Sample, level: float) -> Interval:
    everyone = np.ones((1, len(sample.label)), dtype=np.int64)
    value = float(_figures(sample, everyone)[FIGURES.index(figure), 0])
    if sample.smaller < 2 or resampled.min() == resampled.max():
        return _closed(figure, value, sample, level)
    error = resampled.std(ddof=1) * math.sqrt(sample.smaller / (sample.smaller - 1))
    return logit_interval(value, float(error), level)


def _closed(figure: str, value: float, sample: _Sample, level: float) -> Interval:
    """The closed interval for as many observations as patients have a slice in the figure's denominator."""
    if figure == "auc":
        methylated, unmethylated = sample.wins.shape
        return newcombe_interval(value, methylated, unmethylated, level)
    tp, fp, fn, tn = (sample.cells > 0).T
    within = {"precision": tp | fp, "recall": tp | fn, "specificity": tn | fp, "f1": tp | fp | fn}
    n_patients = int(within[figure].sum()) if figure in within else len(sample.label)
    if figure == "f1":
        right = round(n_patients * value / (2 - value))  # of TP / (TP + FP + FN), which F1 is a function of
        return f1_interval(right, n_patients - right, level)
    return wilson_interval(round(n_patients * value), n_patients, level)
