"""One series, read: its headers, and its pixels where asked; whatever is wrong becomes a finding, nothing an error."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mgmt_monai.cohort.examination.content import ContentError, SeriesContent, read_content
from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.files import geometry
from mgmt_monai.cohort.files.headers import HeaderError, SliceHeader, read_headers
from mgmt_monai.cohort.files.nifti import read_nifti
from mgmt_monai.cohort.files.tags import FileTags
from mgmt_monai.cohort.files.values import finite
from mgmt_monai.cohort.findings import Finding, Severity, counted
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.layouts.sequence import contradiction
from mgmt_monai.cohort.records import SeriesRecord
from mgmt_monai.cohort.series import is_nifti

#: Below this many slices the middle 20 % is one slice (``middle_slices`` rounds 0.2 * 7 to 1).
FEW_SLICES = 8

#: Echo times of one echo differ by less than this share; echoes of one series are milliseconds apart.
ECHO_TOLERANCE = 0.05

#: A share of blank slices that is worth telling although the middle 20 % has none: the outermost slices of a head scan
#: lie outside the head, up to a quarter of them.
BLANK_SHARE = 0.5

#: A share of the tissue at the highest value that is no longer a bright spot.
CLIPPED_SHARE = 0.01

#: Transfer syntaxes that always lose information (PS3.5 10): JPEG Baseline and Extended, JPEG-LS Near-lossless, and the
#: lossy JPEG 2000 and HTJ2K say so in LossyImageCompression.
LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")

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


def examine_series(found: FoundSeries, data_dir: Path, pixels: bool, identity: bool = True) -> SeriesExam:
    """Read every header of a series, and its pixels where asked; whatever is wrong becomes a finding.

    Args:
        found: The series. Hidden entries of its folder are passed over.
        data_dir: What paths are told relative to.
        pixels: Whether pixels are read too.
        identity: Whether what the same images are found by is made of the pixels.

    Returns:
        The exam; its record is None where a finding is an error.
    """
    exam = _Examination(found, data_dir)
    paths = exam.files()
    if len(paths) == 1 and is_nifti(paths[0].name):
        exam.nifti(paths[0])
    elif paths:
        exam.dicom(paths)
    if pixels and exam.record is not None:
        exam.pixels(exam.record, identity)
    return exam.result()


def lost_series(found: FoundSeries, data_dir: Path, reason: str) -> SeriesExam:
    """The exam of a series that no reader survived.

    Args:
        found: The series.
        data_dir: What paths are told relative to.
        reason: What happened, in words.
    """
    exam = _Examination(found, data_dir)
    exam.tell("D001", found.directory, f"expected a readable series, found that {reason}")
    return exam.result()


class _Examination:
    """The findings of one series as they gather."""

    def __init__(self, found: FoundSeries, data_dir: Path) -> None:
        self.found, self.data_dir = found, data_dir
        self.record: SeriesRecord | None = None
        self.findings: list[Finding] = []
        self.facts: dict[str, str] = {}
        self.study = self.patient_tag = ""
        self.identifying: tuple[str, ...] = ()
        self.content: SeriesContent | None = None
        self.tags: list[FileTags] | None = None  # of the record's files, where each is one slice

    def result(self) -> SeriesExam:
        found = self.found
        record = None if self._has_error() else self.record
        if record is not None and self.content is not None:
            record = replace(record, digests=self.content.digests, signature=self.content.signature)
        return SeriesExam(
            patient_id=found.patient_id,
            modality=found.modality,
            reason=found.reason,
            directory=relative(found.directory, self.data_dir),
            record=record,
            findings=tuple(self.findings),
            facts=self.facts,
            study=self.study,
            patient_tag=self.patient_tag,
            identifying=self.identifying,
            content=self.content,
        )

    def tell(self, finding_id: str, path: Path, text: str) -> None:
        where = relative(path, self.data_dir)
        self.findings.append(Finding(finding_id, self.found.patient_id, self.found.modality, where, text))

    def files(self) -> list[Path]:
        """The files of the series, sorted by name; entries that are none become findings."""
        directory = self.found.directory
        if self.found.files is not None:
            paths = [directory / name for name in self.found.files]
        else:
            try:
                paths = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
            except OSError as error:
                self.tell("D001", directory, f"expected a folder of DICOM files, found it unreadable ({_why(error)})")
                return []
            if not paths:
                self.tell("D003", directory, "expected DICOM files, found an empty series")
        kept = []
        for path in paths:
            try:
                if path.is_file():
                    kept.append(path)
                    continue
                nowhere = path.is_symlink() and not path.exists()
                what = "a folder" if path.is_dir() else "a link to nowhere" if nowhere else "no regular file"
            except OSError as error:  # no right to look, a name that no file can have
                self.tell("D001", path, f"expected a file of the series, found it unreadable ({_why(error)})")
                continue
            self.tell("D019", path, f"expected a file of the series, found {what}")
        return kept

    def nifti(self, path: Path) -> None:
        try:
            header = read_nifti(path)
        except HeaderError as error:
            self.tell(error.finding, path, f"expected a NIfTI volume, found {error}")
            return
        except OSError as error:
            self.tell("D001", path, f"expected a NIfTI volume, found it unreadable ({_why(error)})")
            return
        self._few(path, header.n_slices)
        self._oblique(path, header.plane)
        digest = hashlib.sha256(
            f"{path.name}\0{header.size_bytes}\0{header.affine.tolist()}\n".encode("utf-8", "replace")
        )
        self.record = SeriesRecord(
            directory=relative(self.found.directory, self.data_dir),
            files=[path.relative_to(self.found.directory).as_posix()],
            frames=None,
            n_slices=header.n_slices,
            rows=header.rows,
            columns=header.columns,
            plane=header.plane,
            orientation=header.orientation,
            pixel_spacing_mm=list(header.pixel_spacing_mm),
            slice_spacing_mm=header.slice_spacing_mm,
            gaps=[],
            phase_images=0,
            reason=self.found.reason,
            whole_folder=self.found.files is None,
            study="",
            fingerprint=digest.hexdigest(),
        )

    def dicom(self, paths: Sequence[Path]) -> None:
        headers = self._read(paths)
        if not headers:
            return
        headers, n_phase = self._magnitude(headers)
        self._one_acquisition(headers, n_files=len(paths))
        self._tags(headers)
        order, locations_mm = self._order(headers)
        headers = [headers[i] for i in order]
        first, spacing, gaps = headers[0], None, []
        if len(locations_mm) > 1:
            spacing = float(np.median(np.diff(locations_mm)))
            gaps = geometry.gaps(locations_mm)
            self._steps(headers, locations_mm, gaps)
        plane, codes = "unknown", ""
        if first.orientation is not None and geometry.is_orientation(first.orientation):
            plane, codes = geometry.plane(first.orientation), geometry.direction_codes(first.orientation)
        directory = self.found.directory
        self._few(directory, len(headers))
        self._oblique(directory, plane)
        self._flipped(directory, plane, codes)
        multi_frame = first.frame is not None
        self.tags = None if multi_frame else [header.tags for header in headers]
        names = [header.path.relative_to(directory).as_posix() for header in headers]
        self.record = SeriesRecord(
            directory=relative(directory, self.data_dir),
            files=names[:1] if multi_frame else names,
            frames=[header.frame or 0 for header in headers] if multi_frame else None,
            n_slices=len(headers),
            rows=first.shape[0],
            columns=first.shape[1],
            plane=plane,
            orientation=codes,
            pixel_spacing_mm=None if first.pixel_spacing_mm is None else list(first.pixel_spacing_mm),
            slice_spacing_mm=spacing,
            gaps=[list(gap) for gap in gaps],
            phase_images=n_phase,
            reason=self.found.reason,
            whole_folder=self.found.files is None,
            study=self.study,
            fingerprint=_fingerprint(headers, names),
        )

    def pixels(self, record: SeriesRecord, identity: bool) -> None:
        files = [self.found.directory / name for name in record.files]
        try:
            self.content = content = read_content(files, record.frames, self.tags, identity)
        except ContentError as error:
            self.tell(error.finding, error.path, f"expected an image, found {error}")
            return
        except OSError as error:
            self.tell("D026", files[0], f"expected an image, found it unreadable ({_why(error)})")
            return
        where = files[0] if len(files) == 1 else self.found.directory
        if content.constant:
            self.tell("D021", where, f"expected an image, found the value {content.low:g} in every pixel")
        elif content.n_blank_middle or content.n_blank > BLANK_SHARE * record.n_slices:
            text = f"{content.n_blank} of {record.n_slices} slices blank ({content.n_blank / record.n_slices:.0%})"
            self.tell("D020", where, f"expected anatomy, found {text}, {content.n_blank_middle} in the middle 20 %")
        if content.clipped > CLIPPED_SHARE:
            text = f"found {content.clipped:.1%} of the tissue at the highest value ({content.high:g})"
            self.tell("D022", where, f"expected at most {CLIPPED_SHARE:.0%}, {text}")

    def _has_error(self) -> bool:
        return any(finding.kind.severity is Severity.ERROR for finding in self.findings)

    def _read(self, paths: Sequence[Path]) -> list[SliceHeader]:
        headers: list[SliceHeader] = []
        faults: dict[str, list[tuple[Path, str]]] = {}
        for path in paths:
            try:
                headers += read_headers(path)
            except HeaderError as error:
                faults.setdefault(error.finding, []).append((path, str(error)))
            except OSError as error:
                faults.setdefault("D001", []).append((path, f"it unreadable ({_why(error)})"))
        for finding_id, found in faults.items():
            path, text = found[0]
            more = f", and {counted(len(found) - 1, 'more such file')}" if len(found) > 1 else ""
            self.tell(finding_id, path, f"expected a DICOM slice, found {text}{more}")
        return headers

    def _magnitude(self, headers: list[SliceHeader]) -> tuple[list[SliceHeader], int]:
        magnitude = [header for header in headers if not header.is_phase]
        n_phase = len(headers) - len(magnitude)
        if not magnitude or not n_phase:
            return headers, 0
        self.tell(
            "D016",
            self.found.directory,
            f"expected magnitude images alone, found {counted(n_phase, 'phase image')} too",
        )
        return magnitude, n_phase

    def _one_acquisition(self, headers: Sequence[SliceHeader], n_files: int) -> None:
        first = headers[0]
        enhanced = next((header for header in headers if header.frame is not None), None)
        if enhanced is not None and n_files > 1:
            self.tell("D006", enhanced.path, f"expected a multi-frame file alone, found {n_files} files")
        for header in headers:
            if header.shape != first.shape:
                text = f"expected {_size(first)} as in {first.path.name}, found {_size(header)}"
                self.tell("D005", header.path, text)
                break
        series = _by_value(headers, "SeriesInstanceUID")
        if len(series) > 1:
            other = next(iter(list(series.values())[1:]))
            text = f"expected one SeriesInstanceUID, found {len(series)}: {other.path.name} is of another series"
            self.tell("D006", other.path, f"{text} than {first.path.name}")
        echoes = sorted({_number(header, "EchoTime") for header in headers} - {None}, key=lambda value: value or 0.0)
        apart = [b for a, b in itertools.pairwise(echoes) if a and b and b / a > 1 + ECHO_TOLERANCE]
        if apart and len(series) <= 1:
            times = ", ".join(f"{value:g}" for value in echoes[:5])
            self.tell("D007", self.found.directory, f"expected one EchoTime, found {times} ms")

    def _order(self, headers: Sequence[SliceHeader]) -> tuple[Sequence[int], np.ndarray]:
        """The order along the normal and the locations in it, mm; the given order where there is no other."""
        unordered = range(len(headers)), np.empty(0)
        if len(headers) == 1:
            return unordered
        misplaced = next((header for header in headers if _misplaced(header) is not None), None)
        if misplaced is not None:
            self.tell("D010", misplaced.path, _misplaced(misplaced) or "")
            return unordered
        orientations = np.array([header.orientation for header in headers])
        off = np.abs(orientations - orientations[0]).max(axis=1) > geometry.ORIENTATION_TOLERANCE
        if off.any():
            other = headers[int(off.argmax())].path
            others = counted(int(off.sum()), "file")
            text = f"expected the orientation of {headers[0].path.name}, found another in {others}"
            self.tell("D008", other, text)
            return unordered
        positions = np.array([header.position for header in headers])
        locations_mm = geometry.slice_locations_mm(positions, orientations[0])
        order = np.argsort(locations_mm, kind="stable")
        ordered = locations_mm[order]
        same = np.flatnonzero(np.diff(ordered) < geometry.POSITION_TOLERANCE_MM)
        if len(same):
            if not any(finding.id in ("D006", "D007") for finding in self.findings):
                before, after = headers[order[same[0]]].path, headers[order[same[0] + 1]].path
                pairs = counted(len(same), "such pair")
                text = f"found {before.name} at the same position ({ordered[same[0]]:.2f} mm), {pairs}"
                self.tell("D009", after, f"expected one slice a position, {text}")
            return unordered
        return [int(i) for i in order], ordered

    def _steps(self, headers: Sequence[SliceHeader], locations_mm: np.ndarray, gaps: Sequence[tuple[int, int]]) -> None:
        if any(finding.id in ("D001", "D002", "D004") for finding in self.findings):
            return  # what is missing there has been told
        steps = np.diff(locations_mm)
        spacing = float(np.median(steps))
        if gaps:
            missing = sum(count for _, count in gaps)
            before = gaps[0][0]
            where = f"{_name(headers[before])} and {_name(headers[before + 1])} lie {steps[before]:.2f} mm apart"
            found = f"{missing} missing in {counted(len(gaps), 'gap')} ({where})"
            text = f"expected a slice every {spacing:.2f} mm, found {found}"
            self.tell("D011", self.found.directory, text)
        uneven = geometry.uneven_steps(locations_mm)
        if uneven:
            odd = steps[uneven]
            text = f"expected a slice every {spacing:.2f} mm, found steps from {odd.min():.2f} to {odd.max():.2f} mm"
            self.tell("D012", self.found.directory, text)

    def _few(self, path: Path, n_slices: int) -> None:
        if n_slices < FEW_SLICES:
            self.tell("D015", path, f"expected at least {FEW_SLICES} slices, found {n_slices}")

    def _oblique(self, path: Path, plane: str) -> None:
        if plane == "oblique":
            limit = f"{geometry.OBLIQUE_LIMIT_DEG:.0f} degrees"
            self.tell("D013", path, f"expected slices within {limit} of a body axis, found more")

    def _flipped(self, path: Path, plane: str, codes: str) -> None:
        expected = geometry.RADIOLOGICAL.get(plane)
        if expected is not None and codes[:2] != expected:
            text = f"expected rows to {expected[0]} and columns to {expected[1]}, found {codes[0]} and {codes[1]}"
            self.tell(
                "D014", path, f"{text} in an {plane} series" if plane == "axial" else f"{text} in a {plane} series"
            )

    def _tags(self, headers: Sequence[SliceHeader]) -> None:
        directory = self.found.directory
        for name in FACTS:
            values = _by_value(headers, name)
            if values:
                self.facts[name] = next(iter(values)) if len(values) == 1 else "varies"
        self.study = _hashed(_by_value(headers, "StudyInstanceUID"))
        self.patient_tag = _hashed(_by_value(headers, "PatientID"))
        self.identifying = tuple(self._identifying(headers))
        modalities = _by_value(headers, "Modality")
        if list(modalities) != ["MR"]:
            self.tell("D017", directory, f"expected Modality MR, found {', '.join(modalities) or 'none'}")
        speaks = contradiction(headers[0].tags.values, self.found.modality)
        if speaks is not None:
            self.tell("D018", directory, f"expected tags of {self.found.modality}, found {speaks}")
        bits = _by_value(headers, "BitsStored")
        if any(value.isdigit() and int(value) <= 8 for value in bits):
            self.tell("D023", directory, f"expected more than 8 bits a pixel, found BitsStored {', '.join(bits)}")
        lossy = [h for h in headers if _text(h, "LossyImageCompression") == "01" or h.tags.syntax in LOSSY_SYNTAXES]
        if lossy:
            text = f"found lossy compression in {len(lossy)} of {len(headers)} slices"
            self.tell("D024", lossy[0].path, f"expected uncompressed or lossless pixels, {text}")
        pairs = {(_number(h, "RescaleSlope"), _number(h, "RescaleIntercept")) for h in headers}
        if len(pairs) > 1:
            lacking = sum(_number(h, "RescaleSlope") is None for h in headers)
            what = f"none in {lacking} of {len(headers)} slices" if lacking else f"{len(pairs)} pairs"
            self.tell("D025", directory, f"expected one rescale slope and intercept, found {what}")

    def _identifying(self, headers: Sequence[SliceHeader]) -> Iterable[str]:
        for name in IDENTIFYING:
            for header in headers:
                value = _text(header, name)
                # De-identified sets repeat the pseudonym as the name: that names nobody.
                if value and value not in (self.found.patient_id, _text(header, "PatientID")):
                    yield name
                    break
        if any(header.tags.private for header in headers):
            yield "private tags"


def relative(path: Path, data_dir: Path) -> str:
    """The path below the data directory, with ``/``; as it is where it lies elsewhere.

    Args:
        path: A file or folder.
        data_dir: The cohort's folder.
    """
    try:
        return path.relative_to(data_dir).as_posix()
    except ValueError:
        return path.as_posix()


def _fingerprint(headers: Sequence[SliceHeader], names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for header, name in zip(headers, names, strict=True):
        line = f"{name}\0{header.frame}\0{header.size_bytes}\0{header.uid}\n"
        digest.update(os.fsencode(line))  # a file name need not be valid UTF-8
    return digest.hexdigest()


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
    for header in headers:
        value = _text(header, name)
        if value:
            values.setdefault(value, header)
    return values


def _text(header: SliceHeader, name: str) -> str:
    return str(header.tags.values.get(name, ""))


def _number(header: SliceHeader, name: str) -> float | None:
    return finite(_text(header, name))


def _hashed(values: Iterable[str]) -> str:
    text = "\0".join(sorted(values))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12] if text else ""


def _name(header: SliceHeader) -> str:
    return header.path.name if header.frame is None else f"frame {header.frame}"


def _size(header: SliceHeader) -> str:
    return f"{header.shape[0]} x {header.shape[1]} pixels"


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
