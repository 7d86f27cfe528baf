import pytest
from made_records import made_manifest, made_patient, made_series

from mgmt_monai.cohort.describe import describe, describe_patient
from mgmt_monai.cohort.errors import CohortError

CORONAL = made_series("ab", plane="coronal", orientation="LSA", slice_spacing_mm=1.234, directory="train/b/T1w")
NOWHERE = made_series("a", plane="unknown", orientation="", slice_spacing_mm=None, directory="train/c/FLAIR")
PLAIN = made_manifest(
    made_patient("a", "train", 1, T1w=made_series("c"), FLAIR=made_series("d")),
    made_patient("b", "train", 0, T1w=CORONAL, columns={"site": "2", "age": "61"}, aliases=["TCGA-02-0064", "x"]),
    made_patient("c", "test", 1, T1w=made_series("e"), FLAIR=NOWHERE, columns={"site": "1"}),
    split={"method": "holdout", "test_fraction": 0.25, "seed": 7},
    excluded={"d": "motion"},
    left_out=["patient e: in the label file, but without images"],
    ignored=[{"finding": "D030", "patient_id": "b", "reason": "never acquired"}],
)
FOLDED = made_manifest(
    made_patient("a", label=1, folds=[0, 1]),
    made_patient("b", label=0, folds=[1, 1]),
    made_patient("c", label=1, folds=[1, 0]),
    folds={"method": "kfold", "n_folds": 2, "n_repeats": 2, "n_inner_folds": 0, "seed": 3},
)


def test_description_tells_what_is_in_the_manifest():
    assert list(describe(PLAIN)) == [
        f"hash: {PLAIN.content_hash}",
        "layout: rsna-miccai-2021",
        "split: method holdout, test_fraction 0.25, seed 7",
        "  train: 2 patients, 1 methylated",
        "  validation: 0 patients, 0 methylated",
        "  test: 1 patients, 1 methylated",
        "planes:",
        "  FLAIR: 1 axial, 1 unknown",
        "  T1w: 2 axial, 1 coronal",
        "columns: age, site",
        "excluded: patient d: motion",
        "left out: patient e: in the label file, but without images",
        "accepted: D030 of patient b: never acquired",
    ]


def test_description_counts_each_fold_of_each_repeat():
    lines = list(describe(FOLDED))
    place = lines.index("folds: method kfold, n_folds 2, n_repeats 2, n_inner_folds 0, seed 3")
    assert lines[place + 1 : place + 3] == [
        "  repeat 0, fold 0: 1 patients, 1 methylated",
        "  repeat 0, fold 1: 2 patients, 1 methylated",
    ]


def test_description_of_a_patient_tells_all_of_them():
    assert list(describe_patient(PLAIN, "b")) == [
        "patient b: label 0, train",
        "also known as: TCGA-02-0064, x",
        "age: 61",
        "site: 2",
        "T1w: train/b/T1w: 2 coronal slices of 8 x 12, 1.23 mm apart, oriented LSA (folder T1w)",
    ]


def test_description_of_a_series_without_geometry():
    assert list(describe_patient(PLAIN, "c"))[-2:] == [
        "FLAIR: train/c/FLAIR: 1 unknown slices of 8 x 12, no spacing, oriented unknown (folder T1w)",
        "T1w: train/00001/T1w: 1 axial slices of 8 x 12, 2.00 mm apart, oriented LPS (folder T1w)",
    ]


def test_description_of_a_patient_with_folds_names_them():
    assert list(describe_patient(FOLDED, "c")) == ["patient c: label 1, train", "folds, one a repeat: 1, 0"]


def test_patient_who_is_not_there_refused():
    with pytest.raises(CohortError, match="patient 00009: not in the manifest"):
        list(describe_patient(PLAIN, "00009"))
