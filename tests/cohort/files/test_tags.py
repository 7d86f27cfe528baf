import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from mgmt_monai.cohort.files import tags
from mgmt_monai.cohort.files.elements import WANTED
from mgmt_monai.cohort.files.tags import ENCAPSULATED, FRAME_KEYWORDS, FileTags, HeaderError, read_tags
from mgmt_monai.phantom.made_cohort import write_patient

PIXELS = np.arange(24, dtype=np.uint16).reshape(4, 6)
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
OPEN = b"\xff\xff\xff\xff"


@pytest.fixture
def patient_reads(monkeypatch) -> list[int]:
    """One entry for each file that was left to pydicom."""
    reads: list[int] = []
    read = tags._read_patiently
    monkeypatch.setattr(tags, "_read_patiently", lambda data, size: reads.append(size) or read(data, size))
    return reads


def as_pydicom_reads(dataset: Dataset) -> dict[str, str | int]:
    """The wanted values of a file as pydicom converts them, as text again."""
    values: dict[str, str | int] = {}
    for keyword in WANTED:
        if keyword not in dataset:
            continue
        value = dataset[keyword].value
        parts = [str(part).strip(" \0") for part in (value if isinstance(value, MultiValue) else [value])]
        if value is not None and any(parts):
            values[keyword] = value if dataset[keyword].VR == "US" else "\\".join(parts)
        if WANTED[keyword][1] == "US or SS":
            values[keyword] = value % 2**16
    return values


def check_against_pydicom(path: Path) -> FileTags:
    found = read_tags(path)
    content = path.read_bytes()
    dataset = pydicom.dcmread(io.BytesIO(content))
    assert found.values == as_pydicom_reads(dataset)
    assert found.syntax == dataset.file_meta.TransferSyntaxUID
    assert found.size_bytes == len(content)
    assert found.private == any(element.tag.is_private and not element.tag.is_private_creator for element in dataset)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        assert found.pixel_bytes is None
        assert content[found.pixel_offset :][: len(dataset.PixelData)] == dataset.PixelData
    else:
        assert found.pixel_bytes == len(dataset.PixelData)
        assert content[found.pixel_offset :][: found.pixel_bytes] == dataset.PixelData
    return found


def real_files(shared_data: Path, folder: str) -> list[Path]:
    return sorted(shared_data.joinpath(folder).rglob("*.dcm"))


@pytest.mark.parametrize(
    ("folder", "n_files", "n_odd"),
    [
        pytest.param("dicom/GE_T1w", 196, 0, id="GE"),
        pytest.param("dicom/papaya_FSE_PD_axial", 20, 0, id="papaya"),
        pytest.param("dicom/dicom2nifti/tests/data/ge", 9, 0, id="GE, also implicit"),
        pytest.param("dicom/dicom2nifti/tests/data/siemens", 8, 0, id="Siemens"),
        pytest.param("dicom/dicom2nifti/tests/data/hitachi", 8, 0, id="Hitachi"),
        pytest.param("dicom/dicom2nifti/tests/data/generic", 32, 0, id="compressed"),
        pytest.param("rsna_t1wce_slices", 362, 0, id="RSNA"),
    ],
)
def test_real_files_walked_equal_pydicom(shared_data, patient_reads, folder, n_files, n_odd):
    paths = real_files(shared_data, folder)
    for path in paths:
        assert check_against_pydicom(path).frames == ()
    assert (len(paths), len(patient_reads)) == (n_files, n_odd)


def test_real_enhanced_files_left_to_pydicom_tell_each_frame(shared_data, patient_reads):
    n_enhanced = 0
    for path in real_files(shared_data, "dicom/dicom2nifti/tests/data/philips") + real_files(
        shared_data, "dicom/dicom2nifti/tests/data/hyperfine"
    ):
        frames = pydicom.dcmread(path).get("PerFrameFunctionalGroupsSequence", [])
        found = check_against_pydicom(path)
        positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
        assert [frame["ImagePositionPatient"] for frame in found.frames] == [
            "\\".join(map(str, position)) for position in positions
        ]
        n_enhanced += len(frames) > 0
    assert len(patient_reads) == n_enhanced == 1


def test_phantom_files_walked_equal_pydicom(tmp_path, patient_reads):
    write_patient(tmp_path, 0, {"T1w": 0.0}, seed=5)
    paths = sorted(tmp_path.rglob("*.dcm"))[::7]
    for path in paths:
        check_against_pydicom(path)
    assert paths
    assert patient_reads == []


def write(path: Path, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Path:
    """A slice with hand-made attributes, as pydicom writes it; None leaves one out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.EchoTime, dataset.RepetitionTime = "14.0", 500
    dataset.ImagePositionPatient = [1.5, "-2.25e1", 3]
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 4, 6, 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 12, 11, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = PIXELS.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def sequence(length: int | None, depth: int = 1) -> Dataset:
    item = Dataset()
    item.CodeValue = "X"
    item.is_undefined_length_sequence_item = length is None
    if depth > 1:
        item.ConceptCodeSequence = sequence(length, depth - 1).ConceptCodeSequence
    outer = Dataset()
    outer.ConceptCodeSequence = [item, item]
    outer["ConceptCodeSequence"].is_undefined_length = length is None
    return outer


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.name)
@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"ConceptCodeSequence": sequence(0).ConceptCodeSequence}, id="sequence of known length"),
        pytest.param({"PatientName": "", "StudyInstanceUID": None, "EchoTime": None}, id="empty values"),
        pytest.param({"ImageComments": "x" * 9000, "DerivationDescription": "y" * 1000}, id="longer than one read"),
        pytest.param({"EncapsulatedDocument": b"z" * 300_000}, id="long, stepped over"),
        pytest.param({"PatientName": "Doe^Jane=Doe", "OtherPatientIDs": ["a", "b"]}, id="several values"),
    ],
)
def test_ordinary_file_walked_equals_pydicom(tmp_path, patient_reads, syntax, attributes):
    check_against_pydicom(write(tmp_path / "a.dcm", syntax, **attributes))
    assert patient_reads == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.name)
@pytest.mark.parametrize("depth", [1, 4])
def test_sequences_of_undefined_length_stepped_over(tmp_path, patient_reads, syntax, depth):
    path = write(tmp_path / "a.dcm", syntax)
    dataset = pydicom.dcmread(path)
    dataset.add(sequence(None, depth)["ConceptCodeSequence"])
    dataset["ConceptCodeSequence"].is_undefined_length = True
    dataset.save_as(path)
    assert path.read_bytes().count(SEQUENCE_END) >= 1
    check_against_pydicom(path)
    assert patient_reads == []


def test_long_sequence_of_undefined_length_stepped_over(tmp_path, patient_reads):
    path = write(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    item = Dataset()
    item.ImageComments = "x" * 8000
    item.is_undefined_length_sequence_item = True
    dataset.ConceptCodeSequence = [item] * 20
    dataset["ConceptCodeSequence"].is_undefined_length = True
    dataset.save_as(path)
    check_against_pydicom(path)
    assert patient_reads == []


@pytest.mark.parametrize(
    ("charset", "name", "walked"),
    [
        pytest.param("ISO_IR 100", "Uniklinik Köln", True, id="Latin-1"),
        pytest.param("ISO_IR 192", "京都大学 Köln", True, id="UTF-8"),
        pytest.param(["", "ISO 2022 IR 87"], "京都大学", True, id="escapes"),
        pytest.param("GB18030", "北京", True, id="GB18030"),
    ],
)
def test_text_in_another_alphabet(tmp_path, patient_reads, charset, name, walked):
    path = write(tmp_path / "a.dcm", SpecificCharacterSet=charset, InstitutionName=name, PatientName=f"{name}^A")
    found = check_against_pydicom(path)
    assert found.values["InstitutionName"] == name
    assert (patient_reads == []) is walked


def test_text_of_an_unknown_alphabet_is_still_there(tmp_path):
    path = write(tmp_path / "a.dcm", InstitutionName="Koeln ")
    path.write_bytes(path.read_bytes().replace(b"Koeln", b"K\xf6\x81ln"))
    assert read_tags(path).values["InstitutionName"] == "K\xf6\x81ln"


def test_padding_is_taken_off_each_value(tmp_path):
    path = write(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"ORIGINAL\\PRIMARY\\M", b"ORIG    \\PRIM   \\M"))
    assert read_tags(path).values["ImageType"] == "ORIG\\PRIM\\M"


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name)
def test_rare_transfer_syntaxes_give_the_same(tmp_path, patient_reads, syntax):
    plain = read_tags(write(tmp_path / "plain.dcm"))
    assert patient_reads == []
    path = tmp_path / "rare.dcm"
    dataset = pydicom.dcmread(tmp_path / "plain.dcm")
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=syntax != ExplicitVRBigEndian)
    found = read_tags(path)
    assert (found.values, found.pixel_bytes, found.syntax) == (plain.values, plain.pixel_bytes, str(syntax))
    assert (found.pixel_offset is None) is (syntax == DeflatedExplicitVRLittleEndian)
    assert len(patient_reads) == 1


@pytest.mark.parametrize(
    ("syntax", "written"),
    [(ExplicitVRLittleEndian, True), (ImplicitVRLittleEndian, False)],
    ids=["said explicit, is implicit", "said implicit, is explicit"],
)
def test_file_in_another_encoding_than_it_says_gives_the_same(tmp_path, patient_reads, syntax, written):
    dataset = pydicom.dcmread(write(tmp_path / "a.dcm"))
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=written, little_endian=True, force_encoding=True)
    (tmp_path / "b.dcm").write_bytes(meta(syntax) + data_set(buffer.getvalue()))
    found = read_tags(tmp_path / "b.dcm")
    assert found.values == read_tags(tmp_path / "a.dcm").values
    assert (found.syntax, len(patient_reads)) == (str(syntax), 1)


def test_file_without_meta_information_gives_the_same(tmp_path, patient_reads):
    content = write(tmp_path / "a.dcm").read_bytes()
    (tmp_path / "b.dcm").write_bytes(bytes(128) + b"DICM" + data_set(content))
    found = read_tags(tmp_path / "b.dcm")
    assert found.values == read_tags(tmp_path / "a.dcm").values
    assert (found.syntax, len(patient_reads)) == ("", 1)


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        pytest.param("UN", b"14.0", "14.0", id="unknown VR"),
        pytest.param("FD", struct.pack("<d", 14.25), "14.25", id="a double"),
        pytest.param("US", struct.pack("<H", 14), "14", id="an integer"),
        pytest.param("LO", b"14.0", "14.0", id="another text"),
    ],
)
def test_value_in_another_representation(tmp_path, vr, value, expected):
    path = write(tmp_path / "a.dcm")
    element = struct.pack("<HH", 0x18, 0x81) + vr.encode()
    element += struct.pack("<HL" if vr == "UN" else "<H", *((0, len(value)) if vr == "UN" else (len(value),))) + value
    content = path.read_bytes()
    old = struct.pack("<HH2sH", 0x18, 0x81, b"DS", 4) + b"14.0"
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, element))
    assert read_tags(path).values["EchoTime"] == expected


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.name)
def test_private_elements_told_from_reserved_room(tmp_path, syntax):
    path = write(tmp_path / "a.dcm", syntax)
    dataset = pydicom.dcmread(path)
    block = dataset.private_block(0x0009, "Maker", create=True)
    dataset.save_as(path)
    assert not read_tags(path).private
    block.add_new(0x01, "LO", "")
    dataset.save_as(path)
    assert not read_tags(path).private
    block.add_new(0x02, "LO", "x")
    dataset.save_as(path)
    assert read_tags(path).private


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.name)
def test_values_by_a_table_are_refused(tmp_path, syntax):
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 16])
    table.add_new("ModalityLUTType", "LO", "US")
    table.add_new("LUTData", "OW", bytes(8192))
    with pytest.raises(HeaderError, match=r"values by a table \(ModalityLUTSequence\)"):
        read_tags(write(tmp_path / "a.dcm", syntax, ModalityLUTSequence=[table]))
    assert read_tags(write(tmp_path / "b.dcm", syntax, ModalityLUTSequence=[])).values["Rows"] == 4


@pytest.mark.parametrize("own", ["", "A-1"])
def test_other_identifiers_in_a_sequence_are_those_of_the_retired_tag(tmp_path, own):
    items = []
    for number in ("B-2", "", "C-3"):
        item = Dataset()
        item.PatientID = number
        items.append(item)
    path = write(tmp_path / "a.dcm", OtherPatientIDs=own, OtherPatientIDsSequence=items)
    assert read_tags(path).values["OtherPatientIDs"] == "\\".join(filter(None, (own, "B-2", "C-3")))
    assert "OtherPatientIDs" not in read_tags(write(tmp_path / "b.dcm", OtherPatientIDsSequence=[])).values


def test_last_of_two_equal_tags_counts(tmp_path):
    path = write(tmp_path / "a.dcm")
    content = path.read_bytes()
    old = struct.pack("<HH2sH", 0x18, 0x81, b"DS", 4) + b"14.0"
    path.write_bytes(content.replace(old, old + old.replace(b"14.0", b"15.0")))
    assert read_tags(path).values["EchoTime"] == "15.0"
    assert as_pydicom_reads(pydicom.dcmread(path))["EchoTime"] == "15.0"


def test_wanted_tags_are_what_the_dictionary_says():
    assert {keyword: (tag_for_keyword(keyword), dictionary_VR(keyword)) for keyword in WANTED} == WANTED
    assert set(FRAME_KEYWORDS) <= set(WANTED)


def test_encapsulated_syntaxes_are_pydicoms():
    registered = {str(uid) for uid in AllTransferSyntaxes if uid.is_encapsulated and not uid.is_deflated}
    jpeg_xl = {f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112)}  # in the standard since 2024
    assert {str(RLELossless), str(JPEGBaseline8Bit)} <= ENCAPSULATED
    assert registered >= ENCAPSULATED - jpeg_xl


def meta(syntax: str) -> bytes:
    value = syntax.encode() + bytes(len(syntax) % 2)
    return bytes(128) + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value


def data_set(content: bytes) -> bytes:
    """What follows the file meta information, whose length its first element tells."""
    (length,) = struct.unpack("<L", content[140:144])
    return content[144 + length :]


EXPLICIT, IMPLICIT = meta(ExplicitVRLittleEndian), meta(ImplicitVRLittleEndian)
DEFLATED = meta(DeflatedExplicitVRLittleEndian)
SEQUENCE = struct.pack("<HH2sH", 0x08, 0x1140, b"SQ", 0) + OPEN
GROUPS = struct.pack("<HH2sH", 0x5200, 0x9229, b"SQ", 0) + OPEN
EMPTY = struct.pack("<HH2sH", 0x08, 0x60, b"CS", 0)
NO_PIXELS = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, 0)


def deflated(n_bytes: int) -> bytes:
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return b"".join(engine.compress(bytes(1 << 20)) for _ in range(n_bytes >> 20)) + engine.flush()


@pytest.mark.parametrize(
    ("content", "expected", "finding"),
    [
        pytest.param(b"", "an empty file", "D001", id="empty"),
        pytest.param(b"no image", "not a DICOM file", "D001", id="text"),
        pytest.param(EXPLICIT + (SEQUENCE + ITEM + OPEN) * 5000, "RecursionError", "D001", id="deep sequences"),
        pytest.param(EXPLICIT + GROUPS + ITEM + OPEN + (SEQUENCE + ITEM + OPEN) * 5000, "Recurs", "D001", id="groups"),
        pytest.param(EXPLICIT + SEQUENCE + (ITEM + bytes(4)) * 200_000, "131072 sequence items", "D001", id="items"),
        pytest.param(EXPLICIT + EMPTY * 70_000, "more than 65536 elements", "D001", id="elements"),
        pytest.param(EXPLICIT + bytes.fromhex("0900101055540000f0ffffff"), "its header breaks", "D002", id="length"),
        pytest.param(IMPLICIT + bytes.fromhex("08006000f0ffffff") + b"MR", "breaks off", "D002", id="wanted length"),
        pytest.param(
            IMPLICIT + struct.pack("<HHL", 8, 0x70, 1 << 20) + b"\xff\\" * (1 << 19) + NO_PIXELS,
            "Manufacturer of 1048576 bytes",
            "D001",
            id="long text",
        ),
        pytest.param(
            IMPLICIT + struct.pack("<HHL", 8, 5, 1 << 20) + b"x\\" * (1 << 19) + NO_PIXELS,
            "SpecificCharacterSet of 1048576 bytes",
            "D001",
            id="many alphabets",
        ),
        pytest.param(meta(DeflatedExplicitVRLittleEndian) + deflated(300 << 20), "256 MiB", "D001", id="deflated bomb"),
        pytest.param(meta(DeflatedExplicitVRLittleEndian) + b"\xff" * 99, "a damaged DICOM", "D001", id="no deflate"),
        pytest.param(
            meta(DeflatedExplicitVRLittleEndian) + deflated(1 << 20)[:-40], "breaks off", "D002", id="cut deflate"
        ),
    ],
)
def test_hostile_file_refused(tmp_path, content, expected, finding):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(HeaderError, match=expected) as caught:
        read_tags(tmp_path / "a.dcm")
    assert caught.value.finding == finding


def test_header_longer_than_the_limit_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dcm", EncapsulatedDocument=b"x" * 60_000)
    read_tags(path)
    monkeypatch.setattr(tags, "MAX_HEADER_BYTES", 50_000)
    with pytest.raises(HeaderError, match="a DICOM header of more than 0 MiB"):
        read_tags(path)


def test_no_more_than_the_limit_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.dcm"
    path.write_bytes(EXPLICIT + bytes.fromhex("090010104f4200000000f000") + bytes(20 << 20))
    n_read = 0
    read = os.read

    def counted(file: int, n_bytes: int) -> bytes:
        nonlocal n_read
        part = read(file, n_bytes)
        n_read += len(part)
        return part

    monkeypatch.setattr(os, "read", counted)
    with pytest.raises(HeaderError, match="more than 8 MiB"):
        read_tags(path)
    assert n_read == tags.MAX_HEADER_BYTES


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_refused_without_waiting(tmp_path, kind):
    path = tmp_path / "a.dcm"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(HeaderError, match="no regular file"):
        read_tags(path)


def test_absent_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_tags(tmp_path / "absent.dcm")


def test_every_cut_is_refused_or_told_by_the_pixels(tmp_path):
    whole = write(tmp_path / "whole.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    pixel_offset = read_tags(tmp_path / "whole.dcm").pixel_offset or 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            found = read_tags(path)
        except HeaderError:
            continue
        assert (found.pixel_offset is not None) == (length >= pixel_offset)


def test_noise_gives_what_pydicom_gives_or_is_refused(tmp_path):
    rng = np.random.default_rng(7)
    source = write(tmp_path / "a.dcm", ConceptCodeSequence=sequence(0).ConceptCodeSequence).read_bytes()
    path = tmp_path / "noisy.dcm"
    n_equal = 0
    for _ in range(400):
        noisy = np.frombuffer(source, np.uint8).copy()
        noisy[rng.integers(300, len(source) - 60, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(noisy.tobytes())
        try:
            found = read_tags(path)
        except HeaderError:
            continue
        assert found == tags._read_patiently(noisy.tobytes(), len(source))
        n_equal += 1
    assert n_equal > 200
