"""A predictions table held against what is known of its patients, and against itself."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import logit
from scipy.stats import binom, chi2_contingency, mannwhitneyu, poisson

from mgmt_monai.evaluation.added_value import added_value, association
from mgmt_monai.evaluation.columns import COLUMN_P
from mgmt_monai.evaluation.controls import ALPHA_MODEL
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.evaluation.folds import across_folds, parted_models, untold, widened
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.verdict import LEAST_SPREAD
from mgmt_monai.evaluation.within_site import site_codes

CLONE_P = 0.0001
"""So many patients with another's very predictions are chance no more often than this: then they are named."""

MOST_UNTOLD = 0.05
"""Of predictions, from which on it matters who was left out; a training that failed is to be run again."""

FOLDS_ALONE = (0.05, 0.1)
"""By so much more do folds agree with the labels than all pairs, whose p-value is above this."""

CLONE_STEPS = (1e-12, 6e-7, 2e-5, 5.1e-5, 5.1e-4)
"""So near are the predictions of one patient: two runs differ in the seventh digit; noise; four digits and three."""

_CROWD = 20
"""Where more patients have one prediction, it is an answer given to all of them, and says nothing of copies."""

_NEAR = 10
"""Steps of the predictions' last digit within which others lie, to know how often two meet by chance."""

_SHOWN = 3

_LEAST_GROUP = 5
"""Patients whose names begin alike."""

_KEYS = ["table", "modality", "stage", "fold", "seed"]

_MANY = 20
"""Test patients whom no model of this field parts without an error."""

_SATURATED = 20
"""Steps that a probability has to be away from 0 and 1 to be compared."""

_RESCALED_STEP = 1e-4
"""Of logits: what five digits leave of them."""

_MOST_RESCALED = 1000
"""Patients whose pairs are tried: the memory grows with their square."""


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


def noticed(models: Mapping[str, pd.DataFrame]) -> list[str]:
    """What a reader of predictions tables should know and no figure tells.

    Patients whom another model of the same fold and seed has seen in training; one model, or one patient, under two
    names; probabilities that hardly differ, or part the labels without an error.

    Args:
        models: The columns of a predictions table, by name.

    Returns:
        A sentence each.
    """
    told = []
    keys = ["fold", "seed", "patient_id"]
    tests = {name: rows[rows["split"] == "test"].set_index(keys)["probability"] for name, rows in models.items()}
    ranks = {name: of.sort_index().round(12).rank() for name, of in tests.items()}
    every = {patient for rows in models.values() for patient in rows["patient_id"]}
    for name, of in tests.items():
        if 0 < (spread := float(of.max() - of.min())) < LEAST_SPREAD:
            told.append(f"{name}: its probabilities differ by {spread:.1g} at most, as rounding errors do")
        tested = models[name][models[name]["split"] == "test"]
        if len(of) >= _MANY and auc(tested["label"], tested["probability"]) == 1:
            told.append(f"{name}: no methylated patient is below another: were the labels an input, or written here?")
    for name, other in permutations(models, 2):
        rows = models[other]
        seen = tests[name].index.intersection(pd.MultiIndex.from_frame(rows.loc[rows["split"] == "train", keys]))
        if len(seen):
            told.append(
                f"{name}: {_some(seen.get_level_values('patient_id').unique())} of its test patients are train in "
                f"{other}: if one was made from the other, it has seen them"
            )
        if name < other and ranks[name].nunique() > 2 and ranks[name].equals(ranks[other]):
            told.append(f"{name} and {other} order all patients alike: one model twice, or no training between them")
    written: dict[tuple[str, ...], list[str]] = {}
    for patient in sorted(every):
        written.setdefault(_words(patient), []).append(patient)
    if alike := [" = ".join(names) for names in written.values() if len(names) > 1]:
        told.append(f"{_some(alike)} are names that differ in their writing alone: give one person one name")
    return told


def name_groups(patients: Iterable[str]) -> str:
    """Whether patients' names begin in a few ways, as those of several sites do.

    Returns:
        A sentence; "" where they do not.

    Example:
        >>> name_groups([f"{site}-{n:03}" for site in ("UCSF", "UPENN") for n in range(5)])
        "the patients' names begin in 2 ways (UCSF: 5, UPENN: 5): if these are sites, give a column site"
    """
    for way in _ways_of_names(list(patients))[0]:
        large = {begin: n for begin, n in Counter(way).items() if n >= _LEAST_GROUP}
        shown = ", ".join(f"{begin or 'a number'}: {n}" for begin, n in [*large.items()][:_SHOWN])
        more = ", ..." if len(large) > _SHOWN else ""
        return f"the patients' names begin in {len(large)} ways ({shown}{more}): if these are sites, give a column site"
    return ""


def _ways_of_names(patients: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
    """How names part patients into large groups: by their beginnings, such as UCSF-001, and by any of their words."""
    begins = [[*patients]]
    for _ in range(3):  # such as UPENN-00001_11
        begins.append([re.sub(r"[\W_]*\d+$", "", name) for name in begins[-1]])
    words = [_words(patient) for patient in patients]
    first = [[re.split(r"[\W_]", name)[0] for name in patients]]
    places = [[of[place] for of in words] for place in range(min(map(len, words), default=0))]

    def grouped(ways: Iterable[list[str]]) -> list[list[str]]:
        sizes = [(way, [n for n in Counter(way).values() if n >= _LEAST_GROUP]) for way in ways]
        return [way for way, large in sizes if len(large) > 1 and sum(large) >= 0.9 * len(way)]

    return grouped([*begins[1:], *first]), grouped(places)


def examinations(labels: Mapping[str, int]) -> str:
    """Whether test patients' names tell that persons are examined several times, as ``p7-1`` and ``p7-2`` do.

    Names that are alike but for one word or number are a group. Groups of one person have one label each, which chance
    gives to so many in less than `CLONE_P`.

    Args:
        labels: By patient.

    Returns:
        A sentence; "" where they do not.

    Example:
        >>> examinations({f"p{n}-{scan}": n % 2 for n in range(20) for scan in (1, 2)})[:65]
        '20 of 20 groups of patients whose names are alike but for a numbe'
    """
    share = sum(labels.values()) / max(1, len(labels))
    words = {patient: _words(patient) for patient in labels}
    for place in reversed(range(min(map(len, words.values()), default=0))):
        said = {(of[place], labels[patient]) for patient, of in words.items()}
        if len(said) == len({word for word, _ in said}) <= _SHOWN:  # the label itself, such as met-001
            words = {patient: of[:place] + of[place + 1 :] for patient, of in words.items()}
    for place in range(max(map(len, words.values()), default=0)):
        groups: dict[tuple[str, ...], list[str]] = {}
        for patient, of in words.items():
            groups.setdefault(of[:place] + of[place + 1 :], []).append(patient)
        several = [patients for rest, patients in groups.items() if rest and len(patients) > 1]
        one = sum(len({labels[patient] for patient in patients}) == 1 for patients in several)
        chance = sum(share ** len(of) + (1 - share) ** len(of) for of in several) / max(1, len(several))
        if one >= 0.9 * len(several) > 0 and binom.sf(one - 1, len(several), chance) <= CLONE_P:
            return (
                f"{one} of {len(several)} groups of patients whose names are alike but for a number have one label "
                f"({', '.join(several[0][:2])}, ...): examinations of one person are to be one row"
            )
    return ""


def doubts(
    name: str, rows: Mapping[str, pd.DataFrame], controls: Sequence[pd.Series], pooled: pd.DataFrame,
    permutation_p: float | None,
) -> list[str]:  # fmt: skip
    """What speaks against a model's predictions though nothing is wrong with their figures.

    Args:
        name: Of the model.
        rows: The columns of a predictions table, of every model that is no control; ``held`` of those that test
            whom a manifest has for it, true if it has their folds too.
        controls: Their probabilities by patient.
        pooled: The model's test patients, as :func:`mgmt_monai.evaluation.pooling.pool` returns them.
        permutation_p: Of all pairs.

    Returns:
        Keys of :data:`mgmt_monai.evaluation.verdict.REASONS`.
    """
    table, own = rows[name], set(pooled["patient_id"])
    kind = {other: (of["modality"].iloc[0], of["stage"].iloc[0]) for other, of in rows.items()}
    file = {other: other.removesuffix(" ".join(kind[other])) for other in rows}
    tests = {other: set(of.loc[of["split"] == "test", "patient_id"]) for other, of in rows.items()}
    parted = parted_models({each: set().union(*(tests[o] for o in rows if kind[o] == each)) for each in kind.values()})
    alike = [other for other in rows if kind[other][0].casefold() == kind[name][0].casefold()]
    beside = [*(tests[other] for other in alike), *(set(control.index) for control in controls)]
    beside = [] if "held" in table else beside
    chosen = (
        kind[name] in parted
        or untold(table) > MOST_UNTOLD
        or any(len(own - of) <= MOST_UNTOLD * len(own) and len(of - own) > MOST_UNTOLD * len(of) for of in beside)
    )
    keys = ["fold", "seed", "patient_id"]
    tested = pd.MultiIndex.from_frame(table.loc[table["split"] == "test", keys])
    learnt = [rows[other] for other in alike if file[other] == file[name]]
    seen = any(pd.MultiIndex.from_frame(of.loc[of["split"] == "train", keys]).isin(tested).any() for of in learnt)
    alone = False
    if not ("held" in table and table["held"].all()) and permutation_p is not None and permutation_p > FOLDS_ALONE[1]:
        ranks, _ = across_folds(pooled["probability"], pooled["fold"], pooled["label"])
        alone = auc(pooled["label"], ranks) - auc(pooled["label"], pooled["probability"]) > FOLDS_ALONE[0]
    found = {"chosen_patients": chosen, "seen_by_stage": seen, "folds_alone": alone,
             "numbers_tell": numbers_tell(table, pooled)}  # fmt: skip
    return [reason for reason, holds in found.items() if holds]


def numbers_tell(rows: pd.DataFrame, pooled: pd.DataFrame) -> bool:
    """Whether the number of slices, or patients' names, tell what the model does.

    Names are numbered in some order, of collection or of labels, so theirs counts only where the model goes with it
    among patients of one label. Names that part the patients into large groups, as those of hospitals do, count where
    these groups go with the label and the model, which tells nothing among the patients of one.

    Args:
        rows: The columns of a predictions table, of one model.
        pooled: Its test patients, as :func:`mgmt_monai.evaluation.pooling.pool` returns them.
    """
    label, probability = pooled["label"].to_numpy(), pooled["probability"].to_numpy()
    slices = rows[rows["split"] == "test"].groupby("patient_id")["n_slices"].median()
    found = [re.findall(r"\d+", patient) for patient in pooled["patient_id"]]
    named = [[float(of[place]) for of in found] for place in range(min(map(len, found), default=0))]
    for n, numbers in enumerate([slices.loc[pooled["patient_id"]].to_numpy(), *map(np.array, named)]):
        if not 0 < label.sum() < len(label) or np.ptp(numbers) == 0:
            continue
        turned = numbers * (1 if numbers[label == 1].mean() > numbers[label == 0].mean() else -1)
        if mannwhitneyu(turned[label == 1], turned[label == 0], alternative="greater").pvalue > CLONE_P / 2:
            continue
        if (
            association(label, probability, turned) <= CLONE_P
            if n
            else added_value(label, probability, turned) > ALPHA_MODEL
        ):
            return True
    begins, places = _ways_of_names(pooled["patient_id"].tolist())
    codes = {tuple(site_codes(way, len(label)).tolist()) for way in (*begins, *places)}
    scores, widen = across_folds(probability, pooled["fold"], label)
    for code in map(np.array, codes) if 0 < label.sum() < len(label) else ():
        share = (np.bincount(code, label) / np.bincount(code))[code]
        if (
            chi2_contingency(pd.crosstab(code, label), correction=False).pvalue <= COLUMN_P / len(codes)
            and association(label, scores, share) <= COLUMN_P
            and not widened(permutation_test(label, scores, stratum=code).p_value, widen) <= ALPHA_MODEL
        ):
            return True
    return False


def clones(tables: Iterable[pd.DataFrame]) -> dict[str, str]:
    """Test patients with the predictions of another: one person under two names, or one image.

    Two patients can meet by chance. How often they would is told by how many lie close to each other; patients are
    named where that many are chance in less than `CLONE_P`.

    Args:
        tables: The columns of a predictions table, of every model.

    Returns:
        Another patient of the same predictions, by test patient: the first of them stays, but where a model that tests
        one has seen another in training none does.
    """
    every = pd.concat([table.assign(table=number) for number, table in enumerate(tables)])
    every["test"] = (every["split"] == "test").astype(float)
    wide = every.pivot_table(index="patient_id", columns=_KEYS, values="probability", sort=False)
    # Constant predictions are the same for many: they tell nothing of a patient.
    wide = wide.loc[:, wide.nunique() > max(2, 0.1 * len(wide))]
    best, pairs = 0.0, np.empty((0, 2), dtype=int)
    for step in CLONE_STEPS:
        # Nor do those so near to 0 or 1, or so near to all others, that the step is no small part of them.
        spread = wide.quantile(0.75) - wide.quantile(0.25) > 2 * _SATURATED * step
        found, more = _excess(wide.loc[:, spread].where(wide * (1 - wide) > _SATURATED * step), step)
        best, pairs = (more, found) if more > 1.3 * best else (best, pairs)
    if not len(pairs):
        of_fold: dict[int, set[tuple[int, int]]] = {}
        for key, column in wide.items():  # a copy is one in every model that saw both
            if (met := _rescaled(column.to_numpy())) is not None:
                fold = key[_KEYS.index("fold")]
                of_fold[fold] = of_fold.get(fold, met) & met
        pairs = np.array(sorted(set().union(*of_fold.values())), dtype=int).reshape(-1, 2)
    group = pd.Series(
        connected_components(coo_matrix((np.ones(len(pairs)), pairs.T), (len(wide),) * 2), directed=False)[1],
        index=wide.index,
    )
    tests = every.pivot_table(index="patient_id", columns=_KEYS, values="test", sort=False)
    named = {}
    for _, of in group[group.duplicated(keep=False)].groupby(group):
        split = tests.loc[of.index]
        tested = list(of.index[split.max(axis=1) > 0])
        learnt = bool(((split.max() == 1) & (split.min() == 0)).any())
        named.update({patient: next(other for other in (*tested, *of.index) if other != patient)
                      for patient in tested[0 if learnt else 1 :]})  # fmt: skip
    return named


def _excess(telling: pd.DataFrame, step: float) -> tuple[np.ndarray, float]:
    """Pairs of patients, by place, who agree to a step wherever both have a value; by how many more than by chance."""
    values = telling.to_numpy(copy=True)
    met: set[tuple[int, int]] = set()
    for column in values.T:
        order = np.argsort(column)[: int(np.isfinite(column).sum())]
        crowded = np.flatnonzero(column[order[_CROWD:]] - column[order[:-_CROWD]] <= step)
        column[order[np.unique(crowded[:, None] + np.arange(_CROWD + 1))]] = np.nan
        order = order[np.isfinite(column[order])]
        for apart in range(1, len(order)):
            near = np.flatnonzero(column[order[apart:]] - column[order[:-apart]] <= step)
            if not len(near):
                break
            met.update(zip(*np.sort([order[near], order[near + apart]], axis=0).tolist(), strict=True))
    pairs = [pair for pair in sorted(met) if not (np.abs(values[pair[0]] - values[pair[1]]) > step).any()]
    # Models of one fold see the same patients, and must all agree; other folds see others.
    of_fold: dict[int, float] = {}
    for key, column in telling.items():
        fold = key[_KEYS.index("fold")]
        of_fold[fold] = min(of_fold.get(fold, math.inf), _met_by_chance(column.dropna().to_numpy(), step))
    chance = sum(of_fold.values())
    clear = chance <= len(pairs) / 5 and poisson.sf(len(pairs) - 1, chance) <= CLONE_P
    return np.array(pairs), len(pairs) - chance if pairs and clear else 0.0


def _rescaled(values: np.ndarray) -> set[tuple[int, int]] | None:
    """Pairs of patients, by place, the one's logits the other's moved, or multiplied, by one number for all pairs.

    None where the values are too near to each other to know.
    """
    alone = ~pd.Series(values).duplicated(keep=False).to_numpy()
    inside = np.flatnonzero((values > 0) & (values < 1) & alone)[:_MOST_RESCALED]
    logits = logit(values[inside])
    if len(logits) < 2 or np.subtract(*np.quantile(logits, [0.75, 0.25])) < 400 * _RESCALED_STEP:
        return None
    for scale in (logits, np.log(np.abs(logits) + 1e-12)):
        first, second = np.triu_indices(len(scale), 1)
        kept = (logits[first] * logits[second] > 0) | (scale is logits)
        first, second = first[kept], second[kept]
        apart = scale[first] - scale[second]
        first, second = np.where(apart > 0, first, second), np.where(apart > 0, second, first)
        order = np.argsort(np.abs(apart))
        order = order[np.abs(apart)[order] > 10 * _RESCALED_STEP]
        ordered = np.abs(apart)[order]
        count = np.searchsorted(ordered, ordered + 2 * _RESCALED_STEP, "right") - np.arange(len(ordered))
        if not len(count):
            continue
        peak = int(count.argmax())
        others = count[np.abs(ordered - ordered[peak]) > 4 * _RESCALED_STEP]
        # A grid of logits has many such numbers; chance has many that join two pairs or three.
        if count[peak] >= max(6, len(logits) / 10) and count[peak] > 2 * max(others, default=0):
            of = order[peak : peak + count[peak]]
            return set(zip(*np.sort([inside[first[of]], inside[second[of]]], axis=0).tolist(), strict=True))
    return set()


def _met_by_chance(values: np.ndarray, step: float) -> float:
    """How many pairs of independent patients are expected within a step, from how many nearly are."""
    distinct = np.unique(values.round(12))
    if len(distinct) < 2:
        return math.inf
    narrowest = np.diff(distinct).min()
    for parts in range(1, _NEAR + 1):  # multiples of one step, such as a forest's share of trees
        gap = narrowest / parts
        steps = (distinct - distinct[0]) / gap
        if np.abs(steps - steps.round()).max() < 1e-3:
            break
    else:  # decimal digits, of the probabilities or of their logits
        gap = 10.0 ** -_digits(distinct)
        if distinct[0] > 0 and distinct[-1] < 1:
            gap = max(gap, 0.25 * 10.0 ** -_digits(logit(distinct)))
    gap = max(gap, 2 * step)
    ordered = np.sort(values)
    upper = np.searchsorted(ordered, ordered + (_NEAR + 0.5) * gap)
    lower = np.searchsorted(ordered, ordered + 0.5 * gap)
    return max(float((upper - lower).sum()) / (2 * _NEAR), len(values) ** 2 * gap / 2)


def _digits(values: np.ndarray) -> int:
    return next(d for d in range(13) if np.abs(values - values.round(d)).max() < 10.0 ** (-d - 3) or d == 12)


def _words(name: str) -> tuple[str, ...]:
    found = re.findall(r"\d+|[^\W\d_]+", unicodedata.normalize("NFKC", name).casefold())
    return tuple(word.lstrip("0") or "0" if word.isdigit() else word for word in found) or (name,)


def _some(patients: Iterable[str]) -> str:
    names = list(patients)
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})"
