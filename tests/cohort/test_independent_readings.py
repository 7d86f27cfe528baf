"""Every real series beside the checkout, read by this package and by nibabel, SimpleITK and highdicom."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import highdicom.spatial
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK

from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.files.nifti import read_nifti, stored_slices
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.records import SeriesRecord

SHARED_DATA = Path(__file__).parents[2] / "../shared/data"
SERIES = sorted({path.parent.relative_to(SHARED_DATA).as_posix() for path in SHARED_DATA.glob("dicom/**/*.dcm")})
SLICES = sorted({path.parent.relative_to(SHARED_DATA).as_posix() for path in SHARED_DATA.glob("rsna_*/**/*.dcm")})
VOLUMES = sorted(path.relative_to(SHARED_DATA).as_posix() for path in SHARED_DATA.glob("nifti/**/*.nii.gz"))
needs_data = pytest.mark.skipif(not SERIES, reason="needs the real data of ../shared/data beside the checkout")

PLANES = {"R": "sagittal", "L": "sagittal", "A": "coronal", "P": "coronal", "S": "axial", "I": "axial"}
OBLIQUE_DEG = 30
BIPED = {"H": "S", "F": "I"}  # DICOM's words for head and feet
UNEVEN = {"dicom/papaya_FSE_PD_axial": 0.02}  # its steps differ by 7 %: what "the" spacing is, is a choice
PHASE = "SW_P"  # how Philips marks the phase in ImageType, in the one series that has it


@dataclass(frozen=True)
class Place:
    """Where a slice lies, as pydicom reads it."""

    name: str
    frame: int | None
    position: np.ndarray
    orientation: np.ndarray


@pytest.fixture(autouse=True)
def quiet_itk() -> Iterator[None]:
    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    yield
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)


@cache
def record_of(directory: Path, file: str | None = None) -> SeriesRecord:
    exam = examine_series(FoundSeries("real", "T1w", directory, file and (file,), "its folder"), SHARED_DATA, False)
    assert exam.record is not None
    return exam.record


@cache
def places(directory: Path) -> list[Place]:
    """The slices that show anatomy, by file name."""
    found = []
    for path in sorted(directory.iterdir()):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if PHASE in header.get("ImageType", ""):
            continue
        frames = header.get("PerFrameFunctionalGroupsSequence")
        for index, own in enumerate(frames) if frames else [(None, None)]:
            turn = place = header
            if own is not None:
                shared = header.SharedFunctionalGroupsSequence[0]
                place = own.PlanePositionSequence[0]
                turn = (own if "PlaneOrientationSequence" in own else shared).PlaneOrientationSequence[0]
            position, orientation = place.ImagePositionPatient, turn.ImageOrientationPatient
            found.append(Place(path.name, index, np.array(position, float), np.array(orientation, float)))
    return found


@cache
def itk_image(directory: Path) -> tuple[list[str], SimpleITK.Image]:
    """File names and image of a series as ITK sorts and reads it."""
    with TemporaryDirectory() as anatomy:  # GDCM gives up where phase images lie at the same positions
        for name in {place.name for place in places(directory)}:
            (Path(anatomy) / name).symlink_to((directory / name).resolve())
        names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(anatomy)
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(names)
        image = reader.Execute()
    if image.GetDimension() == 4:  # a multi-frame file
        image = image[:, :, :, 0]
    return [Path(name).name for name in names], image


def itk_affine(image: SimpleITK.Image) -> np.ndarray:
    """``(4, 4)`` voxel index to RAS, mm, of an ITK image, which is in LPS."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


def in_our_order(record: SeriesRecord, of: list[Place]) -> list[int]:
    """For each slice of the record its index in ``of``."""
    index = {(place.name, place.frame): i for i, place in enumerate(of)}
    if record.frames is None:
        return [index[name, None] for name in record.files]
    return [index[record.files[0], frame] for frame in record.frames]


@needs_data
@pytest.mark.parametrize("folder", SERIES)
def test_order_and_spacing_equal_highdicoms(folder):
    directory = SHARED_DATA / folder
    record, of = record_of(directory), places(directory)
    spacing, index = highdicom.spatial.get_volume_positions(
        [place.position for place in of],
        of[0].orientation,
        index_convention="RD",  # rows to the right, columns down: slices along their cross product
        rtol=0.1,
    )
    assert [index[i] for i in in_our_order(record, of)] == list(range(len(of)))
    assert record.n_slices == len(of)
    if len(of) > 1:
        assert record.slice_spacing_mm == pytest.approx(spacing, rel=UNEVEN.get(folder, 1e-4))
    else:
        assert record.slice_spacing_mm is None


@needs_data
@pytest.mark.parametrize("folder", SERIES)
def test_order_size_and_spacing_equal_simpleitks(folder):
    directory = SHARED_DATA / folder
    record = record_of(directory)
    names, image = itk_image(directory)
    assert record.files == names
    assert (record.columns, record.rows, record.n_slices) == image.GetSize()
    assert record.pixel_spacing_mm == pytest.approx(image.GetSpacing()[1::-1], rel=1e-6)
    if record.slice_spacing_mm is not None:
        assert record.slice_spacing_mm == pytest.approx(image.GetSpacing()[2], rel=UNEVEN.get(folder, 1e-4))


@needs_data
@pytest.mark.parametrize("folder", SERIES)
def test_plane_and_orientation_equal_nibabels(folder):
    directory = SHARED_DATA / folder
    record = record_of(directory)
    affine = itk_affine(itk_image(directory)[1])
    codes = "".join(nib.aff2axcodes(affine))
    axis = "RAS".index(codes[2]) if codes[2] in "RAS" else "LPI".index(codes[2])  # that the slices are stacked along
    oblique = np.degrees(nib.affines.obliquity(affine)[axis]) > OBLIQUE_DEG
    assert record.orientation == codes
    assert record.plane == ("oblique" if oblique else PLANES[codes[2]])


@needs_data
@pytest.mark.parametrize("folder", SERIES + SLICES)
def test_orientation_equals_highdicoms(folder):
    directory = SHARED_DATA / folder
    record, first = record_of(directory), places(directory)[0]
    affine = highdicom.spatial.create_affine_matrix_from_attributes(
        first.position, first.orientation, (1, 1), 1.0, index_convention="RD"
    )
    letters = [value.value for value in highdicom.spatial.get_closest_patient_orientation(affine)]
    assert record.orientation == "".join(BIPED.get(letter, letter) for letter in letters)


@needs_data
@pytest.mark.parametrize("folder", SLICES)
def test_order_of_slices_with_gaps_equals_gdcms(folder):
    directory = SHARED_DATA / folder
    record, of = record_of(directory), places(directory)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(directory))
    assert record.files == [Path(name).name for name in names]
    if len(of) == 1:
        return
    order = highdicom.spatial.get_volume_positions(
        [place.position for place in of], of[0].orientation, index_convention="RD", allow_missing_positions=True
    )[1]
    if order is not None:  # gaps that are no multiple of the smallest step are no volume to it
        assert [order[i] for i in in_our_order(record, of)] == sorted(order)


@needs_data
@pytest.mark.parametrize("name", VOLUMES)
def test_nifti_volume_equals_nibabels_canonical_one(name):
    path = SHARED_DATA / name
    record = record_of(path.parent, path.name)
    canonical = nib.as_closest_canonical(nib.load(path))
    columns, rows, n_slices = canonical.shape
    across, down, between = canonical.header.get_zooms()
    assert (record.columns, record.rows, record.n_slices) == (columns, rows, n_slices)
    assert [*record.pixel_spacing_mm, record.slice_spacing_mm] == pytest.approx([down, across, between], rel=1e-6)
    tilt = np.degrees(nib.affines.obliquity(canonical.affine)[2])
    assert record.plane == ("oblique" if tilt > OBLIQUE_DEG else "axial")
    # right, anterior, superior -> slices from inferior to superior, rows to left, columns to posterior
    expected = np.asarray(canonical.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(np.stack(list(stored_slices(read_nifti(path)))), expected)


@needs_data
@pytest.mark.parametrize("name", VOLUMES)
def test_nifti_volume_equals_simpleitks(name):
    path = SHARED_DATA / name
    record = record_of(path.parent, path.name)
    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
    assert record.orientation == "".join(nib.aff2axcodes(itk_affine(image))) == "LPS"
    assert (record.columns, record.rows, record.n_slices) == image.GetSize()
    spacing = [record.pixel_spacing_mm[1], record.pixel_spacing_mm[0], record.slice_spacing_mm]
    assert spacing == pytest.approx(image.GetSpacing(), rel=1e-6)
    slices = np.stack(list(stored_slices(read_nifti(path))))
    np.testing.assert_array_equal(slices, SimpleITK.GetArrayFromImage(image))
