import hashlib
from collections import Counter
from dataclasses import FrozenInstanceError, replace

import pytest
from made_records import made_manifest, made_patient, made_series
from sklearn.model_selection import train_test_split

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.splits.plans import (
    External,
    Holdout,
    KFold,
    LeaveSiteOut,
    Listed,
    group_of_patients,
    holdout_settings,
    of_fold,
    with_columns,
)

NAMES = [f"{number:05d}" for number in range(1, 41)]
LABELS = [int(name) % 2 for name in NAMES]


def cohort(**others):
    """40 patients, the odd ones methylated, of five sites of eight; ``p00003={...}`` changes one."""
    patients = [
        made_patient(name, label=label, **{"columns": {"site": f"site {int(name) % 5}"}, **others.get(f"p{name}", {})})
        for name, label in zip(NAMES, LABELS, strict=True)
    ]
    return made_manifest(*patients)


def splits(manifest):
    return {patient.patient_id: patient.split for patient in manifest.patients}


def sites(manifest, of):
    """Where each site's patients are, as ``of(patient)`` tells."""
    found = {}
    for patient in manifest.patients:
        found.setdefault(patient.columns["site"], set()).add(of(patient))
    return found


@pytest.mark.parametrize(
    ("plan", "name"),
    [(Holdout(0.2, 0.8, 0), "seed"), (External(), "against_hash"), (KFold(5, 1, 0, 0), "n_folds")],
    ids=["hold-out", "external", "folds"],
)
def test_plan_cannot_be_changed_after_it_was_checked(plan, name):
    with pytest.raises(FrozenInstanceError):
        setattr(plan, name, -1)
    assert hash(plan) == hash(replace(plan))


def test_listed_plan_cannot_be_changed_after_its_table_was_read(tmp_path):
    (tmp_path / "split.csv").write_text("patient_id,split\na,train\n")
    plan = Listed(tmp_path / "split.csv")
    with pytest.raises(FrozenInstanceError):
        plan.path = tmp_path / "other.csv"


def test_holdout_is_scikit_learns_by_label():
    made = Holdout(0.25, 0.8, seed=5).apply(cohort())
    others, test = train_test_split(NAMES, test_size=0.25, random_state=5, stratify=LABELS)
    train, validation = train_test_split(
        others, train_size=0.8, random_state=5, stratify=[int(name) % 2 for name in others]
    )
    expected = dict.fromkeys(test, "test") | dict.fromkeys(train, "train") | dict.fromkeys(validation, "validation")
    assert splits(made) == expected
    assert made.split == {"method": "holdout", "test_fraction": 0.25, "train_fraction": 0.8, "seed": 5}


def test_holdout_by_site_cuts_none():
    made = Holdout(0.2, 0.75, seed=0, group_by="site").apply(cohort())
    assert [len(where) for where in sites(made, lambda patient: patient.split).values()] == [1] * 5
    # fifths: one site for the test, of the four others one for validation
    assert Counter(splits(made).values()) == {"train": 24, "validation": 8, "test": 8}
    assert made.split["group_by"] == "site"
    assert holdout_settings(Holdout(0.2, 0.75, 0, "site")) == made.split


@pytest.mark.parametrize("seed", range(4))
def test_holdout_keeps_related_patients_together(seed):
    twins = {"T1w": made_series("a")}
    made = Holdout(0.4, 0.5, seed).apply(
        cohort(p00001=twins, p00007={**twins, "aliases": ["x"]}, p00009={"aliases": ["x"]})
    )
    where = splits(made)
    assert where["00001"] == where["00007"] == where["00009"]  # the first and the last through the second


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0.0, 0.5, 0), "test_fraction: expected a number between 0 and 1"),
        ((0.1, 1.5, 0), "train_fraction: expected a number between 0 and 1"),
        ((0.1, 0.5, -1), "split seed: expected a whole number from 0"),
    ],
    ids=["test", "train", "seed"],
)
def test_holdout_that_cannot_be_refused_at_once(words, expected):
    with pytest.raises(CohortError, match=expected):
        Holdout(*words)


def test_split_anew_keeps_the_folds_and_folds_keep_the_split():
    folded = KFold(4, 1, 0, seed=0).apply(cohort())
    again = Holdout(0.25, 0.8, seed=5).apply(folded)
    assert again.folds == folded.folds
    assert [p.folds for p in again.patients] == [p.folds for p in folded.patients]
    assert set(splits(folded).values()) == {"train"}


def test_folds_are_dealt_by_label_in_every_repeat():
    made = KFold(4, 3, 0, seed=1).apply(cohort())
    for repeat in range(3):
        dealt = Counter((p.folds[repeat], p.label) for p in made.patients)
        assert dealt == {(fold, label): 5 for fold in range(4) for label in (0, 1)}
    assert len({tuple(p.folds[repeat] for p in made.patients) for repeat in range(3)}) == 3
    assert made.folds == {"method": "kfold", "n_folds": 4, "n_repeats": 3, "n_inner_folds": 0, "seed": 1}
    assert all(p.inner_folds == [] for p in made.patients)


def test_inner_folds_are_dealt_outside_each_outer_fold():
    made = KFold(4, 2, 3, seed=1).apply(cohort())
    assert made.folds["n_inner_folds"] == 3
    for patient in made.patients:
        assert [[n is None for n in of] for of in patient.inner_folds] == [
            [outer == fold for outer in range(4)] for fold in patient.folds
        ]
    for repeat in range(2):
        for outer in range(4):
            dealt = Counter(p.inner_folds[repeat][outer] for p in made.patients)
            assert dealt == {None: 10, 0: 10, 1: 10, 2: 10}


def test_folds_by_site_cut_none():
    made = KFold(5, 1, 4, seed=0, group_by="site").apply(cohort())
    folds = [sorted(of) for of in sites(made, lambda patient: patient.folds[0]).values()]
    assert sorted(folds) == [[0], [1], [2], [3], [4]]
    for outer in range(5):
        inner = sites(made, lambda patient, outer=outer: patient.inner_folds[0][outer]).values()
        assert sorted(str(*of) for of in inner) == ["0", "1", "2", "3", "None"]
    assert made.folds["group_by"] == "site"


def test_folds_keep_related_patients_together():
    for seed in range(4):
        made = KFold(4, 2, 2, seed).apply(cohort(p00001={"aliases": ["x"]}, p00003={"aliases": ["x"]}))
        one, other = (p for p in made.patients if "x" in p.aliases)
        assert (one.folds, one.inner_folds) == (other.folds, other.inner_folds)


def test_folds_made_anew_replace_the_old_ones():
    made = KFold(2, 1, 0, seed=0).apply(KFold(4, 2, 2, seed=0).apply(cohort()))
    assert {len(p.folds) for p in made.patients} == {1}
    assert all(p.inner_folds == [] for p in made.patients)


def write(path, rows, header="patient_id,split"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_listed_split_is_taken_as_it_is(tmp_path):
    rows = [f"{name},{('train', 'validation', 'test')[int(name) % 3]}" for name in NAMES]
    path = write(tmp_path / "my split.csv", [*rows, "00099,test"])  # one who is not in the cohort
    made = Listed(path).apply(cohort())
    assert splits(made) == {name: ("train", "validation", "test")[int(name) % 3] for name in NAMES}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert made.split == {"method": "listed", "source": "my split.csv", "sha256": digest}


def test_listed_split_names_patients_in_another_spelling(tmp_path):
    path = write(tmp_path / "split.csv", [f"BraTS2021_{name},validation" for name in NAMES])
    assert set(splits(Listed(path).apply(cohort())).values()) == {"validation"}


def test_listed_split_of_the_very_name_comes_before_another_spelling(tmp_path):
    scans = made_manifest(made_patient("UPENN-GBM-00001_11"), made_patient("UPENN-GBM-00001_21"))
    path = write(tmp_path / "split.csv", ["UPENN-GBM-00001_11,test", "UPENN-GBM-00001_21,validation"])
    assert list(splits(Listed(path).apply(scans)).values()) == ["test", "validation"]


@pytest.mark.parametrize(
    "row",
    ["00099,test,no,", "00002,,yes,motion"],
    ids=["not named", "excluded there"],
)
def test_listed_split_without_a_patient_refused_by_name(tmp_path, row):
    rows = [f"{name},train,no," for name in NAMES if name != "00002"]
    path = write(tmp_path / "split.csv", [*rows, row], "patient_id,split,excluded,reason")
    with pytest.raises(CohortError, match="expected a split for every patient, found none for 00002") as caught:
        Listed(path).apply(cohort())
    assert str(caught.value).startswith(f"{path}: ")


def test_listed_split_without_many_patients_counts_the_rest(tmp_path):
    path = write(tmp_path / "split.csv", ["00099,test"])
    with pytest.raises(CohortError, match=rf" and {len(NAMES) - 10} more\. Add them"):
        Listed(path).apply(cohort())


def test_listed_split_that_is_not_there_refused_at_once(tmp_path):
    with pytest.raises(CohortError, match=r"absent\.csv: no such split"):
        Listed(tmp_path / "absent.csv")


def test_external_is_all_test():
    made = External().apply(Holdout(0.25, 0.8, seed=5).apply(cohort()))
    assert set(splits(made).values()) == {"test"}
    assert made.split == {"method": "external", "against": "", "mappings": {}}


def test_columns_are_added_and_replaced(tmp_path):
    path = write(tmp_path / "sites.csv", ["00001,Rome,61", "00002,Oslo,"], "patient_id,site,age")
    made = with_columns(cohort(), path)
    assert [p.columns for p in made.patients[:3]] == [
        {"site": "Rome", "age": "61"},
        {"site": "Oslo", "age": ""},
        {"site": "site 3"},
    ]


def test_groups_join_column_and_relations():
    manifest = made_manifest(
        made_patient("a", columns={"site": "1"}),
        made_patient("b", columns={"site": "1"}, T1w=made_series("c")),
        made_patient("c", columns={"site": "2"}, T1w=made_series("c")),
        made_patient("d", columns={"site": "3"}),
    )
    assert group_of_patients(manifest, "") == {"a": "a", "b": "b", "c": "b", "d": "d"}
    assert group_of_patients(manifest, "site") == {"a": "a", "b": "a", "c": "a", "d": "d"}
    accepted = replace(manifest, ignored=[{"finding": "D040", "patient_id": "c", "reason": "two people"}])
    assert group_of_patients(accepted, "") == {"a": "a", "b": "b", "c": "c", "d": "d"}


def test_patients_without_a_value_are_grouped_with_nobody_and_told(caplog):
    manifest = made_manifest(
        made_patient("a", columns={"site": "1"}),
        made_patient("b", columns={"site": ""}),
        made_patient("c", columns={"site": "N/A"}),
        made_patient("d"),
    )
    assert group_of_patients(manifest, "site") == {"a": "a", "b": "b", "c": "c", "d": "d"}
    assert caplog.messages == ["column site: no value for 3 patients, left ungrouped: b, c, d"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "--group-by scanner: expected a column of the patients, found none"),
        ({"site": "1", "age": "2"}, "--group-by scanner: expected a column of the patients, found age, site"),
        ({"scanner": "unknown"}, "column scanner: expected values, found none for any patient"),
    ],
    ids=["no columns", "other columns", "no values"],
)
def test_group_by_what_is_not_there_refused(columns, expected):
    with pytest.raises(CohortError, match=expected):
        group_of_patients(made_manifest(made_patient("a", columns=columns)), "scanner")


def test_listed_folds_are_taken_with_the_split(tmp_path):
    patients = cohort().patients
    path = tmp_path / "split.csv"
    rows = [f"{p.patient_id},{'train' if i else 'test'},{i % 3}" for i, p in enumerate(patients)]
    path.write_text("\n".join(["patient_id,split,fold", *rows, "absent,train,4"]) + "\n")
    made = Listed(path).apply(cohort())
    assert [p.folds for p in made.patients] == [[i % 3] for i in range(len(patients))]
    assert {key: made.folds[key] for key in ("method", "n_folds", "n_repeats", "n_inner_folds", "source")} == {
        "method": "listed", "n_folds": 5, "n_repeats": 1, "n_inner_folds": 0, "source": "split.csv",
    }  # fmt: skip
    assert [p.split for p in of_fold(made, 0, 1, None).patients][:3] == ["train", "test", "validation"]


def test_each_site_is_a_fold_the_largest_first():
    others = {f"p{name}": {"columns": {"site": "site 1"}} for name in NAMES[1:20:5]}

    made = LeaveSiteOut("site", 0, 0).apply(cohort(**others))

    assert made.folds == {
        "method": "site", "n_folds": 5, "n_repeats": 1, "n_inner_folds": 0, "seed": 0, "group_by": "site",
    }  # fmt: skip
    assert sites(made, lambda patient: patient.folds[0]) == {
        "site 1": {0}, "site 3": {1}, "site 4": {2}, "site 0": {3}, "site 2": {4},
    }  # fmt: skip


def test_sites_of_one_label_are_tested_together_and_lone_ones_with_the_smallest():
    def made(*kinds):
        patients = [
            made_patient(f"{site}{number}", label=int(label), columns={"site": site})
            for site, labels in kinds
            for number, label in enumerate(labels)
        ]
        return sites(LeaveSiteOut("site", 0, 0).apply(made_manifest(*patients)), lambda patient: patient.folds[0])

    assert made(("A", "0011"), ("B", "01"), ("C", "000"), ("D", "1")) == {"A": {0}, "B": {1}, "C": {2}, "D": {2}}
    assert made(("A", "0011"), ("B", "01"), ("C", "000")) == {"A": {0}, "B": {1}, "C": {1}}
    with pytest.raises(CohortError, match="two sites or more with patients of both labels, found 2 in all"):
        made(("A", "0011"), ("C", "000"))


def test_left_out_sites_have_inner_folds_of_the_other_sites_patients():
    made = LeaveSiteOut("site", 2, 0).apply(cohort())

    split = splits(of_fold(made, 0, 3, 1))
    assert {p.columns["site"] for p in made.patients if split[p.patient_id] == "test"} == {"site 4"}
    assert {"train", "validation"} <= set(split.values())


def test_a_patient_without_a_site_is_refused():
    with pytest.raises(CohortError, match=r"expected a site for every patient, found none for 00007\. Fill it in"):
        LeaveSiteOut("site", 0, 0).apply(cohort(p00007={"columns": {"site": "N/A"}}))
