"""What chance alone would give: the labels are dealt out anew among the patients, many times."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.predictions import EvaluationError

_CHUNK = 4_000_000

_ROUNDING = 1e-9
"""AUCs that lie nearer are one: two differ by half a pair of patients at least, which is far more."""


@dataclass(frozen=True, eq=False)
class LabelPermutation:
    """An AUC beside the AUCs that permuted labels give.

    Args:
        observed: The AUC found.
        null: The AUCs under permuted labels, shape ``(n_permutations,)``.
        p_value: One-sided, in (0, 1].
        p_low: Of the other side: how often permuted labels give an AUC as low.
    """

    observed: float
    null: np.ndarray
    p_value: float
    p_low: float = math.nan


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


def permutation_test(
    label: ArrayLike,
    probability: ArrayLike,
    n_permutations: int = 10_000,
    seed: int = 0,
    stratum: np.ndarray | None = None,
) -> LabelPermutation:
    """Whether the AUC is higher than labels dealt at random would give.

    The p-value is ``(1 + number of permutations with at least the observed AUC) / (1 + n_permutations)``, which is
    never 0: the labels as they are count as one of the permutations.

    Args:
        label: Shape ``(n,)``, 0 or 1, of independent patients.
        probability: Shape ``(n,)``, any real score, larger for methylated; ties count half.
        n_permutations: How many, at least 1.
        seed: Of the permutations; the same seed gives the same figures.
        stratum: Shape ``(n,)``, whole numbers from 0: labels are dealt within each, and the AUC is that of the pairs
            of one stratum. None: all patients are one.

    Returns:
        The test; all figures ``nan`` when no stratum has both classes.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not finite, or ``n_permutations`` is
            below 1.

    Source:
        Phipson B, Smyth GK. Permutation p-values should never be zero. Stat Appl Genet Mol Biol 2010;9:39.
    """
    label_, probability_ = checked_arrays(label, probability)
    dealt = _dealt(label_, n_permutations, seed, stratum)
    ranks = _double_ranks(probability_[None, :], stratum)
    sums = np.concatenate([part @ ranks.T for part in dealt])[:, 0]
    observed = ranks[0] @ label_
    null = _auc(sums, label_, stratum)
    if np.isnan(null).all():
        return LabelPermutation(math.nan, null, math.nan)
    # Rank sums are whole numbers, so that ties with the observed one are exact.
    return LabelPermutation(
        observed=float(_auc(observed, label_, stratum)),
        null=null,
        p_value=(1 + int((sums >= observed).sum())) / (1 + n_permutations),
        p_low=(1 + int((sums <= observed).sum())) / (1 + n_permutations),
    )


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
        stratum: As `permutation_test` takes it; for the AUC its pairs alone count.
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
    dealt = _dealt(label_, n_permutations, seed, stratum)
    if figure == "auc":
        ranks = _double_ranks(candidates, stratum)
        best = np.concatenate([(part @ ranks.T).max(axis=1) for part in dealt])
        null = _auc(best, label_, stratum)
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
        stratum: As `permutation_test` takes it.
        widen: As `best_of` takes it.

    Returns:
        Shape ``(k,)``, one-sided, in (0, 1]; ``nan`` when no stratum has both classes.

    Raises:
        EvaluationError: As `best_of`.
    """
    null = best_of(label, probabilities, "auc", 0.5, n_permutations, seed, stratum, widen).null
    label_ = checked_arrays(label, np.asarray(probabilities)[0])[0]
    observed = _auc(_double_ranks(np.asarray(probabilities, dtype=float), stratum) @ label_, label_, stratum)
    reached = [(null >= each - _ROUNDING).sum() for each in observed]
    return np.where(np.isnan(observed), math.nan, np.add(reached, 1) / (1 + n_permutations))


def dealt_folds(label: np.ndarray, n_folds: int, random: np.random.Generator) -> np.ndarray:
    """Patients dealt to folds at random, those of each label apart.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        n_folds: How many.
        random: The source of randomness.

    Returns:
        Shape ``(n,)``, from 0.
    """
    fold = np.empty(len(label), dtype=int)
    for each in (0, 1):
        of = np.flatnonzero(label == each)
        fold[of] = random.permutation(np.arange(len(of)) % n_folds)
    return fold


def _dealt(label: np.ndarray, n_permutations: int, seed: int, stratum: np.ndarray | None) -> Iterator[np.ndarray]:
    """Permuted labels in parts of shape ``(m, n)``; float64, for which matrix products are fast, and exact here."""
    if n_permutations < 1:
        raise EvaluationError(f"evaluation: expected at least 1 permutation, found {n_permutations}")
    random = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // len(label))
    members = _members(len(label), stratum)
    for start in range(0, n_permutations, chunk):
        part = np.tile(label.astype(np.float64), (min(chunk, n_permutations - start), 1))
        for of in members:
            part[:, of] = random.permuted(part[:, of], axis=1)
        yield part


def _double_ranks(scores: np.ndarray, stratum: np.ndarray | None) -> np.ndarray:
    """Twice the midranks within each row of ``(k, n)``, and within strata: whole numbers, ties too."""
    ranks = np.empty(scores.shape)
    for of in _members(scores.shape[1], stratum):
        ranks[:, of] = 2 * rankdata(scores[:, of], axis=1)
    return ranks


def _auc(double_rank_sum: np.ndarray, label: np.ndarray, stratum: np.ndarray | None) -> np.ndarray:
    """The AUC of twice the rank sum of the methylated (Mann and Whitney's U over the number of pairs)."""
    sizes = [(int(label[of].sum()), len(label[of])) for of in _members(len(label), stratum)]
    pairs = sum(m * (n - m) for m, n in sizes)
    if not pairs:
        return np.full(np.shape(double_rank_sum), math.nan)
    return (double_rank_sum - sum(m * (m + 1) for m, _ in sizes)) / (2 * pairs)


def _members(n: int, stratum: np.ndarray | None) -> list[np.ndarray] | list[slice]:
    if stratum is None:
        return [slice(None)]
    return [np.flatnonzero(stratum == each) for each in range(int(stratum.max()) + 1)]


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
