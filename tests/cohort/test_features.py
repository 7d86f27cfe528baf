import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from made_cohorts import write_labels, write_patient
from planted_comparisons import only
from planted_faults import PlantedPhantom

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.examination import readers
from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.examination.header_checks import IDENTIFYING
from mgmt_monai.cohort.features import geometry_features, header_features
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.splits.plans import Holdout


@pytest.fixture(scope="module")
def phantom(phantom_dir, tmp_path_factory) -> tuple[Path, Manifest]:
    """The T2w series of a phantom, and their manifest; not to be changed."""
    data_dir = only(tmp_path_factory.mktemp("features") / "data", "T2w", phantom_dir)
    return data_dir, built(data_dir)


def built(data_dir: Path) -> Manifest:
    return build_manifest(data_dir, Sources(), Holdout(0.25, 0.67, seed=0), workers=1).manifest


def cohort(tmp_path, make_dicom, **attributes) -> tuple[Path, Manifest]:
    """16 made patients, the first with attributes of its own."""
    patients = [f"{number:05d}" for number in range(1, 17)]
    for patient_id in patients:
        write_patient(tmp_path / "data", make_dicom, patient_id, **(attributes if patient_id == "00001" else {}))
    data_dir = write_labels(tmp_path / "data", {patient_id: int(patient_id) % 2 for patient_id in patients})
    return data_dir, built(data_dir)


def test_geometry_is_pydicoms(phantom):
    data_dir, manifest = phantom
    found = geometry_features(manifest, "T2w")
    files = PlantedPhantom(data_dir)
    assert sorted(found) == files.patients
    for index, patient in enumerate(files.patients):
        slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in files.slices(index, "T2w")]
        features = found[patient]
        assert features["n_slices"] == len(slices)
        assert (features["rows"], features["columns"]) == (slices[0].Rows, slices[0].Columns)
        assert features["row_spacing_mm"] == pytest.approx(slices[0].PixelSpacing[0])
        assert features["column_spacing_mm"] == pytest.approx(slices[0].PixelSpacing[1])
        assert features["slice_spacing_mm"] == pytest.approx(slices[0].SpacingBetweenSlices, abs=1e-4)
        assert features["plane"] in ("axial", "coronal", "sagittal")
        assert features["missing_slices"] == 0


def test_geometry_that_the_files_do_not_tell_is_nan(tmp_path, make_dicom):
    _, manifest = cohort(tmp_path, make_dicom, PixelSpacing=None)
    found = geometry_features(manifest, "T1w")
    assert math.isnan(found["00001"]["row_spacing_mm"]) and math.isnan(found["00001"]["column_spacing_mm"])
    assert (found["00002"]["row_spacing_mm"], found["00002"]["column_spacing_mm"]) == (0.5, 0.75)


def test_missing_slices_are_counted(phantom_dir, tmp_path):
    data_dir = only(tmp_path / "data", "T1w", phantom_dir)
    files = PlantedPhantom(data_dir).slices(0, "T1w")
    for path in files[8:10]:
        path.unlink()
    found = geometry_features(built(data_dir), "T1w")
    assert sorted(features["missing_slices"] for features in found.values()) == [0] * 15 + [2]


def test_patients_without_the_modality_have_no_features(phantom):
    data_dir, manifest = phantom
    assert geometry_features(manifest, "FLAIR") == {}
    assert header_features(manifest, data_dir, "FLAIR", workers=1) == {}


def test_tags_are_pydicoms(phantom):
    data_dir, manifest = phantom
    found = header_features(manifest, data_dir, "T2w", workers=1)
    files = PlantedPhantom(data_dir)
    assert sorted(found) == files.patients
    for index, patient in enumerate(files.patients):
        header = pydicom.dcmread(files.slices(index, "T2w")[0], stop_before_pixels=True)
        assert found[patient] == {
            "Manufacturer": header.Manufacturer,
            "ManufacturerModelName": header.ManufacturerModelName,
            "MagneticFieldStrength": pytest.approx(float(header.MagneticFieldStrength)),
            "SeriesDescription": "T2w",  # single letters and numbers name nobody
            "MRAcquisitionType": "2D",
            "RepetitionTime": pytest.approx(float(header.RepetitionTime)),
            "EchoTime": pytest.approx(float(header.EchoTime)),
            "SliceThickness": pytest.approx(float(header.SliceThickness)),
            "BitsStored": 16,
        }


def test_identifying_tags_are_not_among_them(tmp_path, make_dicom):
    data_dir, manifest = cohort(tmp_path, make_dicom, InstitutionName="St Elsewhere", StudyDate="20200102")
    found = header_features(manifest, data_dir, "T1w", workers=1)["00001"]
    texts = "".join(map(str, found.values()))
    assert not set(found) & {*IDENTIFYING, "PatientID", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID"}
    assert not any(value in texts for value in ("Elsewhere", "20200102", "Doe", "secret-id", "19700102"))


def test_slices_that_differ_in_a_tag_say_so(tmp_path, make_dicom):
    data_dir, manifest = cohort(tmp_path, make_dicom)
    path = sorted((data_dir / "train/00003/T1w").iterdir())[0]
    dataset = pydicom.dcmread(path)
    dataset.FlipAngle = 12
    dataset.save_as(path)
    other = pydicom.dcmread(sorted((data_dir / "train/00003/T1w").iterdir())[1])
    other.FlipAngle = 15
    other.save_as(other.filename)
    found = header_features(manifest, data_dir, "T1w", workers=1)
    assert found["00003"]["FlipAngle"] == "varies"
    assert "FlipAngle" not in found["00004"]


def test_nifti_has_no_tags(tmp_path):
    folder = tmp_path / "train/00001/T1w"
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.ones((4, 5, 9), np.float32), np.diag([1.0, 2.0, 3.0, 1.0])), folder / "t1.nii.gz")
    series = FoundSeries("00001", "T1w", folder, None, "folder T1w")
    record = examine_series(series, tmp_path, pixels=False).record
    manifest = Manifest("kaggle", "", {}, [PatientRecord("00001", 1, "train", {"T1w": record})])
    assert header_features(manifest, tmp_path, "T1w", workers=1) == {"00001": {}}
    features = geometry_features(manifest, "T1w")["00001"]
    # Shown in the closest axial view: rows run along y, columns along x.
    assert (features["n_slices"], features["rows"], features["columns"]) == (9, 5, 4)
    spacings = ("row_spacing_mm", "column_spacing_mm", "slice_spacing_mm")
    assert [features[name] for name in spacings] == [2.0, 1.0, 3.0]


def test_tags_come_from_the_cache_of_the_scan(phantom, monkeypatch):
    data_dir, manifest = phantom

    monkeypatch.setattr(readers, "_Reader", None)  # nothing can be read
    assert len(header_features(manifest, data_dir, "T2w", workers=1)) == 16
