"""Prediction takes what a training takes: every layout, with the same identifiers and the same series."""

import csv
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from written_layouts import LAYOUTS, write_layout

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.layouts import find_series
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.model import BundleModel
from mgmt_monai.inference.studies import studies_in
from mgmt_monai.inference.study import find_study
from mgmt_monai.inference.study_batch import predict_batch

LABELS = {"90000": 1, "90003": 0}


@pytest.fixture
def write(tmp_path: Path):
    """Writes volumes of 3 x 4 x 5 voxels below ``cohort``."""

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / "cohort" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), path)
        return tmp_path / "cohort"

    return make


def predicted(layout: str, heads: Path, labels: dict[str, int], model: BundleModel, root: Path) -> list[dict[str, str]]:
    """The table of a cohort written in a layout, without the patients' names, which each layout has its own way."""
    patients = write_layout(layout, heads, labels, root / layout)
    outcome = predict_batch(root / layout, [model], root / "out" / layout)
    assert outcome.faults == {}
    assert list(outcome.predictions) == list(patients.values())
    with outcome.table.open(newline="") as file:
        return [{**row, "patient_id": ""} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def heads(request, t1w_model: BundleModel, tmp_path_factory):
    """So many heads, their labels, and what is predicted of them in Kaggle's layout: ``heads(n)``."""

    @cache
    def made(n: int) -> tuple[Path, dict[str, int], list[dict[str, str]]]:
        root, labels = tmp_path_factory.mktemp("heads"), LABELS
        source = request.getfixturevalue("forty_heads" if n == 40 else "phantom_dir")
        if n == 40:
            labels = {path.name: number % 2 for number, path in enumerate(sorted((source / "train").iterdir()))}
        return source, labels, predicted("rsna-miccai-2021", source, labels, t1w_model, root)

    return made


@pytest.mark.parametrize(
    ("n", "layout"),
    [
        *((2, layout) for layout in ("csv", "bids with sessions", "dicom")),
        *(
            pytest.param(40, layout, marks=[pytest.mark.slow, pytest.mark.xdist_group("forty heads")])
            for layout in LAYOUTS[1:]
        ),
    ],
)
def test_cohort_is_predicted_as_kaggles_layout_of_the_same_heads(
    n: int, layout: str, heads, t1w_model: BundleModel, tmp_path: Path
) -> None:
    source, labels, expected = heads(n)
    assert predicted(layout, source, labels, t1w_model, tmp_path) == expected


@pytest.mark.parametrize(
    ("names", "study", "modalities"),
    [
        (["p001/p001_t1.nii.gz", "p001/p001_flair.nii.gz"], "p001", ["FLAIR", "T1w"]),
        (["sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_ce-gd_T1w.nii.gz"], "sub-01", ["T1w", "T1wCE"]),
        (["sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz"], "sub-01", ["T2w"]),
        (["UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1c.nii.gz"], "UCSF-PDGM-0004_nifti", ["T1wCE"]),
    ],
)
def test_one_patients_folder_is_a_study(write, names: list[str], study: str, modalities: list[str]) -> None:
    found = find_study(write(*names) / study)
    assert (found.name, [series.modality for series in found.series]) == (study, modalities)


def test_study_of_silent_names_says_which_word_is_missing(write) -> None:
    with pytest.raises(InferenceError, match=r"no file of p001 says FLAIR or T1w or T1wCE or T2w"):
        find_study(write("p001/first.nii.gz") / "p001")


def test_patient_without_series_is_a_fault_of_its_own(write, tmp_path: Path) -> None:
    root = write("p001/p001_t1.nii.gz", "p002/second.nii.gz")
    studies = {study.name: study for study in studies_in(root, tmp_path / "out")}
    assert list(studies) == ["p001", "p002"]
    with pytest.raises(InferenceError, match=r"expected series of .*, found none"):
        studies["p002"].series()


def test_first_examination_is_told(write, tmp_path: Path) -> None:
    root = write(*(f"sub-01/ses-{n}/anat/sub-01_ses-{n}_T1w.nii.gz" for n in (1, 2)))
    (study,) = studies_in(root, tmp_path / "out")
    assert [note.id for note in study.found.notes] == ["D034"]
    assert [series.files for series in study.found.series] == [("sub-01_ses-1_T1w.nii.gz",)]


def test_description_of_what_is_not_read_stays_in_the_cohort(make_dicom, tmp_path: Path) -> None:
    (tmp_path / "cohort").mkdir()
    for number, (patient, text) in enumerate((("A", "AX T1"), ("A", "AX DWI for Doe"), ("B", "AX DWI for Doe"))):
        uids = {"StudyInstanceUID": f"1.{number}", "SeriesInstanceUID": f"1.{number}.1", "PatientID": patient}
        pixels = np.full((4, 6), number, np.uint16)
        make_dicom(tmp_path / f"cohort/{number}.dcm", pixels, SeriesDescription=text, **uids)
    studies = studies_in(tmp_path / "cohort", tmp_path / "out")
    assert [study.name for study in studies] == ["A", "B"]
    assert "Doe" not in str(studies[0].found.notes)
    assert "Doe" not in studies[1].fault


def test_results_beside_the_patients_are_no_patient(write) -> None:
    root = write("p001/p001_t1.nii.gz")
    (root / "prediction" / "p001").mkdir(parents=True)
    assert [study.name for study in studies_in(root, root / "prediction")] == ["p001"]


@pytest.mark.parametrize("names", [["p001/p001_t1.nii.gz"], ["p001/a.nii.gz", "p002/b.nii.gz"]])
def test_files_beside_the_studies_folders_are_counted(write, names: list[str], tmp_path: Path, caplog) -> None:
    root = write(*names, "p008_t1.nii.gz", "p008_t2.nii.gz", "brain_mask.nii.gz")
    assert [study.name for study in studies_in(root, tmp_path / "out")] == [name[:4] for name in names]
    assert caplog.messages == ["2 NIfTI files beside the studies are not read: put each patient's into a folder"]


def test_flat_files_that_are_read_are_not_counted_as_beside(write, tmp_path: Path, caplog) -> None:
    studies_in(write("BraTS2021_00001_t1.nii.gz", "BraTS2021_00001_seg.nii.gz"), tmp_path / "out")
    assert caplog.messages == []


def test_identifier_that_no_folder_can_have_is_a_fault(write, tmp_path: Path) -> None:
    root = write("a.nii.gz")
    (root / "cohort.csv").write_text("patient_id,label,T1w\nx/../../y,1,a.nii.gz\n")
    (study,) = studies_in(root, tmp_path / "out")
    assert "/" not in study.folder
    with pytest.raises(InferenceError, match="a folder can be called by"):
        study.series()


def test_layout_that_is_named_is_taken(write, tmp_path: Path) -> None:
    root = write("p001/p001_t1.nii.gz")
    assert [study.name for study in studies_in(root, tmp_path, "folders")] == ["p001"]
    with pytest.raises(CohortError, match="expected series as the layout bids has them"):
        studies_in(root, tmp_path, "bids")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_patients_and_series_as_a_training(layout: str, phantom_dir: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    names = write_layout(layout, phantom_dir, LABELS, root)
    studies = studies_in(root, tmp_path / "out")
    assert [study.name for study in studies] == list(names.values())
    found = [
        (one.patient_id, one.modality, one.directory / (one.files or ("",))[0])
        for study in studies
        for one in sorted(study.found.series, key=lambda series: series.modality)
    ]
    assert found == [(s.patient_id, s.modality, s.directory / (s.files or ("",))[0]) for s in find_series(root).series]


@pytest.mark.parametrize(
    ("names", "study", "chosen"),
    [
        (("p1/t1_gd.nii.gz", "p1/t1_gd_2.nii.gz", "p2/t1_gd.nii.gz", "p2/t1_gd_2.nii.gz"), "p1", "p1/t1_gd_2.nii.gz"),
        (
            tuple(f"sub-{n}/anat/sub-{n}_{run}ce-gd_T1w.nii.gz" for n in "12" for run in ("", "run-2_")),
            "sub-1",
            "sub-1/anat/sub-1_run-2_ce-gd_T1w.nii.gz",
        ),
    ],
    ids=["folders", "bids"],
)
def test_decision_of_the_cohort_counts_for_one_of_its_patients(write, names, study, chosen):
    cohort = write(*names)
    before = find_study(cohort / study).series
    (cohort / "series.csv").write_text(f"patient_id,file,frame,decision\n{study},{chosen},,T1wCE\n")

    alone, batch = find_study(cohort / study).series, {one.name: one for one in studies_in(cohort, cohort / "out")}

    assert [one.directory / one.files[0] for one in before] != [cohort / chosen]
    assert [one.directory / one.files[0] for one in alone] == [cohort / chosen]
    assert [one.files for one in batch[study].found.series] == [one.files for one in alone]
    (other,) = set(batch) - {study}
    assert find_study(cohort / other).series[0].files == batch[other].found.series[0].files


def test_decision_on_a_series_that_is_gone_is_refused_for_its_patient_alone(write):
    cohort = write("p1/t1.nii.gz", "p2/t1.nii.gz")
    (cohort / "series.csv").write_text("patient_id,file,frame,decision\np1,p1/t1_old.nii.gz,,T1w\n")
    with pytest.raises(CohortError, match=r"found none that begins with p1/t1_old\.nii\.gz"):
        find_study(cohort / "p1")
    assert [one.modality for one in find_study(cohort / "p2").series] == ["T1w"]


def test_files_of_several_patients_are_no_one_study_and_told_of_in_a_batch(write, caplog):
    cohort = write(*(f"images/p{n}_{m}.nii.gz" for n in (1, 2) for m in ("t1", "t2")), "other/t1.nii.gz")
    with pytest.raises(InferenceError, match="more than one patient"):
        find_study(cohort / "images")
    assert [one.name for one in studies_in(cohort, cohort / "out")] == ["images", "other"]
    assert "found 2 files of names such as p1 and p2, of which one is read" in caplog.text
