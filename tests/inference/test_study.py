"""A study's series are found by name, by folder or by tags, examined, and named after the study alone."""

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.study import find_study, read_study, series_items


def flatten(study: Path, out: Path) -> Path:
    """The study's DICOM files with meaningless names in one folder."""
    out.mkdir()
    for number, file in enumerate(sorted(study.rglob("*.dcm"))):
        shutil.copy(file, out / f"IM{number:04}")
    return out


def edit(folder: Path, **tags: object) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            dataset = pydicom.dcmread(file)
            for name, value in tags.items():
                setattr(dataset, name, value)
            dataset.save_as(file)


def head(path: Path) -> None:
    grid = np.indices((24, 24, 12)).astype(float) - np.array([12, 12, 6])[:, None, None, None]
    volume = np.exp(-(grid**2).sum(axis=0) / 60) * 1000 + np.random.default_rng(0).normal(0, 5, (24, 24, 12))
    nib.save(nib.Nifti1Image(volume.astype(np.float32), np.diag([2.0, 2, 3, 1])), path)


def test_modality_folders_are_found_in_order_and_read(study: Path) -> None:
    found = read_study(study)

    assert [one.modality for one in found] == ["FLAIR", "T1w"]
    assert [one.errors for one in found] == [(), ()]
    t1w = found[1].series
    assert t1w.patient_id == "study-1"
    positions = [float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in t1w.files]
    orientation = pydicom.dcmread(t1w.files[0]).ImageOrientationPatient
    normal = np.cross(orientation[:3], orientation[3:])
    along = [np.dot(normal, pydicom.dcmread(file).ImagePositionPatient) for file in t1w.files]
    assert along == sorted(along)
    assert len(positions) == len(list((study / "T1w").iterdir()))


def test_loose_dicom_files_are_told_apart_by_their_tags(study: Path, tmp_path: Path) -> None:
    by_folder = {one.modality: one.series.n_slices for one in read_study(study)}

    loose = read_study(flatten(study, tmp_path / "case-9"))

    assert {one.modality: one.series.n_slices for one in loose} == by_folder
    assert {one.exam.patient_id for one in loose} == {"case-9"}


def test_nifti_files_are_found_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "BraTS2021_00007"
    folder.mkdir()
    for said in ("t1", "flair", "seg"):
        head(folder / f"BraTS2021_00007_{said}.nii.gz")

    assert [(one.modality, one.series.n_slices) for one in read_study(folder)] == [("FLAIR", 12), ("T1w", 12)]


def test_named_series_alone_are_read_wherever_they_lie(study: Path, tmp_path: Path, monkeypatch) -> None:
    head(tmp_path / "other.nii")
    (study / "FLAIR").rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)

    found = read_study(study, {"T2w": Path("other.nii"), "FLAIR": Path("elsewhere")})

    assert [(one.modality, one.series.n_slices) for one in found][1] == ("T2w", 12)
    assert found[0].series.files[0].is_file()
    assert {one.exam.patient_id for one in found} == {"study-1"}


def test_study_in_this_folder_has_its_name(study: Path, monkeypatch) -> None:
    monkeypatch.chdir(study)

    assert find_study(Path()).name == "study-1"
    monkeypatch.chdir(study / "T1w")
    assert find_study(Path("..")).name == "study-1"
    (study.parent / "linked").symlink_to(study)
    assert find_study(study.parent / "linked").name == "linked"


def test_series_with_an_error_is_there_without_a_reference(study: Path) -> None:
    first = min((study / "T1w").iterdir())
    first.write_bytes(first.read_bytes()[:2000])

    t1w = read_study(study, modalities=["T1w"])[0]

    assert t1w.series is None
    assert [finding.id for finding in t1w.errors] == ["D002"]
    with pytest.raises(InferenceError, match=r"T1w.*D002"):
        series_items(study, "T1w")


def test_damaged_file_among_loose_ones_of_a_series_forbids_its_use(study: Path, tmp_path: Path) -> None:
    shutil.rmtree(study / "FLAIR")
    loose = flatten(study, tmp_path / "case-9")
    (loose / "IM9999").write_bytes(b"\0" * 128 + b"DICM" + os.urandom(200))

    t1w = read_study(loose)[0]

    assert t1w.series is None
    assert [finding.id for finding in t1w.errors] == ["D001"]


def test_series_items_are_what_a_dataset_takes(study: Path) -> None:
    (item,) = series_items(study, "FLAIR")

    assert (item["modality"], item["patient_id"], item["label"] != item["label"]) == ("FLAIR", "study-1", True)
    assert item["image"].n_slices == len(list((study / "FLAIR").iterdir()))


def test_two_patients_are_refused_without_naming_them(study: Path, tmp_path: Path) -> None:
    loose = flatten(study, tmp_path / "case-9")
    edit(study / "T1w", PatientID="secret-two")
    for file in (study / "T1w").iterdir():
        shutil.copy(file, loose / f"two-{file.name}")

    with pytest.raises(InferenceError, match="more than one patient") as caught:
        read_study(loose)
    assert "secret" not in str(caught.value)


def test_two_examinations_are_refused_without_their_dates(study: Path, tmp_path: Path) -> None:
    loose = flatten(study, tmp_path / "case-9")
    edit(study / "T1w", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", StudyDate="20190823")
    for file in (study / "T1w").iterdir():
        shutil.copy(file, loose / f"two-{file.name}")

    with pytest.raises(InferenceError, match="more than one examination") as caught:
        read_study(loose)
    assert "2019" not in str(caught.value)


def test_studies_of_one_day_are_one_examination_as_in_a_training(study: Path, tmp_path: Path) -> None:
    """A scanner that gives each series a StudyInstanceUID of its own."""
    for number, modality in enumerate(("T1w", "FLAIR")):
        edit(study / modality, StudyInstanceUID=f"1.2.{number}", StudyDate="20190823")

    found = read_study(flatten(study, tmp_path / "case-9"))

    assert [one.modality for one in found] == ["FLAIR", "T1w"]
    assert all(one.series is not None for one in found)


@pytest.mark.parametrize(
    ("named", "match"),
    [
        ({"PD": Path()}, "series 'PD': expected one of FLAIR"),
        ({"T1w": Path("nowhere")}, "no such T1w series"),
    ],
)
def test_series_that_cannot_be_named_so_is_refused(study: Path, named: dict[str, Path], match: str) -> None:
    with pytest.raises(InferenceError, match=match):
        read_study(study, named)


def test_folder_that_is_no_study_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="no such study"):
        read_study(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InferenceError, match="expected series of"):
        read_study(tmp_path / "empty")
    with pytest.raises(InferenceError, match="expected a series of T2w, found FLAIR, T1w"):
        read_study(study, modalities=["T2w"])


def test_files_without_a_patient_are_told_of(study: Path, tmp_path: Path) -> None:
    edit(study, PatientID="")
    with pytest.raises(InferenceError, match="expected a PatientID in the tags"):
        read_study(flatten(study, tmp_path / "case-9"))
