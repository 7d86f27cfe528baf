import shutil
import subprocess
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mgmt_monai.inference.prediction import StudyPrediction
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.result import write_object
from mgmt_monai.pacs.secondary_capture import secondary_captures
from mgmt_monai.pacs.study_source import SourceSeries

PAGES = [
    np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3),  # an odd number of bytes
    np.full((4, 6, 3), (255, 0, 128), np.uint8),
]


@pytest.fixture
def files(prediction: StudyPrediction, sources: list[SourceSeries], tmp_path: Path) -> list[Path]:
    images = secondary_captures(PAGES, prediction, sources)
    return [write_object(image, tmp_path / f"{number}.dcm") for number, image in enumerate(images)]


def test_pages_read_back_as_the_pixels_they_were(files: list[Path]) -> None:
    read = [pydicom.dcmread(path) for path in files]

    assert [np.array_equal(image.pixel_array, page) for image, page in zip(read, PAGES, strict=True)] == [True, True]
    assert {image.PhotometricInterpretation for image in read} == {"RGB"}


def test_pages_are_one_new_series_of_the_sources_study(files: list[Path], sources: list[SourceSeries]) -> None:
    first, second = (pydicom.dcmread(path) for path in files)

    assert first.SeriesInstanceUID == second.SeriesInstanceUID != sources[0].first.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    assert first.StudyInstanceUID == sources[0].first.StudyInstanceUID
    assert (first.PatientName, first.PatientID, first.StudyDate) == ("Müller^Jürgen", "4711", "20210405")


def test_pages_say_what_they_are(files: list[Path]) -> None:
    image = pydicom.dcmread(files[0])

    assert image.BurnedInAnnotation == "YES"
    assert image.ImageComments == "Research use only. Not for diagnosis or treatment."
    assert "MGMT" in image.DerivationDescription
    assert image.ImageType == ["DERIVED", "SECONDARY", "OTHER"]
    assert not image.PatientOrientation  # a page of several views has none


def test_pages_refer_to_the_images_used(files: list[Path], sources: list[SourceSeries]) -> None:
    image = pydicom.dcmread(files[1])

    expected = [str(source.headers[index].SOPInstanceUID) for source in sources for index in (3, 4, 5, 9)]
    assert [item.ReferencedSOPInstanceUID for item in image.SourceImageSequence] == expected


@pytest.mark.parametrize(("lossy", "expected"), [("00", "00"), ("01", "01"), (None, "00")])
def test_pages_of_lossy_images_stay_lossy(
    prediction: StudyPrediction, sources: list[SourceSeries], lossy: str | None, expected: str
) -> None:
    header = deepcopy(sources[1].headers[3])
    header.LossyImageCompression = lossy
    headers = (*sources[1].headers[:3], header, *sources[1].headers[4:])

    [image] = secondary_captures(PAGES[:1], prediction, [sources[0], replace(sources[1], headers=headers)])

    assert image.LossyImageCompression == expected


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(np.zeros((5, 5), np.uint8), id="grey"),
        pytest.param(np.zeros((5, 5, 4), np.uint8), id="with alpha"),
        pytest.param(np.zeros((5, 5, 3)), id="floats"),
        pytest.param(np.zeros((0, 5, 3), np.uint8), id="empty"),
    ],
)
def test_pages_of_another_kind_are_refused(
    prediction: StudyPrediction, sources: list[SourceSeries], page: np.ndarray
) -> None:
    with pytest.raises(PacsError, match="page 1: expected RGB"):
        secondary_captures([page], prediction, sources)


def test_dciodvfy_finds_no_error_in_a_page(files: list[Path]) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (Debian: dicom3tools)")

    said = subprocess.run(["dciodvfy", str(files[0])], capture_output=True, text=True, check=False)

    assert "SCImage" in said.stderr
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []
