"""One NIfTI file: what its header says, whether its voxels are all there, and its slices as stored."""

from __future__ import annotations

import gzip
import itertools
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from mgmt_monai.cohort.files import geometry
from mgmt_monai.cohort.files.tags import HeaderError

if TYPE_CHECKING:  # a third of a second to import, for nothing where a cohort is DICOM
    from nibabel import Nifti1Header

#: More voxels than this are no head: 1290 x 1290 x 1290. Held against the claim, before anything is allocated.
VOLUME_LIMIT_VOXELS = 2**31

#: The stored voxels of a compressed file are held in memory whole, for gzip can only be read from its start: 512 x 512
#: x 512 voxels of 8 bytes. An uncompressed file is mapped and has no such limit.
COMPRESSED_LIMIT_BYTES = 2**30

#: Deflate never shrinks data by more (zlib, technical details: 1032:1); the claim of a smaller file cannot be true.
DEFLATE_RATIO = 1032

#: Sizes of the headers of NIfTI-1 and NIfTI-2, and what stands in them for "voxels in this very file".
_MAGIC = {348: b"n+1\0", 540: b"n+2\0"}

#: So many bytes behind the voxels may fill up a file; more are voxels that the header does not claim.
SPARE_BYTES = 15

_LESS = "a header that claims less than there is"
_CHUNK_BYTES = 2**18
_PLAIN_KINDS = "iuf"  # signed, unsigned, float: neither complex numbers nor colours


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI file says of its volume, as it is read: slices as they were acquired and as a radiologist sees them.

    The axes are permuted and turned to the nearest axes of the body, nothing is resampled; `reading_codes` says how.

    Args:
        path: The file.
        size_bytes: Of the file.
        shape: Voxels as stored, along its first three axes.
        affine: ``(4, 4)`` float64, stored (i, j, k, 1) to RAS in the file's unit, which is mm as a rule.
        placed: The file says where it lies in the patient (``qform_code`` or ``sform_code``); else the affine is
            NIfTI's fallback, a guess.
        plane: ``axial``, ``coronal`` or ``sagittal``; ``oblique`` where the slices are further from it than a stack
            is tilted; ``unknown`` where it is not placed.
        reading: `reading_codes`: where rows, columns and slices run, as read here.
        orientation: The same; "" where it is not placed.
        n_slices: Along the axis from slice to slice.
        rows: Of a slice.
        columns: Of a slice.
        pixel_spacing_mm: Between rows, between columns.
        slice_spacing_mm: Between slices.
        dtype: Of the stored voxels, byte order included.
        slope: ``scl_slope``, 1 where the file has none.
        intercept: ``scl_inter``, 0 where the file has none.
        offset: Where the voxels begin in the (decompressed) file, in bytes.
        other_place: How the qform, where it has a code too, differs from the sform that is taken, in words; "" where
            they agree within `geometry.PLACE_TOLERANCE_MM`.
        doubts: What is odd about its geometry, in words: axes not at right angles, ``pixdim`` that is not the affine's
            spacing, a unit that is not mm.
        stored_plane: The plane that the order of the stored axes speaks for, where that is not axial and nothing else
            shows how the volume was acquired, so that it is read as axial; "" for all others.
    """

    path: Path
    size_bytes: int
    shape: tuple[int, int, int]
    affine: np.ndarray
    placed: bool
    plane: str
    reading: str
    orientation: str
    n_slices: int
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    dtype: np.dtype
    slope: float
    intercept: float
    offset: int
    other_place: str = ""
    stored_plane: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def compressed(self) -> bool:
        """Whether the file is read through gzip; by its name, as nibabel does."""
        return self.path.name.lower().endswith(".gz")

    @property
    def voxel_bytes(self) -> int:
        """How many bytes the stored voxels take."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_nifti(path: Path) -> NiftiHeader:
    """The header of a NIfTI file, held against the size of the file.

    No more than a header is kept in memory, whatever the file claims or decompresses to. A compressed file is only
    decompressed (and counted) as far as its claim goes, and only where the size that gzip noted at its end differs.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file, NIfTI-1 or -2, with its voxels in the same file.

    Raises:
        HeaderError: ``D001`` not NIfTI, not gzip or damaged; ``D002`` the voxels break off; ``D004`` not one
            three-dimensional grey-scale volume; ``D010`` an affine that is no placement.
        OSError: The file cannot be opened.
    """
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise HeaderError("an empty file", "D001")
    with _opened(path) as stream:
        raw = _parsed(stream)
    shape = _shape(raw)
    affine, placed = _affine(raw)
    slice_dim = raw.get_dim_info()[2]
    codes = reading_codes(affine, slice_dim)
    to_reading = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    columns, rows, n_slices = (int(np.flatnonzero(to_reading[:, 0] == axis)[0]) for axis in range(3))
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    # Direction cosines of a row and of a column of the slices, in DICOM's LPS.
    directions = (affine[:3, :3] / steps * [[-1], [-1], [1]])[:, [columns, rows]] * to_reading[[columns, rows], 1]
    slope, intercept = _scaling(raw)
    is_told = slice_dim is not None or geometry.slice_axis(steps) is not None
    stored_plane = geometry.PLANE_OF_AXIS[int(io_orientation(affine)[2, 0])]
    header = NiftiHeader(
        path=path,
        size_bytes=size_bytes,
        shape=shape,
        affine=affine,
        placed=placed,
        plane=_plane(affine[:3, n_slices] / steps[n_slices], directions) if placed else "unknown",
        reading=codes,
        orientation=codes if placed else "",
        n_slices=shape[n_slices],
        rows=shape[rows],
        columns=shape[columns],
        pixel_spacing_mm=(float(steps[rows]), float(steps[columns])),
        slice_spacing_mm=float(steps[n_slices]),
        dtype=_dtype(raw),
        slope=slope,
        intercept=intercept,
        offset=_offset(raw),
        other_place=_other_place(raw, shape),
        stored_plane="" if is_told or not placed or stored_plane == "axial" else stored_plane,
        doubts=tuple(_doubts(raw, affine, steps)),
    )
    # Where the file does not say where its voxels begin, they must fill it: else nobody knows which bytes are meant.
    _check_complete(header, SPARE_BYTES if raw["vox_offset"] else 0)
    return header


def reading_codes(affine: np.ndarray, slice_dim: int | None = None) -> str:
    """Where rows, columns and slices of a NIfTI volume run when it is read as it was acquired.

    Slices lie across the axis whose spacing stands out (`geometry.slice_axis`), as the slices of the DICOM series that
    it was converted from. In a volume of equal spacing it is the axis that the file's ``dim_info`` names, as dcm2niix
    writes it; where that is empty, the volume does not show how it was acquired, and is read as axial.

    Args:
        affine: ``(4, 4)``, stored (i, j, k, 1) to RAS in mm.
        slice_dim: The stored axis, 0 to 2, that ``dim_info`` says runs from slice to slice, or None.

    Returns:
        ``LPS`` (axial), ``LIP`` (coronal) or ``PIR`` (sagittal), by the body's axis nearest to the slices' own: in the
        radiological view (`geometry.RADIOLOGICAL`), slices along their normal (row x column, DICOM PS3.3 C.7.6.2.1.1).

    Example:
        >>> reading_codes(np.diag([1.0, 6.0, 1.0, 1.0]))
        'LIP'
    """
    from nibabel.orientations import io_orientation

    axis = geometry.slice_axis(np.linalg.norm(affine[:3, :3], axis=0))
    axis = slice_dim if axis is None else axis
    name = "axial" if axis is None else geometry.PLANE_OF_AXIS[int(io_orientation(affine)[axis, 0])]
    return geometry.direction_codes(geometry.cosines(geometry.RADIOLOGICAL[name]))


def stored_slices(header: NiftiHeader) -> Iterator[np.ndarray]:
    """The slices of a volume as it is read (`reading_codes`), without ``scl_slope`` and ``scl_inter``.

    Args:
        header: Of the file, as `read_nifti` returns it.

    Yields:
        ``(rows, columns)`` of the stored type, as a radiologist sees it.

    Raises:
        HeaderError: ``D002`` the voxels break off; ``D001`` damaged gzip data, or more than
            `COMPRESSED_LIMIT_BYTES` of compressed voxels.
        OSError: The file cannot be opened.
    """
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    to_reading = ornt_transform(io_orientation(header.affine), axcodes2ornt(header.reading))
    if header.compressed:
        if header.voxel_bytes > COMPRESSED_LIMIT_BYTES:
            raise HeaderError(f"{header.voxel_bytes} bytes of compressed voxels: {_LIMITS}", "D001")
        voxels = _decompressed(header)
    else:
        voxels = np.memmap(header.path, header.dtype, mode="r", offset=header.offset, shape=header.shape, order="F")
    volume = apply_orientation(voxels, to_reading)  # a view: only axes are permuted and turned
    for index in range(header.n_slices):
        yield volume[:, :, index].T


_LIMITS = (
    f"more than {COMPRESSED_LIMIT_BYTES} bytes are not read, for gzip must be held in memory whole; store it as .nii"
)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed where its name says so; damage in them as `HeaderError`."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            yield stream  # type: ignore[misc]
    except EOFError as error:
        raise HeaderError("a truncated file: its gzip data break off", "D002") from error
    except gzip.BadGzipFile as error:
        raise HeaderError("a file that is not gzip, or damaged gzip data", "D001") from error
    except zlib.error as error:
        raise HeaderError("damaged gzip data", "D001") from error


def _parsed(stream: IO[bytes]) -> Nifti1Header:
    """The raw header, its kind told by the size that stands at its start, in either byte order."""
    from nibabel.nifti1 import Nifti1PairHeader
    from nibabel.nifti2 import Nifti2PairHeader

    block = stream.read(max(_MAGIC))
    for order in ("little", "big"):
        size = int.from_bytes(block[:4], order)
        if size in _MAGIC and len(block) >= size:
            kind = Nifti1PairHeader if size == 348 else Nifti2PairHeader
            raw = kind(block[:size], endianness="<" if order == "little" else ">", check=False)
            if raw["magic"].tobytes()[:4] != _MAGIC[size]:
                raise HeaderError("a header of a file pair (.hdr, .img) or of Analyze, not a NIfTI file", "D001")
            if raw["pixdim"][0] == 0:
                raw["pixdim"][0] = 1  # nifti1.h, method 2: "if qfac is 0, it is taken for 1", as nibabel does too
            return raw
    raise HeaderError("not a NIfTI file", "D001")


def _shape(raw: Nifti1Header) -> tuple[int, int, int]:
    n_axes = int(raw["dim"][0])
    if not 1 <= n_axes <= 7:
        raise HeaderError(f"a damaged header: {n_axes} axes", "D001")
    shape = [int(n) for n in raw["dim"][1 : n_axes + 1]]
    if min(shape) < 1:
        raise HeaderError(f"a damaged header: a volume of {' x '.join(map(str, shape))} voxels", "D001")
    if math.prod(shape) > VOLUME_LIMIT_VOXELS:
        size = " x ".join(map(str, shape))
        raise HeaderError(f"a claim of {size} voxels, more than the {VOLUME_LIMIT_VOXELS} of any head", "D001")
    if n_axes < 3 or any(n != 1 for n in shape[3:]):
        raise HeaderError(f"{' x '.join(map(str, shape))} voxels, not one three-dimensional volume", "D004")
    return shape[0], shape[1], shape[2]


def _dtype(raw: Nifti1Header) -> np.dtype:
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype = np.dtype(raw.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise HeaderError(f"a damaged header: datatype {int(raw['datatype'])}", "D001") from error
    if dtype.kind not in _PLAIN_KINDS or dtype.itemsize > 8:
        raise HeaderError(f"voxels of type {dtype}, not grey-scale", "D004")
    return dtype


def _affine(raw: Nifti1Header) -> tuple[np.ndarray, bool]:
    from nibabel.spatialimages import HeaderDataError

    with np.errstate(all="ignore"):
        try:
            affine = np.asarray(raw.get_best_affine(), dtype=np.float64)
        except (ValueError, ArithmeticError, HeaderDataError) as error:  # a quaternion longer than 1, a damaged pixdim
            raise HeaderError("an affine that is no placement in the patient", "D010") from error
        if not np.isfinite(affine).all() or np.abs(affine).max() > geometry.POSITION_LIMIT_MM:
            raise HeaderError("an affine that is not finite or lies metres away from the scanner's centre", "D010")
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        # The volume that a voxel's edges span, over what they would at right angles: 0 where two of them coincide.
        flat = steps.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / steps)) < geometry.DIRECTION_TOLERANCE
    if flat:
        raise HeaderError("an affine that maps the volume onto a plane", "D010")
    return affine, bool(raw["qform_code"] > 0 or raw["sform_code"] > 0)


def _doubts(raw: Nifti1Header, affine: np.ndarray, steps: np.ndarray) -> Iterator[str]:
    units = affine[:3, :3] / steps
    cosine = np.abs(units.T @ units - np.eye(3)).max()
    sizes = np.abs(np.asarray(raw["pixdim"][1:4], np.float64))
    if cosine > 2 * geometry.DIRECTION_TOLERANCE:
        yield f"axes at right angles, found {np.degrees(np.arccos(min(1.0, cosine))):.0f} degrees"
    elif not np.allclose(sizes, steps, rtol=geometry.SPACING_TOLERANCE, atol=0):
        by_affine, by_pixdim = (" x ".join(f"{size:g}" for size in of) for of in (steps, sizes))
        yield f"pixdim as the affine has it, {by_affine} mm, found {by_pixdim}"
    if side := geometry.impossible_side(steps):
        yield side
    unit = raw.get_xyzt_units()[0] if raw["xyzt_units"] & 7 in (1, 2, 3) else "mm"
    if unit != "mm":
        yield f"the unit mm, found {unit}, which is taken for mm"


def _other_place(raw: Nifti1Header, shape: tuple[int, int, int]) -> str:
    """What the qform says instead of the sform, where both have a code and disagree; else ""."""
    from nibabel.orientations import aff2axcodes
    from nibabel.spatialimages import HeaderDataError

    if not (raw["qform_code"] > 0 and raw["sform_code"] > 0):
        return ""
    with np.errstate(all="ignore"):
        sform = np.asarray(raw.get_sform(), dtype=np.float64)
        try:
            qform = np.asarray(raw.get_qform(), dtype=np.float64)
        except (ValueError, ArithmeticError, HeaderDataError):
            return "a qform that is no placement"
        corners = np.array([[*corner, 1] for corner in itertools.product(*((0, n - 1) for n in shape))])
        apart_mm = float(np.linalg.norm(corners @ (qform - sform).T, axis=1).max())
    if apart_mm <= geometry.PLACE_TOLERANCE_MM:
        return ""
    if not math.isfinite(apart_mm) or not np.linalg.norm(qform[:3, :3], axis=0).all():
        return "a qform that is no placement"
    by_sform, by_qform = ("".join(str(code) for code in aff2axcodes(affine)) for affine in (sform, qform))
    axes = f"axes {by_sform} by sform, {by_qform} by qform" if by_sform != by_qform else f"axes {by_sform} by both"
    return f"corners {apart_mm:.1f} mm apart ({axes})"


def _plane(across: np.ndarray, directions: np.ndarray) -> str:
    """The plane by the slice axis where the axes are skewed, else as `geometry` tells it of a DICOM slice."""
    orientation = directions.T.ravel()
    return geometry.plane(orientation) if geometry.is_orientation(orientation) else geometry.plane_across(across)


def _scaling(raw: Nifti1Header) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError

    if np.isinf(raw["scl_slope"]) or (np.isinf(raw["scl_inter"]) and raw["scl_slope"]):  # nibabel takes them for none
        raise HeaderError(f"a damaged header: scl_slope {raw['scl_slope']:g}, scl_inter {raw['scl_inter']:g}", "D001")
    try:
        slope, intercept = raw.get_slope_inter()
    except HeaderDataError as error:
        raise HeaderError(f"a damaged header: {error}", "D001") from error
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


def _offset(raw: Nifti1Header) -> int:
    value = float(raw["vox_offset"])
    first = int(raw["sizeof_hdr"]) + 4  # nifti1.h: behind the header and the four bytes that say what extends it
    if value == 0:
        return first
    if not (math.isfinite(value) and first <= value <= VOLUME_LIMIT_VOXELS):
        raise HeaderError(f"a damaged header: voxels that begin at byte {value:g}", "D001")
    return int(value)


def _check_complete(header: NiftiHeader, spare_bytes: int) -> None:
    needed = header.offset + header.voxel_bytes
    size = " x ".join(map(str, header.shape))
    if not header.compressed:
        if header.size_bytes < needed:
            raise HeaderError(
                f"a truncated file: {size} voxels end at byte {needed}, the file at {header.size_bytes}", "D002"
            )
        if header.size_bytes > needed + spare_bytes:
            raise HeaderError(f"{_LESS}: {size} {header.dtype} voxels end at {needed}, the file at {header.size_bytes}")
        return
    if needed > header.size_bytes * DEFLATE_RATIO:
        raise HeaderError(
            f"a truncated file: {header.size_bytes} bytes cannot hold {size} voxels, however compressed", "D002"
        )
    with header.path.open("rb") as raw:
        raw.seek(-min(4, header.size_bytes), os.SEEK_END)
        noted = int.from_bytes(raw.read(4), "little")  # RFC 1952, ISIZE: what it decompresses to, modulo 2**32
    if noted == needed % 2**32:
        return
    # Several gzip members, bytes behind the voxels, or a file cut short: only counting tells.
    with _opened(header.path) as stream:
        found = _skip(stream, needed + spare_bytes + 1)
    if found < needed:
        raise HeaderError(f"a truncated file: {size} voxels end at byte {needed}, the data at {found}", "D002")
    if found > needed + spare_bytes:
        raise HeaderError(f"{_LESS}: {size} {header.dtype} voxels end at byte {needed}, and more follows")


def _decompressed(header: NiftiHeader) -> np.ndarray:
    stored = np.empty(header.voxel_bytes, np.uint8)
    filled = 0
    with _opened(header.path) as stream:
        _skip(stream, header.offset)
        while chunk := stream.read(min(stored.size - filled, _CHUNK_BYTES)):
            stored[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
            filled += len(chunk)
        # To the end, where gzip holds checksum and length against what was read; another volume may follow.
        more = _skip(stream, SPARE_BYTES + 1) > SPARE_BYTES
    if more:
        raise HeaderError(f"{_LESS}: its voxels take {stored.size} bytes, and more follows")
    if filled < stored.size:
        raise HeaderError(f"a truncated file: its voxels take {stored.size} bytes, {filled} are there", "D002")
    return stored.view(header.dtype).reshape(header.shape, order="F")


def _skip(stream: IO[bytes], n_bytes: int) -> int:
    """Read and forget; how many of the bytes were there."""
    left = n_bytes
    while left and (chunk := stream.read(min(left, _CHUNK_BYTES))):
        left -= len(chunk)
    return n_bytes - left
