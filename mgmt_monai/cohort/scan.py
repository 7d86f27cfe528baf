"""A folder of DICOM files, read by header into one ordered series, or refused with what is wrong."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgmt_monai.cohort import geometry
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.headers import HeaderError, SliceHeader, read_headers
from mgmt_monai.cohort.layouts import SeriesFolder


@dataclass(frozen=True)
class ScannedSeries:
    """One series as its headers tell it.

    Args:
        folder: Whose it is and where.
        files: File names in geometric order along the slice normal, or the one multi-frame file.
        frames: Frames of the multi-frame file in geometric order; None where every file is one slice.
        shape: Rows, columns of every slice.
        plane: ``axial``, ``coronal``, ``sagittal``, ``oblique``, or ``unknown`` without geometry (one slice).
        pixel_spacing_mm: Between rows, between columns; None where the headers have none.
        slice_spacing_mm: Median distance between neighbouring slices, mm; None for a single slice.
        gaps: Where slices are missing: (index of the slice before, how many), in geometric order.
        phase_images: How many phase images lie beside the magnitude images and are passed over.
        fingerprint: SHA-256 over names, sizes and instance identifiers, in order.
    """

    folder: SeriesFolder
    files: tuple[str, ...]
    frames: tuple[int, ...] | None
    shape: tuple[int, int]
    plane: str
    pixel_spacing_mm: tuple[float, float] | None
    slice_spacing_mm: float | None
    gaps: tuple[tuple[int, int], ...]
    phase_images: int
    fingerprint: str


def scan_series(folder: SeriesFolder) -> ScannedSeries:
    """Read every header of a series and put its slices in geometric order.

    Args:
        folder: The series. Hidden entries in it are passed over; every other one must be a file that holds a slice.

    Raises:
        CohortError: The folder is empty or unreadable, an entry is not a file, a file is unreadable, not DICOM or
            truncated, sizes or orientations are mixed, positions are missing or impossible, or two slices lie at the
            same position.
    """
    paths = _files(folder)
    headers = [header for path in paths for header in _read(folder, path)]
    n_phase = sum(header.is_phase for header in headers)
    if n_phase < len(headers):
        headers = [header for header in headers if not header.is_phase]
    else:
        n_phase = 0
    enhanced = next((header for header in headers if header.frame is not None), None)
    if enhanced is not None and len(paths) > 1:
        raise _fault(
            folder, enhanced.path, f"expected a multi-frame file alone, found {len(paths)} files. Keep one series here"
        )
    first = headers[0]
    for header in headers:
        if header.shape != first.shape:
            raise _fault(
                folder,
                header.path,
                f"expected {_size(first)} as in {first.path.name}, found {_size(header)}: mixed sizes. "
                "Keep the files of one series here",
            )
    if len(headers) > 1:
        order, locations_mm = _order(folder, headers)
        headers = [headers[i] for i in order]
        steps = np.diff(locations_mm)
        spacing: float | None = float(np.median(steps))
        gaps = tuple(geometry.gaps(locations_mm))
    else:
        spacing, gaps = None, ()
    digest = hashlib.sha256()
    for header in headers:
        line = f"{header.path.name}\0{header.frame}\0{header.size_bytes}\0{header.uid}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))  # a file name need not be valid UTF-8
    return ScannedSeries(
        folder=folder,
        files=tuple(header.path.name for header in headers) if enhanced is None else (enhanced.path.name,),
        frames=None if enhanced is None else tuple(header.frame or 0 for header in headers),
        shape=first.shape,
        plane=_plane(first),
        pixel_spacing_mm=first.pixel_spacing_mm,
        slice_spacing_mm=spacing,
        gaps=gaps,
        phase_images=n_phase,
        fingerprint=digest.hexdigest(),
    )


def _files(folder: SeriesFolder) -> list[Path]:
    try:
        paths = sorted(path for path in folder.directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _fault(
            folder,
            folder.directory,
            f"expected a folder of DICOM files, found one that cannot be read ({error.strerror}). Mend or remove it",
        ) from error
    if not paths:
        raise _fault(
            folder, folder.directory, "expected DICOM files, found an empty series. Restore it or exclude the patient"
        )
    for path in paths:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "a link to nowhere" if path.is_symlink() else "no regular file"
            raise _fault(folder, path, f"expected a DICOM file, found {found}. Restore the file or remove it")
    return paths


def _plane(header: SliceHeader) -> str:
    if header.orientation is None or not geometry.is_orientation(header.orientation):
        return "unknown"
    return geometry.plane(header.orientation)


def _read(folder: SeriesFolder, path: Path) -> list[SliceHeader]:
    try:
        return read_headers(path)
    except HeaderError as error:
        raise _fault(
            folder, path, f"expected a DICOM slice, found {error}. Replace the file or exclude the patient"
        ) from error
    except OSError as error:
        raise _fault(folder, path, f"cannot be read ({error.strerror}). Check the file and its rights") from error


def _order(folder: SeriesFolder, headers: list[SliceHeader]) -> tuple[np.ndarray, np.ndarray]:
    for header in headers:
        _check_place(folder, header)
    orientation = np.asarray(headers[0].orientation)
    for header in headers:
        if np.abs(np.asarray(header.orientation) - orientation).max() > geometry.ORIENTATION_TOLERANCE:
            raise _fault(
                folder,
                header.path,
                f"expected the orientation of {headers[0].path.name}, found another: mixed orientations. "
                "Keep the files of one series here",
            )
    positions = np.array([header.position for header in headers])
    locations_mm = geometry.slice_locations_mm(positions, orientation)
    order = np.argsort(locations_mm, kind="stable")
    for before, after in itertools.pairwise(order):
        if locations_mm[after] - locations_mm[before] < geometry.POSITION_TOLERANCE_MM:
            raise _fault(
                folder,
                headers[after].path,
                f"expected one slice a position, found {headers[before].path.name} at the same position "
                f"({locations_mm[after]:.2f} mm): duplicate slices. Keep one of each",
            )
    return order, locations_mm[order]


def _check_place(folder: SeriesFolder, header: SliceHeader) -> None:
    if header.position is None or header.orientation is None:
        lacking = "ImagePositionPatient" if header.position is None else "ImageOrientationPatient"
        expected, found = "ImagePositionPatient and ImageOrientationPatient", f"no {lacking}"
    elif np.abs(header.position).max() > geometry.POSITION_LIMIT_MM:
        expected = f"an ImagePositionPatient within {geometry.POSITION_LIMIT_MM:.0f} mm"
        found = f"{header.position.tolist()}"
    elif not geometry.is_orientation(header.orientation):
        expected = "an ImageOrientationPatient of two unit vectors at right angles"
        found = f"{header.orientation.tolist()}"
    else:
        return
    raise _fault(
        folder,
        header.path,
        f"expected {expected}, found {found}: the slice order is unknown. Restore the tag or exclude the patient",
    )


def _size(header: SliceHeader) -> str:
    return f"{header.shape[0]} x {header.shape[1]} pixels"


def _fault(folder: SeriesFolder, path: Path, text: str) -> CohortError:
    return CohortError(f"patient {folder.patient_id}, {folder.modality}: {path}: {text}.")
