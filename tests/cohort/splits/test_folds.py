from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.splits.folds import fold_split, inner_folds, kfold


def labels_of(methylated: int, unmethylated: int) -> dict[str, int]:
    return {f"{i:05d}": int(i < methylated) for i in range(methylated + unmethylated)}


LABELS = labels_of(22, 18)


@pytest.mark.parametrize("n_folds", [2, 3, 5, 18])
def test_each_patient_in_one_fold_of_even_size_and_label(n_folds):
    folds = kfold(LABELS, n_folds, 1, 0)
    assert sorted(folds) == sorted(LABELS)
    count = Counter((of[0], LABELS[p]) for p, of in folds.items())
    for label, total in ((1, 22), (0, 18)):
        assert {count[fold, label] for fold in range(n_folds)} <= {total // n_folds, -(-total // n_folds)}


def test_repeat_is_scikit_learns_with_the_documented_seed():
    folds = kfold(LABELS, 5, 3, 11)
    patients = sorted(LABELS)
    for repeat in range(3):
        state = int(np.random.SeedSequence(11, spawn_key=(repeat,)).generate_state(1)[0])
        parts = StratifiedKFold(5, shuffle=True, random_state=state).split(patients, [LABELS[p] for p in patients])
        for fold, (_, members) in enumerate(parts):
            assert {patients[i] for i in members} == {p for p in patients if folds[p][repeat] == fold}


def test_repeats_differ_and_do_not_depend_on_their_number():
    three, one = kfold(LABELS, 5, 3, 0), kfold(LABELS, 5, 1, 0)
    assert {p: of[:1] for p, of in three.items()} == one
    assert len({tuple(of[repeat] for of in three.values()) for repeat in range(3)}) == 3


def test_same_seed_same_folds_whatever_the_order_another_seed_others():
    folds = kfold(LABELS, 5, 2, 4)
    assert kfold(dict(reversed(LABELS.items())), 5, 2, 4) == folds
    assert kfold(LABELS, 5, 2, 5) != folds


def test_groups_of_one_change_nothing():
    assert kfold(LABELS, 5, 2, 0, {p: p for p in LABELS}) == kfold(LABELS, 5, 2, 0)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_in_two_folds_and_both_classes_in_each(seed):
    groups = {p: str(int(p) % 13) for p in LABELS}  # 13 groups of 3 or 4, both labels mixed
    folds = kfold(LABELS, 4, 2, seed, groups)
    for repeat in range(2):
        assert len({(groups[p], of[repeat]) for p, of in folds.items()}) == 13
        assert {(of[repeat], LABELS[p]) for p, of in folds.items()} == {
            (f, label) for f in range(4) for label in (0, 1)
        }
        # 10 patients a fold; a group holds 4 at most
        assert all(abs(size - 10) <= 4 for size in Counter(of[repeat] for of in folds.values()).values())


def test_inner_folds_divide_those_outside_the_outer_fold():
    folds = kfold(LABELS, 4, 2, 0)
    inner = inner_folds(LABELS, folds, 4, 3, 0)
    for repeat in range(2):
        for fold in range(4):
            mine = {p: of[repeat][fold] for p, of in inner.items()}
            assert {p for p, of in mine.items() if of is None} == {p for p in LABELS if folds[p][repeat] == fold}
            count = Counter((of, LABELS[p]) for p, of in mine.items() if of is not None)
            for label in (0, 1):
                total = sum(LABELS[p] == label for p, of in mine.items() if of is not None)
                assert {count[i, label] for i in range(3)} <= {total // 3, -(-total // 3)}


def test_inner_folds_keep_groups_together():
    groups = {p: str(int(p) % 13) for p in LABELS}
    folds = kfold(LABELS, 3, 1, 0, groups)
    inner = inner_folds(LABELS, folds, 3, 2, 0, groups)
    for fold in range(3):
        assert len({(groups[p], of[0][fold]) for p, of in inner.items()}) == 13


def test_inner_folds_differ_between_outer_folds():
    folds = kfold(LABELS, 4, 1, 0)
    inner = inner_folds(LABELS, folds, 4, 2, 0)
    both = [p for p in LABELS if None not in inner[p][0][:2]]
    assert [inner[p][0][0] for p in both] != [inner[p][0][1] for p in both]


FOLDS = {"a": [0, 2], "b": [1, 0], "c": [2, 1], "d": [2, 2]}


@pytest.mark.parametrize(
    ("repeat", "fold", "expected"),
    [
        pytest.param(0, 0, {"a": "test", "b": "validation", "c": "train", "d": "train"}, id="first"),
        pytest.param(0, 2, {"a": "validation", "b": "train", "c": "test", "d": "test"}, id="last wraps round"),
        pytest.param(1, 1, {"a": "validation", "b": "train", "c": "test", "d": "validation"}, id="second repeat"),
    ],
)
def test_fold_split_next_fold_validates(repeat, fold, expected):
    assert fold_split(FOLDS, repeat, fold, 3) == expected


INNER = {"a": [[None, 0]], "b": [[None, 1]], "c": [[0, None]], "d": [[1, None]]}


@pytest.mark.parametrize(
    ("fold", "inner_fold", "expected"),
    [
        (0, 0, {"a": "test", "b": "test", "c": "validation", "d": "train"}),
        (0, 1, {"a": "test", "b": "test", "c": "train", "d": "validation"}),
        (1, 1, {"a": "train", "b": "validation", "c": "test", "d": "test"}),
    ],
)
def test_fold_split_inner_fold_validates_where_nested(fold, inner_fold, expected):
    outer = {"a": [0], "b": [0], "c": [1], "d": [1]}
    assert fold_split(outer, 0, fold, 2, INNER, inner_fold) == expected


def test_every_patient_tested_once_a_repeat():
    folds = kfold(LABELS, 5, 2, 0)
    for repeat in range(2):
        tested = [p for fold in range(5) for p, name in fold_split(folds, repeat, fold, 5).items() if name == "test"]
        assert sorted(tested) == sorted(LABELS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((LABELS, 1, 1, 0), "n_folds: expected 2 or more, found 1. Use the hold-out split", id="one fold"),
        pytest.param((LABELS, 5, 0, 0), "n_repeats: expected 1 or more, found 0", id="no repeat"),
        pytest.param((LABELS, 5, 1, -1), "split seed: expected 0 or more, found -1", id="seed"),
        pytest.param((LABELS, 19, 1, 0), "unmethylated patient or more a fold, found 18 for 19", id="few"),
        pytest.param((labels_of(0, 9), 3, 1, 0), "methylated patient or more a fold, found 0 for 3", id="one class"),
        pytest.param(({}, 3, 1, 0), "methylated patient or more a fold, found 0 for 3", id="nobody"),
        pytest.param(
            (LABELS, 5, 1, 0, {p: str(int(p) % 3) for p in LABELS}), "found 3 groups for 5 folds", id="few groups"
        ),
        pytest.param(
            (LABELS, 2, 1, 0, {p: str(label) for p, label in LABELS.items()}),
            "repeat 0: no .*methylated patient in fold 0 of 2; the largest group, 1, holds 22 of 40",
            id="group is label",
        ),
        pytest.param((LABELS, 2, 1, 0, {"00000": "a"}), "patient 00001: expected a group", id="no group"),
    ],
)
def test_impossible_folds_refused_in_one_line(arguments, message):
    with pytest.raises(CohortError, match=message) as caught:
        kfold(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("together", "lacking"),
    [
        pytest.param({"00000", "00001", "00002"}, "methylated", id="all methylated are one group"),
        pytest.param({"00003", "00004", "00005", "00006"}, "unmethylated", id="all unmethylated are one group"),
    ],
)
def test_fold_without_a_class_is_told_with_the_class_and_the_largest_group(together, lacking):
    labels = labels_of(3, 4)
    groups = {patient: "hospital" if patient in together else patient for patient in labels}
    with pytest.raises(
        CohortError, match=rf"no {lacking} patient in fold \d of 2; the largest group, hospital, holds"
    ) as e:
        kfold(labels, 2, 1, 0, groups)
    assert f"holds {len(together)} of 7 patients and is not cut" in str(e.value)


@pytest.mark.parametrize(("name", "number"), [("n_folds", -1), ("n_folds", 0), ("n_inner", -1)])
def test_number_below_zero_is_told_by_its_own_name(name, number):
    with pytest.raises(CohortError, match=f"^{name}: expected 2 or more, found {number}"):
        if name == "n_folds":
            kfold(LABELS, number, 1, 0)
        else:
            inner_folds(LABELS, kfold(LABELS, 4, 1, 0), 4, number, 0)


def test_too_many_inner_folds_refused_with_where():
    folds = kfold(LABELS, 2, 1, 0)
    with pytest.raises(CohortError, match=r"repeat 0, outer fold 0: .* found 9 for 10 folds"):
        inner_folds(LABELS, folds, 2, 10, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((FOLDS, 0, 3, 3), "fold: expected 0 to 2, found 3", id="fold"),
        pytest.param((FOLDS, 0, -1, 3), "fold: expected 0 to 2, found -1", id="fold negative"),
        pytest.param((FOLDS, 2, 0, 3), "repeat: expected 0 to 1, found 2", id="repeat"),
        pytest.param((FOLDS, 0, 0, 2), "n_folds: expected 3 or more, found 2, which leave nobody", id="two folds"),
        pytest.param((FOLDS, 0, 0, 1), "n_folds: expected 2 or more, found 1", id="one fold"),
        pytest.param((FOLDS, 0, 0, 3, None, 1), "inner_fold 1: expected nested folds, found none", id="not nested"),
        pytest.param(({"a": [0], "b": [1]}, 0, 0, 2, INNER), "inner_fold: expected which", id="nested, none named"),
        pytest.param(
            ({p: [i // 2] for i, p in enumerate("abcd")}, 0, 0, 2, INNER, 2),
            "inner_fold: expected 0 to 1, found 2",
            id="inner fold",
        ),
        pytest.param(({"a": [0], "b": [1, 2]}, 0, 0, 3), "same number of repeats", id="ragged"),
        pytest.param(({}, 0, 0, 3), "same number of repeats for every patient, found no patient", id="nobody"),
    ],
)
def test_impossible_fold_split_refused(arguments, message):
    with pytest.raises(CohortError, match=message):
        fold_split(*arguments)
