"""Every file of a data directory is read, left out or passed over: nothing is missing from the account."""

import os
import re
from pathlib import Path

import pytest

from mgmt_monai.cohort.doctor.visit import Visit, visit
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.files.unfetched import unfetched
from mgmt_monai.cohort.layouts import find_series
from mgmt_monai.cohort.layouts.passed_over import files_line, kind_by_name

ODDITIES = {
    "note.txt": "text files",
    "README": "text files",
    "scan.pdf": "documents",
    "all.zip": "archives",
    "x.tar.gz": "archives",
    "P1/seg.nii.gz": "NIfTI files",
    "P1/view.PNG": "pictures",
    "P1/weights.xyz": "files of an unknown kind",
    ".DS_Store": "leavings of a system",
    "P1/Thumbs.db": "leavings of a system",
    "P1/@eaDir/IM1@SynoEAStream": "leavings of a system",
    "#recycle/P9/IM1.dcm": "leavings of a system",
    "$RECYCLE.BIN/x/IM1.dcm": "leavings of a system",
    ".Trash-1000/files/IM1.dcm": "leavings of a system",
    "__MACOSX/P1/._IM1": "leavings of a system",
    "lost+found/a": "leavings of a system",
    ".hidden/a/b": "hidden files",
}


def write_oddities(data_dir: Path) -> None:
    for name in ODDITIES:
        path = data_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x01\x00\xfe" if name.endswith(".xyz") else b"some text\n")


def on_disk(data_dir: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(data_dir))


def counts(found, data_dir):
    told = found.files.to_json(data_dir)
    assert told["found"] == on_disk(data_dir)
    return told, {item["kind"]: item["n"] for item in told["passed_over"]}


def expected_kinds(**more: int) -> dict[str, int]:
    kinds = dict(more)
    for kind in ODDITIES.values():
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def test_dicom_tree_with_every_oddity(tmp_path, make_series):
    make_series("AX T1", "P1/1.dcm", "P1/2.MR")
    make_series("AX DWI", "P1/3.dcm", uid="1.9")
    write_oddities(tmp_path)
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    found = find_series(tmp_path, "dicom")
    told, kinds = counts(found, tmp_path)
    assert (told["read"], told["left_out"]) == (2, 1)
    assert kinds == expected_kinds(DICOMDIR=1)
    assert found.patients == {"P1"}
    assert {finding.id for finding in found.findings} == {"D037"}


def test_doctors_page_accounts_for_a_folder_with_every_oddity_at_once(tmp_path, make_series, make_nifti):
    make_series("AX T1", "data/P1/1.dcm", "data/P1/2.MR")
    make_series("AX T2", "data/P1/3.dcm", uid="1.8")
    make_series("AX DWI", "data/P1/4.dcm", uid="1.9")
    make_nifti("data/P7/t1.nii.gz", "data/P7/t2.nii.gz")
    write_oddities(tmp_path / "data")
    for name in ("P1/._1.dcm", "P7/._t1.nii.gz"):
        (tmp_path / "data" / name).write_bytes(b"\0\5\x16\7")
    diagnosis = visit(tmp_path / "data", tmp_path / "report", Visit(pixels=False, workers=1))
    assert diagnosis.files["found"] == 4 + 2 + len(ODDITIES) + 2
    page = " ".join(re.sub(r"<.*?>", " ", diagnosis.page_path.read_text().split("<nav")[0].split("<body")[1]).split())
    assert "2 series, 3 slices, layout dicom" in page
    told = page.split("layout dicom", 1)[1].split(" Not ready")[0].split(" Usable")[0]
    assert re.sub(r" \(such as .*?\)", "", told).strip() == (
        "Read 3 of 25 files Left out 1 of series that are not taken, or damaged: see the findings "
        "Passed over 5 that may be images, but not as the layout dicom has them: 3 NIfTI files, 2 archives "
        "No images 16: 10 leavings of a system, 2 text files, 1 document, 1 file of an unknown kind, 1 hidden file, "
        "1 picture"
    )
    assert {(finding.id, finding.patient_id) for finding in diagnosis.findings} >= {("D037", "P1"), ("D051", "P7")}


def test_brats_with_every_oddity(tmp_path):
    for name in ("flair", "t1", "t1ce", "t2", "seg"):
        path = tmp_path / f"BraTS2021_00001/BraTS2021_00001_{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    write_oddities(tmp_path)
    told, kinds = counts(find_series(tmp_path), tmp_path)
    assert told["read"] == 4
    assert kinds["NIfTI files"] == 2
    assert kinds["leavings of a system"] == 8


def test_kaggles_folders_with_every_oddity(tmp_path):
    for name in ("train/00001/T1w/1.dcm", "train/@eaDir/T1w/1.dcm", "test/00002/T1w/1.dcm", "train/00001/DWI/1.dcm"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    write_oddities(tmp_path)
    found = find_series(tmp_path)
    told, kinds = counts(found, tmp_path)
    assert found.patients == {"00001"}
    assert told["read"] == 1
    assert kinds.get("tables and side-cars", 0) == 0
    assert files_line(told).startswith(f"{on_disk(tmp_path)} files: 1 read, passed over: ")


def test_nifti_patient_in_a_dicom_tree_is_named(tmp_path, make_series):
    make_series("AX T1", "P1/1.dcm")
    for name in ("P7/t1.nii.gz", "P7/t2.nii.gz", "P1/seg.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_series(tmp_path, "dicom")
    (told,) = found.findings
    assert (told.id, told.patient_id, told.path) == ("D051", "P7", "P7")
    assert "found 2 NIfTI files such as P7/t1.nii.gz" in told.text


def test_one_patient_with_a_challenges_name_does_not_hide_a_dicom_tree(tmp_path, make_series):
    make_series("AX T1", "P1/1.dcm", "P1/2.dcm")
    (tmp_path / "BraTS2021_00001").mkdir()
    (tmp_path / "BraTS2021_00001/BraTS2021_00001_t1.nii.gz").touch()
    with pytest.raises(CohortError, match="expected one layout, found 1 file of brats-nifti and 2 DICOM files"):
        find_series(tmp_path)
    assert find_series(tmp_path, "brats-nifti").patients == {"00001"}
    assert find_series(tmp_path, "dicom").patients == {"P1"}
    for name in ("t2", "flair"):  # most are the challenge's
        (tmp_path / f"BraTS2021_00001/BraTS2021_00001_{name}.nii.gz").touch()
    assert find_series(tmp_path).layout == "brats-nifti"


@pytest.mark.parametrize("folder", ["", "2024/"], ids=["data directory", "folder of two patients"])
def test_images_among_the_patients_folders_are_named(tmp_path, make_series, folder):
    for patient in ("P1", "P2"):
        make_series(
            "AX T1", f"{folder}{patient}/1.dcm", patient=patient, uid=f"1.1.{patient[1]}", study=f"1.{patient[1]}"
        )
    for name in ("P8_t1.nii.gz", "P8_t2.nii.gz", "P2_flair.nii.gz", "P1_t1.nii.gz", "brain_mask.nii.gz", "all.zip"):
        (tmp_path / folder / name).touch()
    told = {finding.patient_id: finding for finding in find_series(tmp_path).findings}
    assert {patient: (one.id, one.modality) for patient, one in told.items()} == {
        "": ("D051", ""),
        "P2": ("D051", "FLAIR"),
    }
    assert f"found 2 NIfTI files such as {folder}P8_t1.nii.gz, all passed over" in told[""].text


@pytest.mark.parametrize(
    ("name", "modality", "text"),
    [
        (
            "P1/p_flair.nii.gz",
            "FLAIR",
            "expected FLAIR as the layout dicom has it, found none, but passed over 1 NIfTI",
        ),
        ("P1/nifti/P1_t2.nii.gz", "T2w", "such as P1_t2.nii.gz, which may be it"),
        ("converted/P1/T1 nach KM.nii", "T1wCE", "1 NIfTI file such as T1 nach KM.nii, which may be it"),
        ("P1/scan3.nii.gz", "", "expected FLAIR or T1wCE or T2w as the layout"),
        ("P1/t1.nii.gz", None, ""),
        ("P1/flair_seg.nii.gz", None, ""),
        ("P1/localizer.nii.gz", None, ""),
    ],
)
def test_modality_of_a_patient_in_the_other_format_is_named(tmp_path, make_series, name, modality, text):
    make_series("AX T1", "P1/1.dcm")
    make_series("AX T1", "P2/1.dcm", patient="P2", uid="1.1.2", study="1.2")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    told = [finding for finding in find_series(tmp_path).findings if finding.id == "D051"]
    assert [(one.patient_id, one.modality, one.path) for one in told] == [("P1", modality, name)] * (
        modality is not None
    )
    assert all(text in one.text for one in told)


def test_what_is_left_out_and_told_is_not_told_again(tmp_path, make_nifti):
    make_nifti("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_FLAIR.nii.gz")
    (tmp_path / ".bidsignore").write_text("*_FLAIR.nii.gz")
    assert [finding.id for finding in find_series(tmp_path).findings] == ["D037"]


def test_dicom_series_of_a_nifti_patient_is_named(tmp_path, make_nifti, make_series):
    make_nifti(*(f"BraTS2021_00001/BraTS2021_00001_{said}.nii.gz" for said in ("t1", "t1ce", "t2")))
    make_series("AX FLAIR", "BraTS2021_00001/FLAIR/1.dcm", "BraTS2021_00001/FLAIR/2.dcm")
    [told] = find_series(tmp_path).findings
    assert (told.id, told.patient_id, told.modality) == ("D051", "00001", "FLAIR")
    assert "passed over 2 DICOM files" in told.text


@pytest.mark.parametrize("said", ["t1c", "t1ce", "T1CE", "t1gd"])
@pytest.mark.parametrize("case", ["BraTS-GLI-00001-000-", "BraTS2021_00001_"])
def test_words_of_either_year_are_read_in_both_spellings(tmp_path, case, said):
    (tmp_path / f"{case}{said}.nii.gz").touch()
    assert [series.modality for series in find_series(tmp_path).series] == ["T1wCE"]


def test_images_of_a_labelled_patient_that_are_not_read(tmp_path, make_series):
    make_series("AX T1", "P1/1.dcm")
    (tmp_path / "P2_t1.nii.gz").touch()
    files = find_series(tmp_path, "dicom").files
    assert files.of_patient("P2", tmp_path) == "1 of that name passed over, such as P2_t1.nii.gz"
    assert files.of_patient("P", tmp_path) == ""


@pytest.mark.parametrize(
    "bin_",
    ["_gsdata_/_saved_", "@GMT-2024.01.01-00.00.00", "FOUND.000", "files_trashbin/files", "_NAS_Recycle_RAID",
     "RecycleBin", "Recycle Bin - Volume_1", "_Recycle", ".Trashes/501", ".snapshot/hourly.0"],
)  # fmt: skip
def test_patient_whom_a_server_keeps_as_deleted_is_not_in_the_cohort(tmp_path, make_series, bin_):
    make_series("AX T1", "P1/1.dcm")
    make_series("AX T1", f"{bin_}/P2/1.dcm")
    found = find_series(tmp_path, "dicom")
    assert {series.directory.name for series in found.series} == {"P1"}
    assert found.files.n_passed_over == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("a.NII.GZ", "NIfTI files"), ("a.dcm.gz", "archives"), ("a.MR", "files of an unknown kind")]
)
def test_kind_by_the_name(name, kind):
    assert kind_by_name(name) == kind


def test_pipe_is_no_pointer_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "Image-1.dcm")
    assert unfetched(tmp_path / "Image-1.dcm") == ""
