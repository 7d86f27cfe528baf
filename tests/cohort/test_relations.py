from dataclasses import replace

import pytest
from made_records import made_patient, made_series

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.relations import contradictions, copied_series, crossing, related_patients


def pairs(patients, others=None):
    """Identifier and both patients of every finding."""
    return [(found.id, found.patient_id, *found.others) for found in related_patients(patients, others)]


@pytest.mark.parametrize(
    ("one", "other", "expected", "words"),
    [
        pytest.param(
            {"T1w": made_series("ab")},
            {"T1w": made_series("cba")},
            "D040",
            "expected images of one patient, found 2 identical slices in T1w, as patient b",
            id="slices in another order",
        ),
        pytest.param(
            {"T1w": made_series("ab")},
            {"FLAIR": made_series("a")},
            "D040",
            "found 1 identical slice in T1w and FLAIR",
            id="other modality",
        ),
        pytest.param(
            {"T1w": made_series("a", alike="xy")},
            {"T1w": made_series("b", alike="xz")},
            "D041",
            "found nearly the same T1w (similarity 1.000)",
            id="nearly the same",
        ),
        pytest.param(
            {"T1w": made_series("a", alike="x")},
            {"T1w": made_series("a", alike="x")},
            "D040",
            "found 1 identical slice in T1w",
            id="exact and near",
        ),
        pytest.param(
            {"T1w": made_series("a", alike="x"), "FLAIR": made_series("b", alike="y")},
            {"T1w": made_series("a", alike="x"), "FLAIR": made_series("c", alike="y")},
            "D040",
            "found 1 identical slice in T1w",
            id="one series exact, one near",
        ),
        pytest.param(
            {"T1w": made_series("a", study="5")},
            {"FLAIR": made_series("b", study="5")},
            "D042",
            "expected a study of one patient, found the same StudyInstanceUID",
            id="study",
        ),
        pytest.param(
            {"aliases": ["TCGA-02-0064", "Brats17_TCIA_1"]},
            {"aliases": ["brats17_tcia_1 "]},
            "D045",
            "found one person by their names",
            id="alias in common",
        ),
        pytest.param({"aliases": ["b"]}, {}, "D045", "found one person by their names", id="named by the other"),
    ],
)
def test_two_who_may_be_one(one, other, expected, words):
    (found,) = related_patients([made_patient("a", **one), made_patient("b", **other)])
    assert (found.id, found.patient_id, found.modality, found.others) == (expected, "a", "", ("b",))
    assert words in found.text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({}, {}, id="no series"),
        pytest.param({"T1w": made_series("ab")}, {"T1w": made_series("cd")}, id="other images"),
        pytest.param({"T1w": made_series("a0")}, {"T1w": made_series("b0")}, id="a blank slice each"),
        pytest.param({"T1w": made_series("")}, {"T1w": made_series("")}, id="pixels not read, no study"),
        pytest.param({"T1w": made_series(alike="x")}, {"T1w": made_series(alike="y")}, id="other looks"),
        pytest.param(
            {"T1w": made_series("a", study="5"), "FLAIR": made_series("a", study="5")}, {}, id="one patient's own"
        ),
    ],
)
def test_two_people_are_not_related(one, other):
    assert pairs([made_patient("a", **one), made_patient("b", **other)]) == []


def test_two_spellings_of_one_name_are_one_person():
    assert pairs([made_patient("00495"), made_patient("00496"), made_patient("BraTS2021_00495")]) == [
        ("D045", "00495", "BraTS2021_00495")
    ]


def test_every_way_is_told_by_kind():
    same = {"T1w": made_series("a", study="5"), "aliases": ["x"]}
    assert pairs([made_patient("b", **same), made_patient("a", **same)]) == [
        ("D040", "a", "b"),
        ("D042", "a", "b"),
        ("D045", "a", "b"),
    ]


@pytest.mark.parametrize(
    ("same", "expected"),
    [
        ({"T1w": made_series("a")}, "D040"),
        ({"T1w": made_series("", alike="x")}, "D041"),
        ({"T1w": made_series("", study="5")}, "D042"),
        ({"aliases": ["x"]}, "D045"),
    ],
    ids=["images", "looks", "study", "name"],
)
def test_of_three_who_are_one_every_pair_is_told(same, expected):
    # Each pair may be in two splits, and a decision on one of them says nothing of the others.
    assert pairs([made_patient(name, **same) for name in "abc"]) == [
        (expected, "a", "b"),
        (expected, "a", "c"),
        (expected, "b", "c"),
    ]


def test_study_of_very_many_is_told_of_each_with_the_first():
    patients = [made_patient(f"{number:03d}", T1w=made_series(study="5")) for number in range(100)]
    assert pairs(patients) == [("D042", "000", f"{number:03d}") for number in range(1, 100)]


def test_study_of_very_many_in_two_cohorts_names_every_one():
    ours = [made_patient(f"our {number:02d}", T1w=made_series(study="5")) for number in range(40)]
    theirs = [made_patient(f"their {number:02d}", T1w=made_series(study="5")) for number in range(40)]
    found = pairs(ours, theirs)
    assert {patient_id for _, patient_id, _ in found} == {patient.patient_id for patient in ours}
    assert {other for _, _, other in found} == {patient.patient_id for patient in theirs}


def test_against_another_cohort_only_pairs_across_are_told():
    ours = [made_patient("a", T1w=made_series("1")), made_patient("b", T1w=made_series("1"))]
    theirs = [made_patient("c", T1w=made_series("2")), made_patient("d", T1w=made_series("2"))]
    assert pairs(ours, []) == pairs(ours, theirs) == []
    theirs.append(made_patient("A", FLAIR=made_series("1")))
    assert pairs(ours, theirs) == [("D040", "a", "A"), ("D040", "b", "A"), ("D045", "a", "A")]


def test_the_same_name_in_both_cohorts_is_one_person():
    assert pairs([made_patient("00495"), made_patient("00496")], [made_patient("00495")]) == [
        ("D045", "00495", "00495")
    ]


@pytest.mark.parametrize(
    "same",
    [{"T1w": made_series("", study="5")}, {"aliases": ["x"]}, {"T1w": made_series("a")}],
    ids=["study", "name", "images"],
)
def test_both_of_two_who_are_one_of_the_other_cohort_are_told(same):
    found = pairs([made_patient("a", **same), made_patient("b", **same)], [made_patient("c", **same)])
    assert [tuple(names) for _, *names in found] == [("a", "c"), ("b", "c")]


@pytest.mark.parametrize("others", [None, (made_patient("c"),)], ids=["one cohort", "two"])
def test_signature_that_is_none_refused_by_name(others):
    with pytest.raises(CohortError, match="patient b, T1w: expected the signature of a series"):
        related_patients([made_patient("b", T1w=made_series("a", signature="1:?"))], others)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param({"FLAIR": "ab", "T1w": "cd"}, [], id="none"),
        pytest.param({"FLAIR": "ab", "T1w": "ba"}, [("T1w", "FLAIR, found 2 identical slices")], id="copy"),
        pytest.param({"FLAIR": "ab", "T1w": "cb"}, [("T1w", "FLAIR, found 1 identical slice")], id="one slice"),
        pytest.param({"FLAIR": "a0", "T1w": "b0"}, [], id="a blank slice each"),
        pytest.param({"FLAIR": "aa", "T1w": "bb"}, [], id="twice in one series"),
        pytest.param(
            {"FLAIR": "a", "T1w": "a", "T2w": "a"},
            [
                ("T1w", "FLAIR, found 1 identical slice"),
                ("T2w", "FLAIR, found 1 identical slice"),
                ("T2w", "T1w, found 1 identical slice"),
            ],
            id="three",
        ),
    ],
)
def test_series_of_one_patient_that_are_copies(series, expected):
    patient = made_patient("a", **{modality: made_series(slices) for modality, slices in series.items()})
    found = copied_series([patient, made_patient("b", T1w=made_series("a"))])  # another patient's is D040
    assert [(f.id, f.patient_id, f.modality, f.text) for f in found] == [
        ("D036", "a", modality, f"expected other images than in {text}") for modality, text in expected
    ]


SAME = Finding("D040", "a", "", "", "found 1 identical slice", others=("b",))


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        pytest.param({"split": "train"}, {"split": "test"}, "one in train, one in test", id="splits"),
        pytest.param({"split": "validation"}, {"split": "train"}, "one in validation, one in train", id="validation"),
        pytest.param({"folds": [0, 1]}, {"folds": [0, 2]}, "in different folds", id="second repeat"),
        pytest.param({"folds": [0]}, {"folds": []}, "in different folds", id="no fold"),
        pytest.param(
            {"folds": [0], "inner_folds": [[None, 0]]},
            {"folds": [0], "inner_folds": [[None, 1]]},
            "in different inner folds",
            id="inner folds",
        ),
    ],
)
def test_related_patients_apart_cross(one, other, where):
    (found,) = crossing([made_patient("a", **one), made_patient("b", **other)], [SAME])
    assert found == replace(SAME, text=f"found 1 identical slice ({where})")


def test_related_patients_together_do_not_cross():
    same = {"split": "test", "folds": [2, 0], "inner_folds": [[0, 1, None], [None, 1, 0]]}
    assert crossing([made_patient("a", **same), made_patient("b", **same)], [SAME]) == []


def test_labels_of_one_person_that_differ_contradict():
    other = replace(SAME, patient_id="c", others=("d",))
    (found,) = contradictions({"a": 1, "b": 0, "c": 1, "d": 1}, [SAME, other])
    assert found == replace(SAME, text="found 1 identical slice, with the labels 1 and 0")
