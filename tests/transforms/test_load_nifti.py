"""NIfTI against nibabel's own reorientation and affine."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from mgmt_monai.cohort.series import Series
from mgmt_monai.transforms.errors import SeriesReadError, TransformError
from mgmt_monai.transforms.load import LoadSeries


def stored(
    path, orientation="LPS", dtype=np.int16, shape=(4, 5, 6), oblique=False, spacing_mm=(0.5, 0.75, 2.0)
) -> Series:
    """Random voxels whose axes run as ``orientation`` says, slices along z (or where ``spacing_mm`` is largest)."""
    rng = np.random.default_rng(3)
    ras = nib.Nifti1Image(rng.integers(0, 999, shape).astype(dtype), np.diag([*spacing_mm, 1.0]))
    ras.affine[:3, 3] = -10, 20, 5
    if oblique:
        angle = np.deg2rad(20)
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        ras = nib.Nifti1Image(ras.get_fdata().astype(dtype), turn @ ras.affine)
    to = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(orientation))
    turned = nib.orientations.apply_orientation(np.asarray(ras.dataobj), to)
    nib.save(nib.Nifti1Image(turned, ras.affine @ inv_ornt_aff(to, ras.shape)), path)
    return Series("00042", "T2w", (path,), range(shape[int(np.argmax(spacing_mm))]))


def radiological(path) -> np.ndarray:
    """(slices, rows, columns) through nibabel's canonical RAS."""
    ras = np.asarray(nib.as_closest_canonical(nib.load(path)).get_fdata(), dtype=np.float32)
    return ras[::-1, ::-1].transpose(2, 1, 0)


def error_of(series) -> str:
    with pytest.raises(SeriesReadError) as caught:
        LoadSeries()(series)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"patient 00042, T2w: {series.files[0]}: expected ")
    return message


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI", "PIR", "SAL", "IRP"])
def test_load_equals_nibabel_canonical(tmp_path, orientation, suffix):
    series = stored(tmp_path / f"image{suffix}", orientation)
    expected = radiological(series.files[0])
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), expected)
    np.testing.assert_array_equal(LoadSeries()(series[2:5]).numpy(), expected[2:5])


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI", "PIR", "SAL", "IRP"])
@pytest.mark.parametrize(
    ("spacing_mm", "axes"), [((1, 6, 1), (1, 2, 0)), ((6, 1, 1), (0, 2, 1))], ids=["coronal", "sagittal"]
)
def test_thick_slices_are_read_as_they_were_acquired(tmp_path, orientation, spacing_mm, axes):
    series = stored(tmp_path / "image.nii.gz", orientation, spacing_mm=spacing_mm)
    ras = np.asarray(nib.as_closest_canonical(nib.load(series.files[0])).get_fdata(), dtype=np.float32)
    # coronal: rows to inferior, columns to the left, slices to posterior; sagittal: inferior, posterior, right
    seen = (ras[::-1, ::-1, ::-1] if axes[0] == 1 else ras[:, ::-1, ::-1]).transpose(axes)
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), seen)
    np.testing.assert_array_equal(LoadSeries()(series[1:3]).numpy(), seen[1:3])


@pytest.mark.parametrize("ensure_channel_first", [False, True])
@pytest.mark.parametrize("spacing_mm", [(0.5, 0.75, 2.0), (1, 6, 1), (6, 1, 1)], ids=["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("orientation", ["LPS", "PIR", "IRP"])
def test_path_and_what_monai_has_read_are_the_reference(tmp_path, orientation, spacing_mm, ensure_channel_first):
    series = stored(tmp_path / "image.nii.gz", orientation, oblique=True, spacing_mm=spacing_mm)
    expected = LoadSeries()(series)
    read = LoadImage(ensure_channel_first=ensure_channel_first)(series.files[0])
    for given in (LoadSeries()(series.files[0]), LoadSeries()(read)):
        np.testing.assert_array_equal(given, expected)
        np.testing.assert_allclose(given.affine, expected.affine, atol=1e-5)
        assert set(given.meta) == set(expected.meta)


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda read: LoadSeries()(read), id="own output"),
        pytest.param(lambda read: read[1:], id="cropped"),
        pytest.param(lambda read: MetaTensor(read, affine=torch.eye(4)), id="no place"),
        pytest.param(lambda read: MetaTensor(torch.stack([read.as_tensor()] * 2), meta=read.meta), id="two channels"),
        pytest.param(lambda read: read * torch.inf, id="not finite"),
        pytest.param(lambda read: MetaTensor(read.as_tensor(), meta={**read.meta, "space": "LPS"}), id="in LPS"),
    ],
)
def test_tensor_that_is_not_as_monai_reads_it_is_refused(tmp_path, spoilt):
    read = LoadImage()(stored(tmp_path / "image.nii.gz").files[0])
    with pytest.raises(TransformError, match=r"LoadSeries: expected .*found"):
        LoadSeries()(spoilt(read))


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.75, 2.0), (1, 6, 1), (6, 1, 1)], ids=["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("orientation", ["LPS", "PIR", "IRP"])
def test_affine_leads_back_to_the_stored_voxel(tmp_path, orientation, spacing_mm):
    series = stored(tmp_path / "image.nii", orientation, oblique=True, spacing_mm=spacing_mm)
    volume = LoadSeries()(series[2:5])
    image = nib.load(series.files[0])
    for slice_index, row, column in np.ndindex(*volume.shape):
        world = volume.affine.numpy() @ [row, column, slice_index, 1]
        voxel = np.rint((np.linalg.inv(image.affine) @ world)[:3]).astype(int)
        assert volume[slice_index, row, column] == image.dataobj[tuple(voxel)]


def test_scale_and_offset_applied(tmp_path):
    series = stored(tmp_path / "image.nii")
    image = nib.load(series.files[0])
    raw = np.asarray(image.dataobj)
    image.header.set_slope_inter(0.25, -3)
    with (tmp_path / "image.nii").open("r+b") as stream:
        image.header.write_to(stream)
    expected = (raw.astype(float) * 0.25 - 3).transpose(2, 1, 0)
    np.testing.assert_allclose(LoadSeries()(series).numpy(), expected, rtol=1e-6)


def test_trailing_axis_of_length_one_accepted(tmp_path):
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "image.nii.gz")
    volume = LoadSeries()(Series("00042", "T2w", (tmp_path / "image.nii.gz",), range(4)))
    np.testing.assert_array_equal(volume.numpy(), voxels[..., 0].transpose(2, 1, 0))


def test_meta_holds_nothing_of_the_patient(tmp_path):
    assert set(LoadSeries()(stored(tmp_path / "image.nii.gz")).meta) == {"affine", "space"}


def test_brats_case_equals_nibabel(shared_data):
    path = shared_data / "nifti/BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz"
    volume = LoadSeries()(Series("BraTS-GLI-00000-000", "T1wCE", (path,), range(62, 93)))
    np.testing.assert_array_equal(volume.numpy(), radiological(path)[62:93])


def test_brats_case_shown_radiologically(shared_data):
    path = shared_data / "nifti/BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz"
    affine = LoadSeries()(Series("BraTS-GLI-00000-000", "T1wCE", (path,), range(155))).affine.numpy()
    assert affine[1, 0] < 0, "rows run to posterior"
    assert affine[0, 1] < 0, "columns run to the patient's left"
    assert affine[2, 2] > 0, "slices run to superior"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.95])
def test_truncated_file_refused(tmp_path, suffix, kept):
    series = stored(tmp_path / f"image{suffix}", shape=(20, 20, 20))
    whole = series.files[0].read_bytes()
    series.files[0].write_bytes(whole[: int(len(whole) * kept)])
    assert "expected a complete NIfTI image" in error_of(series)


@pytest.mark.parametrize(
    ("content", "found"), [(b"", "an empty file"), (b"text" * 200, "not gzip")], ids=["empty", "text"]
)
def test_file_that_is_not_nifti_named(tmp_path, content, found):
    series = Series("00042", "T2w", (tmp_path / "image.nii.gz",), range(3))
    series.files[0].write_bytes(content)
    assert found in error_of(series)


def test_vanished_file_named(tmp_path):
    assert "found no file" in error_of(Series("00042", "T2w", (tmp_path / "image.nii",), range(3)))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 3)], ids=["2d", "4d"])
def test_other_than_one_volume_refused(tmp_path, shape):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), tmp_path / "image.nii")
    series = Series("00042", "T2w", (tmp_path / "image.nii",), range(2))
    assert "voxels, not one three-dimensional volume; export a single volume" in error_of(series)


def test_colour_volume_refused(tmp_path):
    voxels = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "image.nii")
    assert "not grey-scale; export" in error_of(Series("00042", "T2w", (tmp_path / "image.nii",), range(6)))


def test_slices_beyond_the_stored_refused(tmp_path):
    series = stored(tmp_path / "image.nii")
    beyond = Series("00042", "T2w", series.files, range(4, 7))
    assert "expected slices within the 6 stored, found slices 4 to 6" in error_of(beyond)


@pytest.mark.parametrize("slices", [range(-1, 2), range(0, 6, 2)], ids=["before", "every other"])
def test_slices_that_are_no_run_of_the_stored_refused(tmp_path, slices):
    series = stored(tmp_path / "image.nii")
    assert "expected slices within the 6 stored" in error_of(Series("00042", "T2w", series.files, slices))


def test_voxels_that_are_no_number_are_outside_where_the_edge_is_made_of_them(tmp_path):
    voxels = np.full((6, 7, 4), np.nan, np.float32)
    voxels[2:5, 2:5] = np.arange(-10, 26).reshape(3, 3, 4)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "image.nii.gz")
    loaded = LoadSeries()(Series("00042", "T2w", (tmp_path / "image.nii.gz",), range(4))).numpy()
    np.testing.assert_array_equal(loaded, np.nan_to_num(voxels, nan=-10).transpose(2, 1, 0))


@pytest.mark.parametrize("slope", [1, 0.1, 1.53455433455433, -2])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_scaled_values_equal_nibabel_to_the_bit(tmp_path, dtype, slope):
    path = stored(tmp_path / "image.nii", dtype=dtype).files[0]
    header = nib.load(path).header
    header["scl_slope"], header["scl_inter"] = slope, 0.3 if slope != 1 else 0
    with path.open("r+b") as stream:
        header.write_to(stream)
    expected = np.asarray(nib.load(path).dataobj, np.float32).transpose(2, 1, 0)
    np.testing.assert_array_equal(LoadSeries()(Series("00042", "T2w", (path,), range(6))).numpy(), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_voxels_refused(tmp_path, value):
    voxels = np.zeros((4, 5, 6), np.float32)
    voxels[1, 2, 3] = value
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "image.nii")
    series = Series("00042", "T2w", (tmp_path / "image.nii",), range(6))
    assert "1 NaN or infinite of 20" in error_of(series)
    assert not np.any(LoadSeries()(series[4:]).numpy())
