"""What the headers of a DICOM series say when they are held against each other: order, steps, tags, facts."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mgmt_monai.cohort.files import geometry
from mgmt_monai.cohort.files.headers import SliceHeader
from mgmt_monai.cohort.files.values import finite, told
from mgmt_monai.cohort.findings import counted
from mgmt_monai.cohort.layouts.acquisitions import Slice, acquisitions, interleaved, is_one, taken
from mgmt_monai.cohort.layouts.sequence import contradiction

#: Echo times of one echo differ by less than this share; echoes of one series are milliseconds apart.
ECHO_TOLERANCE = 0.05

#: Slices further apart than this multiple of their thickness are those of every second or tenth place.
THINNEST_SHARE = 4

#: Transfer syntaxes that always lose information (PS3.5 10): JPEG Baseline and Extended, JPEG-LS Near-lossless, and the
#: lossy JPEG 2000 and HTJ2K say so in LossyImageCompression.
LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")

#: Tags whose values have an order and a distance.
NUMERIC_TAGS = ("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "SliceThickness")

#: What tables and tests are made of; the same in every slice of a sound series.
FACTS = (
    "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength", "SeriesDescription", "MRAcquisitionType",
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "SliceThickness", "BitsStored",
)  # fmt: skip

#: Names a person or where one was treated (PS3.15 annex E lists them all); presence is told, never a value.
IDENTIFYING = (
    "PatientName", "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "PatientMotherBirthName",
    "OtherPatientIDs", "OtherPatientNames", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "ReferringPhysicianName", "PerformingPhysicianName", "PhysiciansOfRecord", "RequestingPhysician", "OperatorsName",
)  # fmt: skip

Told = tuple[str, Path, str]
"""Kind of finding, file or folder, text."""


def acquisition_faults(headers: Sequence[SliceHeader], n_files: int, directory: Path) -> Iterator[Told]:
    """What shows that these are not the slices of one acquisition: D005 to D007, D056; D053 where many UIDs are one.

    Args:
        headers: Of all slices, at least one, in any order.
        n_files: How many files the series has.
        directory: Its folder.
    """
    first = headers[0]
    enhanced = next((header for header in headers if header.frame is not None), None)
    if enhanced is not None and n_files > 1:
        yield "D006", enhanced.path, f"expected a multi-frame file alone, found {n_files} files"
    others = [header for header in headers if not _as_large(header, first)]
    if others:
        size = _size if others[0].shape != first.shape else _spacing
        found = f"found {size(others[0])} in {counted(len(others), 'slice')}"
        yield "D005", others[0].path, f"expected {size(first)} as in {first.path.name}, {found}"
    slices = [
        Slice(h.path, h.frame, h.tags.values, _text(h, "ImagePositionPatient"), taken(h.tags.values)) for h in headers
    ]
    series: dict[str, list[Slice]] = {}
    for one in slices:
        series.setdefault(str(one.values.get("SeriesInstanceUID", "")), []).append(one)
    if len(series) > 1 and not is_one(list(series.values())):
        path = list(series.values())[1][0].path
        text = f"expected one SeriesInstanceUID, found {len(series)}: {path.name} is of another series"
        yield "D006", path, f"{text} than {first.path.name}"
        return  # so may its echo time be
    if len(series) > 1:
        text = f"expected one SeriesInstanceUID, found {len(series)} of one acquisition, which are read as one series"
        yield "D053", directory, text
    parts = acquisitions(slices)
    if len(parts) > 1 and parts[0].by not in ("EchoTime", "EchoNumbers"):
        sizes = " and ".join(counted(len(part.slices), "slice") for part in parts[:5])
        yield "D006", directory, f"expected one acquisition, found {len(parts)} told apart by {parts[0].by}: {sizes}"
    elif len(parts) == 1 and (by := interleaved(slices)):
        yield "D056", directory, f"expected one acquisition, found several in one stack, by {by}"
    echoes = sorted({_number(header, "EchoTime") for header in headers} - {None}, key=lambda value: value or 0.0)
    if any(a and b and b / a > 1 + ECHO_TOLERANCE for a, b in itertools.pairwise(echoes)):
        times = ", ".join(f"{value:g}" for value in echoes[:5])
        yield "D007", directory, f"expected one EchoTime, found {times} ms"


def tag_faults(headers: Sequence[SliceHeader], modality: str, directory: Path) -> Iterator[Told]:
    """What the tags say that speaks against the series: D017, D018, D023 to D025.

    Args:
        headers: Of all slices, at least one.
        modality: What the series is taken for.
        directory: Its folder.
    """
    modalities = _by_value(headers, "Modality")
    if list(modalities) != ["MR"]:
        yield "D017", directory, f"expected Modality MR, found {', '.join(map(told, modalities)) or 'none'}"
    speaks = contradiction(headers[0].tags.values, modality)
    if speaks is not None:
        yield "D018", directory, f"expected tags of {modality}, found {speaks}"
    bits = _by_value(headers, "BitsStored")
    if any(value.isdigit() and int(value) <= 8 for value in bits):
        yield "D023", directory, f"expected more than 8 bits a pixel, found BitsStored {', '.join(map(told, bits))}"
    lossy = [h for h in headers if _text(h, "LossyImageCompression") == "01" or h.tags.syntax in LOSSY_SYNTAXES]
    if lossy:
        text = f"found lossy compression in {len(lossy)} of {len(headers)} slices"
        yield "D024", lossy[0].path, f"expected uncompressed or lossless pixels, {text}"
    pairs = {(_number(h, "RescaleSlope"), _number(h, "RescaleIntercept")) for h in headers}
    if len(pairs) > 1:
        lacking = sum(_number(h, "RescaleSlope") is None for h in headers)
        what = f"none in {lacking} of {len(headers)} slices" if lacking else f"{len(pairs)} pairs"
        yield "D025", directory, f"expected one rescale slope and intercept, found {what}"
    if (slope := next((pair[0] for pair in pairs if pair[0] == 0), None)) is not None:
        yield "D025", directory, f"expected a RescaleSlope other than 0, found {slope:g}, which is taken for 1"
    shown = _by_value(headers, "PhotometricInterpretation")
    if len(shown) > 1:
        yield "D025", directory, f"expected one PhotometricInterpretation, found {' and '.join(map(told, shown))}"


def order_along_normal(headers: Sequence[SliceHeader]) -> tuple[Sequence[int], np.ndarray, Told | None]:
    """The order of the slices along their normal.

    Args:
        headers: Of all slices, at least one.

    Returns:
        Indices into ``headers``, the locations in that order in mm, and what is wrong: D008 to D010. Where something
        is, or there is one slice alone, the order is the one given, without locations.
    """
    given = range(len(headers)), np.empty(0)
    if len(headers) == 1:
        return *given, None
    misplaced = next((header for header in headers if _misplaced(header) is not None), None)
    if misplaced is not None:
        return *given, ("D010", misplaced.path, _misplaced(misplaced) or "")
    orientations = np.array([header.orientation for header in headers])
    off = np.abs(orientations - orientations[0]).max(axis=1) > geometry.ORIENTATION_TOLERANCE
    if off.any():
        others = counted(int(off.sum()), "file")
        text = f"expected the orientation of {headers[0].path.name}, found another in {others}"
        return *given, ("D008", headers[int(off.argmax())].path, text)
    positions = np.array([header.position for header in headers])
    locations_mm = geometry.slice_locations_mm(positions, orientations[0])
    order = np.argsort(locations_mm, kind="stable")
    ordered = locations_mm[order]
    same = np.flatnonzero(np.diff(ordered) < geometry.POSITION_TOLERANCE_MM)
    if len(same):
        before, after = headers[order[same[0]]].path, headers[order[same[0] + 1]].path
        pairs = counted(len(same), "such pair")
        name = before.name if before.name != after.name else f"{before.parent.name}/{before.name}"
        text = f"found {name} at the same position ({ordered[same[0]]:.2f} mm), {pairs}"
        return *given, ("D009", after, f"expected one slice a position, {text}")
    return [int(i) for i in order], ordered, None


def step_faults(headers: Sequence[SliceHeader], locations_mm: np.ndarray, directory: Path) -> Iterator[Told]:
    """Where slices are missing or their steps uneven: D011 and D012.

    Args:
        headers: In geometric order.
        locations_mm: Along the normal, in that order; none where they are not known.
        directory: The series' folder.
    """
    steps = np.diff(locations_mm)
    spacing = geometry.median(steps) if len(steps) else 0.0
    gaps = geometry.gaps(locations_mm)
    if gaps:
        missing = sum(count for _, count in gaps)
        before = gaps[0][0]
        where = f"{_name(headers[before])} and {_name(headers[before + 1])} lie {steps[before]:.2f} mm apart"
        found = f"{missing} missing in {counted(len(gaps), 'gap')} ({where})"
        yield "D011", directory, f"expected a slice every {spacing:.2f} mm, found {found}"
    uneven = geometry.uneven_steps(locations_mm)
    if uneven:
        odd = steps[uneven]
        text = f"expected a slice every {spacing:.2f} mm, found steps from {odd.min():.2f} to {odd.max():.2f} mm"
        yield "D012", directory, text


def volume_faults(headers: Sequence[SliceHeader], locations_mm: np.ndarray, directory: Path) -> Iterator[Told]:
    """What the slices of one volume do not share: D055.

    Args:
        headers: In geometric order.
        locations_mm: Along the normal, in that order; none where they are not known.
        directory: The series' folder.
    """
    if headers[0].pixel_spacing_mm is None:
        yield "D055", directory, "expected a PixelSpacing, found none; pixels are taken for 1 mm wide and high"
    step = geometry.median(np.diff(locations_mm)) if len(locations_mm) > 1 else None
    if side := geometry.impossible_side((*(headers[0].pixel_spacing_mm or ()), step)):
        yield "D055", directory, f"expected {side}"
    thick = sorted(filter(None, (finite(text) for text in _by_value(headers, "SliceThickness"))))
    if thick and thick[-1] > thick[0] * (1 + geometry.UNEVEN_TOLERANCE):
        yield "D055", directory, f"expected one SliceThickness, found {thick[0]:g} to {thick[-1]:g} mm"
    if thick and step is not None and step > THINNEST_SHARE * max(thick[-1], 1):
        yield (
            "D055",
            directory,
            f"expected slices about {thick[-1]:g} mm apart, as thick as they are, found {step:g} mm",
        )
    frames = len(_by_value(headers, "FrameOfReferenceUID"))
    if frames > 1:
        yield "D055", directory, f"expected one FrameOfReferenceUID, found {frames}: places cannot be compared"
    if len(locations_mm) > 2:
        positions = np.array([header.position for header in headers])
        share = (locations_mm - locations_mm[0]) / (locations_mm[-1] - locations_mm[0])
        off = np.linalg.norm(positions - positions[0] - np.outer(share, positions[-1] - positions[0]), axis=1)
        if off.max() > geometry.PLACE_TOLERANCE_MM:
            text = f"found {_name(headers[int(off.argmax())])} {off.max():.1f} mm off, across the normal"
            yield "D055", directory, f"expected slices straight behind each other, {text}"


def facts(headers: Sequence[SliceHeader]) -> dict[str, str]:
    """The value of each tag of `FACTS` that has one, ``varies`` where the slices differ.

    Each is `told`: of free text, in which anything may stand, equal ones have the same six digits.
    """
    by_value = {name: _by_value(headers, name) for name in FACTS}
    return {name: told(next(iter(of))) if len(of) == 1 else "varies" for name, of in by_value.items() if of}


def hashed(headers: Iterable[SliceHeader], name: str) -> str:
    """Twelve hexadecimal digits for the values of a tag, whatever their order; "" where it has none."""
    text = "\0".join(sorted(_by_value(headers, name)))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12] if text else ""


def identifying(headers: Sequence[SliceHeader], patient_id: str) -> tuple[str, ...]:
    """Keywords of the tags of `IDENTIFYING` that have a value, and ``private tags``.

    Args:
        headers: Of all slices.
        patient_id: The patient's name in this cohort. De-identified sets repeat it, or the PatientID, as the name:
            that names nobody.
    """
    names = (*IDENTIFYING, "PatientID")
    told = {tuple(map(header.tags.values.get, names)) for header in headers}
    found = [
        name
        for at, name in enumerate(IDENTIFYING)
        if any(row[at] not in (None, "", patient_id, row[-1]) for row in told)
    ]
    return (*found, *(["private tags"] if any(header.tags.private for header in headers) else []))


def _misplaced(header: SliceHeader) -> str | None:
    """What is wrong with a slice's place in the patient, in words, or None."""
    if header.position is None or header.orientation is None:
        lacking = "ImagePositionPatient" if header.position is None else "ImageOrientationPatient"
        return f"expected ImagePositionPatient and ImageOrientationPatient, found no {lacking}"
    if np.abs(header.position).max() > geometry.POSITION_LIMIT_MM:
        limit = f"{geometry.POSITION_LIMIT_MM:.0f} mm"
        return f"expected an ImagePositionPatient within {limit}, found {header.position.tolist()}"
    if not geometry.is_orientation(header.orientation):
        expected = "expected an ImageOrientationPatient of two unit vectors at right angles"
        return f"{expected}, found {header.orientation.tolist()}"
    return None


def _by_value(headers: Iterable[SliceHeader], name: str) -> dict[str, SliceHeader]:
    """The first slice with each value of a tag that is not empty."""
    values: dict[str, SliceHeader] = {}
    last = None
    for header in headers:
        value = header.tags.values.get(name)
        if value not in (None, "", last):
            values.setdefault(str(value), header)
            last = value
    return values


def _text(header: SliceHeader, name: str) -> str:
    return str(header.tags.values.get(name, ""))


def _number(header: SliceHeader, name: str) -> float | None:
    return finite(_text(header, name))


def _name(header: SliceHeader) -> str:
    return header.path.name if header.frame is None else f"frame {header.frame}"


def _size(header: SliceHeader) -> str:
    return f"{header.shape[0]} x {header.shape[1]} pixels"


def _spacing(header: SliceHeader) -> str:
    spacing = header.pixel_spacing_mm
    return "no PixelSpacing" if spacing is None else f"pixels of {spacing[0]:g} x {spacing[1]:g} mm"


def _as_large(header: SliceHeader, other: SliceHeader) -> bool:
    """Whether two slices have as many pixels, of one size."""
    one, two = header.pixel_spacing_mm, other.pixel_spacing_mm
    if one is None or two is None or one == two:
        return header.shape == other.shape and one == two
    return header.shape == other.shape and bool(np.allclose(one, two, rtol=geometry.SPACING_TOLERANCE, atol=0))
