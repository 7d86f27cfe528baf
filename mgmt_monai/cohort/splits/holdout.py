"""Which patient is for training, validation, test."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.records import SPLITS
from mgmt_monai.cohort.splits.groups import all_single, check_groups
from mgmt_monai.cohort.tables.table import names, read_table

DRAWS = 200
"""How many random draws of groups compete; the one nearest to the wanted share of both labels is taken."""


def holdout_split(
    labels: Mapping[str, int],
    test_fraction: float,
    train_fraction: float,
    seed: int,
    groups: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Split by patient, stratified by label: a test share first, then training and validation of the rest.

    Args:
        labels: ``{patient_id: label}``.
        test_fraction: Share of all patients for the test, 0 to 1 (the paper: 0.1).
        train_fraction: Share of the others for training, 0 to 1; the rest is for validation (the paper: 0.85).
        seed: Of the shuffle, from 0. Same patients, same seed: the same split.
        groups: ``{patient_id: group}``; patients of one group are never parted. None, or groups of one each: every
            patient for itself.

    Returns:
        ``{patient_id: "train" | "validation" | "test"}``. With groups, the test, and the validation share of the rest,
        miss the number asked for by at most half the largest group, and hold the labels as evenly as `DRAWS` random
        draws of whole groups allow.

    Raises:
        CohortError: A fraction outside (0, 1), a seed outside 0 to 2**32 - 1, a patient without a group, or a split
            would lack methylated or unmethylated patients.
    """
    check_holdout(test_fraction, train_fraction, seed)
    patients = sorted(labels)
    if groups is not None:
        check_groups(patients, groups)
        if not all_single(patients, groups):
            return _grouped(labels, test_fraction, train_fraction, seed, groups)
    from sklearn.model_selection import train_test_split  # seconds to import, and a scan's workers do not split

    try:
        others, test = train_test_split(
            patients, test_size=test_fraction, random_state=seed, stratify=[labels[p] for p in patients]
        )
        train, validation = train_test_split(
            others, train_size=train_fraction, random_state=seed, stratify=[labels[p] for p in others]
        )
    except ValueError as error:  # scikit-learn's word for too few patients of a class
        raise CohortError(f"{_counts(labels)}: too few to split by label. {_WHAT_TO_DO}") from error
    split = {p: name for name, members in zip(SPLITS, (train, validation, test), strict=True) for p in members}
    check_both_classes(labels, split)
    return split


def check_holdout(test_fraction: float, train_fraction: float, seed: int) -> None:
    """Refuse numbers that no hold-out split can have.

    Args:
        test_fraction: Share of all patients for the test.
        train_fraction: Share of the others for training.
        seed: Of the shuffle.

    Raises:
        CohortError: A fraction outside (0, 1), a seed outside 0 to 2**32 - 1.
    """
    for name, fraction in (("test_fraction", test_fraction), ("train_fraction", train_fraction)):
        if not 0 < fraction < 1:
            raise CohortError(
                f"{name}: expected a number between 0 and 1 (neither of them), found {fraction}. Name another share."
            )
    if not 0 <= seed < 2**32:
        raise CohortError(f"split seed: expected a whole number from 0 to {2**32 - 1}, found {seed}. Name another one.")


def check_both_classes(labels: Mapping[str, int], split: Mapping[str, str]) -> None:
    """Refuse a split that lacks a class.

    Args:
        labels: ``{patient_id: label}`` of at least the patients in ``split``.
        split: ``{patient_id: split}``.

    Raises:
        CohortError: Names the split and the class it lacks.
    """
    for name in SPLITS:
        present = {labels[patient] for patient, of in split.items() if of == name}
        for label, word in ((1, "methylated"), (0, "unmethylated")):
            if label not in present:
                raise CohortError(f"no {word} patient in the {name} split ({_counts(labels)}). {_WHAT_TO_DO}")


LISTED_COLUMNS = ("patient_id", "split", "fold", "excluded", "reason")
"""Columns of a split as a table."""


@dataclass(frozen=True)
class ListedSplit:
    """A split as a table names it, without labels, so that it can be passed on where labels may not.

    Args:
        split: ``{patient_id: "train" | "validation" | "test"}`` of those not excluded.
        fold: ``{patient_id: outer fold}``, from 0, of those not excluded; empty where the table has no folds.
        excluded: ``{patient_id: reason}``.
    """

    split: dict[str, str]
    fold: dict[str, int]
    excluded: dict[str, str]


def read_split(path: Path) -> ListedSplit:
    """Read a split from a table.

    Args:
        path: CSV with the columns ``patient_id,split``; also ``fold`` (from 0), ``excluded`` (yes, no or empty) and
            ``reason`` where it has them, in any order. Other columns are passed over.

    Returns:
        Who is where. ``excluded`` holds an empty reason where the table gives none.

    Raises:
        CohortError: The file is absent or unreadable, lacks a column, names a patient twice or none, or holds another
            split, fold or ``excluded`` than these; a patient who is neither excluded nor in a split, or is both; folds
            for some patients only.
    """
    path = Path(path)
    table = read_table(path, f"no such split. Expected a CSV with the columns {','.join(LISTED_COLUMNS)}.")
    wanted = [column for column in LISTED_COLUMNS if column in table.columns or column in ("patient_id", "split")]
    rows = [dict.fromkeys(LISTED_COLUMNS, "") | dict(zip(wanted, row, strict=True)) for row in table.rows(wanted)]
    table.check_patients("patient_id", [row["patient_id"] for row in rows], wanted)
    split: dict[str, str] = {}
    fold: dict[str, int] = {}
    excluded: dict[str, str] = {}
    for row in rows:
        patient = row["patient_id"]
        if row["excluded"] not in ("yes", "no", ""):
            raise _row_error(path, patient, "excluded yes or no", row["excluded"])
        if row["excluded"] == "yes":
            if row["split"] or row["fold"]:
                raise _row_error(path, patient, "no split and no fold, for it is excluded", row["split"] or row["fold"])
            excluded[patient] = row["reason"]
            continue
        if row["split"] not in SPLITS:
            raise _row_error(path, patient, f"a split of {', '.join(SPLITS)}", row["split"])
        split[patient] = row["split"]
        if row["fold"]:
            digits = row["fold"].lstrip("0")  # thousands of them are no number to Python
            if not (row["fold"].isascii() and row["fold"].isdigit() and len(digits) <= 4):
                raise _row_error(path, patient, "a fold, a whole number from 0 to 9999", row["fold"])
            fold[patient] = int(row["fold"])
    if not split:
        raise CohortError(f"{path}: expected at least one patient in a split, found none. Add the patients.")
    lacking = [patient for patient in split if fold and patient not in fold]
    if lacking:
        raise CohortError(f"{path}: expected a fold for every patient, found none for {names(lacking)}. Add or remove.")
    return ListedSplit(split, fold, excluded)


def _grouped(
    labels: Mapping[str, int], test_fraction: float, train_fraction: float, seed: int, groups: Mapping[str, str]
) -> dict[str, str]:
    """Whole groups for the test first, then whole groups of the rest for validation."""
    rng = np.random.default_rng(seed)
    patients = sorted(labels)
    chosen = _draw(labels, patients, test_fraction, groups, rng)
    split = {patient: "test" for patient in patients if groups[patient] in chosen}
    others = [patient for patient in patients if patient not in split]
    chosen = _draw(labels, others, 1 - train_fraction, groups, rng)
    split |= {patient: "validation" if groups[patient] in chosen else "train" for patient in others}
    try:
        check_both_classes(labels, split)
    except CohortError as error:
        largest, size = Counter(groups[patient] for patient in patients).most_common(1)[0]
        raise CohortError(
            f"{error} Or group by something finer: the largest group, {largest}, holds {size} of {len(patients)} "
            "patients and is not cut."
        ) from error
    return split


def _draw(
    labels: Mapping[str, int],
    patients: Collection[str],
    fraction: float,
    groups: Mapping[str, str],
    rng: np.random.Generator,
) -> set[str]:
    """Groups that hold about this share of the patients, and of each label.

    A draw goes through the groups in random order and takes each that brings the number of patients nearer to the one
    wanted. A group passed over is then at least twice as large as what was missing, and one taken overshoots by less
    than half its size: the number is missed by half the largest group at most, whatever the order. Of `DRAWS` draws
    the one with the numbers of both labels nearest to those wanted is taken, the first of equals.
    """
    order = sorted({groups[patient] for patient in patients})
    position = {group: index for index, group in enumerate(order)}
    sizes = np.zeros((len(order), 2), dtype=int)  # patients by group and label
    for patient in patients:
        sizes[position[groups[patient]], labels[patient]] += 1
    totals = sizes.sum(axis=1).tolist()
    wanted = fraction * sizes.sum(axis=0)
    best, least = np.zeros(len(order), dtype=bool), np.inf
    for _ in range(DRAWS):
        taken = np.zeros(len(order), dtype=bool)
        missing = float(wanted.sum())
        for index in rng.permutation(len(order)).tolist():
            if abs(missing - totals[index]) < abs(missing):
                taken[index] = True
                missing -= totals[index]
        distance = float(np.abs(sizes[taken].sum(axis=0) - wanted).sum())
        if distance < least:
            best, least = taken, distance
    return {group for group, is_taken in zip(order, best, strict=True) if is_taken}


_WHAT_TO_DO = "Use more patients, or other values of test_fraction, train_fraction or split_seed."


def _counts(labels: Mapping[str, int]) -> str:
    methylated = sum(labels.values())
    return f"{methylated} methylated and {len(labels) - methylated} unmethylated patients"


def _row_error(path: Path, patient: str, expected: str, found: str) -> CohortError:
    return CohortError(
        f"{path}: patient {names([patient])}: expected {expected}, found {names([found or 'none'])}. Correct the row."
    )
