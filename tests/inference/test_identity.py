"""A text of a result names nobody."""

from pathlib import Path

import numpy as np
import pytest

from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.inference.identity import Redaction


@pytest.fixture
def redact(tmp_path: Path, make_dicom) -> Redaction:
    folder = tmp_path / "study" / "Doe_Jane"
    folder.mkdir(parents=True)
    for name in ("b-DOE.dcm", "a-DOE.dcm", "3"):
        make_dicom(
            folder / name,
            np.zeros((4, 4), "u2"),
            AccessionNumber="ACC-1",
            InstitutionName="St. Elsewhere",
            PatientName="Doe^Jane^X",
            StudyID="12",
        )
    return Redaction([FoundSeries("study", "T1w", folder, None, "named")], tmp_path / "study")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("found 'JANE AX T2' and doe", "found '(removed) AX T2' and (removed)"),
        ("id secret-id, acc ACC-1", "id (removed), acc (removed)"),
        ("at St. Elsewhere", "at (removed)"),
        ("born 19700102", "born (removed)"),
        ("on 2019-08-23, 23.8.2019, 8/23/2019 and 20190823", "on (removed), (removed), (removed) and (removed)"),
        ("expected one of a-DOE.dcm, found b-DOE.dcm", "expected one of file 2, found file 3"),
        ("found 3 of 12 slices at 19.50 mm (20.0 %)", "found 3 of 12 slices at 19.50 mm (20.0 %)"),
        ("Janesville and 202001010 stay", "Janesville and 202001010 stay"),
    ],
)
def test_names_identifiers_dates_and_file_names_are_taken_out(redact: Redaction, text: str, expected: str) -> None:
    assert redact(text) == expected


def test_folders_are_taken_out(redact: Redaction, tmp_path: Path) -> None:
    text = f"{tmp_path}/study/Doe_Jane/a-DOE.dcm: and {tmp_path}/study/Doe_Jane: and {tmp_path}/study/x"

    assert redact(text) == "file 2: and : and x"


def test_series_that_is_not_dicom_or_not_there_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "jane").write_bytes(b"text")
    series = [
        FoundSeries("s", "T1w", tmp_path, ("jane",), ""),
        FoundSeries("s", "T2w", tmp_path, ("jane.nii.gz",), ""),
        FoundSeries("s", "FLAIR", tmp_path / "nowhere", None, ""),
    ]

    assert Redaction(series, tmp_path)("found jane.nii.gz") == "found file 1"
