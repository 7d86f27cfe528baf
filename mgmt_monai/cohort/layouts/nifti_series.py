"""NIfTI files chosen as series are: what a file's name and its side-car say, put as the tags of a series say it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgmt_monai.cohort.files.nifti import read_nifti
from mgmt_monai.cohort.files.person import Person, people_of
from mgmt_monai.cohort.files.tags import HeaderError
from mgmt_monai.cohort.files.values import finite
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts.found import Found, FoundSeries, LeftOut
from mgmt_monai.cohort.layouts.series_choice import Candidate, take_chosen
from mgmt_monai.cohort.series import is_nifti
from mgmt_monai.errors import printable
from mgmt_monai.json_file import JsonFileError, check_json, parse_json
from mgmt_monai.machine import check_machine

#: Of a side-car, under DICOM's keywords; times are in seconds there.
_TAKEN = (
    "Modality", "ImageType", "BodyPartExamined", "SequenceName", "ScanningSequence", "SequenceVariant",
    "MRAcquisitionType", "SeriesNumber", "SliceThickness", "ContrastBolusVolume", "ContrastBolusTotalDose",
    "ContrastBolusStartTime",
)  # fmt: skip
_TIMES_S = ("EchoTime", "RepetitionTime", "InversionTime")

# What an image was registered to says nothing of it: "flair_to_t1", "FLAIR2T1", "t2_reg_t1ce", "FLAIR_T1space".
_IMAGE = r"(?<![A-Za-z0-9])[a-z]?(?:t1|t2|flair|mprage|pet|ct)[a-z]*?"
_REG = r"(?:(?:co)?reg[a-z]*?|aligned|warped|resampled)"
_TARGET = (
    r"(?:(?:t1|mprage)[a-z]*(?:[\W_]+(?:ce|gd|c|km|post|pre)(?![a-z0-9]))?|(?:t2|flair)[a-z]*)"
    r"(?:[\W_]?(?:space|grid))?(?![a-z0-9])"
)

#: In full, as BraTS abbreviates, and without the target of a registration.
_ABBREVIATED = (
    (re.compile(rf"[\W_](?:{_REG}[\W_]*)?to[\W_]*{_TARGET}", re.IGNORECASE), ""),
    (
        re.compile(
            rf"({_IMAGE}(?:[\W_].*?)?)(?:[\W_](?:{_REG}[\W_]*(?:to|2|in|on)?|in|on)[\W_]*{_TARGET}"
            rf"|[\W_](?:space-{_TARGET}|(?:t1[a-z]*?[\W_]?|t2[a-z]*?)(?:space|grid)(?![a-z0-9])))",
            re.IGNORECASE,
        ),
        r"\1",
    ),
    (re.compile(rf"({_IMAGE}){_REG}?(?:to|2|in|on){_TARGET}", re.IGNORECASE), r"\1"),
    (re.compile(r"(?<![A-Za-z0-9])t2f(?![A-Za-z0-9])", re.IGNORECASE), "flair"),
    (re.compile(r"(?<![A-Za-z0-9])t1n(?![A-Za-z0-9])", re.IGNORECASE), "t1 native"),
)

#: Examinations whose names say when, before any order of the alphabet.
_BEFORE = re.compile(r"(?:ses-)?(?:pre|baseline|base|bl|initial|diag)", re.IGNORECASE)
_AFTER = re.compile(r"(?:ses-)?(?:post|follow|fu\d*|recur|rec|progress)", re.IGNORECASE)

#: A file of after surgery or treatment, by its name.
_AFTER_SURGERY = re.compile(
    r"(?<![a-z])(?:(?:post|after|nach|apres)[\W_]*(?:op|oper[a-z]*|surg[a-z]*|resec[a-z]*|rt|rtx|radi[a-z]*|chemo[a-z]*|"
    r"treat[a-z]*|tx|therap[a-z]*|biops[a-z]*)|follow[\W_]?up|fu\d+|recur[a-z]*|rezidiv)(?![a-z])",
    re.IGNORECASE,
)

#: A side-car is a page of text; more is another file under its name.
_MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class NiftiFile:
    """A NIfTI file of a patient, and what stands beside it.

    Args:
        path: The file.
        sidecar: The JSON of the same name, as dcm2niix and BIDS have it; empty without one.
        words: What the names say: the description that the rule reads.
        agent: What is known of contrast agent beside the side-car, as ContrastBolusAgent would say it.
    """

    path: Path
    sidecar: Mapping[str, Any]
    words: str
    agent: str = ""

    @property
    def values(self) -> dict[str, str | int]:
        """As the tags of a DICOM series say it; times in ms."""
        values: dict[str, str | int] = {"Modality": "MR", "SeriesDescription": self.words}
        for keyword in _TAKEN:
            if text := _text(self.sidecar.get(keyword)):
                values[keyword] = text
        for keyword in _TIMES_S:
            seconds = finite(_text(self.sidecar.get(keyword)).split("\\")[0])
            if seconds is not None:
                values[keyword] = f"{seconds * 1000:g}"
        agent = self.agent or _text(self.sidecar.get("ContrastBolusIngredient", self.sidecar.get("ContrastBolusAgent")))
        return values | ({"ContrastBolusAgent": agent} if agent else {})

    @property
    def candidate(self) -> Candidate:
        """For the choice; a file that cannot be read has no slices there."""
        try:
            n_slices = read_nifti(self.path).n_slices
        except (HeaderError, OSError) as error:
            check_machine(error, self.path)
            n_slices = 0  # told where the series is read
        parts = re.split(r"(\d+)", str(self.path).lower() + str(self.path))
        uid = "\0".join(f"{int(part):012d}" if part.isdecimal() else part for part in parts)
        taken = ("", _text(self.sidecar.get("AcquisitionTime")))
        return Candidate("", uid, self.values, n_slices, taken, printable(self.path.name))


def read_sidecar(path: Path, patient_id: str, found: Found) -> dict[str, Any]:
    """The JSON beside a NIfTI file; empty without one.

    Args:
        path: The NIfTI file, or the JSON itself.
        patient_id: Whose.
        found: Gets a finding (D001) for a side-car that cannot be read or has a value of another kind than its key.
    """
    sidecar = path.with_name(stem_of(path.name).removesuffix(".json") + ".json")
    if not sidecar.is_file():
        return {}
    try:
        with sidecar.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise JsonFileError(f"a file of more than {_MOST_BYTES >> 20} MiB")
        told: dict[str, Any] = parse_json(content)
        check_json(told, "mgmt_monai.cohort", "sidecar.schema.json", quote=False)
        return told
    except (OSError, JsonFileError) as error:
        check_machine(error, sidecar)
        why = error.strerror if isinstance(error, OSError) else error
        text = f"expected a side-car as dcm2niix and BIDS have it, found {why}. Mend or remove it"
        found.findings.append(Finding("D001", patient_id, "", str(sidecar), text))
        return {}


def people_told(sidecar: Mapping[str, Any]) -> tuple[Person, ...]:
    """Who a side-car says the patient is; a study or series of two patients makes them one, as another number does."""
    others = (_text(sidecar.get(key)) for key in ("OtherPatientIDs", "StudyInstanceUID", "SeriesInstanceUID"))
    return people_of([{**sidecar, "OtherPatientIDs": "\\".join(filter(None, others))}])


def stem_of(name: str) -> str:
    """A NIfTI file's name without ``.nii`` or ``.nii.gz``."""
    return name[: name.lower().rindex(".nii")] if is_nifti(name) else name


def in_words(name: str) -> str:
    """A name with abbreviations that no description has written out, and without what it was registered to.

    Example:
        >>> in_words("case7_t2f"), in_words("case7-t1n"), in_words("t2_to_t1ce")
        ('case7_flair', 'case7-t1 native', 't2')
    """
    for pattern, plain in _ABBREVIATED:
        name = pattern.sub(plain, name)
    return name


def is_after_surgery(name: str) -> bool:
    """Whether a name says so: ``T1 post op``, ``t2_followup``."""
    return bool(_AFTER_SURGERY.search(name))


def first_examination(
    patient_id: str,
    examinations: Mapping[str, Sequence[NiftiFile]],
    found: Found,
    times: Mapping[str, str] | None = None,
) -> list[NiftiFile]:
    """The files of a patient's first examination; the others are left out.

    The first is told by its time, else by a name such as ``preop`` or ``baseline`` (and not ``postop``), else it is the
    first by name, with numbers in their order.

    Args:
        patient_id: Whose.
        examinations: Files by the examination's name.
        found: Gets a note (D034) where there are several.
        times: When, by name, such that the first in alphabetical order is the earliest; of those that are known.
    """
    known = times or {}
    ordered = sorted(examinations, key=lambda name: (known.get(name, "~"), _said_when(name), _natural(name)))
    if len(ordered) > 1:
        others = ", ".join(ordered[1:])
        text = f"expected one examination, found {len(ordered)}; took the first, {ordered[0]}, and left out {others}"
        found.findings.append(Finding("D034", patient_id, "", "", text))
    for name in ordered[1:]:
        found.left_out += [
            LeftOut(patient_id, file.path, printable(file.path.name), 1, f"of another examination, {name}")
            for file in examinations[name]
        ]
    return list(examinations[ordered[0]])


def take(patient_id: str, files: Sequence[NiftiFile], found: Found) -> None:
    """Add a patient's series, one of each modality, and what is left out.

    Args:
        patient_id: Whose.
        files: All that may be one of the four modalities.
        found: Gets them.
    """
    places = [FoundSeries(patient_id, "", file.path.parent, (file.path.name,), "") for file in files]
    take_chosen([file.candidate for file in files], places, found)


def _said_when(name: str) -> int:
    return 0 if _BEFORE.match(name) else 2 if _AFTER.match(name) else 1


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", text)]


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\\".join(_text(one) for one in value)
    return printable(str(value)).strip() if isinstance(value, str | int | float) else ""
