"""Predictions of several models, a fold and a seed each: who tested whom, and how their scores are compared."""

from collections import Counter
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.within_site import site_codes

FOLDS_WIDEN = 1.3
"""By how much the standard error of a cross-validated AUC is larger than that of as many independent patients: a fold's
test patients trained the other folds' models. By simulation, ``python benchmarks/verdicts.py``; no unbiased estimate of
it exists (Bengio Y, Grandvalet Y. J Mach Learn Res 2004;5:1089-1105)."""

LEAST_IN_FOLD = 10
"""Test patients of the smallest fold from which on ranks within folds are compared: of fewer too little is left of what
a model tells; of one patient, or of patients of one label, nothing."""


def seeds_as_folds(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with the seed's number as the fold's where seeds are folds: they test other patients each.

    Seeds train on the same patients and test the same ones. Where a fold's seeds do not (a patient is tested by one and
    trained on by another, or a patient is tested by half of them or fewer), each is a split of its own.

    Args:
        table: As `pool` takes it, checked.
    """
    test = table[table["split"] == "test"]
    if test.groupby("seed")["patient_id"].agg(frozenset).nunique() < 2:  # one seed, or each deals folds of its own
        return table
    by_fold = ["fold", "patient_id"]
    n_seeds = test.groupby("fold")["seed"].nunique()
    tested = test.groupby(by_fold).size()
    trained = table[table["split"] != "test"].groupby(by_fold).size()
    half = (tested.groupby("fold").mean() <= n_seeds / 2) & (n_seeds > 1)
    if not half.any() and not tested.index.isin(trained.index).any():
        # Each fold a seed of its own: no patient is tested by two, and there is no average.
        return table.assign(seed=0) if n_seeds.max() == 1 else table
    number = pd.factorize(pd.Series(list(zip(table["seed"], table["fold"], strict=True))), sort=True)[0]
    return table.assign(fold=number, seed=0, seeds_as_folds=True)


def untold(table: pd.DataFrame) -> float:
    """The share of predictions that a design of folds and seeds would have and the table has not.

    Models, by seed and fold, test every patient in turn: each all of them, or several folds their parts of them. A
    patient whom none of such a round has tested or learnt from may have been left out for the prediction. Seeds that
    are taken as folds (`seeds_as_folds`) are no round: of each patient the seed that fits may have been kept.

    Args:
        table: As `pool` takes it.

    Returns:
        From 0 to 1.

    Example:
        >>> rows = {"patient_id": [*"abab"], "seed": [0, 0, 1, 1], "fold": 0, "split": "test"}
        >>> untold(pd.DataFrame(rows)), untold(pd.DataFrame(rows).iloc[:3])
        (0.0, 0.25)
    """
    every = set(table.loc[table["split"] == "test", "patient_id"])
    rounds: list[tuple[set[str], set[str]]] = []
    for _, of in table.groupby(["seed", "fold"]):
        tested, known = set(of.loc[of["split"] == "test", "patient_id"]), set(of["patient_id"])
        if not rounds or tested & rounds[-1][0] or "seeds_as_folds" in table:
            rounds.append((tested, known))
        else:
            rounds[-1] = (rounds[-1][0] | tested, rounds[-1][1] | known)
    return sum(len(every - known) for _, known in rounds) / max(1, len(rounds) * len(every))


def parted_models(tests: Mapping[Any, Set[str]]) -> set[Any]:
    """The models that most of their patients have alone, while others test others: each patient's may be the best kept.

    Args:
        tests: Test patients by model.

    Example:
        >>> sorted(parted_models({"a": {*"pqr"}, "b": {*"stu"}, "c": {*"pqs"}}))
        ['b']
    """
    times = Counter(patient for of in tests.values() for patient in of)
    return {
        model for model, of in tests.items()
        if 2 * sum(times[patient] == 1 for patient in of) > len(of) and 3 * len(of) <= 2 * len(times)
    }  # fmt: skip


def across_folds(scores: ArrayLike, fold: ArrayLike, label: ArrayLike) -> tuple[np.ndarray, float]:
    """Scores that can be compared though models of several folds gave them.

    Args:
        scores: Shape ``(n,)``.
        fold: Shape ``(n,)``.
        label: Shape ``(n,)``, 0 or 1.

    Returns:
        Shape ``(n,)``, their `fold_ranks`; the scores themselves of one fold, and where one has fewer than
        `LEAST_IN_FOLD` patients or one label. How many times as large the standard error is: `FOLDS_WIDEN`, or 1 of
        one fold.

    Example:
        >>> across_folds([0.1, 0.2, 0.9], [0, 1, 2], [0, 1, 1])
        (array([0.1, 0.2, 0.9]), 1.3)
    """
    values, code = np.asarray(scores, dtype=float), np.unique(np.asarray(fold), return_inverse=True)[1]
    sizes, methylated = np.bincount(code), np.bincount(code, np.asarray(label))
    if (widen := fold_widen(code)) == 1:
        return values, widen
    comparable = min(sizes) >= LEAST_IN_FOLD and bool(((methylated > 0) & (methylated < sizes)).all())
    return fold_ranks(values, fold) if comparable else values, widen


def fold_widen(fold: ArrayLike) -> float:
    """How many times as large standard errors are: `FOLDS_WIDEN`, or 1 of one fold.

    Args:
        fold: Shape ``(n,)``.
    """
    return FOLDS_WIDEN if len(np.unique(np.asarray(fold))) > 1 else 1.0


def within_folds_p(label: np.ndarray, scores: np.ndarray, fold: ArrayLike, n_permutations: int, seed: int = 0) -> float:
    """The p-value of the pairs of patients of one fold, whom the level of a fold's model does not tell apart.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        scores: Shape ``(n,)``.
        fold: Shape ``(n,)``.
        n_permutations: Of the labels within each fold.
        seed: Of the permutations.

    Returns:
        Widened; 1 where each fold has one label, 0 of fewer than `LEAST_IN_FOLD` pairs, as where one patient is left
        out: nobody knows.

    Example:
        >>> within_folds_p(np.repeat([0, 1], 20), np.repeat([0.1, 0.9], 20), np.repeat([0, 1], 20), 99)
        1.0
    """
    code = site_codes(fold, len(label))
    sizes = np.bincount(code)
    if (sizes * (sizes - 1)).sum() < 2 * LEAST_IN_FOLD:
        return 0.0
    p = permutation_test(label, scores, n_permutations, seed, code).p_value
    return 1.0 if np.isnan(p) else widened(p, FOLDS_WIDEN)


def fold_ranks(scores: ArrayLike, fold: ArrayLike) -> np.ndarray:
    """Each score's rank in its fold, between 0 and 1: folds' models have levels of their own.

    Args:
        scores: Shape ``(n,)``.
        fold: Shape ``(n,)``.

    Example:
        >>> fold_ranks([0.1, 0.2, 0.9, 0.8], [0, 0, 1, 1]).tolist()
        [0.25, 0.75, 0.75, 0.25]
    """
    values, code = np.asarray(scores, dtype=float), np.unique(np.asarray(fold), return_inverse=True)[1]
    ranks = np.empty(len(values))
    for each in range(int(code.max()) + 1):
        of = code == each
        ranks[of] = (rankdata(values[of]) - 0.5) / of.sum()
    return ranks


def widened(p: float, widen: float) -> float:
    """The p-value of a normal statistic whose standard error is so many times as large.

    Args:
        p: One-sided; from 0.5 on it stays.
        widen: How many times.
    """
    return float(norm.sf(norm.isf(p) / widen)) if p < 0.5 else p
