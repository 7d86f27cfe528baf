"""How good the best of several candidates looks, and how often one would be as good, where none knows anything."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.permutation import auc_of_ranks, dealt_labels, double_ranks
from mgmt_monai.evaluation.predictions import EvaluationError

_ROUNDING = 1e-9
"""AUCs that lie nearer are one: two differ by half a pair of patients at least, which is far more."""


@dataclass(frozen=True, eq=False)
class BestOf:
    """How good the best of several candidates looks when none of them knows anything.

    Args:
        n_candidates: How many.
        expected: Mean of ``null``.
        percentile_95: The smallest figure that at least 95 % of ``null`` do not exceed.
        null: The best candidate's figure under permuted labels, shape ``(n_permutations,)``.
    """

    n_candidates: int
    expected: float
    percentile_95: float
    null: np.ndarray


def best_of(
    label: ArrayLike,
    probabilities: ArrayLike,
    figure: Literal["auc", "accuracy"] = "auc",
    thresholds: ArrayLike = 0.5,
    n_permutations: int = 10_000,
    seed: int = 0,
    stratum: np.ndarray | None = None,
    widen: float = 1.0,
) -> BestOf:
    """The best candidate's figure if no candidate knew anything of the labels.

    All candidates meet the same permuted labels, so that candidates which resemble each other are not counted as many.

    Args:
        label: Shape ``(n,)``, 0 or 1, of independent patients.
        probabilities: Shape ``(k, n)``, each candidate's for these patients.
        figure: ``auc`` or ``accuracy``.
        thresholds: For the accuracy: called methylated when ``probability >= threshold``; one number, or shape
            ``(k, n)``, or anything that NumPy broadcasts to it.
        n_permutations: How many, at least 1.
        seed: Of the permutations; the same seed gives the same figures.
        stratum: As :func:`mgmt_monai.evaluation.permutation.permutation_test` takes it; for the AUC its pairs alone
            count.
        widen: How many times as far from 0.5 as under permuted labels the figures of such models lie by chance, such as
            :data:`mgmt_monai.evaluation.folds.FOLDS_WIDEN`.

    Returns:
        The distribution of the best figure; the AUC's is ``nan`` when a class is absent.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not finite, ``thresholds`` do not fit,
            ``figure`` has another name, or ``n_permutations`` is below 1.
    """
    candidates = np.asarray(probabilities, dtype=np.float64)
    if candidates.ndim != 2 or not len(candidates):
        raise EvaluationError(
            f"evaluation: expected probabilities of shape (candidates, patients), found shape {candidates.shape}"
        )
    label_ = np.array([checked_arrays(label, candidate)[0] for candidate in candidates])[0]
    dealt = dealt_labels(label_, n_permutations, seed, stratum)
    if figure == "auc":
        ranks = double_ranks(candidates, stratum)
        best = np.concatenate([(part @ ranks.T).max(axis=1) for part in dealt])
        null = auc_of_ranks(best, label_, stratum)
    elif figure == "accuracy":
        called = _called(candidates, thresholds)
        # Right are the methylated called so, and the unmethylated not called: n - called - methylated + both.
        beside = len(label_) - called.sum(axis=1) - label_.sum()
        null = np.concatenate([(2 * (part @ called.T) + beside).max(axis=1) for part in dealt]) / len(label_)
    else:
        raise EvaluationError(f"evaluation: expected the figure auc or accuracy, found {figure}")
    null = null if widen == 1 else 0.5 + widen * (null - 0.5)
    return BestOf(
        n_candidates=len(candidates),
        expected=float(null.mean()),
        percentile_95=float(np.quantile(null, 0.95, method="inverted_cdf")),
        null=null,
    )


def best_of_p_values(
    label: ArrayLike,
    probabilities: ArrayLike,
    n_permutations: int = 10_000,
    seed: int = 0,
    stratum: np.ndarray | None = None,
    widen: float = 1.0,
) -> np.ndarray:
    """How often the best of the candidates would reach each one's AUC if none of them knew anything.

    A p-value holds whatever its candidate was chosen by, these patients' labels included (the max-statistic, Westfall
    and Young, Resampling-Based Multiple Testing, 1993).

    Args:
        label: Shape ``(n,)``, 0 or 1, of independent patients.
        probabilities: Shape ``(k, n)``, each candidate's for these patients.
        n_permutations: How many, at least 1.
        seed: Of the permutations.
        stratum: As :func:`mgmt_monai.evaluation.permutation.permutation_test` takes it.
        widen: As `best_of` takes it.

    Returns:
        Shape ``(k,)``, one-sided, in (0, 1]; ``nan`` when no stratum has both classes.

    Raises:
        EvaluationError: As `best_of`.
    """
    null = best_of(label, probabilities, "auc", 0.5, n_permutations, seed, stratum, widen).null
    label_ = checked_arrays(label, np.asarray(probabilities)[0])[0]
    observed = auc_of_ranks(double_ranks(np.asarray(probabilities, dtype=float), stratum) @ label_, label_, stratum)
    reached = [(null >= each - _ROUNDING).sum() for each in observed]
    return np.where(np.isnan(observed), math.nan, np.add(reached, 1) / (1 + n_permutations))


def _called(candidates: np.ndarray, thresholds: ArrayLike) -> np.ndarray:
    at = np.asarray(thresholds, dtype=np.float64)
    try:
        broadcast = np.broadcast_to(at, candidates.shape)
    except ValueError as error:
        raise EvaluationError(
            f"evaluation: expected one threshold or thresholds of shape {candidates.shape}, found shape {at.shape}"
        ) from error
    if not np.isfinite(at).all():
        raise EvaluationError(f"evaluation: expected finite thresholds, found {at[~np.isfinite(at)].flat[0]}")
    return (candidates >= broadcast).astype(np.float64)
