"""A predictions table held against what is known of its patients, and against itself."""

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import poisson

from mgmt_monai.evaluation.predictions import EvaluationError

CLONE_P = 0.0001
"""So many patients with another's very predictions are chance no more often than this: then they are named."""

_NEAR = 10
"""Steps of the predictions' last digit within which others lie, to know how often two meet by chance."""

_SHOWN = 3


def hold(
    rows: pd.DataFrame, name: str, labels: Mapping[str, int], splits: Mapping[str, str], source: str = "manifest"
) -> None:
    """Refuse a model's rows whose labels or splits are not those that are known.

    Args:
        rows: The columns of a predictions table.
        name: Of the model.
        labels: By patient, of all that are known.
        splits: By patient: ``train``, ``validation`` or ``test``; of folds, see `fold_splits`. Empty: not looked at.
        source: What errors call that which knows.

    Raises:
        EvaluationError: Patients are unknown, have another label, or sit in another split: the first fault, with how
            many there are.
    """
    patients = rows.drop_duplicates("patient_id")
    unknown = [patient for patient in patients["patient_id"] if patient not in labels]
    if unknown:
        raise EvaluationError(
            f"{name}: expected patients of the {source}, found {_some(unknown)} of {len(patients)} that are not in it; "
            f"give the {source} of these predictions"
        )
    wrong = patients[patients["label"] != patients["patient_id"].map(labels)]
    if len(wrong):
        raise EvaluationError(
            f"{name}: expected the {source}'s labels, found another for {_some(wrong['patient_id'])} of "
            f"{len(patients)}; mend the labels"
        )
    if splits:
        known = rows["patient_id"].map(splits)
        moved = rows[rows["split"] != known]
        for (found, expected), of in moved.groupby(["split", known[moved.index]], sort=False):
            raise EvaluationError(
                f"{name}: expected the manifest's split, found {_some(of['patient_id'].unique())} called {found} that "
                f"are {expected} in the manifest; judge test patients alone"
            )


def fold_splits(folds: Mapping[str, list[int]], fold: int, n_folds: int) -> dict[str, str]:
    """Which patients a fold tests; validation and training patients of a fold are not told apart.

    Args:
        folds: The outer fold of each repeat, by patient.
        fold: As predictions tables number it: the repeat times ``n_folds``, and the fold.
        n_folds: Of each repeat.

    Returns:
        ``test`` or ``train`` by patient.

    Example:
        >>> fold_splits({"a": [0, 1], "b": [1, 0]}, 3, 2)
        {'a': 'test', 'b': 'train'}
    """
    repeat, number = divmod(fold, n_folds)
    return {patient: "test" if len(of) > repeat and of[repeat] == number else "train" for patient, of in folds.items()}


def missing(rows: pd.DataFrame, expected: Collection[str]) -> list[str]:
    """The test patients that a model's rows leave out.

    Returns:
        Their identifiers, sorted.
    """
    return sorted(set(expected) - set(rows.loc[rows["split"] == "test", "patient_id"]))


def clones(tables: Iterable[pd.DataFrame]) -> dict[str, str]:
    """Patients with the very predictions of another: one person under two names, or one image.

    Two patients can meet by chance where predictions have few digits. How often they would is told by how many lie
    close to each other; patients are named where that many are chance in less than `CLONE_P`.

    Args:
        tables: The columns of a predictions table, of every model; its test rows are looked at.

    Returns:
        The first patient of the same predictions, by the others: to six digits, for two runs differ in the seventh, or
        where that says nothing to all of them.
    """
    test = pd.concat([table[table["split"] == "test"].assign(table=number) for number, table in enumerate(tables)])
    keys = ["table", "modality", "stage", "fold", "seed"]
    wide = test.pivot_table(index="patient_id", columns=keys, values="probability", sort=False)
    if wide.shape[0] < 2:
        return {}
    # Saturated and constant predictions are the same for many: they tell nothing of a patient.
    telling = wide.where((wide > 0) & (wide < 1))
    telling = telling.loc[:, telling.nunique() > max(2, 0.1 * len(wide))].dropna(how="all")
    if telling.shape[1] == 0:
        return {}
    return _clones(telling.round(6), keys.index("fold")) or _clones(telling.round(12), keys.index("fold"))


def _clones(telling: pd.DataFrame, fold_level: int) -> dict[str, str]:
    groups = telling.fillna(-1.0).groupby(list(telling.columns), sort=False).groups
    twins = [list(members) for members in groups.values() if len(members) > 1]
    n_pairs = sum(math.comb(len(members), 2) for members in twins)
    # Models of one fold test the same patients, and must all agree; other folds test others.
    of_fold: dict[int, float] = {}
    for column in telling.columns:
        fold = column[fold_level]
        of_fold[fold] = min(of_fold.get(fold, math.inf), _met_by_chance(telling[column].dropna().to_numpy()))
    expected = sum(of_fold.values())
    if not n_pairs or poisson.sf(n_pairs - 1, expected) > CLONE_P:
        return {}
    return {other: members[0] for members in twins for other in members[1:]}


def _met_by_chance(values: np.ndarray) -> float:
    """How many pairs of independent patients are expected to be equal, from how many nearly are."""
    distinct = np.unique(values.round(12))
    if len(distinct) < 2:
        return math.inf
    narrowest = np.diff(distinct).min()
    for parts in range(1, _NEAR + 1):  # multiples of one step, such as a forest's share of trees
        gap = narrowest / parts
        steps = (distinct - distinct[0]) / gap
        if np.abs(steps - steps.round()).max() < 1e-3:
            break
    else:  # decimal digits
        gap = 10.0 ** -next(d for d in range(13) if np.abs(distinct - distinct.round(d)).max() < 1e-13 or d == 12)
    ordered = np.sort(values)
    upper = np.searchsorted(ordered, ordered + (_NEAR + 0.5) * gap)
    lower = np.searchsorted(ordered, ordered + 0.5 * gap)
    return max(float((upper - lower).sum()) / (2 * _NEAR), len(values) ** 2 * gap / 2)


def _some(patients: Iterable[str]) -> str:
    names = list(patients)
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})"
