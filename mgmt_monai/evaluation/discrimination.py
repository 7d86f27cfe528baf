"""How well a probability tells methylated from unmethylated: AUC, and the figures at a threshold.

A figure whose denominator is empty is ``nan``, never 0: a model that calls nobody methylated has no precision.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from mgmt_monai.evaluation.predictions import EvaluationError

CLASS_NAMES = ("unmethylated", "methylated")
"""The names of labels 0 and 1."""


@dataclass(frozen=True)
class Counts:
    """How many were called right and wrong at a threshold; 'positive' is methylated.

    Args:
        true_positive: Methylated and called so.
        false_positive: Unmethylated, called methylated.
        false_negative: Methylated, called unmethylated.
        true_negative: Unmethylated and called so.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


def auc(label: ArrayLike, probability: ArrayLike) -> float:
    """The area under the ROC curve: how often a methylated one has the higher probability, ties half.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, any real score, larger for methylated.

    Returns:
        In [0, 1]; ``nan`` when one of the classes is absent.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not finite.

    Example:
        >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    label_, probability_ = checked_arrays(label, probability)
    m = int(label_.sum())
    if m in (0, len(label_)):
        return math.nan
    # Mann and Whitney's U over the number of pairs.
    return float((rankdata(probability_) @ label_ - m * (m + 1) / 2) / (m * (len(label_) - m)))


def counts(label: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> Counts:
    """The confusion table at a threshold.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.
        threshold: Called methylated when ``probability >= threshold``.

    Returns:
        The four counts; they sum to n.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not finite.
    """
    label_, probability_ = checked_arrays(label, probability)
    methylated, called = label_ == 1, probability_ >= threshold
    return Counts(
        true_positive=int((methylated & called).sum()),
        false_positive=int((~methylated & called).sum()),
        false_negative=int((methylated & ~called).sum()),
        true_negative=int((~methylated & ~called).sum()),
    )


def accuracy(table: Counts) -> float:
    """The share called right; ``nan`` when there is nobody."""
    right = table.true_positive + table.true_negative
    return _share(right, right + table.false_positive + table.false_negative)


def precision(table: Counts) -> float:
    """The share of those called methylated that are; ``nan`` when nobody was called methylated."""
    return _share(table.true_positive, table.true_positive + table.false_positive)


def recall(table: Counts) -> float:
    """The share of the methylated that were called so (sensitivity); ``nan`` without a methylated one."""
    return _share(table.true_positive, table.true_positive + table.false_negative)


def specificity(table: Counts) -> float:
    """The share of the unmethylated that were called so; ``nan`` without an unmethylated one."""
    return _share(table.true_negative, table.true_negative + table.false_positive)


def f1(table: Counts) -> float:
    """``2 TP / (2 TP + FP + FN)``, the harmonic mean of precision and recall.

    Returns:
        In [0, 1]; ``nan`` when nobody is methylated and nobody was called so. It is 0, not ``nan``, when the
        methylated were all missed: that is a result, not a missing one.
    """
    hits = 2 * table.true_positive
    return _share(hits, hits + table.false_positive + table.false_negative)


def checked_arrays(label: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 and probabilities as float64, both of shape ``(n,)`` with n of at least 1.

    Args:
        label: 0 or 1.
        probability: Finite numbers.

    Raises:
        EvaluationError: Shapes differ, nothing is there, a label is not 0 or 1, or a probability is not finite.
    """
    label_ = np.asarray(label)
    probability_ = np.asarray(probability, dtype=np.float64)
    if label_.ndim != 1 or label_.shape != probability_.shape or label_.size == 0:
        raise EvaluationError(
            "evaluation: expected as many labels as probabilities, one dimension and at least one, "
            f"found shapes {label_.shape} and {probability_.shape}"
        )
    if not np.isin(label_, (0, 1)).all():
        found = label_[~np.isin(label_, (0, 1))][0]
        raise EvaluationError(f"evaluation: expected labels 0 or 1, found {found}")
    if not np.isfinite(probability_).all():
        where = int(np.flatnonzero(~np.isfinite(probability_))[0])
        raise EvaluationError(
            f"evaluation: expected finite probabilities, found {probability_[where]} at position {where}"
        )
    return label_.astype(np.int64), probability_


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
