"""Simulated draws whose true figures are known, to judge intervals by.

Patients' scores are normal with unit variance, means ``d / 2`` apart from 0 on either side, so that the truth is
known: the AUC is ``Phi(d / sqrt 2)`` and, at the threshold 0, recall, specificity and accuracy are ``Phi(d / 2)``.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm

SLICES = 5
SLICE_CORRELATION = 0.7
"""Between two slices of one patient: near enough to 1 that slices counted as independent would mislead."""

MODEL_CORRELATION = 0.5
"""Between the scores that two models give the same patient."""


def binormal(
    n_patients: int, true_auc: float, random: np.random.Generator, methylated_sd: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of patients whose true AUC is known.

    Args:
        n_patients: How many, half of them methylated (the odd one too).
        true_auc: Between 0 and 1.
        random: The source of randomness.
        methylated_sd: Standard deviation of the methylated scores; the unmethylated have 1.

    Returns:
        Labels (int64) and scores (float64), each of shape ``(n_patients,)``.
    """
    label = _labels(n_patients)
    distance = norm.ppf(true_auc) * math.sqrt(1 + methylated_sd**2)
    sd = np.where(label == 1, methylated_sd, 1.0)
    return label, random.standard_normal(n_patients) * sd + (label - 0.5) * distance


def clustered(
    n_patients: int, true_auc: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and patients of slices, :data:`SLICES` a patient, correlated within a patient.

    Args:
        n_patients: How many, half of them methylated (the odd one too).
        true_auc: Of a slice of one patient against a slice of another, between 0 and 1.
        random: The source of randomness.

    Returns:
        Labels (int64), scores (float64, unit variance) and patient numbers, each of shape
        ``(n_patients * SLICES,)``.
    """
    label = np.repeat(_labels(n_patients), SLICES)
    shared = np.repeat(random.standard_normal(n_patients), SLICES) * math.sqrt(SLICE_CORRELATION)
    own = random.standard_normal(len(label)) * math.sqrt(1 - SLICE_CORRELATION)
    distance = norm.ppf(true_auc) * math.sqrt(2)
    return label, shared + own + (label - 0.5) * distance, np.repeat(np.arange(n_patients), SLICES)


def paired(
    n_patients: int, true_auc_a: float, true_auc_b: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of patients and the scores that two models give them, correlated within a class.

    Args:
        n_patients: How many, half of them methylated (the odd one too).
        true_auc_a: Of the first model, between 0 and 1.
        true_auc_b: Of the second model, between 0 and 1.
        random: The source of randomness.

    Returns:
        Labels (int64) and both models' scores (float64, unit variance, correlated :data:`MODEL_CORRELATION`), each of
        shape ``(n_patients,)``.
    """
    label = _labels(n_patients)
    shared, own_a, own_b = random.standard_normal((3, n_patients))
    scores = [
        shared * math.sqrt(MODEL_CORRELATION)
        + own * math.sqrt(1 - MODEL_CORRELATION)
        + (label - 0.5) * norm.ppf(value) * math.sqrt(2)
        for own, value in ((own_a, true_auc_a), (own_b, true_auc_b))
    ]
    return label, scores[0], scores[1]


def true_figures(true_auc: float, n_patients: int) -> dict[str, float]:
    """The true figures of :func:`binormal` (equal variances) and :func:`clustered` at the threshold 0.

    Args:
        true_auc: Between 0 and 1.
        n_patients: For the share of methylated, on which precision and F1 depend.

    Returns:
        Each of the six figures, and the balanced accuracy.
    """
    right = float(norm.cdf(norm.ppf(true_auc) / math.sqrt(2)))
    methylated = float(_labels(n_patients).mean())
    hit, missed, false_alarm = methylated * right, methylated * (1 - right), (1 - methylated) * (1 - right)
    return {
        "auc": true_auc,
        "accuracy": right,
        "precision": hit / (hit + false_alarm),
        "recall": right,
        "specificity": right,
        "f1": 2 * hit / (2 * hit + missed + false_alarm),
        "balanced_accuracy": right,
    }


def _labels(n_patients: int) -> np.ndarray:
    return (np.arange(n_patients) >= n_patients // 2).astype(np.int64)
