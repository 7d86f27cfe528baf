"""What a record says of the cohort and of its patients, and what it does not."""

import pandas as pd
import pytest
from made_records import made_manifest, made_patient, made_series

from mgmt_monai.comparison.collect import LEAST_SHARED, cohort_summary, patient_columns, predictions_by
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.folder import ComparisonFolder
from mgmt_monai.comparison.plan import Candidate, ComparisonPlan
from mgmt_monai.evaluation.predictions import write_patients
from mgmt_monai.training.pseudonyms import under_pseudonyms

MANIFEST = made_manifest(
    made_patient("00001", "train", 1, T1w=made_series(), columns={"site": "A"}),
    made_patient("00002", "validation", 0, T1w=made_series(plane="coronal"), columns={"site": "B"}),
    made_patient("00003", "test", 0, FLAIR=made_series()),
    excluded={"00009": "motion", "00010": "motion", "00011": "biopsy"},
    left_out=[
        "patient 00020: in the label file, but without images",
        "patient 00021: is 00001 of the training data (D044)",
        "patient 00022: is one with patient 00021, who is 00001 of the training data (D044)",
    ],
)


def test_cohort_is_counted_and_nobody_is_named():
    found = cohort_summary(MANIFEST, with_folds=False)

    assert (found["n_patients"], found["n_methylated"]) == (3, 1)
    assert found["splits"]["validation"] == {"unmethylated": 1, "methylated": 0}
    assert found["folds"] is None
    assert found["excluded"] == [{"reason": "motion", "n": 2}, {"reason": "biopsy", "n": 1}]
    assert found["left_out"] == [
        {"reason": "already in the training data", "n": 2},
        {"reason": "in the label file, but without images", "n": 1},
    ]
    assert found["modalities"]["T1w"] == {"n_series": 2, "planes": {"axial": 1, "coronal": 1}}
    assert "0000" not in str(found)
    assert "0002" not in str(found)


def of_columns(*columns: dict[str, str], site: str = "") -> pd.DataFrame:
    patients = [made_patient(f"{n:05}", T1w=made_series(), columns=each) for n, each in enumerate(columns)]
    return patient_columns(made_manifest(*patients), ("T1w",), site)


def test_columns_are_the_plane_and_those_of_the_manifest():
    found = of_columns(*[{"site": "A"}] * 3, *[{"site": "B"}] * 3)

    assert list(found.columns) == ["plane", "site"]
    assert list(found["site"]) == ["A"] * 3 + ["B"] * 3
    assert set(found["plane"]) == {"axial"}


def test_plane_of_several_modalities_is_the_one_they_share():
    both = made_patient("1", T1w=made_series(), FLAIR=made_series(plane="coronal"))
    alike = made_patient("2", T1w=made_series(), FLAIR=made_series())
    lacking = made_patient("3", FLAIR=made_series(plane="coronal"))
    neither = made_patient("4", T2w=made_series())

    found = patient_columns(made_manifest(both, alike, lacking, neither), ("T1w", "FLAIR"))

    assert found["plane"].to_dict() == {"1": "several", "2": "axial", "3": "coronal"}


def test_codes_of_the_column_that_was_named_as_the_site_stay_codes():
    rows = [{"scanner": str(n % 12)} for n in range(48)]

    assert of_columns(*rows)["scanner"].nunique() == 4
    assert of_columns(*rows, site="scanner")["scanner"].tolist() == [row["scanner"] for row in rows]


def test_values_that_could_single_patients_out_are_left_empty():
    rows = [{"age": str(60 + n), "site": "A" if n < 3 else "rare"} for n in range(LEAST_SHARED + 2)]

    found = of_columns(*rows)

    assert list(found.columns) == ["plane", "site"]
    assert list(found["site"]) == ["A", "A", "A", "", ""]


def test_a_reason_that_names_a_patient_is_not_shown():
    manifest = made_manifest(made_patient("00001", T1w=made_series()), excluded={"00002": "same scan as 00001"})

    assert cohort_summary(manifest, with_folds=False)["excluded"] == [
        {"reason": "(not shown: it names a patient)", "n": 1}
    ]


def test_a_patient_has_one_pseudonym_in_all_tables_and_another_under_another_key():
    rows = pd.DataFrame({"patient_id": ["00001", "00002", "00001"], "value": [1, 2, 3]})
    indexed = pd.DataFrame({"site": ["A", "B"]}, index=["00001", "00002"])

    first, second = under_pseudonyms(rows, "key"), under_pseudonyms(indexed, "key")

    assert first["patient_id"].iloc[0] == first["patient_id"].iloc[2] == second.index[0]
    assert first["patient_id"].nunique() == 2
    assert set(under_pseudonyms(rows, "other")["patient_id"]).isdisjoint(first["patient_id"])
    assert list(first["value"]) == [1, 2, 3]


def test_control_without_the_stage_that_was_chosen_is_told(tmp_path):
    plan = ComparisonPlan(("resnet-10",), ("T1w",), "resnet-10", "T1w")
    controls = plan.controls(Candidate("resnet-10", "T1w", "plain"))
    folder = ComparisonFolder(tmp_path)
    for training in controls:
        stages = ["fine_tune"] if training is controls[1] else ["fine_tune", "plain"]
        rows = {
            "patient_id": "00001",
            "modality": "T1w",
            "split": "test",
            "fold": 0,
            "seed": 0,
            "label": 1,
            "n_slices": 1,
        }
        folder.run_folder(training).mkdir(parents=True)
        table = pd.DataFrame([{**rows, "stage": stage, "probability": 0.5} for stage in stages])
        write_patients(table, folder.run_folder(training) / "predictions.csv")
    assert list(predictions_by("control", folder, controls)) == [each.control for each in controls]
    expected = (
        rf"^training {controls[1].name}: .* stage plain, which was chosen, .* delete {folder.run_folder(controls[1])} "
    )
    with pytest.raises(ComparisonError, match=expected):
        predictions_by("control", folder, controls, "plain")
