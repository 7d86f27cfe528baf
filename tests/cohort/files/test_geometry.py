import numpy as np
import pytest
from nibabel.orientations import io_orientation
from pydicom import Dataset
from scipy.spatial.transform import Rotation

from mgmt_monai.cohort.files.geometry import gaps, is_orientation, plane, slice_locations_mm, slice_normal

AXIAL, CORONAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


def rotated(orientation, axis, angle_deg):
    rotation = Rotation.from_rotvec(np.radians(angle_deg) * np.eye(3)["xyz".index(axis)])
    return rotation.apply(np.reshape(orientation, (2, 3)).astype(float)).ravel()


@pytest.fixture
def random_places():
    rng = np.random.default_rng(5)
    orientations = [Rotation.random(random_state=rng).as_matrix()[:, :2].T.ravel() for _ in range(20)]
    return [(orientation, rng.normal(0, 100, 3)) for orientation in orientations]


@pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental")
def test_normal_and_location_are_nibabels_reversed(random_places):
    from nibabel.nicom.dicomwrappers import wrapper_from_data

    for orientation, position in random_places:
        header = Dataset()
        header.ImageOrientationPatient, header.ImagePositionPatient = list(orientation), list(position)
        wrapper = wrapper_from_data(header)
        np.testing.assert_allclose(slice_normal(orientation), -wrapper.slice_normal, atol=1e-12)
        assert slice_locations_mm(position[None], orientation)[0] == pytest.approx(-wrapper.slice_indicator)


def test_plane_is_nibabels_closest_axis_or_oblique(random_places):
    names = ("sagittal", "coronal", "axial")
    seen = set()
    for orientation, _ in random_places:
        affine = np.eye(4)
        affine[:3, :3] = np.column_stack([orientation[:3], orientation[3:], slice_normal(orientation)])
        closest = names[int(io_orientation(affine)[2, 0])]
        assert plane(orientation) in (closest, "oblique")
        seen.add(plane(orientation))
    assert "oblique" in seen and len(seen) > 2


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        pytest.param(AXIAL, "axial", id="axial"),
        pytest.param(CORONAL, "coronal", id="coronal"),
        pytest.param(SAGITTAL, "sagittal", id="sagittal"),
        pytest.param([-1, 0, 0, 0, -1, 0], "axial", id="axial, turned"),
        pytest.param(rotated(AXIAL, "z", 45), "axial", id="turned within its plane"),
        pytest.param(rotated(AXIAL, "x", 29.9), "axial", id="tilted below the limit"),
        pytest.param(rotated(AXIAL, "x", 30.1), "oblique", id="tilted beyond the limit"),
        pytest.param(rotated(SAGITTAL, "z", 20), "sagittal", id="tilted sagittal"),
    ],
)
def test_plane(orientation, expected):
    assert plane(np.array(orientation)) == expected


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        pytest.param(AXIAL, True, id="axial"),
        pytest.param([0.71, 0.71, 0, -0.71, 0.71, 0], True, id="rounded to two digits"),
        pytest.param([0] * 6, False, id="zeros"),
        pytest.param([1, 0, 0, 1, 0, 0], False, id="parallel"),
        pytest.param([2, 0, 0, 0, 0.5, 0], False, id="not of unit length"),
        pytest.param([1e300, 0, 0, 0, 1e300, 0], False, id="enormous"),
    ],
)
def test_is_orientation(orientation, expected):
    assert is_orientation(np.array(orientation, dtype=float)) is expected


@pytest.mark.parametrize(
    ("locations", "expected"),
    [
        pytest.param([0], [], id="one slice"),
        pytest.param([0, 50], [], id="two slices tell no spacing"),
        pytest.param([0, 5, 10, 15], [], id="even"),
        pytest.param([0, 5, 12, 17], [], id="1.4 spacings"),
        pytest.param([0, 5, 13, 18, 23], [(1, 1)], id="1.6 spacings"),
        pytest.param([-10, -5, 10, 15, 25, 30, 35], [(1, 2), (3, 1)], id="two gaps"),
    ],
)
def test_gaps(locations, expected):
    assert gaps(np.array(locations, dtype=float)) == expected
