"""Where the segmentation of each patient is found, and what is told where it is not."""

from pathlib import Path

import pytest
from made_records import made_series

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.tables.segmentations import find_segmentations


def patient(name: str, directory: str) -> PatientRecord:
    return PatientRecord(name, 0, "test", {"T1w": made_series(directory=directory)})


def make(root: Path, *paths: str) -> list[Path]:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return [root / path for path in paths]


@pytest.mark.parametrize(
    ("directory", "path"),
    [
        ("BraTS_001", "BraTS_001/BraTS_001_seg.nii.gz"),
        ("BraTS_001", "BraTS_001/BraTS_001-seg.nii"),
        ("train/P1/T1w", "train/P1/seg.nii.gz"),
        ("train/00001/T1w", "train/00001/T1w/tumour segmentation.nii.gz"),
        ("all", "all/P1_seg.nii.gz"),
    ],
)
def test_one_beside_the_series_is_found(tmp_path, directory, path):
    own = make(tmp_path, path, f"{Path(path).parent}/P1_segment_of_scan.nii.gz", f"{Path(path).parent}/P1_seg.txt")[:1]
    assert find_segmentations("auto", [patient("P1", directory)], tmp_path) == {"P1": own[0]}


def test_patients_of_one_folder_are_told_by_their_names(tmp_path):
    files = make(tmp_path, "all/P1_seg.nii.gz", "all/P10_seg.nii.gz", "all/P2_seg.nii.gz")
    patients = [patient(name, "all") for name in ("P1", "P10", "P2")]
    assert list(find_segmentations("auto", patients, tmp_path).values()) == files


@pytest.mark.parametrize(
    ("paths", "found"),
    [((), "none for P1"), (("P1/a_seg.nii.gz", "P1/b_seg.nii.gz"), "several for P1")],
)
def test_none_or_several_are_told(tmp_path, paths, found):
    make(tmp_path, *paths)
    with pytest.raises(CohortError, match=f"expected one NIfTI file for every patient, found {found}"):
        find_segmentations("auto", [patient("P1", "P1")], tmp_path)


def test_table_names_them(tmp_path):
    (own,) = make(tmp_path, "masks/a.nii.gz")
    table = tmp_path / "table.csv"
    table.write_text(f"segmentation,patient_id\nmasks/a.nii.gz,P1\n{own},P2\nx.nii,P3\n")
    patients = [patient(name, name) for name in ("P1", "P2")]
    assert find_segmentations(table, patients, tmp_path) == {"P1": own, "P2": own}
    with pytest.raises(CohortError, match="found no such file for P3"):
        find_segmentations(table, [patient("P3", "P3")], tmp_path)
    with pytest.raises(CohortError, match="found none for P4"):
        find_segmentations(table, [*patients, patient("P4", "P4")], tmp_path)
    with pytest.raises(CohortError, match=r"none\.csv: no such table"):
        find_segmentations(tmp_path / "none.csv", patients, tmp_path)
