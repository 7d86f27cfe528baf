"""What chance alone would give: the labels are dealt out anew among the patients, many times."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.predictions import EvaluationError

_CHUNK = 4_000_000


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
    dealt = dealt_labels(label_, n_permutations, seed, stratum)
    ranks = double_ranks(probability_[None, :], stratum)
    sums = np.concatenate([part @ ranks.T for part in dealt])[:, 0]
    observed = ranks[0] @ label_
    null = auc_of_ranks(sums, label_, stratum)
    if np.isnan(null).all():
        return LabelPermutation(math.nan, null, math.nan)
    # Rank sums are whole numbers, so that ties with the observed one are exact.
    return LabelPermutation(
        observed=float(auc_of_ranks(observed, label_, stratum)),
        null=null,
        p_value=(1 + int((sums >= observed).sum())) / (1 + n_permutations),
        p_low=(1 + int((sums <= observed).sum())) / (1 + n_permutations),
    )


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


def dealt_labels(label: np.ndarray, n_permutations: int, seed: int, stratum: np.ndarray | None) -> Iterator[np.ndarray]:
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


def double_ranks(scores: np.ndarray, stratum: np.ndarray | None) -> np.ndarray:
    """Twice the midranks within each row of ``(k, n)``, and within strata: whole numbers, ties too."""
    ranks = np.empty(scores.shape)
    for of in _members(scores.shape[1], stratum):
        ranks[:, of] = 2 * rankdata(scores[:, of], axis=1)
    return ranks


def auc_of_ranks(double_rank_sum: np.ndarray, label: np.ndarray, stratum: np.ndarray | None) -> np.ndarray:
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
