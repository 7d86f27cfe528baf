import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from mgmt_monai.cohort.files.headers import HeaderError, is_phase, read_headers

PIXELS = np.arange(24, dtype=np.uint16).reshape(4, 6)


def refused(path) -> str:
    with pytest.raises(HeaderError) as caught:
        read_headers(path)
    return str(caught.value)


def finding_of(path) -> str:
    with pytest.raises(HeaderError) as caught:
        read_headers(path)
    return caught.value.finding


def replace_bytes(path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1 and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def test_header_of_one_slice(make_dicom, tmp_path):
    path = make_dicom(tmp_path / "größe 患者.dcm", PIXELS, position=(1, 2, 3.5))
    (header,) = read_headers(path)
    assert (header.path, header.frame, header.shape, header.is_phase) == (path, None, (4, 6), False)
    assert header.size_bytes == len(path.read_bytes())
    assert header.uid == pydicom.dcmread(path).SOPInstanceUID
    assert header.position.tolist() == [1, 2, 3.5]
    assert header.orientation.tolist() == [1, 0, 0, 0, 1, 0]
    assert header.pixel_spacing_mm == (0.5, 0.75)


def test_header_of_one_slice_keeps_its_tags(make_dicom, tmp_path):
    path = make_dicom(tmp_path / "a.dcm", PIXELS, EchoTime=14.5, PatientID="p")
    (header,) = read_headers(path)
    tags = header.tags
    assert (tags.values["EchoTime"], tags.values["PatientID"], tags.values["Rows"]) == ("14.5", "p", 4)
    assert path.read_bytes()[tags.pixel_offset : tags.pixel_offset + tags.pixel_bytes] == PIXELS.tobytes()


@pytest.mark.parametrize("text", ["-0.1", "1.1e-17", "123456.789012345", "-.5", "+7", "0.30000000000000004"])
def test_position_is_the_very_number_that_pydicom_reads(make_dicom, tmp_path, text):
    path = make_dicom(tmp_path / "a.dcm", PIXELS, position=(1, 2, 3))
    content = path.read_bytes()
    old = b"\x20\x00\x32\x00DS\x0c\x001.0\\2.0\\3.0 "
    value = f"1\\2\\{text}".encode() + b" " * ((4 + len(text)) % 2)
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, old[:6] + bytes([len(value), 0]) + value))
    (header,) = read_headers(path)
    assert header.position.tolist() == [float(value) for value in pydicom.dcmread(path).ImagePositionPatient]
    assert header.position[2] == float(text)


def test_header_without_geometry(make_dicom, tmp_path):
    absent = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
    (header,) = read_headers(make_dicom(tmp_path / "a", PIXELS, **absent))
    assert (header.position, header.orientation, header.pixel_spacing_mm) == (None, None, None)


def test_header_of_each_frame_of_an_enhanced_image(make_enhanced, tmp_path):
    headers = read_headers(make_enhanced(tmp_path / "a", [(0, 0, 4), (0, 0, 0), (0, 0, 2)]))
    assert [header.frame for header in headers] == [0, 1, 2]
    assert [header.position[2] for header in headers] == [4, 0, 2]
    assert [header.orientation.tolist() for header in headers] == [[1, 0, 0, 0, 1, 0]] * 3
    assert [header.pixel_spacing_mm for header in headers] == [(0.5, 0.75)] * 3


def test_tags_of_each_frame_hold_its_own_values(make_enhanced, tmp_path):
    headers = read_headers(make_enhanced(tmp_path / "a", [(0, 0, 4), (0, 0, 2.5)]))
    assert [header.tags.values["ImagePositionPatient"] for header in headers] == ["0.0\\0.0\\4.0", "0.0\\0.0\\2.5"]
    assert [header.tags.values["PixelSpacing"] for header in headers] == ["0.5\\0.75"] * 2
    assert [header.tags.values["PatientID"] for header in headers] == ["secret-id"] * 2
    assert [header.tags.frames for header in headers] == [(), ()]


def test_header_of_an_enhanced_image_of_one_frame(make_enhanced, tmp_path):
    (header,) = read_headers(make_enhanced(tmp_path / "a", [(0, 0, 4)]))
    assert (header.frame, header.position.tolist()) == (None, [0, 0, 4])


def test_phase_told_by_each_frame(make_enhanced, tmp_path):
    path = make_enhanced(tmp_path / "a", [(0, 0, 0), (0, 0, 0)], components=["MAGNITUDE", "PHASE"])
    assert [header.is_phase for header in read_headers(path)] == [False, True]


def image_type(*kinds: str) -> dict[str, str]:
    return {"ImageType": "\\".join(("ORIGINAL", "PRIMARY", *kinds))}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, False, id="nothing"),
        pytest.param(image_type("M", "ND"), False, id="Siemens magnitude"),
        pytest.param(image_type("P", "ND"), True, id="Siemens phase"),
        pytest.param(image_type("M_FFE", "M", "FFE"), False, id="Philips magnitude"),
        pytest.param(image_type("M_PCA", "M", "PCA"), False, id="Philips magnitude of a phase contrast"),
        pytest.param(image_type("PHASE MAP", "P", "FFE"), True, id="Philips phase"),
        pytest.param(image_type("P_FFE", "FFE"), True, id="Philips phase of a gradient echo"),
        pytest.param(image_type("SW_M_FFE", "SW_M", "FFE"), False, id="Philips susceptibility, magnitude"),
        pytest.param(image_type("SW_P_FFE", "SW_P", "FFE"), True, id="Philips susceptibility, phase"),
        pytest.param(image_type("PHASE MAP"), True, id="phase map alone"),
        pytest.param(image_type("PHASE"), True, id="phase in full"),
        pytest.param(image_type("VELOCITY"), True, id="velocity"),
        pytest.param(image_type("VELOCITY MAP", "P", "PCA"), True, id="velocity map"),
        pytest.param(image_type("p"), True, id="lower case"),
        pytest.param(image_type("OTHER"), False, id="another word"),
        pytest.param({"ImageType": "COMPRESSED"}, False, id="one value with a P in it"),
        pytest.param({"ImageType": "P\\PHASE\\M"}, False, id="before the third value"),
        pytest.param({"ComplexImageComponent": "PHASE"}, True, id="the standard's word"),
        pytest.param({"ComplexImageComponent": "phase"}, True, id="the standard's word, lower case"),
        pytest.param({"ComplexImageComponent": "MAGNITUDE", **image_type("P")}, False, id="it decides: magnitude"),
        pytest.param({"ComplexImageComponent": "PHASE", **image_type("M")}, True, id="it decides: phase"),
        pytest.param({"ComplexImageComponent": "MIXED", **image_type("P")}, True, id="mixed: the image type decides"),
    ],
)
def test_is_phase(values, expected):
    assert is_phase(values) is expected


def test_phase_told_by_the_file(make_dicom, tmp_path):
    (header,) = read_headers(make_dicom(tmp_path / "a", PIXELS, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]))
    assert header.is_phase is True


@pytest.mark.parametrize("rle", [False, True], ids=["uncompressed", "RLE"])
def test_file_cut_anywhere_refused(make_dicom, tmp_path, rle):
    whole = make_dicom(tmp_path / "whole", PIXELS, rle=rle).read_bytes()
    path = tmp_path / "cut"
    for length in range(0, len(whole), 23):
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole[:-1])
    assert "truncated" in refused(path)
    assert finding_of(path) == "D002"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name)
def test_other_transfer_syntaxes_read_whole_and_refused_cut(make_dicom, tmp_path, syntax):
    path = make_dicom(tmp_path / "a", PIXELS)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    assert len(read_headers(path)) == 1
    path.write_bytes(path.read_bytes()[:-20])
    refused(path)


def test_data_after_the_pixels_is_no_fault(make_dicom, tmp_path):
    path = make_dicom(tmp_path / "a", PIXELS, rle=True, DataSetTrailingPadding=b"\0" * 64)
    assert len(read_headers(path)) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", "an empty file", id="empty"),
        pytest.param(b"hello", "not a DICOM file", id="text"),
        pytest.param(b"\x89PNG\r\n" * 100, "not a DICOM file", id="picture"),
        pytest.param(b"\0" * 128 + b"DICM", "", id="preamble alone"),
        pytest.param(b"\0" * 128 + b"DICM" + b"\xff" * 500, "", id="preamble and noise"),
    ],
)
def test_other_file_refused(tmp_path, content, expected):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    assert expected in refused(path)


def test_dicom_without_an_image_refused(tmp_path):
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.22", "1.2.3"
    dataset.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    assert refused(tmp_path / "report.dcm").startswith("a DICOM file without an image")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param({"Rows": 0}, "an image of 1 x 0 x 6 pixels", id="no rows"),
        pytest.param({"NumberOfFrames": -3}, "an image of -3 x 4 x 6 pixels", id="negative frames"),
        pytest.param({"NumberOfFrames": 999999999}, "999999999 frames, with a place in the patient for 0", id="frames"),
        pytest.param({"SamplesPerPixel": 3}, "a colour image (3 samples a pixel)", id="colour"),
        pytest.param({"ImagePositionPatient": [1, 2]}, "ImagePositionPatient that is not 3 numbers", id="short"),
        pytest.param({"ImagePositionPatient": 5}, "ImagePositionPatient that is not 3 numbers", id="one value"),
        pytest.param({"PixelSpacing": [1, 1, 1]}, "PixelSpacing that is not 2 numbers", id="long"),
        pytest.param({"PixelSpacing": [0, 1]}, "PixelSpacing that is not 2 numbers above 0", id="spacing of 0"),
        pytest.param({"PixelSpacing": [1, -0.5]}, "PixelSpacing that is not 2 numbers above 0", id="negative spacing"),
    ],
)
def test_impossible_value_refused(make_dicom, tmp_path, attributes, expected):
    assert expected in refused(make_dicom(tmp_path / "a", PIXELS, **attributes))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param({"Rows": 0}, "D001", id="no rows"),
        pytest.param({"Rows": 65535, "Columns": 65535, "BitsAllocated": 32}, "D001", id="huge"),
        pytest.param({"Rows": 400}, "D002", id="more rows than pixels"),
        pytest.param({"SamplesPerPixel": 3}, "D004", id="colour"),
        pytest.param({"PhotometricInterpretation": "PALETTE COLOR"}, "D004", id="colour map"),
        pytest.param({"Rows": None}, "D004", id="no image"),
        pytest.param({"NumberOfFrames": 2}, "D010", id="frames without a place"),
        pytest.param({"PixelSpacing": [1, 1, 1]}, "D001", id="spacing"),
    ],
)
@pytest.mark.parametrize("rle", [False, True], ids=["uncompressed", "RLE"])
def test_finding_of_a_refused_file(make_dicom, tmp_path, attributes, expected, rle):
    path = make_dicom(tmp_path / "a", PIXELS, rle=rle)
    dataset = pydicom.dcmread(path)
    for name, value in attributes.items():
        setattr(dataset, name, value)
        if value is None:
            delattr(dataset, name)
    dataset.save_as(path)
    if rle and expected == "D002":
        assert read_headers(path)[0].shape == (400, 6)  # the decoder knows, the header does not
    else:
        assert finding_of(path) == expected


def test_pixels_claimed_shorter_than_the_image_refused(make_dicom, tmp_path):
    path = make_dicom(tmp_path / "a", PIXELS, DataSetTrailingPadding=b"\0" * 64)
    replace_bytes(path, b"\xe0\x7f\x10\x00OW\0\0\x30\0\0\0", b"\xe0\x7f\x10\x00OW\0\0\x10\0\0\0")
    assert refused(path) == "a truncated file: 1 x 4 x 6 pixels take 48 bytes, 16 are left in PixelData"


def test_more_fragments_than_any_image_has_refused(make_dicom, tmp_path):
    whole = make_dicom(tmp_path / "a", PIXELS, rle=True).read_bytes()
    fragments = whole.index(b"\xfe\xff\x00\xe0")
    path = tmp_path / "b"
    path.write_bytes(whole[:fragments] + b"\xfe\xff\x00\xe0\0\0\0\0" * 70_000 + whole[fragments:])
    assert refused(path) == "a truncated file: its compressed pixels break off"


@pytest.mark.parametrize("text", [b"word\\2", b"nan \\2", b"inf \\2"], ids=["word", "nan", "inf"])
def test_position_that_is_no_number_refused(make_dicom, tmp_path, text):
    path = make_dicom(tmp_path / "a", PIXELS, position=(1.25, 2, 3))
    replace_bytes(path, b"1.25\\2", text)
    assert refused(path) == "ImagePositionPatient that is not 3 numbers"


def test_noise_in_the_header_never_raises_anything_else(make_dicom, make_enhanced, tmp_path):
    rng = np.random.default_rng(11)
    sources = [
        make_dicom(tmp_path / "plain", PIXELS).read_bytes(),
        make_dicom(tmp_path / "rle", PIXELS, rle=True).read_bytes(),
        make_enhanced(tmp_path / "enhanced", [(0, 0, 0), (0, 0, 1)]).read_bytes(),
    ]
    path = tmp_path / "noisy"
    outcomes = {"read": 0, "refused": 0}
    for source in sources:
        for _ in range(150):
            noisy = np.frombuffer(source, np.uint8).copy()
            where = rng.integers(128, len(noisy), 6)
            noisy[where] = rng.integers(0, 256, 6)
            path.write_bytes(noisy.tobytes())
            try:
                read_headers(path)
                outcomes["read"] += 1
            except HeaderError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_odd_values_give_no_warnings(make_dicom, tmp_path, recwarn):
    path = make_dicom(tmp_path / "a", PIXELS, position=(1.25, 2, 3))
    content = path.read_bytes()
    uid = str(pydicom.dcmread(path).SOPInstanceUID).encode()
    path.write_bytes(content.replace(uid, b"x" * len(uid)))
    recwarn.clear()
    read_headers(path)
    assert not recwarn.list


def test_absent_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_headers(tmp_path / "absent.dcm")
