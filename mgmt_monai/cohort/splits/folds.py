"""K-fold cross-validation: which fold a patient is in, and what a fold means for training, validation and test."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.splits.groups import all_single, check_groups

MIN_FOLDS = 2
"""One fold would be test and training at once."""

MIN_FOLDS_WITH_VALIDATION = 3
"""One fold each for test and validation, and one left to train on."""


def kfold(
    labels: Mapping[str, int], n_folds: int, n_repeats: int, seed: int, groups: Mapping[str, str] | None = None
) -> dict[str, list[int]]:
    """Outer folds: each patient is in exactly one a repeat, stratified by label, no group cut.

    Repeat ``r`` is shuffled by ``numpy.random.SeedSequence(seed, spawn_key=(r,))``, so it is the same however many
    repeats are asked for.

    Args:
        labels: ``{patient_id: label}``, label 0 or 1.
        n_folds: Number of folds, from 2.
        n_repeats: How many times the patients are dealt anew, from 1.
        seed: From 0. Same patients, same seed: the same folds.
        groups: ``{patient_id: group}``; patients of one group share their fold. None, or groups of one each: every
            patient for itself.

    Returns:
        ``{patient_id: [fold of repeat 0, fold of repeat 1, ...]}``, folds from 0 to ``n_folds - 1``, sorted by
        patient. Without groups the folds' sizes differ by one patient at most, also within each label but for the
        remainder; with groups as little as scikit-learn's ``StratifiedGroupKFold`` finds.

    Raises:
        CohortError: Fewer than 2 folds or 1 repeat, a negative seed, a class or the groups fewer than the folds, a
            fold without methylated or unmethylated patients.
    """
    _check_numbers(n_folds=n_folds, seed=seed)
    if n_repeats < 1:
        raise CohortError(f"n_repeats: expected 1 or more, found {n_repeats}. Use 1 for a plain k-fold.")
    folds: dict[str, list[int]] = {patient: [] for patient in sorted(labels)}
    for repeat in range(n_repeats):
        dealt = _deal(labels, n_folds, _random_state(seed, repeat), groups, f"repeat {repeat}")
        for patient, fold in dealt.items():
            folds[patient].append(fold)
    return folds


def inner_folds(
    labels: Mapping[str, int],
    folds: Mapping[str, Sequence[int]],
    n_folds: int,
    n_inner: int,
    seed: int,
    groups: Mapping[str, str] | None = None,
) -> dict[str, list[list[int | None]]]:
    """Inner folds of a nested cross-validation: the patients outside an outer fold, dealt anew among themselves.

    Those of repeat ``r`` and outer fold ``f`` are shuffled by ``numpy.random.SeedSequence(seed, spawn_key=(r, f))``.

    Args:
        labels: ``{patient_id: label}`` of the patients in ``folds``.
        folds: Outer folds, as `kfold` returns them.
        n_folds: Number of outer folds.
        n_inner: Number of inner folds, from 2.
        seed: From 0; that of the outer folds will do.
        groups: As in `kfold`; use the same.

    Returns:
        ``{patient_id: inner}`` with ``inner[repeat][fold]`` the patient's inner fold, from 0 to ``n_inner - 1``, when
        ``fold`` is the test fold of ``repeat``; None where the patient is in that fold, hence in the test itself.

    Raises:
        CohortError: As `kfold`, for the patients outside an outer fold.
    """
    _check_numbers(n_folds=n_folds, n_inner=n_inner, seed=seed)
    n_repeats = _n_repeats(folds)
    inner: dict[str, list[list[int | None]]] = {p: [[None] * n_folds for _ in range(n_repeats)] for p in sorted(folds)}
    for repeat in range(n_repeats):
        for fold in range(n_folds):
            outside = {patient: labels[patient] for patient in inner if folds[patient][repeat] != fold}
            where = f"repeat {repeat}, outer fold {fold}"
            dealt = _deal(outside, n_inner, _random_state(seed, repeat, fold), groups, where)
            for patient, inner_fold in dealt.items():
                inner[patient][repeat][fold] = inner_fold
    return inner


def fold_split(
    folds: Mapping[str, Sequence[int]],
    repeat: int,
    fold: int,
    n_folds: int,
    inner: Mapping[str, Sequence[Sequence[int | None]]] | None = None,
    inner_fold: int | None = None,
) -> dict[str, str]:
    """What each patient is for when one fold is the test.

    Args:
        folds: Outer folds, as `kfold` returns them.
        repeat: Which repeat, from 0.
        fold: Which outer fold is the test, from 0.
        n_folds: Number of outer folds.
        inner: Inner folds of a nested cross-validation, as `inner_folds` returns them; None without nesting.
        inner_fold: Which inner fold is for validation; with ``inner`` only.

    Returns:
        ``{patient_id: "train" | "validation" | "test"}``: the outer fold is the test; for validation it is the inner
        fold where nested, else the next outer fold, ``(fold + 1) % n_folds``; the rest is for training.

    Raises:
        CohortError: A repeat, fold or inner fold that does not exist; two folds without nesting, which leave nobody
            to train on; an inner fold without inner folds, or the other way about.
    """
    _check_numbers(n_folds=n_folds)
    _check_within("repeat", repeat, _n_repeats(folds))
    _check_within("fold", fold, n_folds)
    if inner is None:
        if inner_fold is not None:
            raise CohortError(
                f"inner_fold {inner_fold}: expected nested folds, found none. Leave inner_fold out, or split with "
                "inner folds first."
            )
        if n_folds < MIN_FOLDS_WITH_VALIDATION:
            raise CohortError(
                f"n_folds: expected {MIN_FOLDS_WITH_VALIDATION} or more, found {n_folds}, which leave nobody to train "
                "on: one is the test, the next is for validation. Use more folds, or nested ones."
            )
        validation = (fold + 1) % n_folds
        names = {fold: "test", validation: "validation"}
        return {patient: names.get(of[repeat], "train") for patient, of in folds.items()}
    if inner_fold is None:
        raise CohortError("inner_fold: expected which inner fold is for validation, found none. Name one, from 0.")
    mine = {patient: inner[patient][repeat][fold] for patient in folds}
    _check_within("inner_fold", inner_fold, 1 + max((of for of in mine.values() if of is not None), default=-1))
    return {
        patient: "test" if of is None else "validation" if of == inner_fold else "train" for patient, of in mine.items()
    }


def _deal(
    labels: Mapping[str, int], n_folds: int, random_state: int, groups: Mapping[str, str] | None, where: str
) -> dict[str, int]:
    """One fold a patient, stratified by label, no group cut."""
    # Seconds to import, and a scan's workers do not split.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    patients = sorted(labels)
    if groups is not None:
        check_groups(patients, groups)
    y = [labels[patient] for patient in patients]
    count = Counter(y)
    for label, word in ((1, "methylated"), (0, "unmethylated")):
        if count[label] < n_folds:
            raise CohortError(
                f"{where}: expected a {word} patient or more a fold, found {count[label]} for {n_folds} folds. "
                "Use fewer folds or more patients."
            )
    if groups is None or all_single(patients, groups):
        parts = StratifiedKFold(n_folds, shuffle=True, random_state=random_state).split(patients, y)
    else:
        group = [groups[patient] for patient in patients]
        if len(set(group)) < n_folds:
            raise CohortError(
                f"{where}: expected a group or more a fold, found {len(set(group))} groups for {n_folds} folds. "
                "Use fewer folds, or group by something finer."
            )
        parts = StratifiedGroupKFold(n_folds, shuffle=True, random_state=random_state).split(patients, y, group)
    dealt = {patients[index]: fold for fold, (_, members) in enumerate(parts) for index in members}
    _check_both_classes(labels, dealt, n_folds, groups or {}, where)
    return dealt


def _check_both_classes(
    labels: Mapping[str, int], dealt: Mapping[str, int], n_folds: int, groups: Mapping[str, str], where: str
) -> None:
    present = {(fold, labels[patient]) for patient, fold in dealt.items()}
    for fold in range(n_folds):
        for label, word in ((1, "methylated"), (0, "unmethylated")):
            if (fold, label) not in present:
                group, size = Counter(groups.get(patient, patient) for patient in dealt).most_common(1)[0]
                raise CohortError(
                    f"{where}: no {word} patient in fold {fold} of {n_folds}; the largest group, {group}, holds {size} "
                    f"of {len(dealt)} patients and is not cut. Use fewer folds, or group by something finer."
                )


def _random_state(seed: int, *key: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0])


def _n_repeats(folds: Mapping[str, Sequence[int]]) -> int:
    lengths = {len(of) for of in folds.values()}
    if len(lengths) != 1:
        found = "no patient" if not lengths else f"from {min(lengths)} to {max(lengths)}"
        raise CohortError(f"folds: expected the same number of repeats for every patient, found {found}. Split again.")
    return lengths.pop()


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        if name == "seed" and number < 0:
            raise CohortError(f"split seed: expected 0 or more, found {number}. Name another one.")
        if name != "seed" and number < MIN_FOLDS:
            raise CohortError(
                f"{name}: expected {MIN_FOLDS} or more, found {number}. Use the hold-out split to train once."
            )


def _check_within(name: str, number: int, count: int) -> None:
    if not 0 <= number < count:
        raise CohortError(f"{name}: expected 0 to {count - 1}, found {number}. There are {count}, counted from 0.")
