"""A DICOM series and the NIfTI that dcm2niix makes of it are read as the same slices."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mgmt_monai.cohort.duplicates import find_duplicates
from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.manifest import series_reference
from mgmt_monai.cohort.records import PatientRecord, SeriesRecord
from mgmt_monai.phantom.acquisition import PLANES, SeriesPlan
from mgmt_monai.phantom.dicom import series_headers, write_series
from mgmt_monai.transforms.crop import CropMiddleSlices
from mgmt_monai.transforms.load import LoadSeries

pytestmark = pytest.mark.skipif(
    shutil.which("dcm2niix") is None, reason="dcm2niix, the independent converter, is not installed"
)


@pytest.fixture
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A folder of DICOM files, and the NIfTI file that dcm2niix makes of it."""
    plane, pixel_mm, slice_mm, turn_deg = request.param
    turn = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    row, column = (tuple(float(x) for x in turn @ np.array(direction)) for direction in PLANES[plane])
    plan = SeriesPlan(
        "T1w", plane, 20, 28, pixel_mm, slice_mm, slice_mm, (-14.0, 9.0, 21.0), row, column, tuple(range(1, 17)),
        600.0, 10.0, None,
    )  # fmt: skip
    pixels = np.random.default_rng(7).integers(0, 4000, (plan.n_slices, plan.rows, plan.columns)).astype(np.uint16)
    (tmp_path / "dicom").mkdir()
    (tmp_path / "nifti").mkdir()
    headers = series_headers(plan, "P", ("Siemens", "Skyra", 3.0), seed=1)
    for header in headers:
        header.InPlanePhaseEncodingDirection = "COL"  # as every scanner says; dcm2niix then names the slices' axis
    write_series(tmp_path / "dicom", headers, pixels)
    command = ["dcm2niix", "-z", "y", "-f", "twin", "-o", str(tmp_path / "nifti"), str(tmp_path / "dicom")]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "dicom", tmp_path / "nifti" / "twin.nii.gz"


def examined(path: Path) -> SeriesRecord:
    directory, files = (path, None) if path.is_dir() else (path.parent, (path.name,))
    exam = examine_series(FoundSeries("P", "T1w", directory, files, "named"), directory, pixels=True)
    assert exam.record is not None, [finding.line for finding in exam.findings]
    return exam.record


@pytest.mark.parametrize(
    ("twins", "plane"),
    [
        (("axial", 1.0, 5.0, (0, 0, 0)), "axial"),
        (("coronal", 1.0, 6.0, (0, 0, 0)), "coronal"),
        (("sagittal", 1.0, 6.0, (0, 0, 0)), "sagittal"),
        (("sagittal", 0.9766, 1.0, (0, 0, 0)), "sagittal"),
        (("coronal", 1.04, 0.6, (0, 0, 0)), "coronal"),
        (("axial", 1.0, 1.0, (0, 0, 0)), "axial"),
        (("coronal", 1.0, 1.0, (0, 0, 0)), "coronal"),
        (("sagittal", 1.0, 1.0, (0, 5, 0)), "sagittal"),
        (("axial", 0.5, 4.0, (-20, 0, 5)), "axial"),
        (("coronal", 0.9, 5.0, (25, 8, 0)), "coronal"),
        (("axial", 0.9, 5.0, (40, 0, 0)), "oblique"),
        (("sagittal", 0.9, 5.0, (0, 0, 38)), "oblique"),
    ],
    indirect=["twins"],
    ids=[
        "axial", "coronal", "sagittal", "sagittal 3D", "thin coronal", "isotropic axial",
        "isotropic coronal", "isotropic sagittal", "tilted axial", "tilted coronal", "oblique axial",
        "oblique sagittal",
    ],
)  # fmt: skip
def test_dicom_and_what_dcm2niix_makes_of_it_are_the_same_slices(twins: tuple[Path, Path], plane: str) -> None:
    dicom, nifti = (examined(path) for path in twins)
    assert dicom.plane == plane
    told = ("plane", "orientation", "n_slices", "rows", "columns", "digests", "signature")
    assert [getattr(nifti, name) for name in told] == [getattr(dicom, name) for name in told]
    spacing = [[*record.pixel_spacing_mm, record.slice_spacing_mm] for record in (nifti, dicom)]
    np.testing.assert_allclose(*spacing, rtol=1e-4)

    folders = (twins[0], twins[1].parent)
    references = [
        series_reference(PatientRecord("P", 0, "test", {"T1w": record}), "T1w", folder)
        for record, folder in zip((dicom, nifti), folders, strict=True)
    ]
    for fraction in (1.0, 0.2):
        of_dicom, of_nifti = (LoadSeries()(CropMiddleSlices(fraction)(series)) for series in references)
        np.testing.assert_array_equal(of_nifti.numpy(), of_dicom.numpy())
        np.testing.assert_allclose(of_nifti.affine.numpy(), of_dicom.affine.numpy(), atol=0.01)  # float32 in the file


@pytest.mark.parametrize("twins", [("coronal", 1.0, 6.0, (0, 0, 0))], indirect=True)
def test_twins_are_told_as_the_same_images(twins: tuple[Path, Path]) -> None:
    dicom, nifti = (examined(path) for path in twins)
    (pair,) = find_duplicates(
        [("D", "T1w", dicom.digests, dicom.signature), ("N", "T1w", nifti.digests, nifti.signature)]
    )
    assert (pair.patient_a, pair.patient_b, pair.kind, pair.n_shared) == ("D", "N", "exact", 16)
