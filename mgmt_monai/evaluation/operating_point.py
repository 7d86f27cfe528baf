"""Where to call a patient methylated: a threshold chosen on validation patients."""

import math

import numpy as np
from numpy.typing import ArrayLike

from mgmt_monai.evaluation.discrimination import checked_arrays


def youden_threshold(label: ArrayLike, probability: ArrayLike) -> float:
    """The threshold with the highest sensitivity + specificity - 1.

    All thresholds between two neighbouring probabilities call the same patients methylated; the middle of the two
    stands for them. Below the lowest and above the highest probability the neighbour is 0 and 1.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, in [0, 1].

    Returns:
        Called methylated is ``probability >= threshold``. Of equally good thresholds the one nearest to 0.5, and of
        two as near the lower. ``nan`` when a class is absent.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not finite.

    Source:
        Youden WJ. Index for rating diagnostic tests. Cancer 1950;3:32-35.

    Example:
        >>> youden_threshold([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
        0.5
    """
    label_, probability_ = checked_arrays(label, probability)
    n_methylated = int(label_.sum())
    n_unmethylated = len(label_) - n_methylated
    if not n_methylated or not n_unmethylated:
        return math.nan
    candidates = _candidates(probability_)
    called = probability_[None, :] >= candidates[:, None]
    # Whole numbers, so that ties are exact: the index times both class sizes.
    index = (called @ label_) * n_unmethylated - (called @ (1 - label_)) * n_methylated
    best = candidates[index == index.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _candidates(probability: np.ndarray) -> np.ndarray:
    """One threshold for each way of calling, rising: shape ``(n_distinct + 1,)``."""
    values = np.unique(probability)
    edges = np.concatenate([[min(0.0, values[0])], values, [max(1.0, values[-1])]])
    middle = edges[:-1] + (edges[1:] - edges[:-1]) / 2
    # Between neighbouring floats the middle falls on the lower one, which would be called too.
    return np.where(middle > edges[:-1], middle, edges[1:])
