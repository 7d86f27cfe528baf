"""A series reference becomes a volume: the transform over the one reader of pixels, `cohort.files.pixels`."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import SpaceKeys
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.files.background import fill_outside, nan_outside
from mgmt_monai.cohort.files.headers import HeaderError, SliceHeader, read_headers
from mgmt_monai.cohort.files.nifti import read_nifti, reading_codes
from mgmt_monai.cohort.files.pixels import ContentError, StoredSlice, digest, read_slices
from mgmt_monai.cohort.files.values import finite
from mgmt_monai.cohort.findings import Severity
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.manifest import series_reference
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.series import Series, is_nifti
from mgmt_monai.machine import check_machine, check_readable
from mgmt_monai.transforms.at_keys import AtKeys
from mgmt_monai.transforms.errors import SeriesReadError, TransformError

logger = logging.getLogger(__name__)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's patient axes point to left, posterior, superior; MONAI's and NIfTI's to right, anterior, superior."""

GEOMETRY_FAULT = "geometry_fault"
"""Key of a volume's ``meta``: why its affine does not say where each slice lies; absent when it does."""


def load_dicom(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and affine of the meant slices of a DICOM series; no other file is opened.

    The pixels are those of `read_slices`, the one reader that the doctor and the manifest have too, as
    `StoredSlice.shown`. Pixels of padding take the lowest value of the others.

    Args:
        series: Files in geometric order, one grey-scale slice each; or one enhanced multi-frame file, whose
            ``series.frames`` are its frames in geometric order.

    Returns:
        Volume (slices, rows, columns), float32, as displayed, and the affine (4, 4), float64, that maps
        (row, column, slice, 1) to RAS in mm.

    Raises:
        SeriesReadError: When a file is missing, is not DICOM, is cut short, cannot be decoded, is a colour or
            multi-frame image among single slices, differs in size from the others, holds non-finite values, has
            fewer frames than the series names, or other pixels than the manifest.
    """
    _check_reference(series)
    headers = _headers(series)
    first = headers[0]
    for header in headers:
        if header.shape != first.shape:
            expected = f"{first.shape[0]} x {first.shape[1]} pixels as in {first.path.name}"
            found = f"{header.shape[0]} x {header.shape[1]}"
            raise _error(series, header.path, expected, found, "keep one acquisition per series folder")
    frames = None if series.frames is None else [header.frame or 0 for header in headers]
    volume = np.empty((len(headers), *first.shape), np.float32)
    outside: list[np.ndarray | None] = []
    with itk_warnings_off(), np.errstate(over="ignore", invalid="ignore"):
        try:
            stored = read_slices([header.path for header in headers], frames, [header.tags for header in headers])
            for index, slice_ in enumerate(stored):
                _check_unchanged(series, series.slices[index], slice_)
                volume[index] = slice_.shown()
                outside.append(slice_.padding)
        except ContentError as error:
            raise _explained(series, error.path, error) from error
    _check_finite(series, volume, [header.path for header in headers])
    if any(mask is not None for mask in outside):
        empty = np.zeros(first.shape, bool)
        fill_outside(volume, np.stack([empty if mask is None else mask for mask in outside]))
    return volume, _dicom_affine(headers)


def load_nifti(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Volume and affine, as `load_dicom` gives them, of the meant slices of a NIfTI file.

    They are as they were acquired and as a radiologist sees them: the axes are permuted and flipped to the closest axes
    of the body, without resampling, as `reading_codes` says; ``series.slices`` counts along the last. Voxels that are
    not a number count as outside, and take the lowest value of the others, where the edge of the slices is made of
    them.

    Raises:
        SeriesReadError: When the file is missing, is not NIfTI, is cut short or damaged, is not one 3D grey-scale
            image, has fewer slices than meant, holds non-finite values, or other voxels than the manifest.
    """
    file = series.files[0]
    start, stop = series.slices.start, series.slices.stop
    try:
        header = read_nifti(file)
        if not 0 <= start < stop <= header.n_slices or series.slices.step != 1:
            within = f"slices within the {header.n_slices} stored"
            raise _error(series, file, within, f"slices {start} to {stop - 1}", "build the manifest again")
        volume = np.empty((stop - start, header.rows, header.columns), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for index, slice_ in enumerate(islice(read_slices([file], None, header), start, stop)):
                _check_unchanged(series, start + index, slice_)
                volume[index] = slice_.shown()
    except (HeaderError, ContentError, OSError) as error:
        raise _explained(series, file, error) from error
    missing = nan_outside(volume)
    if missing is not None:
        fill_outside(volume, missing)
    _check_finite(series, volume, [file] * len(volume))
    affine = _turned(header.affine, header.shape, _to_reading(header.affine, header.reading))
    affine[:3, 3] += start * affine[:3, 2]  # slice 0 is the first one meant
    return volume, affine


def read_elsewhere(volume: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
    """Volume and affine, as `load_nifti` gives them, of an image that `monai.transforms.LoadImage` has read.

    Args:
        volume: ``(i, j, k)`` or ``(1, i, j, k)`` with the ``spatial_shape`` and the ``affine`` to RAS in mm of
            MONAI's readers; a NIfTI file's acquired plane by its spacing, for nothing of ``dim_info`` is left.

    Raises:
        TransformError: It is none: not one grey-scale volume, without a place in the patient, or holds values that are
            not finite.
    """
    given = volume.as_tensor().numpy(force=True)
    voxels = given[0] if given.ndim == 4 and len(given) == 1 else given
    affine = volume.affine.numpy(force=True).astype(float)
    placed = affine.shape == (4, 4) and np.linalg.matrix_rank(affine) == 4 and not np.array_equal(affine, np.eye(4))
    if (
        voxels.ndim != 3
        or tuple(np.asarray(volume.meta.get("spatial_shape", ()), int)) != voxels.shape
        or not placed
        or volume.meta.get("space", SpaceKeys.RAS) != SpaceKeys.RAS
    ):
        raise TransformError(
            "LoadSeries: expected a MetaTensor as LoadImage reads it, (i, j, k) or (1, i, j, k) with spatial_shape and "
            f"an affine to RAS that places it, found shape {tuple(given.shape)}; give the path of the series instead"
        )
    turn = _to_reading(affine, reading_codes(affine))
    turned = np.ascontiguousarray(apply_orientation(voxels, turn).T, np.float32)
    missing = nan_outside(turned)
    if missing is not None:
        fill_outside(turned, missing)
    if not np.isfinite([turned.min(), turned.max()]).all():
        raise TransformError("LoadSeries: expected finite voxels, found NaN or infinite ones; leave the series out")
    return turned, _turned(affine, voxels.shape, turn)


def _to_reading(affine: np.ndarray, reading: str) -> np.ndarray:
    return ornt_transform(io_orientation(affine), axcodes2ornt(reading))


def _turned(affine: np.ndarray, shape: tuple[int, ...], turn: np.ndarray) -> np.ndarray:
    """Of (row, column, slice) as read, from that of the voxels as stored."""
    return (affine @ inv_ornt_aff(turn, shape))[:, [1, 0, 2, 3]]


def series_at(path: Path) -> Series:
    """All slices of the one series in a folder of DICOM files, or in a NIfTI or multi-frame file, in order.

    What the doctor would warn of is logged.

    Raises:
        SeriesReadError: It is not one whole series: what the doctor would call an error.
    """
    path = path.absolute()
    if not path.exists():
        raise SeriesReadError(
            f"{path}: expected a folder of DICOM files or a NIfTI file, found nothing; check the path"
        )
    folder, names = (path, None) if path.is_dir() and not is_nifti(path.name) else (path.parent, (path.name,))
    exam = examine_series(FoundSeries(folder.name, "", folder, names, "named"), folder, pixels=False, identity=False)
    errors = [finding.under(folder).line for finding in exam.findings if finding.kind.severity is Severity.ERROR]
    for finding in exam.findings:
        if finding.kind.severity is Severity.WARNING:
            logger.warning(finding.under(folder).line)
    if errors or exam.record is None:
        raise SeriesReadError("\n".join(errors))
    return series_reference(PatientRecord(exam.patient_id, 0, "test", {"": exam.record}), "", folder)


class LoadSeries(Transform):
    """Read the slices that a series reference means, or all of a path, or take a volume that MONAI has read.

    The result's ``meta`` holds the affine, the space it maps to and, where the manifest found that the affine cannot
    be relied on, why (`GEOMETRY_FAULT`); nothing else: no name, identifier, date or path of a patient.
    """

    def __call__(self, series: Series | str | PathLike[str] | MetaTensor) -> MetaTensor:
        """The volume (slices, rows, columns) of ``series``, float32, row 0 on top as displayed.

        A path is that of one DICOM series' folder, or of a NIfTI or multi-frame file (`series_at`); a ``MetaTensor`` is
        what ``LoadImage`` gives (`read_elsewhere`).

        MONAI's 2D transforms take the slices for channels and work on all at once. The ``affine`` (4, 4), float64, maps
        (row, column, slice, 1) to RAS in mm: the spatial axes first, so that MONAI's 2D transforms keep it right. The
        step along the slices is the mean between the first and the last; a single DICOM slice has its header's.

        Raises:
            TransformError: When the input is none of these, or as `read_elsewhere` says.
            SeriesReadError: As :func:`load_dicom`, :func:`load_nifti` and `series_at` say.
        """
        if isinstance(series, MetaTensor):
            volume, affine = read_elsewhere(series)
            return MetaTensor(torch.from_numpy(volume), affine=torch.from_numpy(affine))
        if isinstance(series, str | PathLike):
            series = series_at(Path(series))
        if not isinstance(series, Series):
            raise TransformError(
                f"LoadSeries: expected a Series, a path or a MetaTensor, found {type(series).__name__}"
            )
        if not series.files or not series.slices:
            raise SeriesReadError(
                f"patient {series.patient_id}, {series.modality}: expected at least one slice, "
                f"found {len(series.files)} files and {series.n_slices} slices; leave the series out"
            )
        volume, affine = (load_nifti if series.is_nifti else load_dicom)(series)
        fault = {GEOMETRY_FAULT: series.geometry_fault} if series.geometry_fault else {}
        return MetaTensor(torch.from_numpy(volume), affine=torch.from_numpy(affine), meta=fault)


class LoadSeriesd(AtKeys):
    """Dictionary twin of :class:`LoadSeries`."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, LoadSeries(), allow_missing_keys)


@contextmanager
def itk_warnings_off() -> Iterator[None]:
    """Keep ITK's notes on odd headers off the console: what matters is checked here and raised."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _check_reference(series: Series) -> None:
    n_files = len(series.files) if series.frames is None else len(series.frames)
    if not 0 <= min(series.slices) <= max(series.slices) < n_files:
        within = f"slices within the {n_files} {'files' if series.frames is None else 'frames'}"
        found = f"slices {series.slices.start} to {series.slices.stop - 1}"
        raise _error(series, series.files[0].parent, within, found, "build the manifest again")


def _check_unchanged(series: Series, index: int, stored: StoredSlice) -> None:
    """Hold a slice against the manifest: pixels may be other ones although size, identifiers and time are as before."""
    if series.digests and digest(stored.values) != series.digests[index]:
        found = f"others in slice {index} of {len(series.digests)}"
        remedy = "restore the file, or build the manifest again"
        raise _error(series, stored.path, "the pixels of the manifest", found, remedy)


def _headers(series: Series) -> list[SliceHeader]:
    """Of each slice meant, in order."""
    if series.frames is not None:
        frames = [series.frames[index] for index in series.slices]
        headers = _headers_of(series, series.files[0])
        if max(frames) >= len(headers):
            remedy = "build the manifest again"
            raise _error(series, series.files[0], f"{max(frames) + 1} frames", str(len(headers)), remedy)
        return [headers[frame] for frame in frames]
    found = []
    for index in series.slices:
        file = series.files[index]
        headers = _headers_of(series, file)
        if len(headers) != 1:
            several = f"a multi-frame image of {len(headers)} frames"
            remedy = "build the manifest again, or keep one acquisition per series folder"
            raise _error(series, file, "one slice a file", several, remedy)
        found += headers
    return found


def _headers_of(series: Series, file: Path) -> list[SliceHeader]:
    try:
        return read_headers(file)
    except (HeaderError, OSError) as error:
        raise _explained(series, file, error) from error


def _dicom_affine(headers: Sequence[SliceHeader]) -> np.ndarray:
    """(row, column, slice, 1) to RAS in mm; what a header lacks, ITK's defaults stand for.

    Source: DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    first = headers[0]
    along = np.array([1.0, 0, 0, 0, 1, 0]) if first.orientation is None else first.orientation
    along_row, along_column = (
        along.reshape(2, 3) / np.maximum(np.linalg.norm(along.reshape(2, 3), axis=1), 1e-9)[:, None]
    )
    between_rows, between_columns = first.pixel_spacing_mm or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = along_column * between_rows
    affine[:3, 1] = along_row * between_columns
    affine[:3, 2] = np.cross(along_row, along_column) * (
        finite(first.tags.values.get("SpacingBetweenSlices", 1)) or 1.0
    )
    origins = np.array([np.zeros(3) if header.position is None else header.position for header in headers])
    affine[:3, 3] = origins[0]
    step = (origins[-1] - origins[0]) / max(len(origins) - 1, 1)
    # Files without a position all lie at the origin: the header's spacing then keeps the affine invertible.
    if np.any(step):
        affine[:3, 2] = step
    return LPS_TO_RAS @ affine


def _check_finite(series: Series, volume: np.ndarray, files: list[Path]) -> None:
    for pixels, file in zip(volume, files, strict=True):
        if not np.isfinite([pixels.min(), pixels.max()]).all():  # NaN is the least and the greatest
            n_bad = pixels.size - np.count_nonzero(np.isfinite(pixels))
            found, remedy = f"{n_bad} NaN or infinite of {pixels.size}", "export the series again or leave it out"
            raise _error(series, file, "finite pixel values within float32", found, remedy)


def _error(series: Series, path: Path, expected: str, found: str, remedy: str) -> SeriesReadError:
    return SeriesReadError(
        f"patient {series.patient_id}, {series.modality}: {path}: expected {expected}, found {found}; {remedy}"
    )


def _explained(series: Series, file: Path, fault: HeaderError | ContentError | OSError) -> SeriesReadError:
    """What the reader found wrong with a file, as this error; a `MachineError` is raised instead."""
    kind = "NIfTI" if series.is_nifti else "DICOM"
    remedy = "copy or export the file again, or leave the patient out"
    if getattr(fault, "finding", "") == "D004":
        screens = "take screenshots and reports out of the series folder"
        remedy = "export a single volume" if series.is_nifti else screens
    check_machine(fault, file)
    check_readable(file)
    if not file.exists():
        return _error(series, file, f"a {kind} file", "no file", "build the manifest again")
    return _error(series, file, f"a complete {kind} image", str(fault), remedy)
