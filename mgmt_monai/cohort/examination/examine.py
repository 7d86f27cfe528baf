"""One series, read: its headers, and its pixels where asked; whatever is wrong becomes a finding, nothing an error."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from mgmt_monai.cohort.examination import header_checks
from mgmt_monai.cohort.examination.content import ContentError, SeriesContent, read_content
from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.files import geometry
from mgmt_monai.cohort.files.headers import HeaderError, SliceHeader, read_headers
from mgmt_monai.cohort.files.nifti import NiftiHeader, read_nifti
from mgmt_monai.cohort.files.person import Person, people_of, place_of
from mgmt_monai.cohort.files.tags import FileTags
from mgmt_monai.cohort.files.unfetched import unfetched
from mgmt_monai.cohort.findings import Finding, Severity, counted
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.layouts.passed_over import is_passed_over
from mgmt_monai.cohort.records import SeriesRecord
from mgmt_monai.cohort.series import is_nifti
from mgmt_monai.machine import check_machine

#: Below this many slices the middle 20 % is one slice (``middle_slices`` rounds 0.2 * 7 to 1).
FEW_SLICES = 8

#: A share of blank slices that is worth telling although the middle 20 % has none: the outermost slices of a head scan
#: lie outside the head, up to a quarter of them.
BLANK_SHARE = 0.5

#: A share of the tissue at the highest value that is no longer a bright spot.
CLIPPED_SHARE = 0.01


#: What turns stored values into those that a model sees.
_SHOWN = (
    "RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "PixelPaddingValue", "PixelPaddingRangeLimit",
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

    Raises:
        MachineError: The machine does not give a file: nothing is known of the series.
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
    """The exam of a series that no reader survived."""
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
        self.study = self.patient_tag = self.before = ""
        self.people: tuple[Person, ...] = ()
        self.place = ("", "")
        self.identifying: tuple[str, ...] = ()
        self.content: SeriesContent | None = None
        self.header: list[FileTags] | NiftiHeader | None = None  # of each slice of the record, or of its volume

    def result(self) -> SeriesExam:
        found = self.found
        has_error = any(finding.kind.severity is Severity.ERROR for finding in self.findings)
        record = None if has_error else self.record
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
            people=self.people,
            identifying=self.identifying,
            content=self.content,
            place=self.place,
            before=self.before,
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
                with os.scandir(directory) as entries:
                    named = sorted((e for e in entries if not is_passed_over(e.name)), key=attrgetter("name"))
                if named and all(entry.is_file(follow_symlinks=False) for entry in named):  # as the folder says
                    return [directory / entry.name for entry in named]
                paths = [directory / entry.name for entry in named]
            except OSError as error:
                check_machine(error, directory)
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
                if pointer := unfetched(path):
                    self.tell("D049", path, f"expected a file of the series, found {pointer}")
                    continue
                nowhere = path.is_symlink() and not path.exists()
                what = "a folder" if path.is_dir() else "a link to nowhere" if nowhere else "no regular file"
            except OSError as error:  # a name that no file can have
                check_machine(error, path)
                self.tell("D001", path, f"expected a file of the series, found it unreadable ({_why(error)})")
                continue
            self.tell("D019", path, f"expected a file of the series, found {what}")
        return kept

    def nifti(self, path: Path) -> None:
        try:
            header = self.header = read_nifti(path)
        except HeaderError as error:
            pointer = unfetched(path)
            self.tell("D049" if pointer else error.finding, path, f"expected a NIfTI volume, found {pointer or error}")
            return
        except OSError as error:
            check_machine(error, path)
            self.tell("D001", path, f"expected a NIfTI volume, found it unreadable ({_why(error)})")
            return
        if not header.placed and header.n_slices > 1:
            self.tell("D010", path, "expected a qform_code or a sform_code above 0, found 0 in both")
        if header.other_place:
            self.tell("D050", path, f"expected sform and qform at one place, found {header.other_place}; sform is read")
        for doubt in header.doubts:
            self.tell("D055", path, f"expected {doubt}")
        if header.stored_plane:
            text = f"found equal spacing, none, and {header.stored_plane} slices by the order of storage; read as axial"
            self.tell("D054", path, f"expected a spacing or a dim_info that shows the acquired slices, {text}")
        # What is read as axial has the fingerprint of manifests from before other planes were told.
        plane = "" if header.orientation in ("", "LPS") else f"\0{header.orientation}"
        identity = f"{path.name}\0{header.size_bytes}\0{header.affine.tolist()}{plane}"
        self.before, fingerprint = (
            hashlib.sha256(f"{identity}{told}\n".encode("utf-8", "replace")).hexdigest()
            for told in ("", f"\0{header.slope}\0{header.intercept}")
        )
        self._keep(
            path,
            files=[path.relative_to(self.found.directory).as_posix()],
            n_slices=header.n_slices,
            rows=header.rows,
            columns=header.columns,
            plane=header.plane,
            orientation=header.orientation,
            pixel_spacing_mm=list(header.pixel_spacing_mm),
            slice_spacing_mm=header.slice_spacing_mm,
            fingerprint=fingerprint,
        )

    def dicom(self, paths: Sequence[Path]) -> None:
        headers = self._read(paths)
        if not headers:
            return
        directory = self.found.directory
        if self.found.frames is not None:
            frames = set(self.found.frames)
            headers = [header for header in headers if header.frame in frames]
            if not headers:
                self.tell("D003", paths[0], f"expected {len(frames)} frames of the file, found none of them")
                return
        headers, n_phase = self._magnitude(headers)
        self._tell_all(header_checks.acquisition_faults(headers, len(paths), directory))
        self.facts = header_checks.facts(headers)
        self.study = header_checks.hashed(headers, "StudyInstanceUID")
        self.patient_tag = header_checks.hashed(headers, "PatientID")
        self.people = people_of(header.tags.values for header in headers)
        self.place = place_of(header.tags.values for header in headers)
        self.identifying = header_checks.identifying(headers, self.found.patient_id)
        self._tell_all(header_checks.tag_faults(headers, self.found.modality, directory))
        order, locations_mm, fault = header_checks.order_along_normal(headers)
        if fault is not None and not (fault[0] == "D009" and self._has("D006", "D007")):  # that explains it
            self.tell(*fault)
        headers = [headers[i] for i in order]
        if not self._has("D001", "D002", "D004"):  # what is missing there has been told
            self._tell_all(header_checks.step_faults(headers, locations_mm, directory))
        if not self._has("D005", "D006", "D007"):
            self._tell_all(header_checks.volume_faults(headers, locations_mm, directory))
        first = headers[0]
        plane, codes = "unknown", ""
        if first.orientation is not None and geometry.is_orientation(first.orientation):
            plane, codes = geometry.plane(first.orientation), geometry.direction_codes(first.orientation)
        multi_frame = first.frame is not None
        self.header = [header.tags for header in headers]
        within = len(directory.joinpath("x").as_posix()) - 1
        names = [header.path.as_posix()[within:] for header in headers]
        self.before, fingerprint = _fingerprints(headers, names)
        self._keep(
            directory,
            files=names[:1] if multi_frame else names,
            frames=[header.frame or 0 for header in headers] if multi_frame else None,
            n_slices=len(headers),
            rows=first.shape[0],
            columns=first.shape[1],
            plane=plane,
            orientation=codes,
            pixel_spacing_mm=None if first.pixel_spacing_mm is None else list(first.pixel_spacing_mm),
            slice_spacing_mm=geometry.median(np.diff(locations_mm)) if len(locations_mm) > 1 else None,
            gaps=[list(gap) for gap in geometry.gaps(locations_mm)],
            phase_images=n_phase,
            study=self.study,
            fingerprint=fingerprint,
        )

    def pixels(self, record: SeriesRecord, identity: bool) -> None:
        # Here, where a failure is the machine's: Pillow passes over a kind of picture that it cannot load.
        import PIL.JpegImagePlugin  # noqa: F401
        import scipy.ndimage  # noqa: F401

        files = [self.found.directory / name for name in record.files]
        try:
            self.content = content = read_content(files, record.frames, self.header, identity)
        except ContentError as error:
            self.tell(error.finding, error.path, f"expected an image, found {error}")
            return
        except OSError as error:
            check_machine(error, files[0])
            self.tell("D026", files[0], f"expected an image, found it unreadable ({_why(error)})")
            return
        where = files[0] if len(files) == 1 else self.found.directory
        if content.constant:
            self.tell("D021", where, f"expected an image, found the value {content.low:g} in every pixel")
        elif content.n_blank_middle or content.n_empty or content.n_blank > BLANK_SHARE * record.n_slices:
            text = f"{content.n_blank} of {record.n_slices} slices blank ({content.n_blank / record.n_slices:.0%})"
            empty = f", {content.n_empty} all NaN or padding" if content.n_empty else ""
            self.tell(
                "D020", where, f"expected anatomy, found {text}{empty}, {content.n_blank_middle} in the middle 20 %"
            )
        if content.clipped > CLIPPED_SHARE:
            text = f"found {content.clipped:.1%} of the tissue at the highest value ({content.high:g})"
            self.tell("D022", where, f"expected at most {CLIPPED_SHARE:.0%}, {text}")
        if content.n_cut:
            text = f"found some in {counted(content.n_cut, 'pixel')}, which are cut off"
            self.tell("D027", where, f"expected no bits above BitsStored, {text}")
        for finding_id, text in content.faults:
            self.tell(finding_id, where, text)
        if content.background:
            self.tell("D052", where, f"expected 0, the lowest value, outside the head, found {content.background}")

    def _keep(self, where: Path, **geometry_and_files: Any) -> None:
        """Make the record, and tell what is odd about how the series lies."""
        values: dict[str, Any] = {"frames": None, "gaps": [], "phase_images": 0, "study": "", **geometry_and_files}
        self.record = record = SeriesRecord(
            directory=relative(self.found.directory, self.data_dir),
            reason=self.found.reason,
            whole_folder=self.found.files is None,
            **values,
        )
        if record.n_slices < FEW_SLICES:
            self.tell("D015", where, f"expected at least {FEW_SLICES} slices, found {record.n_slices}")
        if record.plane == "oblique":
            limit = f"{geometry.OBLIQUE_LIMIT_DEG:.0f} degrees"
            self.tell("D013", where, f"expected slices within {limit} of a body axis, found more")
        expected, codes = geometry.RADIOLOGICAL.get(record.plane), record.orientation
        if expected is not None and codes[:2] != expected:
            text = f"expected rows to {expected[0]} and columns to {expected[1]}, found {codes[0]} and {codes[1]}"
            self.tell("D014", where, f"{text} in {'an' if record.plane == 'axial' else 'a'} {record.plane} series")

    def _has(self, *finding_ids: str) -> bool:
        return any(finding.id in finding_ids for finding in self.findings)

    def _tell_all(self, faults: Iterable[header_checks.Told]) -> None:
        for fault in faults:
            self.tell(*fault)

    def _read(self, paths: Sequence[Path]) -> list[SliceHeader]:
        headers: list[SliceHeader] = []
        faults: dict[str, list[tuple[Path, str]]] = {}
        for path in paths:
            try:
                headers += read_headers(path)
            except HeaderError as error:
                pointer = unfetched(path)
                faults.setdefault("D049" if pointer else error.finding, []).append((path, pointer or str(error)))
            except OSError as error:
                check_machine(error, path)
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


def _fingerprints(headers: Sequence[SliceHeader], names: Sequence[str]) -> tuple[str, str]:
    """Of the files alone, as older manifests have it, and with what turns their values into those that are seen."""
    files, shown = hashlib.sha256(), hashlib.sha256()
    for header, name in zip(headers, names, strict=True):
        # A file name need not be valid UTF-8.
        line = os.fsencode(f"{name}\0{header.frame}\0{header.size_bytes}\0{header.uid}")
        told = [header.tags.values.get(tag, "") for tag in _SHOWN]
        files.update(line + b"\n")
        shown.update(line + os.fsencode("".join([f"\0{value}" for value in told])) + b"\n")
    return files.hexdigest(), shown.hexdigest()


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
