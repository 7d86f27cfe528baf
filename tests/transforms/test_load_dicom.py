"""DICOM against pydicom's decoder and modality LUT, and against the headers' own geometry."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from monai.data import MetaTensor
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_modality_lut, get_decoder

from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.files.pixels import read_slices
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.manifest import series_reference
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.series import Series
from mgmt_monai.transforms.crop import CropMiddleSlices
from mgmt_monai.transforms.errors import SeriesReadError, TransformError
from mgmt_monai.transforms.load import LoadSeries, LoadSeriesd

D2N = "dicom/dicom2nifti/tests/data"
REAL_SERIES = [
    "dicom/GE_T1w",
    "dicom/papaya_FSE_PD_axial",
    f"{D2N}/ge/anatomical/001",
    f"{D2N}/ge/anatomical/001_implicit",
    f"{D2N}/ge/anatomical/001_single_slice",
    f"{D2N}/generic/anatomical/001",
    f"{D2N}/generic/anatomical/001_implicit",
    f"{D2N}/generic/anatomical/002_non_isotropic",
    f"{D2N}/generic/compressed/001",
    f"{D2N}/generic/compressed_j2k/001",
    f"{D2N}/generic/compressed_jpeg/001",
    f"{D2N}/generic/compressed_jpegls/001",
    f"{D2N}/generic/compressed_rle/001",
    f"{D2N}/hitachi/anatomical/001",
    f"{D2N}/hitachi/anatomical/001_implicit",
    f"{D2N}/philips/anatomical/001",
    f"{D2N}/philips/anatomical/001_implicit",
    f"{D2N}/philips/anatomical/002",
    f"{D2N}/siemens/anatomical/001",
    f"{D2N}/siemens/anatomical/001_implicit",
]


def real_series(folder: Path) -> Series:
    """The files of a folder sorted by their position along the slice normal."""

    def along_normal(path):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        row, column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
        return float(np.dot(np.cross(row, column), np.array(header.ImagePositionPatient, dtype=float)))

    files = tuple(sorted((path for path in folder.iterdir() if path.is_file()), key=along_normal))
    return Series(folder.name, "T1w", files, range(len(files)))


def pydicom_volume(files) -> np.ndarray:
    """The slices as pydicom decodes them; skips where it has no decoder for the transfer syntax."""
    slices = []
    for path in files:
        dataset = pydicom.dcmread(path)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_compressed and not get_decoder(syntax).is_available:
            pytest.skip(f"pydicom has no decoder for {syntax.name} here")
        slices.append(apply_modality_lut(dataset.pixel_array, dataset))
    return np.stack(slices).astype(np.float32)


def world_ras(path, row: int, column: int) -> np.ndarray:
    """PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, from the header; LPS turned into RAS."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    along_row, along_column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
    between_rows, between_columns = map(float, header.PixelSpacing)
    lps = np.array(header.ImagePositionPatient, dtype=float)
    lps = lps + along_row * between_columns * column + along_column * between_rows * row
    return lps * [-1, -1, 1]


def error_of(series) -> str:
    with pytest.raises(SeriesReadError) as caught:
        LoadSeriesd("image")({"image": series})
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"patient {series.patient_id}, {series.modality}: ")
    return message


def pixels(dtype, low, high, shape=(3, 9, 7)) -> np.ndarray:
    return np.random.default_rng(7).integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize(
    ("stored", "attributes"),
    [
        pytest.param(pixels(np.uint8, 0, 256), {}, id="8-bit"),
        pytest.param(pixels(np.uint16, 0, 65536), {}, id="16-bit"),
        pytest.param(pixels(np.uint16, 0, 4096), {"BitsStored": 12, "HighBit": 11}, id="12-bit"),
        pytest.param(pixels(np.int16, -2000, 2000), {}, id="signed"),
        pytest.param(pixels(np.int16, -2000, 2000), {"BitsStored": 12, "HighBit": 11}, id="signed-12-bit"),
        pytest.param(pixels(np.uint16, 0, 4096), {"RescaleSlope": 2, "RescaleIntercept": -1024}, id="rescale"),
        pytest.param(
            pixels(np.uint16, 0, 65536),
            {"RescaleSlope": "1.53455433455433", "RescaleIntercept": "-3142"},
            id="fractional-rescale",
        ),
        pytest.param(
            pixels(np.uint16, 0, 4096), {"RescaleSlope": 1, "RescaleIntercept": -0.5}, id="fractional-intercept"
        ),
        pytest.param(pixels(np.uint16, 0, 4096), {"RescaleSlope": -2, "RescaleIntercept": 5}, id="negative-slope"),
        pytest.param(pixels(np.uint16, 0, 4096, (3, 64, 64)), {"rle": True}, id="rle"),
        pytest.param(pixels(np.uint8, 0, 256, (3, 64, 64)), {"rle": True}, id="rle-8-bit"),
        pytest.param(pixels(np.uint16, 0, 4096, (1, 9, 7)), {}, id="single-slice"),
        pytest.param(pixels(np.uint16, 0, 4096, (3, 1, 1)), {}, id="single-pixel"),
    ],
)
def test_load_equals_pydicom(make_series, stored, attributes):
    series = make_series(stored, **attributes)
    volume = LoadSeries()(series)
    assert volume.dtype.is_floating_point
    assert volume.numpy().dtype == np.float32
    np.testing.assert_array_equal(volume.numpy(), pydicom_volume(series.files))


def test_dictionary_twin_puts_the_volume_in_the_place_of_the_reference(make_series):
    series = make_series(pixels(np.uint16, 0, 4096))
    given = {"image": series, "other": series, "label": 1}
    loaded = LoadSeriesd("image")(given)
    np.testing.assert_array_equal(loaded["image"].numpy(), pydicom_volume(series.files))
    assert isinstance(loaded["image"], MetaTensor)
    assert {key: loaded[key] for key in loaded if key != "image"} == {"other": series, "label": 1}
    assert given == {"image": series, "other": series, "label": 1}


def test_missing_key_is_refused_unless_it_is_allowed(make_series):
    series = make_series(pixels(np.uint16, 0, 4096))
    with pytest.raises(KeyError, match="mask"):
        LoadSeriesd(["image", "mask"])({"image": series})
    loaded = LoadSeriesd(["image", "mask"], allow_missing_keys=True)({"image": series})
    assert list(loaded) == ["image"] and loaded["image"].shape == (3, 9, 7)


def test_rescale_varying_between_slices_applied_to_each(make_series):
    stored = pixels(np.uint16, 0, 4096)
    rescales = [(1, 0), ("0.001", "33.9"), (3, -7)]
    each = [{"RescaleSlope": slope, "RescaleIntercept": intercept} for slope, intercept in rescales]
    volume = LoadSeries()(make_series(stored, each=each)).numpy()
    for index, (slope, intercept) in enumerate(rescales):
        expected = stored[index].astype(float) * float(slope) + float(intercept)
        np.testing.assert_allclose(volume[index], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("stored", "bits", "mirror"),
    [
        pytest.param(pixels(np.uint8, 0, 200), 8, 255, id="8-bit"),
        pytest.param(pixels(np.uint16, 0, 3000), 12, 4095, id="12-bit"),
        pytest.param(pixels(np.uint16, 0, 3000), 16, 65535, id="16-bit"),
        pytest.param(pixels(np.int16, -900, 900), 16, -1, id="signed"),
    ],
)
def test_monochrome1_mirrored_within_stored_range(make_series, stored, bits, mirror):
    series = make_series(stored, PhotometricInterpretation="MONOCHROME1", BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), mirror - stored.astype(np.float32))


def test_monochrome1_mirrored_before_rescale(make_series):
    stored = pixels(np.uint8, 0, 200)
    series = make_series(stored, PhotometricInterpretation="MONOCHROME1", RescaleSlope=3, RescaleIntercept=-5)
    expected = (255 - stored.astype(np.float32)) * 3 - 5
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), expected)


def test_load_follows_the_reference_order_not_the_names(make_series):
    series = make_series(np.arange(4, dtype=np.uint16)[:, None, None] * np.ones((4, 2, 2), np.uint16))
    assert LoadSeries()(series)[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert LoadSeries()(series[1:3])[:, 0, 0].tolist() == [1, 2]


def test_affine_maps_row_column_slice_to_ras(make_series):
    series = make_series(
        pixels(np.uint16, 0, 9),
        each=[{"position": (10, -20, 30 + 2.5 * index)} for index in range(3)],
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )
    affine = LoadSeries()(series).affine.numpy()
    for index, path in enumerate(series.files):
        np.testing.assert_allclose((affine @ [8, 5, index, 1])[:3], world_ras(path, 8, 5), atol=1e-9)


def test_affine_of_a_file_that_tells_nothing_of_its_place_is_itks(make_series):
    series = make_series(
        pixels(np.uint16, 0, 9), ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None
    )
    expected = [[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(LoadSeries()(series).affine.numpy(), expected)


def test_affine_of_files_without_position_is_invertible(make_series):
    affine = LoadSeries()(make_series(pixels(np.uint16, 0, 9), position=(0, 0, 0))).affine.numpy()
    assert abs(np.linalg.det(affine)) == pytest.approx(0.5 * 0.75 * abs(affine[2, 2]))
    assert affine[2, 2] > 0


def test_meta_holds_nothing_of_the_patient(make_series):
    volume = LoadSeries()(make_series(pixels(np.uint16, 0, 9)))
    assert isinstance(volume, MetaTensor)
    assert set(volume.meta) == {"affine", "space"}
    pickled = pickle.dumps(volume)
    for secret in (b"Doe", b"secret-id", b"19700102", b"00042", b"Image-"):
        assert secret not in pickled


@pytest.mark.parametrize("folder", REAL_SERIES)
def test_real_series_equals_headers_and_pydicom(shared_data, folder):
    series = real_series(shared_data / folder)
    volume = LoadSeries()(series)
    _, rows, columns = volume.shape
    for index in (0, len(series.files) - 1):
        for row, column in ((0, 0), (rows - 1, 0), (0, columns - 1)):
            found = (volume.affine.numpy() @ [row, column, index, 1])[:3]
            expected = world_ras(series.files[index], row, column)
            np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.ptp(volume.numpy()) > 0
    # float32 output against pydicom's float64 rescale.
    np.testing.assert_allclose(volume.numpy(), pydicom_volume(series.files), rtol=1e-6)


@pytest.mark.parametrize("folder", REAL_SERIES)
def test_real_series_equals_simpleitk_to_the_bit(shared_data, folder):
    series = real_series(shared_data / folder)
    expected = [sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))[0] for file in series.files]
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), np.stack(expected).astype(np.float32))


@pytest.mark.parametrize("syntax", ["compressed_jpeg", "compressed_jpegls", "compressed_j2k"])
def test_real_lossless_series_equals_its_nifti(shared_data, syntax):
    """Every voxel, found through both affines; the NIfTI files are the source's own, made without ITK."""
    folder = shared_data / D2N / "generic" / syntax
    volume = LoadSeries()(real_series(folder / "001"))
    truth = nib.load(folder / "001_ground_truth.nii.gz")
    slice_index, row, column = np.indices(volume.shape).reshape(3, -1)
    world = volume.affine.numpy() @ [row, column, slice_index, np.ones_like(row)]
    voxels = np.rint(np.linalg.inv(truth.affine) @ world).astype(int)[:3]
    np.testing.assert_array_equal(volume.numpy().ravel(), np.asarray(truth.dataobj)[tuple(voxels)])


@pytest.mark.parametrize(
    ("bits", "n_patients"), [pytest.param(8, 8, id="jpeg-8-bit"), pytest.param(16, 8, id="uncompressed-16-bit")]
)
def test_real_rsna_patients_equal_pydicom(shared_data, bits, n_patients):
    compared = 0
    for patient in sorted((shared_data / "rsna_t1wce_slices/train").iterdir()):
        series = real_series(patient / "T1wCE")
        if pydicom.dcmread(series.files[0], stop_before_pixels=True).BitsAllocated != bits:
            continue
        np.testing.assert_array_equal(LoadSeries()(series).numpy(), pydicom_volume(series.files))
        compared += 1
        if compared == n_patients:
            break
    assert compared == n_patients


def test_real_multi_frame_file_equals_pydicom_in_frame_order(shared_data):
    file = shared_data / D2N / "hyperfine/anatomical/001/001.dcm"
    frames = (7, 6, 5, 4, 3, 2, 1, 0)  # from superior to inferior, the other way round than stored
    volume = LoadSeries()(Series("x", "T1w", (file,), range(2, 5), frames))
    np.testing.assert_array_equal(volume.numpy(), pydicom.dcmread(file).pixel_array[[5, 4, 3]])
    # By hand from the header: frame 5 lies at z = -150 mm, frames 5 mm apart, now downwards; RAS.
    np.testing.assert_allclose(volume.affine.numpy()[:3, 3], [0, 0, -150])
    np.testing.assert_allclose(volume.affine.numpy()[:3, 2], [0, 0, -5])


def test_multi_frame_file_with_fewer_frames_than_named_refused(shared_data):
    file = shared_data / D2N / "hyperfine/anatomical/001/001.dcm"
    with pytest.raises(SeriesReadError, match="expected 9 frames, found 8"):
        LoadSeries()(Series("x", "T1w", (file,), range(9), tuple(range(9))))


@pytest.mark.parametrize("folder", ["generic/anatomical/002_non_isotropic", "philips/anatomical/002"])
def test_uneven_series_leaves_console_silent(shared_data, capfd, folder):
    LoadSeries()(real_series(shared_data / D2N / folder))
    assert capfd.readouterr() == ("", "")


def test_vanished_file_named(make_series):
    series = make_series(pixels(np.uint16, 0, 9))
    series.files[1].unlink()
    assert f"{series.files[1]}: expected a DICOM file, found no file; build" in error_of(series)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(b"", "an empty file", id="empty"),
        pytest.param(b"BraTS21ID,MGMT_value\n" * 99, "not a DICOM file", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(500), "not a DICOM file", id="png"),
        pytest.param(bytes(128) + b"DICM" + bytes(range(256)) * 4, "header", id="header-of-nonsense"),
    ],
)
def test_file_that_is_not_dicom_named(make_series, content, found):
    series = make_series(pixels(np.uint16, 0, 9))
    series.files[2].write_bytes(content)
    message = error_of(series)
    assert str(series.files[2]) in message
    assert found in message


@pytest.mark.parametrize("cut", [1, 2, 10, 100, 4096, 8191, 8192, 8198, 8204, 8250, 8500])
def test_truncated_uncompressed_file_refused(make_series, cut):
    series = make_series(pixels(np.uint16, 0, 4096, (3, 64, 64)))
    series.files[1].write_bytes(series.files[1].read_bytes()[:-cut])
    message = error_of(series)
    assert str(series.files[1]) in message
    assert "truncated" in message or "not DICOM" in message


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_truncated_rle_file_refused(make_series, kept):
    series = make_series(pixels(np.uint16, 0, 4096, (1, 64, 64)), rle=True)
    whole = series.files[0].read_bytes()
    series.files[0].write_bytes(whole[: int(len(whole) * kept)])
    error_of(series)


REAL_COMPRESSED = [
    "rsna_t1wce_slices/train/00060/T1wCE",
    f"{D2N}/generic/compressed_jpeg/001",
    f"{D2N}/generic/compressed_jpegls/001",
    f"{D2N}/generic/compressed_j2k/001",
    f"{D2N}/generic/compressed_rle/001",
]


@pytest.mark.parametrize("folder", REAL_COMPRESSED)
def test_truncated_compressed_file_refused_or_whole(shared_data, tmp_path, folder):
    source = next(iter(sorted(path for path in (shared_data / folder).iterdir() if path.is_file())))
    whole = source.read_bytes()
    # The last 8 bytes only close the sequence of fragments: without them no pixel is missing.
    for cut in (9, 12, 100, 1000, len(whole) // 4, len(whole) // 2, len(whole) - 400):
        path = tmp_path / "cut.dcm"
        path.write_bytes(whole[:-cut])
        assert str(path) in error_of(Series("00060", "T1wCE", (path,), range(1)))


@pytest.mark.parametrize("folder", REAL_COMPRESSED[:4])
def test_compressed_stream_cut_before_it_was_wrapped_refused(shared_data, tmp_path, folder):
    source = next(iter(sorted(path for path in (shared_data / folder).iterdir() if path.is_file())))
    dataset = pydicom.dcmread(source)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for kept in (0.25, 0.5, 0.9, 0.999):
        dataset.PixelData = encapsulate([frame[: int(len(frame) * kept)]])
        dataset.save_as(tmp_path / "cut.dcm")
        error_of(Series("00060", "T1wCE", (tmp_path / "cut.dcm",), range(1)))


def test_file_without_pixels_refused(make_series):
    series = make_series(pixels(np.uint16, 0, 9))
    dataset = pydicom.dcmread(series.files[0])
    del dataset.PixelData
    dataset.save_as(series.files[0])
    assert "found a truncated file: 1 x 9 x 7 pixels take 126 bytes, 0 are left in PixelData" in error_of(series)


def test_mixed_sizes_refused(make_series):
    series = make_series([np.zeros((4, 5), np.uint16), np.zeros((4, 6), np.uint16)])
    assert "expected 4 x 5 pixels as in Image-2.dcm, found 4 x 6; keep one" in error_of(series)


def test_colour_image_refused(make_series):
    series = make_series(
        np.zeros((1, 8, 8, 3), np.uint8),
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
    )
    assert "found a colour image (3 samples a pixel); take screenshots" in error_of(series)


def test_multi_frame_image_without_places_refused(make_series):
    frames = np.zeros((1, 5, 8, 8), np.uint16)
    series = make_series(frames, NumberOfFrames=5, Rows=8, Columns=8)
    assert "found 5 frames, with a place in the patient for 0 of them" in error_of(series)


def test_multi_frame_image_among_single_slices_refused(shared_data):
    file = shared_data / D2N / "hyperfine/anatomical/001/001.dcm"
    with pytest.raises(SeriesReadError, match="expected one slice a file, found a multi-frame image of 8 frames"):
        LoadSeries()(Series("x", "T1w", (file,), range(1)))


def test_values_beyond_float32_refused(make_series):
    series = make_series(pixels(np.uint16, 1, 9), each=[{}, {}, {"RescaleSlope": "1e38", "RescaleIntercept": "3e38"}])
    message = error_of(series)
    assert str(series.files[2]) in message
    assert "NaN or infinite of 63" in message


def test_slices_beyond_the_files_refused(make_series):
    series = make_series(pixels(np.uint16, 0, 9))
    beyond = Series(series.patient_id, series.modality, series.files, range(1, 4))
    assert "expected slices within the 3 files, found slices 1 to 3" in error_of(beyond)
    before = Series(series.patient_id, series.modality, series.files, range(-1, 2))
    assert "expected slices within the 3 files, found slices -1 to 1" in error_of(before)


def test_slices_beyond_a_single_file_refused(make_series):
    series = make_series(pixels(np.uint16, 0, 9, (1, 9, 7)))
    beyond = Series(series.patient_id, series.modality, series.files, range(0, 2))
    assert "expected slices within the 1 files, found slices 0 to 1" in error_of(beyond)


def test_empty_reference_refused():
    with pytest.raises(SeriesReadError, match="patient 7, FLAIR: expected at least one slice, found 0 files"):
        LoadSeries()(Series("7", "FLAIR", (), range(0)))


def test_input_that_is_no_series_refused():
    with pytest.raises(TransformError, match="expected a Series, a path or a MetaTensor, found int"):
        LoadSeries()(5)


def test_path_is_read_whole_and_in_order(make_series):
    series = make_series(pixels(np.int16, -99, 999))
    np.testing.assert_array_equal(LoadSeries()(str(series.files[0].parent)), LoadSeries()(series))


@pytest.mark.parametrize("content", [None, "folder", b"", b"DICM" * 99])
def test_path_without_one_series_refused(tmp_path, content):
    path = tmp_path / "series"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SeriesReadError, match=r"series.*expected .*found .*") as caught:
        LoadSeries()(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", REAL_SERIES)
def test_real_series_by_its_path_is_that_of_the_reference(shared_data, folder):
    """From whichever of its two ends; of magnitude and phase in one folder the magnitude."""
    files = real_series(shared_data / folder).files
    magnitude = tuple(file for file in files if "SW_P" not in pydicom.dcmread(file, stop_before_pixels=True).ImageType)
    by_path = LoadSeries()(shared_data / folder)
    ends = [LoadSeries()(Series("", "", order, range(len(order)))) for order in (magnitude, magnitude[::-1])]
    (same, *_) = [one for one in ends if np.array_equal(one, by_path)]
    np.testing.assert_array_equal(by_path.affine, same.affine)


def enhanced(path: Path, frames: np.ndarray, slopes, intercepts, shared=False) -> Series:
    """An enhanced multi-frame file whose frames (or all of them) have their rescale in the functional groups."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.EnhancedMRImageStorage, "1.2.3"
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MR", "MONOCHROME2", 1
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = frames.astype("<u2").tobytes()

    def rescale(index: int) -> list[pydicom.Dataset]:
        values = pydicom.Dataset()
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slopes[index], intercepts[index], "US"
        return [values]

    common, dataset.PerFrameFunctionalGroupsSequence = pydicom.Dataset(), []
    measures, orientation = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 3
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    common.PixelMeasuresSequence, common.PlaneOrientationSequence = [measures], [orientation]
    if shared:
        common.PixelValueTransformationSequence = rescale(0)
    dataset.SharedFunctionalGroupsSequence = [common]
    for index in range(len(frames)):
        position, groups = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = [0, 0, 3 * index]
        groups.PlanePositionSequence = [position]
        if not shared:
            groups.PixelValueTransformationSequence = rescale(index)
        dataset.PerFrameFunctionalGroupsSequence.append(groups)
    dataset.save_as(path, enforce_file_format=True)
    return Series("x", "T1w", (path,), range(len(frames)), tuple(range(len(frames))))


@pytest.mark.parametrize("shared", [False, True], ids=["per frame", "shared"])
def test_each_frame_has_its_own_rescale(tmp_path, shared):
    frames, slopes, intercepts = pixels(np.uint16, 0, 4096, (4, 9, 7)), [1, 0.25, 6, 3], [0, 10, -5, 0.5]
    series = enhanced(tmp_path / "a.dcm", frames, slopes, intercepts, shared)
    by_hand = [
        frame * float(slopes[0 if shared else index]) + intercepts[0 if shared else index]
        for index, frame in enumerate(frames)
    ]
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), np.stack(by_hand).astype(np.float32))
    file = pydicom.dcmread(tmp_path / "a.dcm")
    highdicom_way = hd.Image.from_dataset(file).get_frames(as_indices=True, apply_real_world_transform=False)
    np.testing.assert_allclose(LoadSeries()(series).numpy(), highdicom_way, rtol=1e-6)
    few = Series("x", "T1w", series.files, range(1, 3), (3, 2, 1, 0))
    np.testing.assert_array_equal(LoadSeries()(few).numpy(), np.stack(by_hand)[[2, 1]].astype(np.float32))


def test_frames_in_pieces_are_the_same_for_doctor_and_training(shared_data, tmp_path):
    """A JPEG-LS multi-frame file in pieces with a table of offsets: both read it, as if each frame were one piece."""
    folder = shared_data / D2N / "generic/compressed_jpegls/001"
    sources = [pydicom.dcmread(file) for file in sorted(folder.iterdir())[:3]]
    streams = [next(generate_frames(source.PixelData, number_of_frames=1)) for source in sources]
    values = np.stack([LoadSeries()(Series("x", "T1w", (Path(s.filename),), range(1))).numpy()[0] for s in sources])
    first = sources[0]
    series = enhanced(tmp_path / "a.dcm", np.zeros_like(values), [1, 2, 3], [0, 0, 0])
    file = pydicom.dcmread(tmp_path / "a.dcm")
    file.file_meta.TransferSyntaxUID = first.file_meta.TransferSyntaxUID
    for name in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(file, name, first[name].value)
    file.PixelData = encapsulate(streams, fragments_per_frame=4, has_bot=True)
    file.save_as(tmp_path / "a.dcm")
    loaded = LoadSeries()(series).numpy()
    np.testing.assert_array_equal(loaded, values * np.array([1, 2, 3], np.float32)[:, None, None])
    doctor = [slice_.shown() for slice_ in read_slices([tmp_path / "a.dcm"], [0, 1, 2])]
    np.testing.assert_array_equal(loaded, np.stack(doctor))


@pytest.mark.parametrize("limit", [None, 32700], ids=["value", "range"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_padding_takes_the_lowest_value_of_the_others(make_series, dtype, limit):
    stored = pixels(dtype, 5, 900)
    padded = stored.copy()
    padded[:, :2] = 32767
    padded[0, 2, 0] = 32766  # of the range only
    expected = stored.astype(np.float32)
    expected[:, :2] = 32767
    expected[0, 2, 0] = 32766
    outside = expected >= (32767 if limit is None else 32700)
    expected[outside] = expected[~outside].min()
    values = {"PixelPaddingValue": 32767, **({} if limit is None else {"PixelPaddingRangeLimit": limit})}
    np.testing.assert_array_equal(LoadSeries()(make_series(padded, **values)).numpy(), expected)


def test_padding_below_everything_stays_as_it_is(make_series):
    stored = pixels(np.int16, 5, 900)
    stored[:, :2] = -2000
    series = make_series(stored, PixelPaddingValue=-2000)
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), pydicom_volume(series.files))


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_pixels_overwritten_since_the_manifest_are_refused(tmp_path, make_dicom, kind):
    """Size, name, identifiers and times are as before; of the ten slices, the middle two are read."""
    volume = np.random.default_rng(0).integers(0, 900, (10, 8, 6)).astype(np.uint16)
    folder = tmp_path / "series"
    folder.mkdir()
    if kind == "nifti":
        nib.save(nib.Nifti1Image(volume.T.astype(np.int16), np.diag([-1, -1, 1, 1])), folder / "a.nii")
    for z, pixels in enumerate(volume) if kind == "dicom" else ():
        make_dicom(folder / f"{z}.dcm", pixels, position=(0, 0, z), RescaleSlope=2)
    record = examine_series(FoundSeries("P", "T1w", folder, None, "its folder"), folder, True).record
    series = CropMiddleSlices(0.2)(series_reference(PatientRecord("P", 0, "test", {"T1w": record}), "T1w", folder))
    before = LoadSeries()(series)

    def overwrite(index: int) -> Path:
        path = series.files[index if kind == "dicom" else 0]
        times, content = path.stat(), bytearray(path.read_bytes())
        at = -3 if kind == "dicom" else index * 96 - 960 + 5
        content[at] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return path

    overwrite(2)
    np.testing.assert_array_equal(LoadSeries()(series).numpy(), before.numpy())
    path = overwrite(5)
    with pytest.raises(
        SeriesReadError, match=r"expected the pixels of the manifest, found others in slice 5 of 10"
    ) as it:
        LoadSeries()(series)
    assert str(path) in str(it.value)
    assert LoadSeries()(replace(series, digests=())).shape == before.shape
