"""Small DICOM and NIfTI files, and seeded damage to them: of single bytes, of lengths, of what a header claims."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import jpeg_ls
import nibabel as nib
import numpy as np
from PIL import Image

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{tail}" for tail in (50, 80, 90))
SYNTAXES = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, RLE, JPEG, JPEG_LS, JPEG_2000, "1.2.840.10008.1.2.4.70", "1.2.3")

SHAPE = (40, 32)
N_FRAMES = 6
OPEN = 0xFFFFFFFF
LONG_VRS = {"OB", "OW", "SQ", "UN", "UT"}
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)

#: What no writer means: the largest, the smallest, the negative and the nonsensical.
HOSTILE_LENGTHS = (0, 1, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
HOSTILE_SHORTS = (0, 1, 3, 7, 8, 12, 16, 32, 64, 255, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
HOSTILE_TEXTS = (
    b"", b"0 ", b"-1", b"1e308 ", b"-1e308\\1e308", b"nan ", b"inf\\-inf\\nan", b"0\\0 ", b"0\\0\\0\\0\\0\\0 ",
    b"2147483647", b"99999999999999999999 ", b"1.5 ", b"x", b"\0\0", b"\xff\xfe", b"\x1b$B\x1b(B", b"\\" * 4000,
    b"9" * 5000, b"1\\" * 9000, b"ISO 2022 IR 87\\" * 500, b"A" * 70_000, b"RGB ", b"MONOCHROME1 ",
)  # fmt: skip

Element = tuple[int, str, Any]
"""Tag, value representation, value: bytes, or for ``SQ`` a list of items, each a list of elements."""


@dataclass(frozen=True)
class Recipe:
    """A DICOM file before it is written.

    Args:
        syntax: TransferSyntaxUID that it is written in, and says it is.
        elements: Its data set.
        lengths: Lengths that are written instead of the true ones, by the element's index.
        open_sequences: Whether sequences and items run to their delimiters.
    """

    syntax: str
    elements: tuple[Element, ...]
    lengths: tuple[tuple[int, int], ...] = ()
    open_sequences: bool = False


def dicom_bases() -> dict[str, Recipe]:
    """One sound file of each encoding, by name."""
    rows, columns = SHAPE
    down, across = np.mgrid[:rows, :columns]
    image = (2000 - 4 * (down - 20) ** 2 - 4 * (across - 16) ** 2).clip(0).astype("<u2")
    image += np.random.default_rng(0).integers(0, 60, SHAPE).astype("<u2")
    volume = np.stack([image + np.uint16(7 * index) for index in range(N_FRAMES)])
    native, frames = image.tobytes(), volume.tobytes()
    bases = {
        "explicit": Recipe(EXPLICIT, slice_elements(native)),
        "open": Recipe(EXPLICIT, slice_elements(native), open_sequences=True),
        "implicit": Recipe(IMPLICIT, slice_elements(native)),
        "big-endian": Recipe(BIG_ENDIAN, slice_elements(image.astype(">u2").tobytes())),
        "deflated": Recipe(DEFLATED, slice_elements(native)),
        "rle": Recipe(RLE, slice_elements([_rle(image)])),
        "jpeg": Recipe(JPEG, slice_elements([_pillow(image, "JPEG")], bits=8)),
        "jpeg-ls": Recipe(JPEG_LS, slice_elements([bytes(jpeg_ls.encode_array(image))])),
        "jpeg-2000": Recipe(JPEG_2000, slice_elements([_pillow(image, "JPEG2000")])),
        "enhanced": Recipe(EXPLICIT, slice_elements(frames, n_frames=N_FRAMES)),
        "enhanced-implicit": Recipe(IMPLICIT, slice_elements(frames, n_frames=N_FRAMES), open_sequences=True),
        "enhanced-deflated": Recipe(DEFLATED, slice_elements(frames, n_frames=N_FRAMES)),
        "enhanced-rle": Recipe(RLE, slice_elements([_rle(frame) for frame in volume], n_frames=N_FRAMES)),
    }
    return {name: bases[name] for name in sorted(bases)}


def nifti_bases() -> dict[str, bytes]:
    """One sound, uncompressed volume of each kind, by name."""
    voxels = np.random.default_rng(0).integers(0, 900, (12, 10, 9)).astype(np.int16)
    affine = np.array([[-1.0, 0, 0, 6], [0, -1.5, 0, 8], [0, 0, 2, -9], [0, 0, 0, 1]])
    kinds = {"nifti1": nib.Nifti1Image, "nifti2": nib.Nifti2Image}
    bases = {name: kind(voxels, affine).to_bytes() for name, kind in kinds.items()}
    swapped = nib.Nifti1Header(endianness=">")
    bases["nifti1-swapped"] = nib.Nifti1Image(voxels, affine, swapped).to_bytes()
    bases["nifti2-float"] = nib.Nifti2Image(voxels.astype(np.float64), affine).to_bytes()
    return bases


def mutated_dicom(n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of ``n`` damaged DICOM files, evenly over the encodings.

    Args:
        n: How many.
        seed: Of the damage; file ``i`` is the same whatever ``n`` is.
    """
    bases = list(dicom_bases().items())
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        name, recipe = bases[index % len(bases)]
        steps: list[str] = []
        for _ in range(rng.integers(0, 3)):
            change = _one(RECIPE_CHANGES, rng)
            recipe = change(recipe, rng)
            steps.append(change.__name__)
        if recipe.syntax == DEFLATED and rng.random() < 0.5:
            content = _deflated_file(_damaged(_data_set(recipe), rng, steps))
        else:
            content = written(recipe)
            if not steps or rng.random() < 0.6:
                content = _damaged(content, rng, steps)
        yield f"{index:05d}-{name}-{'-'.join(steps)}.dcm", content


def mutated_nifti(n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of ``n`` damaged NIfTI files, half of them compressed.

    Args:
        n: How many.
        seed: Of the damage; file ``i`` is the same whatever ``n`` is.
    """
    bases = list(nifti_bases().items())
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        name, content = bases[index // 2 % len(bases)]
        steps: list[str] = []
        for _ in range(rng.integers(0, 3)):
            content = hostile_field(content, rng)
            steps.append("field")
        compressed = index % 2 == 1
        damage_first = not compressed or rng.random() < 0.5
        if damage_first and (not steps or rng.random() < 0.5):
            content = _damaged(content, rng, steps)
        if compressed:
            content = gzip.compress(content, 1, mtime=0)
            if not damage_first:
                content = _damaged(content, rng, steps)
        yield f"{index:05d}-{name}-{'-'.join(steps)}.nii{'.gz' if compressed else ''}", content


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that claim, or decompress to, more than any head has."""
    n_bytes = 1 << 32
    zeros = deflated_zeros(n_bytes)
    claims = {"flat": (32_767, 9_000, 1, 2), "cut": (1290, 1290, 1280, 64), "behind": (4, 4, 4, 2)}
    for name, base in nifti_bases().items():
        for what, (*shape, datatype) in claims.items():
            header = claiming(base, shape, datatype)
            yield f"claim-{name}-{what}.nii", header + bytes(1000)
            if what != "flat" or name == "nifti1":  # 0.3 GiB is inflated: once is enough
                yield f"bomb-{name}-{what}.nii.gz", _gzip_member(header + bytes(8), zeros, n_bytes)
    whole = claiming(nifti_bases()["nifti1"], (1000, 1000, 250), 2)
    yield "bomb-whole.nii.gz", _gzip_member(whole, zeros, n_bytes)
    endless = claiming(nifti_bases()["nifti2"], (1, 1, 1 << 27), 2)
    yield "bomb-endless.nii.gz", _gzip_member(endless, zeros, n_bytes)
    recipe = dicom_bases()["jpeg"]
    stream = recipe.elements[-1][2][0]  # a comment as long as the end of image, read as a number, has it
    endless_jpeg = (*recipe.elements[:-1], (0x7FE00010, "OB", [stream[:-4] + b"\xff\xfe" + stream[-2:]]))
    yield "claim-comment.dcm", written(replace(recipe, elements=endless_jpeg))
    recipe = dicom_bases()["deflated"]
    yield "bomb-deflated.dcm", _meta(DEFLATED) + deflated_zeros(n_bytes)
    large = replace(recipe, elements=changed(recipe.elements, 0x00280010, struct.pack("<H", 8000)))
    large = replace(large, elements=changed(large.elements, 0x00280011, struct.pack("<H", 8000)))
    large = replace(large, lengths=((len(large.elements) - 1, 128_000_000),))
    yield "bomb-deflated-slice.dcm", _meta(DEFLATED) + _stored(_data_set(large)) + deflated_zeros(127_500_000)
    yield (
        "claim-frames.dcm",
        written(replace(recipe, syntax=EXPLICIT, elements=changed(recipe.elements, 0x00280008, b"99999999", "IS"))),
    )


def deep_sequences(depth: int = 10_000) -> Iterator[tuple[str, bytes]]:
    """Sequences within sequences, of open and of told lengths, closed and not, in each encoding."""
    for name in ("explicit", "implicit", "big-endian", "deflated", "enhanced"):
        base = dicom_bases()[name]
        explicit, order = base.syntax != IMPLICIT, ">" if base.syntax == BIG_ENDIAN else "<"
        level = _head(0x00081140, "SQ", OPEN, explicit, order) + struct.pack(order + "HHL", *ITEM, OPEN)
        closing = struct.pack(order + "HHL", *ITEM_END, 0) + struct.pack(order + "HHL", *SEQUENCE_END, 0)
        heads: list[bytes] = []
        n_bytes = 0
        for _ in range(depth):  # from the innermost outwards
            heads.append(struct.pack(order + "HHL", *ITEM, n_bytes))
            heads.append(_head(0x00081140, "SQ", n_bytes + 8, explicit, order))
            n_bytes += len(heads[-2]) + len(heads[-1])
        for what, raw in {
            "open": level * depth + closing * depth,
            "unclosed": level * depth,
            "told": b"".join(reversed(heads)),
        }.items():
            elements = sorted([*base.elements, (0x00081140, "raw", raw)], key=lambda element: element[0])
            yield f"deep-{name}-{what}.dcm", written(replace(base, elements=tuple(elements)))


def slice_elements(pixels: bytes | Sequence[bytes], bits: int = 16, n_frames: int = 1) -> tuple[Element, ...]:
    """The data set of a slice, or of an enhanced image of several."""

    def us(tag: int, value: int) -> Element:
        return tag, "US", struct.pack("<H", value)

    place = [(0x00200032, "DS", b"-10\\-20\\3.5 "), (0x00200037, "DS", b"1\\0\\0\\0\\1\\0 ")]
    spacing = (0x00280030, "DS", b"0.5\\0.75")
    inner = [(0x00081150, "UI", b"1.2.840.10008.5.1.4.1.1.4\0"), (0x00081155, "UI", b"1.2.3.4\0")]
    nested = [[*inner, (0x0040A170, "SQ", [[(0x00080100, "SH", b"121320"), (0x00080104, "LO", b"what for")]])], inner]
    elements: list[Element] = [
        (0x00080005, "CS", b"ISO_IR 192"),
        (0x00080008, "CS", b"ORIGINAL\\PRIMARY\\M\\ND "),
        (0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.4\0"),
        (0x00080018, "UI", b"1.2.3.4.5\0"),
        (0x00080060, "CS", b"MR"),
        (0x0008103E, "LO", "T1w große Schicht ".encode()),
        (0x00081140, "SQ", nested),
        (0x00090010, "LO", b"A MAKER "),
        (0x00091001, "UN", bytes(range(64))),
        (0x00100010, "PN", b"Doe^Jane"),
        (0x00100020, "LO", b"00042 "),
        (0x00180050, "DS", b"2 "),
        (0x00180081, "DS", b"11.5"),
        (0x0020000D, "UI", b"1.2.3\0"),
        (0x0020000E, "UI", b"1.2.3.4\0"),
        *(place if n_frames == 1 else []),
        us(0x00280002, 1),
        (0x00280004, "CS", b"MONOCHROME2 "),
        *([(0x00280008, "IS", f"{n_frames:<2d}".encode())] if n_frames > 1 else []),
        us(0x00280010, SHAPE[0]),
        us(0x00280011, SHAPE[1]),
        *([spacing] if n_frames == 1 else []),
        us(0x00280100, bits),
        us(0x00280101, bits),
        us(0x00280102, bits - 1),
        us(0x00280103, 0),
        (0x00281052, "DS", b"-3"),
        (0x00281053, "DS", b"1.25"),
    ]
    if n_frames > 1:
        shared = [(0x00209116, "SQ", [[place[1]]]), (0x00289110, "SQ", [[spacing]])]
        positions = [(0x00200032, "DS", f"0\\0\\{2 * (index * 5 % n_frames)} ".encode()) for index in range(n_frames)]
        elements.append((0x52009229, "SQ", [shared]))
        elements.append((0x52009230, "SQ", [[(0x00209113, "SQ", [[position]])] for position in positions]))
    return (*elements, (0x7FE00010, "OW" if isinstance(pixels, bytes) else "OB", pixels))


def written(recipe: Recipe) -> bytes:
    """The file of a recipe."""
    if recipe.syntax == DEFLATED:
        return _deflated_file(_data_set(recipe))
    return _meta(recipe.syntax) + _data_set(recipe)


def changed(elements: Sequence[Element], tag: int, value: bytes, vr: str = "US") -> tuple[Element, ...]:
    """The data set with another value of one element, in the order of the tags."""
    others = [element for element in elements if element[0] != tag]
    vr = next((element[1] for element in elements if element[0] == tag), vr)
    return tuple(sorted([*others, (tag, vr, value)], key=lambda element: element[0]))


def claiming(content: bytes, shape: Sequence[int], datatype: int) -> bytes:
    """The header of a NIfTI file (and the four bytes behind it) that claims another volume."""
    order, second = _nifti_kind(content)
    size = 540 if second else 348
    header = bytearray(content[: size + 4])
    dim, kind, offset, wide = (16, 12, "q", "q") if second else (40, 70, "f", "h")
    struct.pack_into(
        f"{order}8{wide}", header, dim, 3, *(min(n, 32_767) if not second else n for n in shape), 1, 1, 1, 1
    )
    struct.pack_into(order + "h", header, kind, datatype)
    struct.pack_into(order + offset, header, 168 if second else 108, size + 4)
    return bytes(header)


def deflated_zeros(n_bytes: int) -> bytes:
    """About ``n_bytes`` of zeros as raw deflate data, made without making the zeros."""
    size = 1 << 24
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    chunk = packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH)
    return chunk * max(1, n_bytes // size) + zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()


# --- damage to a recipe


def hostile_value(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    """Another value of an element, most often of one that says how large the image is or where it lies."""
    decisive = [i for i, (tag, _, _) in enumerate(recipe.elements) if tag >> 16 in (0x0020, 0x0028)]
    index = int(_one(decisive if rng.random() < 0.7 else range(len(recipe.elements) - 1), rng))
    tag, vr, _ = recipe.elements[index]
    value = struct.pack("<H", _one(HOSTILE_SHORTS, rng)) if vr == "US" else _one(HOSTILE_TEXTS, rng)
    return _with(recipe, index, (tag, vr if vr != "SQ" else "raw", value))


def hostile_frames(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    value = _one((b"0 ", b"-1", b"2 ", b"1000", b"65535 ", b"2147483647", b"1e9 ", b"2\\2 "), rng)
    return replace(recipe, lengths=(), elements=changed(recipe.elements, 0x00280008, value, "IS"))


def hostile_length(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    index = int(rng.integers(len(recipe.elements)))
    return replace(recipe, lengths=(*recipe.lengths, (index, int(_one(HOSTILE_LENGTHS, rng)))))


def other_vr(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    index = int(rng.integers(len(recipe.elements) - 1))
    tag, vr, value = recipe.elements[index]
    vr = "raw" if vr == "SQ" else str(_one(("UN", "OB", "UT", "FD", "SQ", "US", "AT", "??"), rng))
    return _with(recipe, index, (tag, vr, value if isinstance(value, bytes) else b"\xfe\xff\x00\xe0" * 30))


def other_syntax(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    """Says it is, and is, written in another syntax; the pixels stay as they were."""
    return replace(recipe, syntax=str(_one(SYNTAXES, rng)))


def left_out(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    index = int(rng.integers(len(recipe.elements)))
    return replace(recipe, lengths=(), elements=recipe.elements[:index] + recipe.elements[index + 1 :])


def repeated(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    """The whole data set, or one element of it many times, written again."""
    if rng.random() < 0.5:
        return replace(
            recipe, lengths=(), elements=recipe.elements[:-1] * int(rng.integers(2, 40)) + recipe.elements[-1:]
        )
    index = int(rng.integers(len(recipe.elements) - 1))
    again = recipe.elements[index : index + 1] * int(rng.integers(2, 2000))
    return replace(recipe, lengths=(), elements=recipe.elements[:index] + again + recipe.elements[index:])


def huge_text(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    tag = int(_one((0x00080005, 0x0008103E, 0x00104000, 0x00204000, 0x00091002, 0x00200032), rng))
    value = bytes([int(_one(b"A\\ \x00\xff\x1b", rng))]) * int(_one((1 << 15, 1 << 17, 1 << 19), rng))
    return replace(recipe, lengths=(), elements=changed(recipe.elements, tag, value, "UT"))


def nested(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    items: list[list[Element]] = [[(0x00080100, "SH", b"deep")]]
    for _ in range(rng.integers(2, 60)):
        items = [[(int(_one((0x00081140, 0x0040A730, 0x52009230), rng)), "SQ", items)]] * int(
            _one((1, 1, 1, 1, 2), rng)
        )
        if len(items) > 1 and _size(items) > 20_000:
            items = items[:1]
    tag = int(_one((0x00081140, 0x00400275, 0x52009229, 0x52009230), rng))
    others = [element for element in recipe.elements if element[0] != tag]
    elements = sorted([*others, (tag, "SQ", items)], key=lambda element: element[0])
    return replace(recipe, lengths=(), elements=tuple(elements), open_sequences=bool(rng.integers(2)))


def many_items(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    tag = int(_one((0x00081140, 0x52009229, 0x52009230), rng))
    others = [element for element in recipe.elements if element[0] != tag]
    elements = sorted([*others, (tag, "SQ", [[]] * int(_one((100, 3000), rng)))], key=lambda element: element[0])
    return replace(recipe, lengths=(), elements=tuple(elements))


RECIPE_CHANGES: tuple[Callable[[Recipe, np.random.Generator], Recipe], ...] = (
    *(hostile_value,) * 4, *(hostile_length,) * 3, hostile_frames, other_vr, other_syntax, left_out, repeated,
    huge_text, nested, many_items,
)  # fmt: skip


# --- damage to bytes


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 30)):
        damaged[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def overwritten(content: bytes, rng: np.random.Generator) -> bytes:
    at, n = _place(content, rng), int(_one((1, 2, 4, 8, 64, 500), rng))
    filling = _one((bytes(n), b"\xff" * n, rng.bytes(n), b"\x7f\xff" * n, b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * n), rng)
    return content[:at] + filling[:n] + content[at + n :]


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: _place(content, rng)]


def cut_inside(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + int(rng.integers(1, 200)) :]


def inserted(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.bytes(int(rng.integers(1, 200))) + content[at:]


def doubled(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[: int(rng.integers(1, 3000))] + content[at:]


def long_length(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] + struct.pack(_one("<>", rng) + "L", _one(HOSTILE_LENGTHS, rng)) + content[at + 4 :]


BYTE_CHANGES = (
    flipped,
    flipped,
    overwritten,
    overwritten,
    cut,
    cut_inside,
    inserted,
    doubled,
    long_length,
    long_length,
)


def hostile_field(content: bytes, rng: np.random.Generator) -> bytes:
    """A NIfTI file with another value of one field of its header."""
    order, second = _nifti_kind(content)
    fields = _NIFTI_2 if second else _NIFTI_1
    name = str(_one(list(fields), rng))
    offset, kind, count = fields[name]
    damaged = bytearray(content)
    if kind in "fd":
        value: float = float(_one((0, -1, 1e-30, 1e30, -1e30, np.inf, -np.inf, np.nan, 352, 347, 1e9, 0.1), rng))
    else:
        top = 2 ** (8 * struct.calcsize(kind) - 1) - 1
        value = min(top, int(_one((0, 1, -1, 2, 3, 4, 7, 8, 64, 128, 256, 1024, 32_767, top, -top - 1), rng)))
    step = struct.calcsize(kind)
    for index in range(count) if rng.random() < 0.2 else [int(rng.integers(count))]:
        struct.pack_into(order + kind, damaged, offset + step * index, value)
    return bytes(damaged)


_NIFTI_1 = {
    "sizeof_hdr": (0, "i", 1), "dim": (40, "h", 8), "datatype": (70, "h", 1), "bitpix": (72, "h", 1),
    "pixdim": (76, "f", 8), "vox_offset": (108, "f", 1), "scl": (112, "f", 2), "form": (252, "h", 2),
    "quatern": (256, "f", 6), "srow": (280, "f", 12), "magic": (344, "b", 4),
}  # fmt: skip
_NIFTI_2 = {
    "sizeof_hdr": (0, "i", 1), "magic": (4, "b", 8), "datatype": (12, "h", 1), "bitpix": (14, "h", 1),
    "dim": (16, "q", 8), "pixdim": (104, "d", 8), "vox_offset": (168, "q", 1), "scl": (176, "d", 2),
    "form": (344, "i", 2), "quatern": (352, "d", 6), "srow": (400, "d", 12),
}  # fmt: skip


def _damaged(content: bytes, rng: np.random.Generator, steps: list[str]) -> bytes:
    for _ in range(rng.integers(1, 4)):
        change = _one(BYTE_CHANGES, rng)
        content = change(content, rng) if content else content
        steps.append(change.__name__)
    return content


def _place(content: bytes, rng: np.random.Generator) -> int:
    """Somewhere in the file, most often in its header or at its end."""
    low, high = ((0, 1500), (0, 1500), (-40, None), (0, None))[int(rng.integers(4))]
    return int(_one(range(len(content))[low:high] or range(len(content)), rng))


def _one(choices: Any, rng: np.random.Generator) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _with(recipe: Recipe, index: int, element: Element) -> Recipe:
    return replace(recipe, elements=(*recipe.elements[:index], element, *recipe.elements[index + 1 :]))


def _size(items: list[list[Element]]) -> int:
    return sum(8 + sum(12 + (_size(v) if isinstance(v, list) else len(v)) for _, _, v in item) for item in items)


def _nifti_kind(content: bytes) -> tuple[str, bool]:
    """Byte order and whether it is NIfTI-2, of a file that may already be damaged."""
    size = content[:4]
    return (">" if size[:2] == b"\0\0" and size[3:] != b"\0" else "<"), b"n+2" in content[:8]


# --- writing


def _data_set(recipe: Recipe) -> bytes:
    explicit, order = recipe.syntax != IMPLICIT, ">" if recipe.syntax == BIG_ENDIAN else "<"
    claims = dict(recipe.lengths)
    return b"".join(
        _element(element, explicit, order, recipe.open_sequences, claims.get(index))
        for index, element in enumerate(recipe.elements)
    )


def _element(element: Element, explicit: bool, order: str, opened: bool, claim: int | None = None) -> bytes:
    tag, vr, value = element
    if vr == "raw":
        return value
    length = None
    if vr == "SQ" and isinstance(value, list):
        body = b""
        for item in value:
            content = b"".join(_element(inner, explicit, order, opened) for inner in item)
            end = struct.pack(order + "HHL", *ITEM_END, 0) if opened else b""
            body += struct.pack(order + "HHL", *ITEM, OPEN if opened else len(content)) + content + end
        if opened:
            length, body = OPEN, body + struct.pack(order + "HHL", *SEQUENCE_END, 0)
    elif isinstance(value, bytes):
        body = value
        if order == ">" and vr == "US":
            body = value[::-1]
    else:
        pieces = [bytes(0), *(piece + bytes(len(piece) % 2) for piece in value)]
        body = b"".join(struct.pack(order + "HHL", *ITEM, len(piece)) + piece for piece in pieces)
        length, body = OPEN, body + struct.pack(order + "HHL", *SEQUENCE_END, 0)
    if claim is None:
        claim = len(body) if length is None else length
    return _head(tag, vr, claim, explicit, order) + body


def _head(tag: int, vr: str, length: int, explicit: bool, order: str) -> bytes:
    number = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return number + struct.pack(order + "L", length)
    if vr in LONG_VRS:
        return number + vr.encode() + bytes(2) + struct.pack(order + "L", length)
    return number + vr.encode() + struct.pack(order + "H", length & 0xFFFF)


def _meta(syntax: str) -> bytes:
    elements: list[Element] = [
        (0x00020002, "UI", b"1.2.840.10008.5.1.4.1.1.4\0"),
        (0x00020003, "UI", b"1.2.3.4.5\0"),
        (0x00020010, "UI", syntax.encode() + bytes(len(syntax) % 2)),
    ]
    body = b"".join(_element(element, True, "<", False) for element in elements)
    return bytes(128) + b"DICM" + _element((0x00020000, "UL", struct.pack("<L", len(body))), True, "<", False) + body


def _deflated_file(data_set: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return _meta(DEFLATED) + packer.compress(data_set) + packer.flush()


def _stored(data: bytes) -> bytes:
    """Raw deflate data that does not end, for more to follow."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def _gzip_member(head: bytes, deflated: bytes, n_bytes: int) -> bytes:
    trailer = struct.pack("<LL", 0, (len(head) + n_bytes) % 2**32)
    return b"\x1f\x8b\x08" + bytes(7) + _stored(head) + deflated + trailer


def _pillow(image: np.ndarray, kind: str) -> bytes:
    out = BytesIO()
    if kind == "JPEG":
        Image.fromarray((image // 16).astype(np.uint8)).save(out, "JPEG", quality=95)
    else:
        Image.fromarray(image).save(out, "JPEG2000", irreversible=False, no_jp2=True)
    return out.getvalue()


def _rle(image: np.ndarray) -> bytes:
    """An image of 16 bits as RLE, written without looking for repeats (PS3.5 annex G)."""
    segments = []
    for plane in (image >> 8, image & 0xFF):
        raw = plane.astype(np.uint8).tobytes()
        runs = (raw[at : at + 128] for at in range(0, len(raw), 128))
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + bytes(len(segment) % 2))
    return struct.pack("<16L", 2, 64, 64 + len(segments[0]), *[0] * 13) + b"".join(segments)
