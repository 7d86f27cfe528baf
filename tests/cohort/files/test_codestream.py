import struct
from io import BytesIO
from pathlib import Path

import jpeg_ls
import numpy as np
import pydicom
import pytest
from PIL import Image

from mgmt_monai.cohort.files.codestream import fault
from mgmt_monai.cohort.files.pixels import read_slices

BASELINE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{tail}" for tail in (50, 70, 80, 90))
RLE, HTJ2K = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.201"
ROWS, COLUMNS = 48, 64
PIXELS = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS), np.uint8)


def encoded(kind: str, pixels: np.ndarray = PIXELS, **options: object) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def changed(data: bytes, marker: bytes, offset: int, new: bytes) -> bytes:
    """The code stream with other bytes so far behind a marker."""
    at = data.index(marker) + offset
    return data[:at] + new + data[at + len(new) :]


JPEG = encoded("JPEG")
J2K = encoded("JPEG2000", no_jp2=True)
SOF, SIZ, COD = b"\xff\xc0", b"\xff\x51", b"\xff\x52"
STYLE_AT = J2K.index(COD)
# six sizes of precincts behind a coding style of six levels: the first of 1 x 1 pixel
FINE = (
    J2K[: STYLE_AT + 2]
    + b"\0\x12\x01"
    + J2K[STYLE_AT + 5 : STYLE_AT + 14]
    + b"\0\x77\x77\x77\x77\x77"
    + J2K[STYLE_AT + 14 :]
)


@pytest.mark.parametrize(
    ("data", "syntax"),
    [
        (JPEG, BASELINE),
        (J2K, JPEG_2000),
        (encoded("JPEG2000"), JPEG_2000),
        (encoded("JPEG2000", no_jp2=True, tile_size=(16, 16), quality_layers=[20, 5, 1]), JPEG_2000),
        (J2K[:-2], JPEG_2000),
        (changed(J2K, b"\xff\x90", 6, bytes(4)), JPEG_2000),
        (bytes(64), RLE),
        (JPEG[:-2] + b"\xff\xfe\0\6text" + JPEG[-2:], BASELINE),
        (bytes(jpeg_ls.encode_array(np.full((ROWS, COLUMNS), 255, np.uint8))), JPEG_LS),
        (bytes(jpeg_ls.encode_array(PIXELS)), JPEG_LS),
    ],
    ids=["JPEG", "JPEG 2000", "JPEG 2000 in boxes", "tiles and layers", "JPEG 2000 without end",
         "tile without length", "RLE", "JPEG with a comment behind its scan",
         "JPEG-LS", "JPEG-LS of noise"],
)  # fmt: skip
def test_whole_code_streams_have_no_fault(data: bytes, syntax: str) -> None:
    assert fault(data, syntax, ROWS, COLUMNS) is None


@pytest.mark.parametrize(
    ("data", "syntax", "found"),
    [
        (changed(JPEG, SOF, 5, struct.pack(">H", 60000)), BASELINE, "60000 x 64 pixels in 1 colours"),
        (changed(JPEG, SOF, 4, b"\xf8"), BASELINE, "248 bits"),
        (changed(JPEG, SOF, 1, b"\xe0"), BASELINE, "without a size"),
        (encoded("JPEG", np.zeros((ROWS, COLUMNS, 3), np.uint8)), BASELINE, "in 3 colours"),
        (JPEG[:30], BASELINE, "breaks off"),
        (JPEG[:-2], BASELINE, "breaks off: what is missing"),
        (JPEG[: len(JPEG) // 2], BASELINE, "breaks off: what is missing"),
        (bytes(jpeg_ls.encode_array(PIXELS))[:-200], JPEG_LS, "breaks off: what is missing"),
        (JPEG[:-4] + b"\xff\xfe" + JPEG[-2:], BASELINE, "breaks off in a segment"),
        (JPEG[:-2] + 1000 * b"\xff\xfe\0\2" + JPEG[-2:], BASELINE, "more than 1000 segments"),
        (changed(J2K, SIZ, 6, struct.pack(">I", 2**31)), JPEG_2000, "48 x 2147483648 pixels"),
        (changed(J2K, SIZ, 14, struct.pack(">I", 7)), JPEG_2000, "48 x 57 pixels"),
        (changed(J2K, SIZ, 22, struct.pack(">II", 0, 48)), JPEG_2000, "no size"),
        (changed(J2K, SIZ, 30, struct.pack(">I", 9)), JPEG_2000, "another origin"),
        (changed(J2K, SIZ, 38, struct.pack(">H", 16384)), JPEG_2000, "16384 colours"),
        (changed(J2K, SIZ, 40, b"\x7f"), JPEG_2000, "128 bits"),
        (changed(J2K, SIZ, 41, b"\x09"), JPEG_2000, "every 9 x 1"),
        (changed(J2K, COD, 6, struct.pack(">H", 65535)), JPEG_2000, "65535 layers"),
        (changed(J2K, COD, 9, b"\xff"), JPEG_2000, "255 levels"),
        (FINE, JPEG_2000, "precincts below 32"),
        (changed(J2K, COD, 4, b"\x01"), JPEG_2000, "breaks off"),
        (J2K[:50], JPEG_2000, "breaks off"),
        (J2K[:-3], JPEG_2000, "breaks off"),
        (J2K[:-100] + J2K[-98:], JPEG_2000, "breaks off"),
        (J2K, JPEG_LS, "not JPEG"),
        (JPEG, JPEG_2000, "not JPEG 2000"),
        (bytes(63), RLE, "not RLE"),
        (J2K, HTJ2K, "no reader here decodes"),
    ],
    ids=[
        "JPEG rows", "JPEG bits", "JPEG without frame", "JPEG colour", "JPEG cut", "JPEG without end",
        "half a JPEG", "JPEG-LS cut", "JPEG comment",
        "JPEG comments", "width", "offset", "empty tiles",
        "tile offset", "components", "bits", "sampling", "layers", "levels", "precincts", "no precincts",
        "cut", "JPEG 2000 cut at its end", "JPEG 2000 without two bytes", "JPEG 2000 as JPEG-LS",
        "JPEG as JPEG 2000", "short RLE", "unread syntax",
    ],
)  # fmt: skip
def test_contradiction_or_danger_is_told(data: bytes, syntax: str, found: str) -> None:
    assert found in str(fault(data, syntax, ROWS, COLUMNS))


def test_many_tiles_are_told() -> None:
    wide = encoded("JPEG2000", np.zeros((1, 8192), np.uint8), no_jp2=True)
    few = changed(wide, SIZ, 22, struct.pack(">I", 2))
    assert fault(few, JPEG_2000, 1, 8192) is None
    assert "more than 4096 tiles" in str(fault(changed(wide, SIZ, 22, struct.pack(">I", 1)), JPEG_2000, 1, 8192))


def test_real_code_streams_are_accepted(shared_data: Path) -> None:
    files = sorted((shared_data / "dicom").rglob("compressed*/001/*.dcm"))
    files += sorted((shared_data / "rsna_t1wce_slices").rglob("*.dcm"))[::10]
    syntaxes = set()
    for file in files:
        header = pydicom.dcmread(file)
        if header.file_meta.TransferSyntaxUID.is_compressed:
            data = next(pydicom.encaps.generate_frames(header.PixelData, number_of_frames=1))
            syntaxes.add(str(header.file_meta.TransferSyntaxUID))
            assert fault(data, header.file_meta.TransferSyntaxUID, header.Rows, header.Columns) is None
            assert next(read_slices([file], None)).values.shape == (header.Rows, header.Columns)
    assert syntaxes == {BASELINE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000, RLE}
