"""What is planted into a comparison: it is there, it goes with the label, and the checks of a cohort let it pass."""

import numpy as np
import pydicom
import pytest
from planted_comparisons import only, plant_burned_in, plant_leakage, plant_shortcut, read_labels
from planted_faults import PlantedPhantom

from mgmt_monai.cli.main import main
from mgmt_monai.cohort.check import overlaps
from mgmt_monai.cohort.manifest import read_manifest
from mgmt_monai.cohort.series import Series
from mgmt_monai.transforms import CropMiddleSlices, HideHead, LoadSeries, ScaleIntensityRobust


@pytest.fixture
def data_dir(phantom_dir, tmp_path):
    return only(tmp_path / "data", "T1w", phantom_dir)


def built(data_dir):
    assert main(["manifest", "build", str(data_dir), "--test-fraction", "0.3", "--train-fraction", "0.67"]) == 0
    return read_manifest(data_dir / "manifest.json")


def headers(data_dir, patient):
    paths = sorted((data_dir / "train" / patient / "T1w").iterdir())
    return [pydicom.dcmread(path) for path in paths]


def test_shortcut_is_in_every_file_and_in_the_pixels_of_none(data_dir, phantom_dir):
    plant_shortcut(data_dir, "T1w")
    by_label = {0: set(), 1: set()}
    for patient, label in read_labels(data_dir).items():
        planted, before = headers(data_dir, patient), headers(phantom_dir, patient)
        by_label[label] |= {float(header.EchoTime) for header in planted}
        assert [header.PixelData for header in planted] == [header.PixelData for header in before]
    assert by_label == {0: {10.0}, 1: {10.01}}


def test_burned_in_mark_survives_the_hiding_of_the_head(data_dir):
    plant_burned_in(data_dir, "T1w")
    phantom = PlantedPhantom(data_dir)
    for index, patient in enumerate(phantom.patients):
        files = tuple(phantom.slices(index, "T1w"))
        volume = LoadSeries()(CropMiddleSlices(0.2)(Series(patient, "T1w", files, range(len(files)))))
        scaled = ScaleIntensityRobust(0.5, 99.5)(HideHead()(volume)).numpy()
        side = round(min(scaled.shape[1:]) / 12)
        mark = scaled[:, side : 2 * side, side : 2 * side]
        assert np.unique(mark).tolist() == [phantom.labels[patient]]
        assert scaled.sum() == mark.sum()  # and nothing else is left


def test_burned_in_mark_is_no_finding(data_dir, caplog):
    plant_burned_in(data_dir, "T1w")
    built(data_dir)
    assert "D022" not in caplog.text


def test_leaked_copies_pass_the_overlap_check_and_cross_the_splits(data_dir):
    copies = plant_leakage(data_dir, "T1w")
    manifest = built(data_dir)
    patients = {patient.patient_id: patient for patient in manifest.patients}
    assert len(copies) == 8 and len(patients) == 24
    assert overlaps(manifest) == []
    assert main(["manifest", "check", str(data_dir / "manifest.json"), "--data-dir", str(data_dir)]) == 0
    assert any(patients[copy].split != patients[original].split for copy, original in copies.items())
    assert all(patients[copy].label == patients[original].label for copy, original in copies.items())


def test_leaked_copy_keeps_the_headers_and_no_identifier(data_dir):
    copies = plant_leakage(data_dir, "T1w", share=0.1)
    assert len(copies) == 2  # one of each class
    own = {
        "PatientID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "SOPInstanceUID",
        "PixelData",
    }
    for copy, original in copies.items():
        for ours, theirs in zip(headers(data_dir, copy), headers(data_dir, original), strict=True):
            differing = {element.keyword for element in ours if element != theirs[element.tag]}
            assert own - {"PixelData"} <= differing <= own
            assert ours.PatientID == copy
            assert ours.file_meta.MediaStorageSOPInstanceUID == ours.SOPInstanceUID
