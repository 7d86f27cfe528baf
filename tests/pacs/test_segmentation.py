"""Maps as DICOM Segmentation: the strong parts of the map, on the slices that they are of."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from highdicom.seg import segread
from pydicom.dataset import Dataset
from real_orthanc import Orthanc

from mgmt_monai.cohort.series import Series
from mgmt_monai.inference.explain.explanation import SeriesExplanation, explain_series, write_explanation
from mgmt_monai.inference.model import open_models
from mgmt_monai.inference.study import StudySeries
from mgmt_monai.pacs.dicomweb import fetch_study, open_archive, store
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.result import write_object
from mgmt_monai.pacs.segmentation import map_segmentations
from mgmt_monai.pacs.study_source import SourceSeries, read_source

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def explanation(exported_bundle: Path, found: list[StudySeries]) -> Iterator[SeriesExplanation]:
    with open_models([exported_bundle]) as (model,):
        yield explain_series(model, found[1].series, ["gradcam"])


@pytest.fixture
def written(explanation: SeriesExplanation, sources: list[SourceSeries], tmp_path: Path) -> Path:
    return write_object(map_segmentations(explanation, sources[1])["gradcam"], tmp_path / "gradcam.dcm")


def expected_segments(explanation: SeriesExplanation, folder: Path) -> dict[tuple[float, ...], np.ndarray]:
    """What is at least half as strong as the strongest colour, by the slice's position, from the map as NIfTI."""
    write_explanation(explanation, folder)
    image = nib.load(folder / "gradcam.nii.gz")
    values, limit = (
        np.asarray(image.dataobj),
        0.5 * np.percentile(np.abs(explanation.maps[0].values[explanation.maps[0].values != 0]), 99.5),
    )
    labels = np.where(values >= limit, 1, np.where(values <= -limit, 2, 0))
    slices = {}
    for k in range(labels.shape[2]):
        x, y, z = (image.affine @ [0, 0, k, 1])[:3]
        slices[tuple(np.round([-x, -y, z], 2))] = labels[:, :, k].T  # LPS as DICOM has it
    return slices


def test_segments_are_the_strong_parts_of_the_map_on_its_own_slices(
    written: Path, explanation: SeriesExplanation, study_dir: Path, tmp_path: Path
) -> None:
    expected = expected_segments(explanation, tmp_path / "explained")
    headers = {}
    for path in (study_dir / "T1w").iterdir():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        headers[str(header.SOPInstanceUID)] = tuple(np.round(np.array(header.ImagePositionPatient, float), 2))
    uids = list(headers)

    pixels = segread(written).get_pixels_by_source_instance(
        uids, combine_segments=True, ignore_spatial_locations=False, assert_missing_frames_are_empty=True
    )

    assert len(uids) == len(expected)
    for uid, found in zip(uids, pixels, strict=True):
        np.testing.assert_array_equal(found, expected[headers[uid]])
    assert {1, 2} >= set(np.unique(pixels)) - {0} and pixels.any()


def test_segmentation_says_what_it_is_of_and_by_whom(written: Path, study_dir: Path) -> None:
    source = pydicom.dcmread(next((study_dir / "T1w").iterdir()), stop_before_pixels=True)

    made = pydicom.dcmread(written)

    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert made[keyword].value == source[keyword].value
    assert [one.SegmentLabel for one in made.SegmentSequence] == [
        "Raises the logit of MGMT promoter methylation", "Lowers the logit of MGMT promoter methylation",
    ]  # fmt: skip
    assert made.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "mgmt_t1w: gradcam"
    assert (made.SeriesNumber, made.SeriesDescription) == (9903, "MGMT prediction, research use only")
    assert "Müller".encode() in written.read_bytes()


def test_dciodvfy_finds_no_error_in_the_segmentation(written: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (Debian: dicom3tools)")

    said = subprocess.run(["dciodvfy", str(written)], capture_output=True, text=True, check=False)

    assert "Segmentation" in said.stderr
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []


def test_segmentation_comes_back_from_an_archive_as_it_was(
    orthanc: Orthanc,
    known_to_orthanc: None,
    explanation: SeriesExplanation,
    sources: list[SourceSeries],
    tmp_path: Path,
) -> None:
    archive, made = open_archive(orthanc.url), map_segmentations(explanation, sources[1])["gradcam"]

    store(archive, [made])

    fetched = fetch_study(archive, str(made.StudyInstanceUID), tmp_path / "back", modalities=("SEG",))
    [back] = [pydicom.dcmread(path) for path in fetched.rglob(f"{made.SOPInstanceUID}.dcm")]
    assert back.to_json_dict() == pydicom.dcmread(write_object(made, tmp_path / "local.dcm")).to_json_dict()


def test_segmentation_of_a_multi_frame_image_refers_to_its_frames(
    explanation: SeriesExplanation, sources: list[SourceSeries], tmp_path: Path
) -> None:
    single, frames = sources[1], tuple(reversed(range(len(sources[1].headers))))  # stored from the last slice on
    enhanced = enhanced_from(single)
    path = tmp_path / "one.dcm"
    enhanced.save_as(path, implicit_vr=False, little_endian=True)
    series = Series("case", "T1w", (path,), range(len(frames)), frames=frames)

    made = map_segmentations(explanation, read_source(series))["gradcam"]

    alone = map_segmentations(explanation, single)["gradcam"]
    places = {str(header.SOPInstanceUID): frames[place] + 1 for place, header in enumerate(single.headers)}
    used = [frame_of(item) for item in made.PerFrameFunctionalGroupsSequence]
    assert {str(item.ReferencedSOPInstanceUID) for item in used} == {str(enhanced.SOPInstanceUID)}
    assert {int(item.ReferencedFrameNumber) for item in used} == {
        places[str(frame_of(item).ReferencedSOPInstanceUID)] for item in alone.PerFrameFunctionalGroupsSequence
    }


def test_segmentation_of_a_map_that_is_zero_everywhere_is_none(
    explanation: SeriesExplanation, sources: list[SourceSeries]
) -> None:
    zero = replace(explanation.maps[0], values=np.zeros_like(explanation.maps[0].values))

    assert map_segmentations(replace(explanation, maps=(zero,)), sources[1]) == {}


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "ImageOrientationPatient"])
def test_series_that_cannot_be_referred_to_is_refused(
    explanation: SeriesExplanation, sources: list[SourceSeries], keyword: str
) -> None:
    headers = []
    for header in sources[1].headers:
        without = Dataset(header)
        del without[keyword]
        headers.append(without)

    with pytest.raises(PacsError, match=r"expected images that a DICOM Segmentation can refer to.*--dicom-seg"):
        map_segmentations(explanation, replace(sources[1], headers=tuple(headers)))


def test_series_without_positions_is_refused(explanation: SeriesExplanation, sources: list[SourceSeries]) -> None:
    nowhere = replace(explanation, seen=replace(explanation.seen, geometry_fault="2 slices are missing"))

    with pytest.raises(PacsError, match=r"lie, found that 2 slices are missing\. Leave out --dicom-seg\."):
        map_segmentations(nowhere, sources[1])


def frame_of(item: Dataset) -> Dataset:
    return item.DerivationImageSequence[0].SourceImageSequence[0]


def enhanced_from(source: SourceSeries) -> Dataset:
    """An Enhanced MR of the source's slices, the last one first, without pixels."""
    first, made = source.first, Dataset(source.first)
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4.1", pydicom.uid.generate_uid()
    made.NumberOfFrames = len(source.headers)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    made.SharedFunctionalGroupsSequence, frames = [shared], []
    for header in reversed(source.headers):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = header.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = frames
    return made
