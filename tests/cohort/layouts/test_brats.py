import pytest

from mgmt_monai.cohort.layouts.nifti_names import BRATS


def _found(data_dir):
    return [(series.patient_id, series.modality, series.files) for series in BRATS.find(data_dir).series]


def test_spelling_of_2021(tmp_path, make_nifti):
    folder = "BraTS2021_00495"
    make_nifti(*(f"{folder}/{folder}_{suffix}.nii.gz" for suffix in ("flair", "t1", "t1ce", "t2", "seg")))
    assert sorted(_found(tmp_path)) == [
        ("00495", "FLAIR", ("BraTS2021_00495_flair.nii.gz",)),
        ("00495", "T1w", ("BraTS2021_00495_t1.nii.gz",)),
        ("00495", "T1wCE", ("BraTS2021_00495_t1ce.nii.gz",)),
        ("00495", "T2w", ("BraTS2021_00495_t2.nii.gz",)),
    ]


def test_spelling_of_2023_in_any_case(tmp_path, make_nifti):
    folder = "BraTS-GLI-00007-000"
    make_nifti(*(f"{folder}/{folder}-{suffix}.nii.gz" for suffix in ("t2f", "t1n", "T1C", "t2W", "seg")))
    assert sorted(_found(tmp_path)) == [
        ("BraTS-GLI-00007", "FLAIR", ("BraTS-GLI-00007-000-t2f.nii.gz",)),
        ("BraTS-GLI-00007", "T1w", ("BraTS-GLI-00007-000-t1n.nii.gz",)),
        ("BraTS-GLI-00007", "T1wCE", ("BraTS-GLI-00007-000-T1C.nii.gz",)),
        ("BraTS-GLI-00007", "T2w", ("BraTS-GLI-00007-000-t2W.nii.gz",)),
    ]


def test_reason_is_the_part_of_the_name_that_says_the_modality(tmp_path, make_nifti):
    make_nifti("BraTS2021_00495_t1ce.nii.gz", "BraTS-GLI-00007-000-T2f.nii.gz")
    reasons = {series.modality: series.reason for series in BRATS.find(tmp_path).series}
    assert reasons == {"T1wCE": "file name _t1ce", "FLAIR": "file name -T2f"}


@pytest.mark.parametrize("folder", ["", "training data/", "a/b/c/"], ids=["flat", "one folder", "three folders"])
def test_files_up_to_three_folders_deep(tmp_path, make_nifti, folder):
    make_nifti(f"{folder}BraTS2021_00001_t1.nii.gz", f"{folder}BraTS2021_00002_t1.nii")
    assert BRATS.recognises(tmp_path)
    assert [patient for patient, _, _ in _found(tmp_path)] == ["00001", "00002"]


@pytest.mark.parametrize(
    "name",
    [
        "BraTS2021_00001_t1ce_corrected.nii.gz",
        "BraTS2021_00001_t1.nii.gz.part",
        "copy of BraTS2021_00001_t1.nii.gz",
        "BraTS-GLI-00001-t1n.nii.gz",
        "sub-01_T1w.nii.gz",
    ],
)
def test_other_names_passed_over(tmp_path, name):
    (tmp_path / name).touch()
    assert not BRATS.recognises(tmp_path)
    assert _found(tmp_path) == []


def test_first_of_several_time_points(tmp_path, make_nifti):
    make_nifti(*(f"BraTS-GLI-00007-{visit}-t1n.nii.gz" for visit in ("002", "001", "010")))
    make_nifti("BraTS-GLI-00007-002-t2w.nii.gz")
    found = BRATS.find(tmp_path)
    assert _found(tmp_path) == [("BraTS-GLI-00007", "T1w", ("BraTS-GLI-00007-001-t1n.nii.gz",))]
    assert [(finding.id, finding.patient_id) for finding in found.findings] == [("D034", "BraTS-GLI-00007")]
    assert "took the first, 001, and left out 002, 010" in found.findings[0].text


def test_same_file_twice_is_told(tmp_path, make_nifti):
    make_nifti("BraTS2021_00001_t1.nii.gz", "copy/BraTS2021_00001_t1.nii.gz")
    found = BRATS.find(tmp_path)
    assert [series.directory for series in found.series] == [tmp_path]
    assert [(finding.id, finding.modality) for finding in found.findings] == [("D034", "T1w")]
    assert "left out copy/BraTS2021_00001_t1.nii.gz" in found.findings[0].text


def test_file_named_after_another_patient_than_its_folder_is_an_error_and_not_read(tmp_path, make_nifti):
    make_nifti("BraTS2021_00001/BraTS2021_00002_t1.nii.gz", "BraTS2021_00001/BraTS2021_00001_t2.nii.gz")
    found = BRATS.find(tmp_path)
    assert [(series.patient_id, series.modality) for series in found.series] == [("00001", "T2w")]
    assert [(one.id, one.patient_id, one.others) for one in found.findings] == [("D047", "00001", ("00002",))]


def test_file_in_fewer_folders_is_taken_whatever_its_name(tmp_path, make_nifti):
    make_nifti("a/b/BraTS2021_00001_t1.nii.gz", "z/BraTS2021_00001_t1.nii.gz")
    assert [series.directory for series in BRATS.find(tmp_path).series] == [tmp_path / "z"]


def test_file_four_folders_deep_is_not_looked_for(tmp_path, make_nifti):
    make_nifti("a/b/c/d/BraTS2021_00001_t1.nii.gz")
    assert not BRATS.recognises(tmp_path)
    assert _found(tmp_path) == []


def test_real_case(shared_data):
    directory = shared_data / "nifti"
    found = BRATS.find(directory)
    assert found.findings == []
    assert {series.modality: series.files for series in found.series} == {
        "FLAIR": ("BraTS-GLI-00000-000-t2f.nii.gz",),
        "T1w": ("BraTS-GLI-00000-000-t1n.nii.gz",),
        "T1wCE": ("BraTS-GLI-00000-000-t1c.nii.gz",),
        "T2w": ("BraTS-GLI-00000-000-t2W.nii.gz",),
    }
    assert all((series.directory / series.files[0]).is_file() for series in found.series)
