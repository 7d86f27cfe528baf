import pytest

from mgmt_monai.cohort.layouts.nifti_names import UCSF_PDGM

CASE = "UCSF-PDGM-0004"


def test_four_modalities_and_nothing_else(tmp_path, make_nifti):
    others = ("ADC", "DWI_bias", "SWI", "ASL", "tumor_segmentation", "brain_parenchyma_segmentation", "DTI_eddy_FA")
    make_nifti(*(f"{CASE}_nifti/{CASE}_{suffix}.nii.gz" for suffix in ("T1", "T1c", "T2", "FLAIR", *others)))
    assert UCSF_PDGM.recognises(tmp_path)
    found = UCSF_PDGM.find(tmp_path)
    assert {series.modality: series.files[0] for series in found.series} == {
        "FLAIR": f"{CASE}_FLAIR.nii.gz",
        "T1w": f"{CASE}_T1.nii.gz",
        "T1wCE": f"{CASE}_T1c.nii.gz",
        "T2w": f"{CASE}_T2.nii.gz",
    }
    assert (found.patients, found.findings) == ({CASE}, [])


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        pytest.param(["T1", "T1_bias"], "T1", id="both"),
        pytest.param(["T1_bias"], "T1_bias", id="corrected alone"),
    ],
)
def test_bias_corrected_copy_is_taken_only_where_it_is_alone(tmp_path, make_nifti, names, taken):
    make_nifti(*(f"{CASE}_nifti/{CASE}_{name}.nii.gz" for name in names))
    found = UCSF_PDGM.find(tmp_path)
    assert [series.files for series in found.series] == [(f"{CASE}_{taken}.nii.gz",)]
    assert found.findings == []


def test_follow_up_is_no_second_patient(tmp_path, make_nifti):
    make_nifti(*(f"UCSF-PDGM-0433{visit}_nifti/UCSF-PDGM-0433{visit}_T2.nii.gz" for visit in ("_FU007d", "")))
    found = UCSF_PDGM.find(tmp_path)
    assert [series.files for series in found.series] == [("UCSF-PDGM-0433_T2.nii.gz",)]
    assert found.patients == {"UCSF-PDGM-0433"}
    (note,) = found.findings
    assert (note.id, note.text) == (
        "D034", "expected one visit, found 2; took the first and left out FU007d",
    )  # fmt: skip


def test_folder_of_another_patient_is_not_overlooked(tmp_path, make_nifti):
    make_nifti(f"{CASE}_nifti/{CASE}_T1.nii.gz")
    (tmp_path / "UCSF-PDGM-0005_FU003d_nifti").mkdir()
    assert UCSF_PDGM.find(tmp_path).patients == {CASE, "UCSF-PDGM-0005"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], "UCSF-PDGM-metadata_v5.csv", id="absent"),
        pytest.param(
            ["UCSF-PDGM-metadata_v2.csv", "UCSF-PDGM-metadata_v4.csv"], "UCSF-PDGM-metadata_v4.csv", id="newest"
        ),
    ],
)  # fmt: skip
def test_labels_file(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).touch()
    assert UCSF_PDGM.labels_file(tmp_path) == tmp_path / expected
