"""Which patient is for training, validation, test."""

from __future__ import annotations

from collections.abc import Mapping

from sklearn.model_selection import train_test_split

from mgmt_monai.cohort.errors import CohortError

SPLITS = ("train", "validation", "test")


def holdout_split(labels: Mapping[str, int], test_fraction: float, train_fraction: float, seed: int) -> dict[str, str]:
    """Split by patient, stratified by label: a test share first, then training and validation of the rest.

    Args:
        labels: ``{patient_id: label}``.
        test_fraction: Share of all patients for the test, 0 to 1 (the paper: 0.1).
        train_fraction: Share of the others for training, 0 to 1; the rest is for validation (the paper: 0.85).
        seed: Of the shuffle, from 0. Same patients, same seed: the same split.

    Returns:
        ``{patient_id: "train" | "validation" | "test"}``.

    Raises:
        CohortError: A fraction outside (0, 1), a seed outside 0 to 2**32 - 1, or a split would lack methylated or
            unmethylated patients.
    """
    for name, fraction in (("test_fraction", test_fraction), ("train_fraction", train_fraction)):
        if not 0 < fraction < 1:
            raise CohortError(f"{name}: expected a number between 0 and 1 (neither of them), found {fraction}.")
    if not 0 <= seed < 2**32:
        raise CohortError(f"split seed: expected a whole number from 0 to {2**32 - 1}, found {seed}.")
    patients = sorted(labels)
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


_WHAT_TO_DO = "Use more patients, or other values of test_fraction, train_fraction or split_seed."


def _counts(labels: Mapping[str, int]) -> str:
    methylated = sum(labels.values())
    return f"{methylated} methylated and {len(labels) - methylated} unmethylated patients"
