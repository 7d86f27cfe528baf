import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.splits import check_both_classes, holdout_split


def labels_of(methylated: int, unmethylated: int) -> dict[str, int]:
    return {f"{i:05d}": int(i < methylated) for i in range(methylated + unmethylated)}


@pytest.mark.parametrize(
    ("methylated", "unmethylated", "fractions", "expected"),
    [
        # (unmethylated, methylated); test = ceil(n * test), train = floor(rest * train), shares by class
        pytest.param(50, 50, (0.1, 0.8), {"test": (5, 5), "train": (36, 36), "validation": (9, 9)}, id="even"),
        pytest.param(40, 60, (0.2, 0.75), {"test": (12, 8), "train": (36, 24), "validation": (12, 8)}, id="uneven"),
        # 585 minus three: 59 test (28 : 31), of 523 (248 : 275) 444 train (210.5 : 233.5) and 79 validation
        pytest.param(
            306,
            276,
            (0.1, 0.85),
            {"test": ({28}, {31}), "train": ({210, 211}, {233, 234}), "validation": ({37, 38}, {41, 42})},
            id="RSNA-MICCAI",
        ),
    ],
)
def test_counts_by_class(methylated, unmethylated, fractions, expected):
    labels = labels_of(methylated, unmethylated)
    split = holdout_split(labels, *fractions, seed=3)
    for name, counts in expected.items():
        members = [patient for patient, of in split.items() if of == name]
        for label, count in enumerate(counts):
            found = sum(labels[patient] == label for patient in members)
            assert found in (count if isinstance(count, set) else {count}), (name, label)


def test_every_patient_in_exactly_one_split():
    labels = labels_of(30, 31)
    split = holdout_split(labels, 0.1, 0.85, seed=0)
    assert sorted(split) == sorted(labels)
    assert set(split.values()) == {"train", "validation", "test"}


def test_same_seed_same_split_whatever_the_order():
    labels = labels_of(30, 30)
    backwards = dict(reversed(labels.items()))
    assert holdout_split(labels, 0.1, 0.85, 7) == holdout_split(backwards, 0.1, 0.85, 7)


def test_another_seed_another_split():
    labels = labels_of(30, 30)
    assert holdout_split(labels, 0.1, 0.85, 7) != holdout_split(labels, 0.1, 0.85, 8)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["test_fraction", "train_fraction"])
def test_fraction_out_of_range_refused(name, fraction):
    fractions = {"test_fraction": 0.1, "train_fraction": 0.85, name: fraction}
    with pytest.raises(CohortError, match=f"{name}: expected a number between 0 and 1"):
        holdout_split(labels_of(30, 30), **fractions, seed=0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_refused(seed):
    with pytest.raises(CohortError, match=f"split seed: .* found {seed}"):
        holdout_split(labels_of(30, 30), 0.1, 0.85, seed)


@pytest.mark.parametrize(("methylated", "unmethylated"), [(1, 0), (1, 20), (2, 2), (3, 30)])
def test_too_few_patients_refused_with_their_counts(methylated, unmethylated):
    with pytest.raises(CohortError, match=f"{methylated} methylated and {unmethylated} unmethylated patients"):
        holdout_split(labels_of(methylated, unmethylated), 0.1, 0.85, 0)


def test_class_missing_altogether_refused_by_name():
    with pytest.raises(CohortError, match="no methylated patient in the train split"):
        holdout_split(labels_of(0, 40), 0.1, 0.85, 0)


def test_class_missing_in_a_split_refused_by_name():
    labels = {"a": 0, "b": 1, "c": 0, "d": 1, "e": 1}
    split = {"a": "train", "b": "train", "c": "validation", "d": "validation", "e": "test"}
    with pytest.raises(CohortError, match="no unmethylated patient in the test split"):
        check_both_classes(labels, split)
