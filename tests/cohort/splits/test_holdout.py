from collections import Counter
from dataclasses import FrozenInstanceError

import pytest
from sklearn.model_selection import train_test_split

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.splits.holdout import ListedSplit, check_both_classes, holdout_split, read_split
from mgmt_monai.cohort.splits.split_table import format_split


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
    with pytest.raises(CohortError, match=f"split seed: expected a whole number from 0 to 4294967295, found {seed}"):
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


def site_groups(sizes: list[int]) -> tuple[dict[str, int], dict[str, str]]:
    """Labels and groups: groups of these sizes, every other patient methylated."""
    groups = {f"{group:02d}-{i:03d}": f"group {group}" for group, size in enumerate(sizes) for i in range(size)}
    return {patient: i % 2 for i, patient in enumerate(groups)}, groups


@pytest.mark.parametrize(("methylated", "unmethylated"), [(50, 50), (40, 61), (306, 276)])
@pytest.mark.parametrize("seed", [0, 7])
def test_without_groups_as_scikit_learn_splits(methylated, unmethylated, seed):
    labels = labels_of(methylated, unmethylated)
    patients = sorted(labels)
    y = [labels[p] for p in patients]
    others, test = train_test_split(patients, test_size=0.1, random_state=seed, stratify=y)
    train, validation = train_test_split(
        others, train_size=0.85, random_state=seed, stratify=[labels[p] for p in others]
    )
    expected = dict.fromkeys(train, "train") | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    assert holdout_split(labels, 0.1, 0.85, seed) == expected
    assert holdout_split(labels, 0.1, 0.85, seed, {p: f"only {p}" for p in patients}) == expected


@pytest.mark.parametrize(
    ("test_fraction", "n_test"),
    [
        pytest.param(0.2, 4, id="one of five groups"),
        pytest.param(0.1, None, id="half a group: passed over, for it brings the number no nearer"),
        pytest.param(0.11, 4, id="more than half a group: taken"),
    ],
)
def test_group_is_taken_where_it_brings_the_number_nearer(test_fraction, n_test):
    labels, groups = site_groups([4] * 5)
    if n_test is None:
        with pytest.raises(CohortError, match="no methylated patient in the test split"):
            holdout_split(labels, test_fraction, 0.5, 0, groups)
    else:
        split = holdout_split(labels, test_fraction, 0.5, 0, groups)
        assert list(split.values()).count("test") == n_test


def test_a_listed_split_stays_as_it_was_read():
    listed = ListedSplit({"a": "train"}, {}, {})
    for name in ("split", "fold", "excluded"):
        with pytest.raises(FrozenInstanceError):
            setattr(listed, name, {})


GROUP_SIZES = {
    "twins": [2] * 3 + [1] * 194,
    "fives": [5] * 40,
    "uneven": [40, 30, 20, 20, 15, 10, 10, 8, 7, 6, 5, 5, 4, 4, 3, 3, 3, 3, 2, 2],
    "one large": [100] + [2] * 50,
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", GROUP_SIZES.values(), ids=GROUP_SIZES)
def test_grouped_split_cuts_no_group_and_keeps_its_size(sizes, seed):
    labels, groups = site_groups(sizes)
    split = holdout_split(labels, 0.1, 0.8, seed, groups)
    assert sorted(split) == sorted(labels)
    in_groups = {(groups[patient], name) for patient, name in split.items()}
    assert len(in_groups) == len(sizes)  # each group in one split only
    count = Counter(split.values())
    # 200 patients, of which 20 for the test; of the others a fifth for validation
    assert abs(count["test"] - 20) <= max(sizes) / 2
    assert abs(count["validation"] - 0.2 * (200 - count["test"])) <= max(sizes) / 2
    assert {(name, labels[p]) for p, name in split.items()} == {
        (name, label) for name in ("train", "validation", "test") for label in (0, 1)
    }


def test_grouped_split_holds_labels_evenly_where_groups_allow():
    labels, groups = site_groups([2] * 3 + [1] * 194)
    split = holdout_split(labels, 0.1, 0.8, 0, groups)
    count = Counter((name, labels[p]) for p, name in split.items())
    # 20 of 200, then 36 of 180, half of each methylated
    assert abs(count["test", 0] - 10) <= 1 and abs(count["test", 1] - 10) <= 1
    assert abs(count["validation", 0] - 18) <= 1 and abs(count["validation", 1] - 18) <= 1


def test_grouped_split_same_seed_same_split_whatever_the_order():
    labels, groups = site_groups([3] * 30)
    assert holdout_split(labels, 0.1, 0.8, 5, groups) == holdout_split(
        dict(reversed(labels.items())), 0.1, 0.8, 5, dict(reversed(groups.items()))
    )


def test_grouped_split_another_seed_another_split():
    labels, groups = site_groups([3] * 30)
    assert holdout_split(labels, 0.1, 0.8, 5, groups) != holdout_split(labels, 0.1, 0.8, 6, groups)


def test_one_group_for_all_refused_with_its_name_and_size():
    labels = labels_of(30, 30)
    with pytest.raises(CohortError, match="the largest group, one site, holds 60 of 60 patients and is not cut"):
        holdout_split(labels, 0.1, 0.85, 0, dict.fromkeys(labels, "one site"))


def test_patient_without_group_refused_by_name():
    labels = labels_of(30, 30)
    groups = dict.fromkeys(labels, "one site")
    del groups["00007"]
    with pytest.raises(CohortError, match="patient 00007: expected a group"):
        holdout_split(labels, 0.1, 0.85, 0, groups)


LISTED = ListedSplit(
    split={"00000": "train", "00003": "test"}, fold={"00000": 4, "00003": 0}, excluded={"00001": 'no "T1w", only T2w'}
)


def test_format_split_by_hand():
    assert format_split(LISTED) == (
        "patient_id,split,fold,excluded,reason\n"
        '00000,train,4,no,\n00001,,,yes,"no ""T1w"", only T2w"\n00003,test,0,no,\n'
    )


def test_read_split_gives_back_what_was_formatted(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text(format_split(LISTED))
    assert read_split(path) == LISTED


def test_read_split_of_two_columns_among_others(tmp_path):
    path = tmp_path / "split.csv"
    path.write_bytes(b"\xef\xbb\xbfsplit, age ,patient_id\r\ntest,61,00007\r\n\r\ntrain,,00008\r\n")
    assert read_split(path) == ListedSplit({"00007": "test", "00008": "train"}, {}, {})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param("a,training,0,no,", "patient a: expected a split of train.* found training", id="split unknown"),
        pytest.param("a,,0,no,", "patient a: expected a split of .* found none", id="split missing"),
        pytest.param("a,train,x,no,", "patient a: expected a fold.* found x", id="fold no number"),
        pytest.param("a,train,-1,no,", "patient a: expected a fold.* found -1", id="fold negative"),
        pytest.param("a,train,0,maybe,", "patient a: expected excluded yes or no, found maybe", id="excluded unknown"),
        pytest.param("a,train,,yes,r", "patient a: expected no split and no fold.* found train", id="both"),
        pytest.param("a,train,0,no,\na,test,0,no,", "expected one row a patient, found several for a", id="twice"),
        pytest.param(",train,0,no,", "expected a patient_id in every row, found none in line 2", id="nameless"),
        pytest.param("a,train,0,no,\nb,test,,no,", "expected a fold for every patient, found none for b", id="gap"),
        pytest.param("a,,,yes,r", "expected at least one patient in a split, found none", id="nobody"),
    ],
)
def test_faulty_split_table_refused_in_one_line(tmp_path, rows, message):
    path = tmp_path / "split.csv"
    path.write_text(f"patient_id,split,fold,excluded,reason\n{rows}\n")
    with pytest.raises(CohortError, match=message) as caught:
        read_split(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_split_table_without_column_refused(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("patient_id,fold\na,0\n")
    with pytest.raises(CohortError, match="expected the columns patient_id,split,fold, found patient_id,fold"):
        read_split(path)


def test_absent_split_table_refused(tmp_path):
    with pytest.raises(CohortError, match=r"absent\.csv: no such split\. Expected a CSV with the columns patient_id"):
        read_split(tmp_path / "absent.csv")
