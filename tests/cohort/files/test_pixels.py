import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import jpeg_ls
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from mgmt_monai.cohort.files import encapsulated, pixels
from mgmt_monai.cohort.files.headers import HeaderError, read_headers
from mgmt_monai.cohort.files.pixels import ContentError, read_slices
from mgmt_monai.cohort.files.tags import read_tags

# GDCM cannot decode RLE images of a few dozen pixels.
IMAGE = np.random.default_rng(0).integers(0, 4000, (60, 40)).astype(np.uint16)


def only(path: Path, frames: list[int] | None = None) -> np.ndarray:
    (stored,) = read_slices([path], frames)
    return stored.values


def written_as(path: Path, syntax: str) -> Path:
    """The file in another native transfer syntax."""
    dataset = pydicom.dcmread(path)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    return path


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_values_are_the_same_in_every_native_encoding(
    tmp_path: Path, make_dicom: Callable[..., Path], syntax: str
) -> None:
    path = written_as(make_dicom(tmp_path / "a.dcm", IMAGE), syntax)
    np.testing.assert_array_equal(only(path), IMAGE)


@pytest.mark.parametrize("rle", [False, True], ids=["native", "RLE"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_values_are_the_stored_ones_whatever_the_rescale(
    tmp_path: Path, make_dicom: Callable[..., Path], dtype: type, rle: bool
) -> None:
    image = (IMAGE % 251).astype(dtype) - dtype(100 if dtype is np.int16 else 0)
    path = make_dicom(tmp_path / "a.dcm", image, rle=rle, RescaleSlope=0.37, RescaleIntercept=-5)
    (stored,) = read_slices([path], None)
    np.testing.assert_array_equal(stored.values, image)
    assert (stored.slope, stored.intercept) == (0.37, -5)


@pytest.mark.parametrize("rle", [False, True], ids=["native", "RLE"])
def test_bits_above_bits_stored_are_cut_off(tmp_path: Path, make_dicom: Callable[..., Path], rle: bool) -> None:
    image = np.tile(np.array([[0xF123, 0x0FFF], [0x1000, 0x7001]], np.uint16), (32, 32))
    path = make_dicom(tmp_path / "a.dcm", image, rle=rle, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(only(path), np.tile([[0x123, 0xFFF], [0, 1]], (32, 32)))


def smooth(top: int) -> np.ndarray:
    """60 x 40 pixels that rise to ``top``."""
    down, across = np.mgrid[:60, :40]
    return (top * (np.sin(down / 19) * np.sin(across / 13)) ** 2).round().astype(np.int64)


@pytest.mark.parametrize("rle", [False, True], ids=["native", "RLE"])
@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (smooth(9000), np.uint16),
        (smooth(4500), np.uint16),
        (smooth(900) + 0x3000, np.uint16),
        (smooth(9000) - 100, np.int16),
        (smooth(900) << 4, np.uint16),
        (-smooth(3000), np.int16),
    ],
    ids=["more bits", "a bit more", "all of them", "signed", "HighBit 15", "below"],
)
def test_values_that_need_more_bits_than_stored_are_refused(
    tmp_path: Path, make_dicom: Callable[..., Path], values: np.ndarray, dtype: type, rle: bool
) -> None:
    path = make_dicom(tmp_path / "a.dcm", values.astype(dtype), rle=rle, BitsStored=12, HighBit=11)
    wrapped = pydicom.dcmread(path).pixel_array  # the other reader cuts them off without a word
    assert not np.array_equal(wrapped, values)
    with pytest.raises(ContentError, match=r"claims less than there is: values from .* in 12 bits") as caught:
        only(path)
    assert caught.value.finding == "D026"


@pytest.mark.parametrize(
    ("values", "dtype", "attributes", "n_cut"),
    [
        (smooth(900), np.uint16, {}, 0),
        (smooth(900) + 0x8000 * (smooth(100) % 7 == 0), np.uint16, {}, np.sum(smooth(100) % 7 == 0)),
        (smooth(900) + 6000 * (smooth(100) == 100), np.uint16, {}, np.sum(smooth(100) == 100)),
        (smooth(900) - 400, np.int16, {}, 0),
        ((smooth(900) - 400) & 0xFFF, np.int16, {}, 0),
        (np.where(smooth(100) < 3, 0xF000, smooth(900)), np.uint16, {"PixelPaddingValue": 0xF000}, 0),
    ],
    ids=["none", "overlay", "bright specks", "sign repeated", "sign not repeated", "padding"],
)
def test_bits_that_are_no_part_of_the_values_are_counted(
    tmp_path: Path, make_dicom: Callable[..., Path], values: np.ndarray, dtype: type, attributes: dict, n_cut: int
) -> None:
    path = make_dicom(tmp_path / "a.dcm", values.astype(dtype), BitsStored=12, HighBit=11, **attributes)
    (stored,) = read_slices([path], None)
    assert stored.n_cut == n_cut
    np.testing.assert_array_equal(stored.values, pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize(("dtype", "sign"), [(np.uint16, 1), (np.int16, -1)])
def test_values_above_a_low_bit_are_shifted_down(
    tmp_path: Path, make_dicom: Callable[..., Path], dtype: type, sign: int
) -> None:
    image = (np.array([[0x123, 0x7FF], [0, 1]]) * sign).astype(dtype)
    path = make_dicom(tmp_path / "a.dcm", image << 4, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(only(path), image)


def test_pixels_of_floating_point_are_not_read_as_integers(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    image = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    path = make_dicom(tmp_path / "a.dcm", image.view(np.uint32), PixelData=None, FloatPixelData=image.tobytes())
    with pytest.raises(ContentError, match="no pixel data"):
        only(path)
    with pytest.raises(HeaderError, match="0 are left in PixelData"):
        read_headers(path)


def test_sign_of_fewer_bits_is_kept(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    image = np.array([[0x0FFF, 0x0001], [0x0800, 0x07FF]], np.int16)
    path = make_dicom(tmp_path / "a.dcm", image, BitsStored=12, HighBit=11)
    assert only(path).tolist() == [[-1, 1], [-2048, 2047]]


@pytest.mark.parametrize("rle", [False, True], ids=["native", "RLE"])
def test_frames_come_in_the_order_asked(tmp_path: Path, make_dicom: Callable[..., Path], rle: bool) -> None:
    volume = np.arange(3 * 40 * 60, dtype=np.uint16).reshape(3, 40, 60)
    path = make_dicom(tmp_path / "a.dcm", volume, NumberOfFrames=3, Rows=40, Columns=60, rle=rle)
    found = [stored.values for stored in read_slices([path], [2, 0])]
    np.testing.assert_array_equal(found, volume[[2, 0]])


def test_frames_in_pieces_are_put_together_by_the_offset_table(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    volume = np.arange(2 * 4 * 6, dtype=np.uint16).reshape(2, 4, 6)
    path = make_dicom(tmp_path / "a.dcm", volume, NumberOfFrames=2, Rows=4, Columns=6, rle=True)
    dataset = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=2))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=True)
    dataset.save_as(path)
    # GDCM joins no RLE pieces; which of them belong to which frame is what is asked here.
    joined = [encapsulated.frame(path, read_tags(path), index, 2) for index in range(2)]
    assert [part.rstrip(b"\0") for part in joined] == [part.rstrip(b"\0") for part in frames]


def test_tags_read_before_are_not_read_again(
    tmp_path: Path, make_dicom: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_dicom(tmp_path / "a.dcm", IMAGE)
    tags = [read_tags(path)]
    monkeypatch.setattr(pixels, "read_tags", None)
    (stored,) = read_slices([path], None, tags)
    np.testing.assert_array_equal(stored.values, IMAGE)


@pytest.mark.parametrize(
    ("attributes", "text", "finding"),
    [
        ({"Rows": 9000}, "9000 x 40 pixels, expected 1 to 8192", "D026"),
        ({"Rows": 61}, "shorter than 1 x 61 x 40", "D002"),
        ({"NumberOfFrames": 70_000}, "70000 x 60 x 40 pixels", "D026"),
        ({"BitsAllocated": 12}, "bits stored in 12", "D026"),
        ({"BitsStored": 17}, "17 bits stored in 16", "D026"),
        ({"SamplesPerPixel": 3}, "colour", "D004"),
        ({"PixelData": None}, "no pixel data", "D026"),
    ],
    ids=["side", "short", "frames", "12 bits", "bits stored", "colour", "no pixels"],
)
def test_refuses_claims_beyond_the_limits(
    tmp_path: Path, make_dicom: Callable[..., Path], attributes: dict, text: str, finding: str
) -> None:
    path = make_dicom(tmp_path / "a.dcm", IMAGE, **attributes)
    with pytest.raises(ContentError, match=text) as caught:
        only(path)
    assert (caught.value.finding, caught.value.path) == (finding, path)


@pytest.mark.parametrize(
    ("attributes", "sound"),
    [
        ({}, True),
        ({"Rows": 60}, True),
        ({"BitsStored": 12}, True),
        ({"NumberOfFrames": 1}, True),
        ({"Rows": 0}, False),
        ({"Columns": 0}, False),
        ({"Rows": 8193, "Columns": 1}, False),
        ({"NumberOfFrames": 0}, False),
        ({"NumberOfFrames": -1}, False),
        ({"BitsAllocated": 0}, False),
        ({"BitsAllocated": 1, "BitsStored": 1}, False),
        ({"BitsAllocated": 12, "BitsStored": 12}, False),
        ({"BitsStored": 0}, False),
        ({"BitsStored": 17}, False),
    ],
    ids=repr,
)
def test_header_alone_is_refused_where_the_pixels_are(
    tmp_path: Path, make_dicom: Callable[..., Path], attributes: dict, sound: bool
) -> None:
    path = make_dicom(
        tmp_path / "a.dcm", np.zeros((4100, 2), np.uint16) if attributes.get("Rows") in (0, 8193) else IMAGE
    )
    dataset = pydicom.dcmread(path)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    if sound:
        assert len(read_headers(path)) == len(list(read_slices([path], None))) == 1
        return
    with pytest.raises(HeaderError) as header:
        read_headers(path)
    with pytest.raises(ContentError) as content:
        list(read_slices([path], None))
    assert str(header.value) == str(content.value)
    assert (header.value.finding, content.value.finding) == ("D001", "D026")


def test_claim_of_many_pixels_is_refused_before_any_is_decoded(
    tmp_path: Path, make_dicom: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_dicom(tmp_path / "a.dcm", IMAGE, rle=True)
    data = path.read_bytes()
    rows = struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, 60)
    path.write_bytes(data.replace(rows, rows[:-2] + struct.pack("<H", 65535)))
    monkeypatch.setattr(sitk, "ImageFileReader", None)
    with pytest.raises(ContentError, match="65535 x 40 pixels, expected 1 to 8192"):
        only(path)


@pytest.mark.parametrize("cut", [4, 12, 40], ids=["delimiter", "item", "pixels"])
def test_compressed_file_cut_short_never_meets_the_decoder(
    tmp_path: Path, make_dicom: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    path = make_dicom(tmp_path / "a.dcm", IMAGE, rle=True)
    path.write_bytes(path.read_bytes()[:-cut])
    monkeypatch.setattr(sitk, "ImageFileReader", None)
    with pytest.raises(ContentError, match="truncated") as caught:
        only(path)
    assert caught.value.finding == "D002"


BASELINE, LOSSLESS, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{tail}" for tail in (50, 70, 80, 90))


def pillow(kind: str, **options: object) -> Callable[[np.ndarray], bytes]:
    def encode(pixels: np.ndarray) -> bytes:
        out = BytesIO()
        Image.fromarray(pixels).save(out, kind, **options)
        return out.getvalue()

    return encode


def lossless(pixels: np.ndarray) -> bytes:
    """As GDCM writes it: selection value 1."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    with tempfile.TemporaryDirectory() as folder:
        writer.SetFileName(f"{folder}/a.dcm")
        writer.Execute(sitk.GetImageFromArray(pixels[None]))
        dataset = pydicom.dcmread(f"{folder}/a.dcm")
    assert dataset.file_meta.TransferSyntaxUID == LOSSLESS
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def in_frames(path: Path, streams: list[bytes], syntax: str) -> Path:
    """The file with other, compressed frames of the same size."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID, dataset.NumberOfFrames = syntax, len(streams)
    dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    ("encode", "syntax", "dtype"),
    [
        (pillow("JPEG", quality=90), BASELINE, np.uint8),
        (pillow("JPEG", quality=90, restart_marker_rows=2), BASELINE, np.uint8),
        (lossless, LOSSLESS, np.uint8),
        (lossless, LOSSLESS, np.uint16),
        (lossless, LOSSLESS, np.int16),
        (lambda pixels: bytes(jpeg_ls.encode_array(pixels)), JPEG_LS, np.uint16),
        (pillow("JPEG2000", no_jp2=True), JPEG_2000, np.uint16),
        (pillow("JPEG2000", no_jp2=True, tile_size=(32, 32)), JPEG_2000, np.uint8),
    ],
    ids=["baseline", "restarts", "lossless", "lossless 16", "lossless signed", "LS", "2000", "2000 in tiles"],
)
def test_compressed_frame_with_bytes_missing_in_its_middle_is_refused(
    tmp_path: Path, make_dicom: Callable[..., Path], encode: Callable, syntax: str, dtype: type
) -> None:
    head = smooth(200 if dtype is np.uint8 else 3000) + np.random.default_rng(1).integers(0, 30, (60, 40))
    pixels = (head * (smooth(9) > 0) - 40 * (dtype is np.int16)).astype(dtype)  # in air of one value
    path, whole = make_dicom(tmp_path / "a.dcm", pixels), encode(pixels)
    first, second = read_slices([in_frames(path, [whole, whole], syntax)], [0, 1])
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_allclose(first.values, pixels, atol=20 if syntax == BASELINE else 0)
    for share in (0.5, 0.65, 0.8):
        at = int(len(whole) * share)
        in_frames(path, [whole, whole[:at] + whole[at + 60 :]], syntax)
        frames = read_slices([path], [0, 1])
        next(frames)
        with pytest.raises(ContentError, match=r"break[s ]*off|cannot be decoded") as caught:
            next(frames)
        assert caught.value.finding == "D026"


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="needs dcmtk")
@pytest.mark.parametrize("selection", range(1, 8))
def test_lossless_jpeg_is_whole_by_every_predictor(
    tmp_path: Path, make_dicom: Callable[..., Path], selection: int
) -> None:
    path = make_dicom(tmp_path / "a.dcm", IMAGE, BitsStored=12, HighBit=11)
    words = ["dcmcjpeg", "+el", "+sv", str(selection), path, tmp_path / "b.dcm"]
    subprocess.run(words, check=True, capture_output=True)
    np.testing.assert_array_equal(only(tmp_path / "b.dcm"), IMAGE)


def test_pixels_that_the_decoder_refuses_are_told(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    path = make_dicom(tmp_path / "a.dcm", IMAGE, rle=True)
    dataset = pydicom.dcmread(path)
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([b"\x63\0\0\0" + frame[4:]])  # 99 segments
    dataset.save_as(path)
    with pytest.raises(ContentError, match="RLE pixels in 99 segments") as caught:
        only(path)
    assert caught.value.finding == "D026"


def test_pixels_of_another_compression_are_told(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    path = make_dicom(tmp_path / "a.dcm", IMAGE, rle=True)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(path)
    with pytest.raises(ContentError, match="not JPEG 2000") as caught:
        only(path)
    assert caught.value.finding == "D026"


@pytest.mark.parametrize("name", ["gone.dcm", "gone.nii.gz"])
def test_vanished_file_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContentError, match="cannot be read") as caught:
        only(tmp_path / name)
    assert caught.value.finding == "D001"


def test_every_real_encoding_gives_the_same_values(shared_data: Path) -> None:
    folder = shared_data / "dicom/dicom2nifti/tests/data/generic"
    files = sorted(folder.glob("compressed*/001/*-0002-*.dcm"))
    # JPEG lossless, JPEG-LS lossless, JPEG 2000, RLE
    assert {read_tags(file).syntax[17:] for file in files} == {".4.70", ".4.80", ".4.90", ".5"}
    converted = np.asarray(nib.load(folder / "compressed/001_ground_truth.nii.gz").dataobj)[:, :, 1]
    for file in files:
        np.testing.assert_array_equal(only(file), only(files[0]))
        np.testing.assert_array_equal(np.sort(only(file), axis=None), np.sort(converted, axis=None))  # it is turned


def test_real_slices_agree_with_simpleitk(shared_data: Path) -> None:
    files = sorted((shared_data / "dicom").rglob("*.dcm"))[::11]
    assert files
    for file in files:
        (stored,) = read_slices([file], None)
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0]
        np.testing.assert_allclose(stored.values * stored.slope + stored.intercept, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("rle", [False, True], ids=["native", "RLE"])
def test_mutated_files_end_in_values_or_a_content_error(
    tmp_path: Path, make_dicom: Callable[..., Path], rle: bool
) -> None:
    random = np.random.default_rng(7)
    data = make_dicom(tmp_path / "a.dcm", IMAGE, rle=rle, RescaleSlope=2).read_bytes()
    outcomes = set()
    for _ in range(300):
        changed = bytearray(data)
        for place in random.integers(0, len(data), 3):
            changed[place] = random.integers(256)
        path = tmp_path / "b.dcm"
        path.write_bytes(bytes(changed))
        try:
            outcomes.add(only(path).ndim)
        except ContentError as error:
            outcomes.add(error.finding)
    assert 2 in outcomes
    assert outcomes <= {2, "D001", "D002", "D004", "D026"}


@pytest.mark.parametrize(
    "claim",
    [{"Columns": 15}, {"Rows": 59}, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, {"NumberOfFrames": None}],
    ids=lambda claim: "-".join(claim),
)
@pytest.mark.parametrize("rle", [False, True], ids=["native", "RLE"])
def test_header_that_claims_less_than_there_is_is_refused(
    tmp_path: Path, make_dicom: Callable[..., Path], claim: dict, rle: bool
) -> None:
    frames = {"NumberOfFrames": 2, "Rows": 60, "Columns": 40} if "NumberOfFrames" in claim else {}
    path = make_dicom(tmp_path / "a.dcm", np.stack([IMAGE, IMAGE[::-1]]) if frames else IMAGE, rle=rle, **frames)
    dataset = pydicom.dcmread(path)
    for name, value in claim.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
    with pytest.raises((ContentError, HeaderError), match=r"claims less than there is|RLE pixels|where the header has"):
        read_headers(path)
        only(path)


def test_two_compressed_images_in_a_file_of_one_frame_are_refused(shared_data: Path, tmp_path: Path) -> None:
    source = pydicom.dcmread(next((shared_data / "dicom/dicom2nifti/tests/data/generic/compressed_j2k/001").iterdir()))
    (frame,) = pydicom.encaps.generate_frames(source.PixelData, number_of_frames=1)
    for has_table in (True, False):
        source.PixelData = encapsulate([frame, frame], has_bot=has_table)
        source.save_as(tmp_path / "a.dcm")
        with pytest.raises(ContentError, match="where the header has"):
            only(tmp_path / "a.dcm")


@pytest.mark.parametrize("kept", [0.02, 0.2, 0.5, 0.98])
def test_rle_cut_short_in_its_last_frame_is_refused(
    tmp_path: Path, make_dicom: Callable[..., Path], kept: float
) -> None:
    path = make_dicom(tmp_path / "a.dcm", np.stack([IMAGE] * 3), NumberOfFrames=3, Rows=60, Columns=40, rle=True)
    dataset = pydicom.dcmread(path)
    *frames, last = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3)
    dataset.PixelData = encapsulate([*frames, last[: max(64, int(kept * len(last)))]])
    dataset.save_as(path)
    assert len(list(read_slices([path], [0, 1]))) == 2
    with pytest.raises(ContentError, match="RLE pixels of"):
        only(path, [2])


def test_byte_that_fills_up_to_an_even_length_is_no_fault(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    image = (IMAGE[:5, :5] % 251).astype(np.uint8)
    path = make_dicom(tmp_path / "a.dcm", image)
    assert len(pydicom.dcmread(path).PixelData) == 26
    read_headers(path)
    np.testing.assert_array_equal(only(path), image)


def test_empty_transfer_syntax_is_told_in_words(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    path = make_dicom(tmp_path / "a.dcm", IMAGE)
    data = path.read_bytes()
    uid = b"1.2.840.10008.1.2.1\0"
    assert data.count(struct.pack("<HH2sH", 2, 0x10, b"UI", 20) + uid) == 1
    path.write_bytes(data.replace(uid, bytes(20), 1))
    with pytest.raises(HeaderError, match="an empty TransferSyntaxUID"):
        read_headers(path)


@pytest.mark.parametrize("kind", ["compressed_jpeg", "compressed_jpegls", "compressed_j2k"])
def test_compressed_image_of_more_bits_than_its_header_has_is_refused(
    shared_data: Path, tmp_path: Path, kind: str
) -> None:
    source = pydicom.dcmread(next((shared_data / f"dicom/dicom2nifti/tests/data/generic/{kind}/001").iterdir()))
    source.BitsAllocated, source.BitsStored, source.HighBit = 8, 8, 7
    source.save_as(tmp_path / "a.dcm")
    with pytest.raises(ContentError, match=r"image of .* bits"):
        only(tmp_path / "a.dcm")
