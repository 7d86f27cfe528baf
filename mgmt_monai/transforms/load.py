"""A series reference becomes a volume: DICOM through SimpleITK, NIfTI through nibabel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from pydicom.errors import InvalidDicomError

from mgmt_monai.cohort.files.headers import HeaderError, read_headers
from mgmt_monai.cohort.files.nifti import reading_codes
from mgmt_monai.cohort.series import Series
from mgmt_monai.transforms.at_keys import AtKeys
from mgmt_monai.transforms.errors import SeriesReadError, TransformError
from mgmt_monai.transforms.truncation import ends_early

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's patient axes point to left, posterior, superior; MONAI's and NIfTI's to right, anterior, superior."""

GEOMETRY_FAULT = "geometry_fault"
"""Key of a volume's ``meta``: why its affine does not say where each slice lies; absent when it does."""


def load_dicom(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and affine of the meant slices of a DICOM series; no other file is opened.

    The values are the output of the modality LUT: stored value * Rescale Slope + Rescale Intercept, with each
    slice's own pair (PS3.3 C.11.1.1.2). MONOCHROME1 (lowest value shown white, PS3.3 C.7.6.3.1.2) is turned
    into MONOCHROME2 by mirroring the stored value v within the range of Bits Stored before the rescale:
    ``2**bits - 1 - v`` unsigned, ``-1 - v`` signed; the same mirror for every slice of a series.

    Args:
        series: Files in geometric order, one grey-scale slice each.

    Returns:
        Volume (slices, rows, columns), float32, as displayed, and the affine (4, 4), float64, that maps
        (row, column, slice, 1) to RAS in mm.

    Raises:
        SeriesReadError: When a file is missing, is not DICOM, is cut short, cannot be decoded, is a colour or
            multi-frame image among single slices, differs in size from the others, or holds non-finite values.
    """
    if series.slices and not 0 <= min(series.slices) <= max(series.slices) < len(series.files):
        raise _error(
            series,
            series.files[0].parent,
            f"slices within the {len(series.files)} files",
            f"slices {series.slices.start} to {series.slices.stop - 1}",
            "build the manifest again",
        )
    files = [series.files[index] for index in series.slices]
    with itk_warnings_off(), np.errstate(over="ignore", invalid="ignore"):
        volume, affine = _read_together(files) or _read_one_by_one(series, files)
    _check_finite(series, volume, files)
    return volume, affine


def load_multi_frame(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and affine of the meant frames of an enhanced multi-frame DICOM file.

    Args:
        series: One file; ``series.frames`` are its frames in geometric order.

    Returns:
        As `load_dicom`.

    Raises:
        SeriesReadError: As `load_dicom`, or the file's frames are not those that the series names.
    """
    file = series.files[0]
    frames = [(series.frames or ())[index] for index in series.slices]
    if ends_early(file):
        raise _explained(series, file)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    with itk_warnings_off():
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise _explained(series, file) from error
    _check_grey(series, file, image)
    pixels = sitk.GetArrayViewFromImage(image)
    if image.GetDimension() != 3 or max(frames) >= len(pixels):
        raise _error(series, file, f"{max(frames) + 1} frames", f"{len(pixels)}", "build the manifest again")
    volume = pixels[frames].astype(np.float32)
    _check_finite(series, volume, [file] * len(frames))
    try:
        headers = read_headers(file)
    except HeaderError as error:
        raise _error(series, file, "a geometry for each frame", str(error), "build the manifest again") from error
    origins = np.array([np.zeros(3) if headers[i].position is None else headers[i].position for i in frames])
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return volume, _dicom_affine(origins, direction, np.array(image.GetSpacing()))


def load_nifti(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and affine of the meant slices of a NIfTI file, as they were acquired and as a radiologist sees them.

    The axes are permuted and flipped to the closest axes of the body, without resampling, as
    :func:`~mgmt_monai.cohort.files.nifti.reading_codes` says; ``series.slices`` counts along the last.
    ``scl_slope`` and ``scl_inter`` are applied.

    Args:
        series: One file, 3D (or with further axes of length 1).

    Returns:
        Volume (slices, rows, columns), float32, and the affine (4, 4), float64, that maps
        (row, column, slice, 1) to RAS in mm.

    Raises:
        SeriesReadError: When the file is missing, is not NIfTI, is cut short, is not one 3D grey-scale image,
            has fewer slices than meant, or holds non-finite values.
    """
    file = series.files[0]
    try:
        image = nib.load(file)
        shape, affine = image.shape, image.affine
        if len(shape) < 3 or any(n != 1 for n in shape[3:]) or image.get_data_dtype().fields:
            raise _error(
                series,
                file,
                "one 3D grey-scale image",
                f"shape {tuple(shape)} of type {image.get_data_dtype()}",
                "export a single volume",
            )
        to_reading = ornt_transform(io_orientation(affine), axcodes2ornt(reading_codes(affine)))
        axis = int(np.flatnonzero(to_reading[:, 0] == 2)[0])
        start, stop = series.slices.start, series.slices.stop
        if not 0 <= start < stop <= shape[axis] or series.slices.step != 1:
            raise _error(
                series,
                file,
                f"slices within the {shape[axis]} stored",
                f"slices {start} to {stop - 1}",
                "build the manifest again",
            )
        flipped = to_reading[axis, 1] < 0
        first, last = (shape[axis] - stop, shape[axis] - start) if flipped else (start, stop)
        index: list[Any] = [slice(None)] * 3 + [0] * (len(shape) - 3)
        index[axis] = slice(first, last)
        with np.errstate(over="ignore", invalid="ignore"):
            stored = np.asarray(image.dataobj[tuple(index)], dtype=np.float32)
    except SeriesReadError:
        raise
    # nibabel, gzip and zlib raise a dozen unrelated types on damaged files.
    except Exception as error:
        raise _explained(series, file) from error
    volume = np.array(nib.orientations.apply_orientation(stored, to_reading).transpose(2, 1, 0), order="C")
    _check_finite(series, volume, [file] * len(volume))
    # Affine of (column, row, slice) indices; then slice 0 is the first one meant.
    turned = affine @ inv_ornt_aff(to_reading, shape[:3])
    turned[:3, 3] += start * turned[:3, 2]
    return volume, turned[:, [1, 0, 2, 3]]


class LoadSeries(Transform):
    """Read the slices that a series reference means.

    The result's ``meta`` holds the affine, the space it maps to and, where the manifest found that the affine cannot
    be relied on, why (`GEOMETRY_FAULT`); nothing else: no name, identifier, date or path of a patient.
    """

    def __call__(self, series: Series) -> MetaTensor:
        """The volume of ``series``.

        Args:
            series: DICOM files in geometric order, or one NIfTI file, and the slices meant.

        Returns:
            Volume (slices, rows, columns), float32, row 0 on top as displayed. MONAI's 2D transforms take the
            slices for channels and work on all at once. Its ``affine`` (4, 4), float64, maps
            (row, column, slice, 1) to RAS in mm: the spatial axes first, so that MONAI's 2D transforms keep
            it right. The step along the slices is the mean between the first and the last; a single DICOM
            slice has its header's.

        Raises:
            TransformError: When the input is not a ``Series``.
            SeriesReadError: As :func:`load_dicom`, :func:`load_multi_frame` and :func:`load_nifti` say.
        """
        if not isinstance(series, Series):
            raise TransformError(f"LoadSeries: expected a Series, found {type(series).__name__}")
        if not series.files or not series.slices:
            raise SeriesReadError(
                f"patient {series.patient_id}, {series.modality}: expected at least one slice, "
                f"found {len(series.files)} files and {series.n_slices} slices; leave the series out"
            )
        load = load_nifti if series.is_nifti else load_dicom if series.frames is None else load_multi_frame
        volume, affine = load(series)
        fault = {GEOMETRY_FAULT: series.geometry_fault} if series.geometry_fault else {}
        return MetaTensor(torch.from_numpy(volume), affine=torch.from_numpy(affine), meta=fault)


class LoadSeriesd(AtKeys):
    """Dictionary twin of :class:`LoadSeries`.

    Args:
        keys: Keys of the series references; each is replaced by its volume.
        allow_missing_keys: Do not raise when a key is missing.
    """

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


def _read_together(files: list[Path]) -> tuple[np.ndarray, np.ndarray] | None:
    """Volume and affine, sooner than file by file; None where anything about the files is unusual."""
    try:
        headers = [header for file in files for header in read_headers(file)]
    except (HeaderError, OSError):
        return None
    stored_alike = len({tuple(header.tags.values.get(name) for name in _PIXEL_KEYWORDS) for header in headers}) == 1
    origins = np.array([header.position for header in headers if header.position is not None])
    if not stored_alike or not len(headers) == len(files) == len(origins):
        return None
    if not np.any(origins[-1] - origins[0]):  # the step is then a single file's own
        return None
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(file) for file in files])
    try:
        image = reader.Execute()
    except RuntimeError:
        return None
    pixels = sitk.GetArrayViewFromImage(image)
    if pixels.ndim != 3 or len(pixels) != len(files):
        return None
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return pixels.astype(np.float32), _dicom_affine(origins, direction, np.array(image.GetSpacing()))


#: What makes of stored pixels the values of a slice: a reader of whole series takes the first file's for all.
_PIXEL_KEYWORDS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation",
    "RescaleSlope", "RescaleIntercept",
)  # fmt: skip


def _read_one_by_one(series: Series, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Volume and affine, or the error that says which file is wrong, and how."""
    volume = np.empty((0, 0, 0), dtype=np.float32)
    origins = np.empty((len(files), 3))
    direction, spacing = np.eye(3), np.ones(3)
    reader = sitk.ImageFileReader()
    # Without it ITK would take any picture format, whatever the file is called.
    reader.SetImageIO("GDCMImageIO")
    for index, file in enumerate(files):
        reader.SetFileName(str(file))
        if ends_early(file):
            raise _explained(series, file)
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise _explained(series, file) from error
        _check_grey(series, file, image)
        _check_single_frame(series, file, image)
        pixels = sitk.GetArrayViewFromImage(image)[0]
        if index == 0:
            volume = np.empty((len(files), *pixels.shape), dtype=np.float32)
            direction = np.array(image.GetDirection()).reshape(3, 3)
            spacing = np.array(image.GetSpacing())
        elif pixels.shape != volume.shape[1:]:
            raise _error(
                series,
                file,
                f"{volume.shape[1]} x {volume.shape[2]} pixels as in {files[0].name}",
                f"{pixels.shape[0]} x {pixels.shape[1]}",
                "keep one acquisition per series folder",
            )
        volume[index] = pixels
        origins[index] = image.GetOrigin()
    return volume, _dicom_affine(origins, direction, spacing)


def _dicom_affine(origins: np.ndarray, direction: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """(row, column, slice, 1) to RAS in mm from ITK's (column, row, slice) geometry in LPS."""
    affine = np.eye(4)
    affine[:3, 0] = direction[:, 1] * spacing[1]
    affine[:3, 1] = direction[:, 0] * spacing[0]
    affine[:3, 2] = direction[:, 2] * spacing[2]
    affine[:3, 3] = origins[0]
    step = (origins[-1] - origins[0]) / max(len(origins) - 1, 1)
    # Files without a position all lie at the origin: the header's spacing then keeps the affine invertible.
    if np.any(step):
        affine[:3, 2] = step
    return LPS_TO_RAS @ affine


def _check_grey(series: Series, file: Path, image: sitk.Image) -> None:
    key = "0028|0004"
    photometric = image.GetMetaData(key).strip() if image.HasMetaDataKey(key) else "MONOCHROME2"
    if image.GetNumberOfComponentsPerPixel() != 1 or not photometric.startswith("MONOCHROME"):
        raise _error(
            series,
            file,
            "a grey-scale image (MONOCHROME1 or MONOCHROME2)",
            f"a colour image ({photometric})",
            "take screenshots and reports out of the series folder",
        )


def _check_single_frame(series: Series, file: Path, image: sitk.Image) -> None:
    if image.GetDimension() != 3 or image.GetSize()[2] != 1:
        raise _error(
            series,
            file,
            "one slice a file",
            f"a multi-frame image of {image.GetSize()[-1]} frames",
            "build the manifest again, or keep one acquisition per series folder",
        )


def _check_finite(series: Series, volume: np.ndarray, files: list[Path]) -> None:
    for pixels, file in zip(volume, files, strict=True):
        if not np.isfinite([pixels.min(), pixels.max()]).all():  # NaN is the least and the greatest
            finite = np.isfinite(pixels)
            raise _error(
                series,
                file,
                "finite pixel values within float32",
                f"{pixels.size - np.count_nonzero(finite)} NaN or infinite of {pixels.size}",
                "export the series again or leave it out",
            )


def _error(series: Series, path: Path, expected: str, found: str, remedy: str) -> SeriesReadError:
    return SeriesReadError(
        f"patient {series.patient_id}, {series.modality}: {path}: expected {expected}, found {found}; {remedy}"
    )


def _explained(series: Series, file: Path) -> SeriesReadError:
    """Why a file that the decoder refused cannot be read, looked up only then."""
    kind = "NIfTI" if series.is_nifti else "DICOM"
    remedy = "copy or export the file again, or leave the patient out"
    try:
        with file.open("rb") as stream:
            empty = not stream.read(1)
    except FileNotFoundError:
        return _error(series, file, f"a {kind} file", "no file", "build the manifest again")
    except OSError as error:
        return _error(series, file, f"a readable {kind} file", str(error.strerror), "check its permissions")
    if empty:
        return _error(series, file, f"a {kind} file", "an empty file", remedy)
    found = _nifti_fault(file) if series.is_nifti else _dicom_fault(file)
    return _error(series, file, f"a complete {kind} image", found, remedy)


def _nifti_fault(file: Path) -> str:
    try:
        nib.load(file)
    except Exception:
        return "a file that is not NIfTI or has a damaged header"
    return "truncated or damaged voxel data"


def _dicom_fault(file: Path) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(file, stop_before_pixels=True)
            syntax = header.file_meta.TransferSyntaxUID
            shape = f"{header.Rows} x {header.Columns} pixels of {header.BitsAllocated} bits"
    except InvalidDicomError:
        return "a file that is not DICOM"
    # The header of a damaged file can fail anywhere in pydicom's parser.
    except Exception:
        return "a damaged or truncated header"
    return f"missing, truncated or undecodable pixel data ({shape}, {syntax.name})"
