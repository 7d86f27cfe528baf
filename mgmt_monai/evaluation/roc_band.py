"""How far the ROC curve itself is uncertain: an interval of the sensitivity at each false positive rate."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.intervals import normal_quantile, wilson_interval
from mgmt_monai.evaluation.predictions import EvaluationError

GRID = np.arange(101) / 100
"""False positive rates at which the band is given."""

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class RocBand:
    """An ROC curve and its pointwise band, each array of shape ``(101,)``, in [0, 1].

    Args:
        false_positive_rate: :data:`GRID`.
        sensitivity: The highest that the patients reach there.
        low: The band's lower end.
        high: Its upper end.
    """

    false_positive_rate: np.ndarray
    sensitivity: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc_band(
    label: ArrayLike, probability: ArrayLike, level: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> RocBand:
    """The ROC curve with a bootstrap interval of the sensitivity at each false positive rate.

    The band is pointwise: it holds the true sensitivity at any one false positive rate in ``level`` of studies. The
    whole true curve lies inside less often.

    Methylated and unmethylated patients are resampled apart from each other; the ends are percentiles of the
    resampled sensitivities. In the corners all resamples agree, though the patients know little, so that

    - the band is never narrower than Wilson's interval of the sensitivity at a known threshold; at a rate of 1,
      where every curve is at 1, it keeps the width that it has just before;
    - at rates below one in the number of unmethylated patients, which the patients cannot tell from 0, where the
      sensitivity may be 0, the lower end is 0.

    Args:
        label: Shape ``(n,)``, 0 or 1, of independent patients.
        probability: Shape ``(n,)``, any real score, larger for methylated.
        level: Of the intervals, between 0 and 1.
        n_resamples: How many resamples of the patients, at least 1.
        seed: Of the resampling; the same seed gives the same band.

    Returns:
        The curve and its band; all but the grid ``nan`` when a class is absent, the band ``nan`` with fewer than two
        patients in a class.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not finite, ``level`` is not between
            0 and 1, or ``n_resamples`` is below 1.

    Source:
        Vertical averaging: Fawcett T. An introduction to ROC analysis. Pattern Recognit Lett 2006;27:861-874.
    """
    normal_quantile(level)
    label_, probability_ = checked_arrays(label, probability)
    if n_resamples < 1:
        raise EvaluationError(f"evaluation: expected at least 1 resample, found {n_resamples}")
    n_methylated = int(label_.sum())
    n_unmethylated = len(label_) - n_methylated
    undefined = np.full(len(GRID), math.nan)
    if not n_methylated or not n_unmethylated:
        return RocBand(GRID.copy(), undefined, undefined.copy(), undefined.copy())
    order = np.argsort(-probability_, kind="stable")
    label_, probability_ = label_[order], probability_[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(probability_)), len(label_) - 1)
    sensitivity = _sensitivities(label_, np.ones(len(label_), dtype=np.int64), last_of_ties)
    if min(n_methylated, n_unmethylated) < 2:
        return RocBand(GRID.copy(), sensitivity, undefined, undefined.copy())
    random = np.random.default_rng(seed)
    resampled = np.empty((n_resamples, len(GRID)))
    weight = np.empty(len(label_), dtype=np.int64)
    for number in range(n_resamples):
        for value, size in ((0, n_unmethylated), (1, n_methylated)):
            weight[label_ == value] = random.multinomial(size, np.full(size, 1 / size))
        resampled[number] = _sensitivities(label_, weight, last_of_ties)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    known = _known_threshold(sensitivity, n_methylated, level)
    low, high = np.minimum(low, known[0]), np.maximum(high, known[1])
    low[: math.ceil((len(GRID) - 1) / n_unmethylated)] = 0.0
    return RocBand(GRID.copy(), sensitivity, low, high)


def _sensitivities(label: np.ndarray, weight: np.ndarray, last_of_ties: np.ndarray) -> np.ndarray:
    """The weighted patients' sensitivity at each rate of the grid; patients by falling probability."""
    hits = np.append(0, np.cumsum(weight * label)[last_of_ties])
    false_alarms = np.append(0, np.cumsum(weight * (1 - label))[last_of_ties])
    # At a rate where the curve rises, np.interp takes the end of the rise. Grid and rates are quotients of whole
    # numbers, which round alike, so that equal ones are found equal.
    return np.interp(GRID, false_alarms / false_alarms[-1], hits / hits[-1])


def _known_threshold(sensitivity: np.ndarray, n_methylated: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    hits = sensitivity * n_methylated
    # Within ties the curve is a straight line, on which the hits are no whole number.
    fewest, most = np.floor(hits + _ROUNDING).astype(int), np.ceil(hits - _ROUNDING).astype(int)
    of_hits = {k: wilson_interval(int(k), n_methylated, level) for k in {*fewest.tolist(), *most.tolist()}}
    return np.array([of_hits[k].low for k in fewest.tolist()]), np.array([of_hits[k].high for k in most.tolist()])
