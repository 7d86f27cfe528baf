import pytest

from mgmt_monai.cohort.layouts.nifti_names import UPENN_GBM

FOLDER = "UPENN-GBM-00001_11"


@pytest.mark.parametrize("above", ["", "images_structural/", "NIfTI-files/images_structural/"])
def test_four_modalities(tmp_path, make_nifti, above):
    make_nifti(*(f"{above}{FOLDER}/{FOLDER}_{suffix}.nii.gz" for suffix in ("T1", "T1GD", "T2", "FLAIR")))
    make_nifti(f"images_segm/{FOLDER}_segm.nii.gz", f"images_structural_unstripped/x/{FOLDER}_T1_unstripped.nii.gz")
    assert UPENN_GBM.recognises(tmp_path)
    found = UPENN_GBM.find(tmp_path)
    assert {series.modality: series.files[0] for series in found.series} == {
        "FLAIR": f"{FOLDER}_FLAIR.nii.gz",
        "T1w": f"{FOLDER}_T1.nii.gz",
        "T1wCE": f"{FOLDER}_T1GD.nii.gz",
        "T2w": f"{FOLDER}_T2.nii.gz",
    }
    assert found.patients == {"UPENN-GBM-00001"}
    assert found.findings == []


def test_visit_before_surgery_taken(tmp_path, make_nifti):
    make_nifti(*(f"UPENN-GBM-00036_{visit}/UPENN-GBM-00036_{visit}_T1.nii.gz" for visit in ("21", "11")))
    found = UPENN_GBM.find(tmp_path)
    assert [series.files for series in found.series] == [("UPENN-GBM-00036_11_T1.nii.gz",)]
    assert [finding.id for finding in found.findings] == ["D034"]


def test_follow_up_taken_where_there_is_no_other(tmp_path, make_nifti):
    make_nifti("UPENN-GBM-00612_21_T1.nii.gz")
    found = UPENN_GBM.find(tmp_path)
    assert [series.patient_id for series in found.series] == ["UPENN-GBM-00612"]
    assert found.findings == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], "UPENN-GBM_clinical_info_v2.1.csv", id="absent"),
        pytest.param(["UPENN-GBM_clinical_info_v1.0.csv"], "UPENN-GBM_clinical_info_v1.0.csv", id="one"),
        pytest.param(
            ["UPENN-GBM_clinical_info_v1.0.csv", "UPENN-GBM_clinical_info_v2.1.csv"],
            "UPENN-GBM_clinical_info_v2.1.csv",
            id="newest",
        ),
    ],
)
def test_labels_file(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).touch()
    assert UPENN_GBM.labels_file(tmp_path) == tmp_path / expected
