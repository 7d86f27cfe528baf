import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.files.nifti import read_nifti, stored_slices
from mgmt_monai.cohort.files.pixels import digest
from mgmt_monai.cohort.files.tags import HeaderError
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.manifest import series_reference
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.transforms.load import LoadSeries

ORIENTATIONS = ["RAS", "LPS", "LAS", "PIR", "ASL", "SRP"]


@pytest.fixture
def make_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Writes voxels whose stored axes point to `codes`, with 1, 2 and 3 mm along left, posterior and superior."""

    def make(
        voxels: np.ndarray, codes: str = "LPS", name: str = "a.nii.gz", kind: type = nib.Nifti1Image, tilt: float = 0
    ) -> Path:
        spacing = {"L": 1.0, "R": 1.0, "P": 2.0, "A": 2.0, "S": 3.0, "I": 3.0}
        unit = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
        affine = np.eye(4)
        affine[:3, :3] = np.transpose([np.multiply(unit[code], spacing[code]) for code in codes])
        angle = np.radians(tilt)
        turn = np.eye(4)
        turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        path = tmp_path / name
        nib.save(kind(voxels, turn @ affine), path)
        return path

    return make


def changed(path: Path, offset: int, data: bytes) -> Path:
    """The header with other bytes at an offset."""
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as stream:
        content = bytearray(stream.read())
    content[offset : offset + len(data)] = data
    with opened(path, "wb") as stream:
        stream.write(bytes(content))
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_header_names_shape_and_type(make_nifti: Callable[..., Path], name: str, kind: type) -> None:
    path = make_nifti(np.zeros((4, 5, 6), np.int16), name=name, kind=kind)
    header = read_nifti(path)
    assert (header.columns, header.rows, header.n_slices) == (4, 5, 6)
    assert (header.pixel_spacing_mm, header.slice_spacing_mm) == ((2.0, 1.0), 3.0)
    assert (header.dtype, header.slope, header.intercept) == (np.dtype("<i2"), 1.0, 0.0)
    assert (header.plane, header.orientation) == ("axial", "LPS")
    assert header.size_bytes == path.stat().st_size


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_slices_equal_nibabels_canonical_ones(make_nifti: Callable[..., Path], codes: str, name: str) -> None:
    path = make_nifti(np.random.default_rng(0).integers(0, 999, (4, 5, 6), np.int16), codes, name)
    canonical = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)  # right, anterior, superior
    header = read_nifti(path)
    np.testing.assert_array_equal(np.stack(list(stored_slices(header))), canonical[::-1, ::-1].transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("spacing_mm", "plane", "expected"),
    [
        ((1.0, 6.0, 1.0), "coronal", "LIP"),
        ((1.2, 1.0, 1.0), "sagittal", "PIR"),
        ((1.0, 1.0, 0.6), "axial", "LPS"),
        ((1.0, 0.6, 1.0), "coronal", "LIP"),
        ((0.8, 1.0, 6.0), "axial", "LPS"),
        ((6.0, 0.8, 1.0), "sagittal", "PIR"),
        ((1.0, 1.0, 1.0), "axial", "LPS"),
        ((1.005, 1.0, 1.0), "axial", "LPS"),
    ],
    ids=["coronal", "sagittal", "thin axial", "thin coronal", "axial, pixels not square", "sagittal, pixels not square",
         "isotropic", "isotropic to within rounding"],
)  # fmt: skip
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_slices_lie_as_they_were_acquired(
    tmp_path: Path, spacing_mm: tuple[float, float, float], plane: str, expected: str, codes: str
) -> None:
    to = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    voxels = np.random.default_rng(0).integers(0, 999, (4, 5, 6), np.int16)  # along right, anterior, superior
    affine = np.diag([*spacing_mm, 1.0]) @ inv_ornt_aff(to, voxels.shape)
    nib.save(nib.Nifti1Image(apply_orientation(voxels, to), affine), tmp_path / "a.nii")
    header = read_nifti(tmp_path / "a.nii")
    assert (header.plane, header.orientation) == (plane, expected)
    by_hand = {  # (slices, rows, columns): left is the first axis turned, posterior the second, inferior the third
        "LPS": voxels[::-1, ::-1].transpose(2, 1, 0),
        "LIP": voxels[::-1, ::-1, ::-1].transpose(1, 2, 0),
        "PIR": voxels[:, ::-1, ::-1].transpose(0, 2, 1),
    }[expected]
    right_anterior_superior = dict(zip(("PIR", "LIP", "LPS"), spacing_mm, strict=True))
    assert (header.n_slices, header.rows, header.columns) == by_hand.shape
    assert header.slice_spacing_mm == pytest.approx(right_anterior_superior[expected])
    np.testing.assert_array_equal(np.stack(list(stored_slices(header))), by_hand)


@pytest.mark.parametrize(("tilt", "plane"), [(0, "axial"), (25, "axial"), (40, "oblique"), (-40, "oblique")])
def test_plane_of_a_tilted_volume(make_nifti: Callable[..., Path], tilt: float, plane: str) -> None:
    assert read_nifti(make_nifti(np.zeros((4, 5, 6), np.int16), tilt=tilt)).plane == plane


def test_volume_without_a_place_has_no_plane(make_nifti: Callable[..., Path]) -> None:
    path = changed(make_nifti(np.zeros((4, 5, 6), np.int16), name="a.nii"), 252, struct.pack("<hh", 0, 0))
    header = read_nifti(path)
    assert (header.placed, header.plane, header.orientation) == (False, "unknown", "")
    np.testing.assert_allclose(header.affine, nib.load(path).affine)


def with_forms(path: Path, qform: np.ndarray, codes: tuple[int, int] = (1, 2)) -> Path:
    """A volume of 40 x 50 x 60 mm whose sform is the identity, with this qform."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_qform(qform, code=codes[0])
    header.set_sform(np.eye(4), code=codes[1])
    nib.save(nib.Nifti1Image(np.zeros((41, 51, 61), np.int16), None, header), path)
    return path


def moved(x_mm: float) -> np.ndarray:
    qform = np.eye(4)
    qform[0, 3] = x_mm
    return qform


@pytest.mark.parametrize(
    ("qform", "found"),
    [
        (np.eye(4), ""),
        (moved(0.9), ""),
        (moved(1.1), "corners 1.1 mm apart (axes RAS by both)"),
        (np.diag([-1.0, 1, 1, 1]), "corners 80.0 mm apart (axes RAS by sform, LAS by qform)"),
        (np.diag([1.0, 1, 1.5, 1]), "corners 30.0 mm apart (axes RAS by both)"),
        (np.eye(4)[[0, 2, 1, 3]] * [[1], [-1], [1], [1]], "corners 110.5 mm apart (axes RAS by sform, RSP by qform)"),
    ],
    ids=["equal", "moved a little", "moved", "mirrored", "other spacing", "turned"],
)
def test_sform_and_qform_that_disagree_are_told(tmp_path: Path, qform: np.ndarray, found: str) -> None:
    assert read_nifti(with_forms(tmp_path / "a.nii", qform)).other_place == found


@pytest.mark.parametrize("codes", [(0, 2), (1, 0)], ids=["no qform", "no sform"])
def test_form_without_a_code_says_nothing(tmp_path: Path, codes: tuple[int, int]) -> None:
    assert read_nifti(with_forms(tmp_path / "a.nii", np.diag([-1.0, 1, 1, 1]), codes)).other_place == ""


def test_qform_that_is_none_disagrees(tmp_path: Path) -> None:
    path = changed(with_forms(tmp_path / "a.nii", np.eye(4)), 256, struct.pack("<f", 2))  # a quaternion longer than 1
    assert read_nifti(path).other_place == "a qform that is no placement"


def test_slope_and_intercept_are_told_and_not_applied(make_nifti: Callable[..., Path]) -> None:
    path = changed(make_nifti(np.full((2, 2, 2), 7, np.int16), name="a.nii"), 112, struct.pack("<ff", 2.5, -1))
    header = read_nifti(path)
    assert (header.slope, header.intercept) == (2.5, -1)
    assert next(stored_slices(header)).tolist() == [[7, 7], [7, 7]]
    assert np.asarray(nib.load(path).dataobj)[0, 0, 0] == 16.5


def test_big_endian_file_is_read(tmp_path: Path) -> None:
    voxels = np.arange(60, dtype=">i2").reshape(3, 4, 5)
    stored_as = nib.Nifti1Header(endianness=">")
    stored_as.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1, -1, 1, 1]), stored_as), tmp_path / "a.nii")
    header = read_nifti(tmp_path / "a.nii")
    assert header.dtype == np.dtype(">i2")
    np.testing.assert_array_equal(np.stack(list(stored_slices(header))), voxels.transpose(2, 1, 0))


def test_fourth_axis_of_one_is_passed_over(make_nifti: Callable[..., Path]) -> None:
    assert read_nifti(make_nifti(np.zeros((4, 5, 6, 1), np.int16))).shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("voxels", "text"),
    [
        (np.zeros((4, 5, 6, 2), np.int16), "not one three-dimensional volume"),
        (np.zeros((4, 5), np.int16), "not one three-dimensional volume"),
        (np.zeros((4, 5, 6), np.complex64), "not grey-scale"),
        (np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "not grey-scale"),
    ],
    ids=["two volumes", "one slice of two axes", "complex", "colour"],
)
def test_refuses_what_is_no_grey_volume(make_nifti: Callable[..., Path], voxels: np.ndarray, text: str) -> None:
    with pytest.raises(HeaderError, match=text) as caught:
        read_nifti(make_nifti(voxels))
    assert caught.value.finding == "D004"


@pytest.mark.parametrize(
    ("offset", "data", "finding", "text"),
    [
        (0, struct.pack("<i", 347), "D001", "not a NIfTI file"),
        (344, b"ni1\0", "D001", "file pair"),
        (40, struct.pack("<h", 9), "D001", "9 axes"),
        (42, struct.pack("<h", -4), "D001", "-4 x 5 x 6"),
        (42, struct.pack("<hhh", 32767, 32767, 32767), "D001", "more than the 2147483648"),
        (70, struct.pack("<h", 77), "D001", "datatype 77"),
        (108, struct.pack("<f", float("nan")), "D001", "begin at byte nan"),
        (108, struct.pack("<f", 10), "D001", "begin at byte 10"),
        (108, struct.pack("<f", 351), "D001", "begin at byte 351"),
        (112, struct.pack("<ff", 2, float("nan")), "D001", "intercept"),
        (280, struct.pack("<f", float("nan")), "D010", "not finite"),
        (280, struct.pack("<ffff", 0, 0, 0, 0), "D010", "onto a plane"),
    ],
    ids=[
        "size of header", "file pair", "nine axes", "negative", "huge", "data type", "offset nan", "offset in header",
        "offset in extension",
        "slope", "affine nan", "affine flat",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_refuses_a_damaged_header(
    make_nifti: Callable[..., Path], offset: int, data: bytes, finding: str, text: str, name: str
) -> None:
    path = changed(make_nifti(np.zeros((4, 5, 6), np.int16), name=name), offset, data)
    with pytest.raises(HeaderError, match=text) as caught:
        read_nifti(path)
    assert caught.value.finding == finding


@pytest.mark.parametrize("spacing_mm", [0, -1, float("nan"), float("inf")])
def test_refuses_a_spacing_that_cannot_be(make_nifti: Callable[..., Path], spacing_mm: float) -> None:
    path = changed(make_nifti(np.zeros((4, 5, 6), np.int16)), 252, struct.pack("<hh", 1, 0))  # the qform counts
    with pytest.raises(HeaderError, match="affine") as caught:
        read_nifti(changed(path, 80, struct.pack("<f", spacing_mm)))
    assert caught.value.finding == "D010"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("claim", [0, 352, 353, 367, 1001])
def test_doctor_and_training_read_voxels_at_the_byte_they_were_written_to(
    tmp_path: Path, claim: int, version: int, name: str
) -> None:
    """For 0, which nibabel takes literally, the first byte that voxels may have (nifti1.h)."""
    voxels = np.random.default_rng(5).integers(0, 900, (6, 5, 4)).astype(np.int16)
    image = (nib.Nifti1Image if version == 1 else nib.Nifti2Image)(voxels, np.diag([-1, -1, 1, 1]))
    first, place, kind = (352, 108, "<f") if version == 1 else (544, 168, "<q")
    begins = first + max(0, claim - 352)
    content = bytearray(image.to_bytes())
    content[first:first] = bytes(begins - first)
    struct.pack_into(kind, content, place, begins if claim else 0)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    exam = examine_series(FoundSeries("P", "T1w", tmp_path, (name,), "named"), tmp_path, True)
    assert exam.record is not None
    assert exam.record.digests == "".join(digest(pixels) for pixels in voxels.T)
    series = series_reference(PatientRecord("P", 0, "test", {"T1w": exam.record}), "T1w", tmp_path)
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), voxels.T)
    if claim:
        np.testing.assert_array_equal(nib.load(tmp_path / name).dataobj, voxels)


def test_voxels_of_unknown_beginning_must_fill_the_file(make_nifti: Callable[..., Path]) -> None:
    path = changed(make_nifti(np.zeros((4, 5, 6), np.int16), name="a.nii"), 108, struct.pack("<f", 0))
    path.write_bytes(path.read_bytes() + bytes(8))
    with pytest.raises(HeaderError, match="claims less than there is"):
        read_nifti(path)


def test_handedness_of_zero_is_one(tmp_path: Path) -> None:
    path = changed(with_forms(tmp_path / "a.nii", moved(3), (1, 0)), 76, struct.pack("<f", 0))
    np.testing.assert_array_equal(read_nifti(path).affine, nib.load(path).affine)


def test_refuses_a_rotation_of_no_handedness(make_nifti: Callable[..., Path]) -> None:
    path = make_nifti(np.zeros((4, 5, 6), np.int16), name="a.nii")
    changed(path, 252, struct.pack("<hh", 1, 0))  # placed by the quaternion alone
    changed(path, 76, struct.pack("<f", 2))  # qfac must be 1 or -1
    with pytest.raises(HeaderError, match="no placement") as caught:
        read_nifti(path)
    assert caught.value.finding == "D010"


@pytest.mark.parametrize(
    ("name", "kept"), [("a.nii", 0.9), ("a.nii.gz", 0.9), ("a.nii.gz", 0.3)], ids=["plain", "gzip", "gzip early"]
)
def test_refuses_a_file_cut_short(make_nifti: Callable[..., Path], name: str, kept: float) -> None:
    path = make_nifti(np.random.default_rng(0).integers(0, 999, (20, 20, 20), np.int16), name=name)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(HeaderError, match="truncated") as caught:
        read_nifti(path)
    assert caught.value.finding == "D002"


def test_refuses_voxels_missing_in_whole_gzip_data(make_nifti: Callable[..., Path]) -> None:
    path = make_nifti(np.zeros((20, 20, 20), np.int16))
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:-1]))
    with pytest.raises(HeaderError, match="end at byte 16352, the data at 16351"):
        read_nifti(path)


def test_gzip_members_and_bytes_behind_the_voxels_are_accepted(make_nifti: Callable[..., Path]) -> None:
    path = make_nifti(np.full((4, 5, 6), 3, np.int16))
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:] + b"more"))
    assert np.stack(list(stored_slices(read_nifti(path)))).tolist() == np.full((6, 5, 4), 3).tolist()


def test_claim_that_no_compression_reaches_is_refused_unread(make_nifti: Callable[..., Path]) -> None:
    path = changed(make_nifti(np.zeros((4, 5, 6), np.int16)), 42, struct.pack("<hhh", 1000, 1000, 1000))
    with pytest.raises(HeaderError, match="however compressed"):
        read_nifti(path)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.nii", b"", "empty"),
        ("a.nii.gz", b"plain text", "not gzip"),
        ("a.nii", b"plain text" * 100, "not a NIfTI file"),
        ("a.nii.gz", gzip.compress(b"plain text" * 100), "not a NIfTI file"),
        ("a.nii", b"\x5c\x01\0\0", "not a NIfTI file"),
    ],
    ids=["empty", "not gzip", "text", "text in gzip", "four bytes"],
)
def test_refuses_other_files(tmp_path: Path, name: str, data: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(HeaderError, match=text) as caught:
        read_nifti(tmp_path / name)
    assert caught.value.finding == "D001"


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize("modality", ["t2f", "t1n", "t1c", "t2W"])
def test_real_volume_agrees_with_nibabel(shared_data: Path, modality: str) -> None:
    path = shared_data / f"nifti/BraTS-GLI-00000-000/BraTS-GLI-00000-000-{modality}.nii.gz"
    header, image = read_nifti(path), nib.load(path)
    np.testing.assert_array_equal(header.affine, image.affine)
    assert (*header.pixel_spacing_mm, header.slice_spacing_mm) == (1.0, 1.0, 1.0)
    canonical = np.asarray(nib.as_closest_canonical(image).dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(np.stack(list(stored_slices(header))), canonical)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("claim", ["dtype", "rows"])
def test_header_that_claims_less_than_there_is_is_refused(tmp_path: Path, suffix: str, claim: str) -> None:
    path = tmp_path / f"a{suffix}"
    image = nib.Nifti1Image(np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10), np.eye(4))
    content = bytearray(image.to_bytes())
    if claim == "dtype":
        content[70:74] = (2).to_bytes(2, "little") + (8).to_bytes(2, "little")  # datatype and bitpix of uint8
    else:
        content[44:46] = (8).to_bytes(2, "little")  # dim[2]
    path.write_bytes(gzip.compress(bytes(content)) if suffix == ".nii.gz" else bytes(content))
    with pytest.raises(HeaderError, match="claims less than there is"):
        read_nifti(path)


def test_flipped_bit_in_gzip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    voxels = np.random.default_rng(5).integers(0, 900, (12, 12, 12)).astype(np.int16)
    content = bytearray(gzip.compress(nib.Nifti1Image(voxels, np.eye(4)).to_bytes()))
    for place in np.linspace(400, len(content) - 1, 24).astype(int):
        damaged = bytearray(content)
        damaged[place] ^= 8
        path.write_bytes(damaged)
        with pytest.raises(HeaderError):
            list(stored_slices(read_nifti(path)))


@pytest.mark.parametrize(
    ("offset", "data", "found"),
    [
        (280, struct.pack("<f", -1), ()),
        (284, struct.pack("<f", 0.5), ("axes at right angles, found 76 degrees",)),
        (76, struct.pack("<4f", 1, 2, 2, 3), ("pixdim as the affine has it, 1 x 2 x 3 mm, found 2 x 2 x 3",)),
        (80, struct.pack("<3f", 0, 0, 0), ("pixdim as the affine has it, 1 x 2 x 3 mm, found 0 x 0 x 0",)),
        (
            280,
            struct.pack("<f", -1000),
            (
                "pixdim as the affine has it, 1000 x 2 x 3 mm, found 1 x 2 x 3",
                "voxels of 0.1 to 30 mm a side, found 1000 mm",
            ),
        ),
        (123, b"\1", ("the unit mm, found meter, which is taken for mm",)),
        (123, b"\3", ("the unit mm, found micron, which is taken for mm",)),
        (123, b"\0", ()),
    ],
    ids=["sound", "shear", "pixdim", "pixdim 0", "impossible", "metres", "microns", "no unit"],
)
def test_geometry_in_doubt_is_told(
    make_nifti: Callable[..., Path], offset: int, data: bytes, found: tuple[str, ...]
) -> None:
    """The cosine of the sheared axes is 0.5 / (2 * sqrt(1 + 0.0625)), 76 degrees; by sform, with qform code 0."""
    path = changed(make_nifti(np.zeros((4, 5, 6), np.int16), name="a.nii"), offset, data)
    assert read_nifti(changed(path, 252, struct.pack("<hh", 0, 1))).doubts == found
    exam = examine_series(FoundSeries("P", "T1w", path.parent, (path.name,), "named"), path.parent, False)
    assert [finding.text for finding in exam.findings if finding.id == "D055"] == [f"expected {text}" for text in found]


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 0.0), (np.nan, np.nan), (0.0, 7.0), (np.nan, 0.0)])
def test_scaling_of_none_is_one(make_nifti: Callable[..., Path], slope: float, intercept: float) -> None:
    path = changed(make_nifti(np.ones((4, 5, 6), np.int16), name="a.nii"), 112, struct.pack("<ff", slope, intercept))
    header = read_nifti(path)
    assert (header.slope, header.intercept) == (1.0, 0.0)
    assert np.asarray(nib.load(path).dataobj).max() == 1


@pytest.mark.parametrize(("slope", "intercept"), [(np.inf, 0.0), (-np.inf, 0.0), (1.0, np.inf), (2.0, np.nan)])
def test_scaling_that_is_no_number_is_refused(make_nifti: Callable[..., Path], slope: float, intercept: float) -> None:
    path = changed(make_nifti(np.ones((4, 5, 6), np.int16), name="a.nii"), 112, struct.pack("<ff", slope, intercept))
    with pytest.raises(HeaderError, match="damaged header"):
        read_nifti(path)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda raw: gzip.compress(raw[:500]) + gzip.compress(raw[500:]), ""),
        (lambda raw: gzip.compress(raw) + gzip.compress(b""), ""),
        (lambda raw: gzip.compress(raw) + bytes(600), ""),
        (lambda raw: gzip.compress(raw) + gzip.compress(raw), "more follows"),
        (lambda raw: gzip.compress(raw) + gzip.compress(raw[352:]), "more follows"),
        (lambda raw: gzip.compress(raw) + b"junk" * 9, "damaged gzip data"),
        (lambda raw: gzip.compress(raw) + len(raw).to_bytes(4, "little"), "damaged gzip data"),
        (lambda raw: gzip.compress(raw)[:-8], "break off"),
        (lambda raw: gzip.compress(raw)[:-1], "break off"),
        (lambda raw: gzip.compress(raw[:500]) + gzip.compress(raw[500:])[:-30], "break off"),
        (lambda raw: gzip.compress(raw[:500]) + gzip.compress(raw[500:-9]), "the data at"),
        (lambda raw: gzip.compress(raw[:500]), "the data at"),
    ],
    ids=["two members", "an empty one", "zeros behind", "the file twice", "the voxels twice", "text behind",
         "a length behind", "no checksum", "a byte short", "second cut", "second short", "first alone"],
)  # fmt: skip
def test_gzip_data_are_one_whole_volume_or_refused(
    make_nifti: Callable[..., Path], build: Callable[[bytes], bytes], text: str
) -> None:
    voxels = np.random.default_rng(0).integers(0, 999, (8, 9, 10), np.int16)
    path = make_nifti(voxels)
    path.write_bytes(build(gzip.decompress(path.read_bytes())))
    if not text:
        np.testing.assert_array_equal(np.stack(list(stored_slices(read_nifti(path)))), voxels.T)
        return
    with pytest.raises(HeaderError, match=text):
        list(stored_slices(read_nifti(path)))
