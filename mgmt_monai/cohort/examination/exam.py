"""What is known of one series: the manifest's record, what is wrong with it, what the doctor shows of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mgmt_monai.cohort.examination.content import SeriesContent
from mgmt_monai.cohort.files.person import Person
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.records import SeriesRecord

SITE_COLUMN = "institution (DICOM)"
"""A column of this name is taken as the site where a table names none."""

#: What is no background in a skull-stripped series, in cm3: 1390 to 1600 in brains of BraTS and BraTS-Toolkit, 2625 to
#: 3110 in a raw head.
BRAIN_CM3 = (500.0, 2200.0)
#: Of a whole brain, the first and the last slice hold at most this share of the fullest; a cut head may hold as little
#: as a brain.
WHOLE_ENDS = 0.4


@dataclass(frozen=True)
class SeriesExam:
    """A series as it was found to be. Paths in it are relative to the data directory.

    Args:
        patient_id: Whose.
        modality: What it is taken for.
        reason: Why.
        directory: Its folder.
        record: For the manifest; None where an error makes it unusable.
        findings: What is wrong with it.
        facts: Series-level values of tags by keyword, ``varies`` where slices differ; empty for NIfTI.
        study: Twelve hexadecimal digits for its study (hashed), or "".
        patient_tag: Twelve hexadecimal digits for its PatientID (hashed), or "".
        people: Who its files say that they are of, hashed.
        identifying: Keywords of the identifying tags that have a value, and ``private tags``.
        content: Of its pixels; None where they were not read or cannot be.
        place: Where it was made, hashed: as `mgmt_monai.cohort.files.person.place_of` tells it.
        before: The record's fingerprint as manifests had it before it held what turns stored values into shown ones.
    """

    patient_id: str
    modality: str
    reason: str
    directory: str
    record: SeriesRecord | None
    findings: tuple[Finding, ...]
    facts: dict[str, str]
    study: str
    patient_tag: str
    people: tuple[Person, ...]
    identifying: tuple[str, ...]
    content: SeriesContent | None
    place: tuple[str, str] = ("", "")
    before: str = ""

    @property
    def skull_stripped(self) -> bool | None:
        """Whether all that is not background is a brain: no skull, eyes or neck; None where that cannot be told.

        It cannot of a part of a head, of one with missing slices, and without geometry.
        """
        record, content = self.record, self.content
        if record is None or content is None or not record.pixel_spacing_mm or not record.slice_spacing_mm:
            return None
        voxel_mm3 = math.prod(record.pixel_spacing_mm) * record.slice_spacing_mm
        tissue_cm3 = content.tissue * record.n_slices * record.rows * record.columns * voxel_mm3 / 1000
        if tissue_cm3 > BRAIN_CM3[1]:
            return False
        whole = content.tissue_at_ends <= WHOLE_ENDS and not record.gaps
        return True if whole and tissue_cm3 >= BRAIN_CM3[0] else None

    def to_json(self) -> str:
        """The exam as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SeriesExam:
        """The exam that `to_json` wrote.

        Raises:
            ValueError: Not JSON.
            TypeError: Not an exam of this version.
            KeyError: The same.
        """
        values: dict[str, Any] = json.loads(text)
        record, content = values["record"], values["content"]
        return cls(
            **{
                **_with_tuples(values),
                "record": None if record is None else SeriesRecord(**record),
                "findings": tuple(Finding(**_with_tuples(one)) for one in values["findings"]),
                "people": tuple(Person(**_with_tuples(one)) for one in values["people"]),
                "content": None if content is None else SeriesContent(**_with_tuples(content)),
            }
        )


def _with_tuples(told: Mapping[str, Any]) -> dict[str, Any]:
    return {part: _tuples(value) for part, value in told.items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def with_sites(
    columns: Mapping[str, Mapping[str, str]], places: Iterable[tuple[str, tuple[str, str]]]
) -> dict[str, dict[str, str]]:
    """What is known of the patients, and the site as the headers tell it, under a name that nobody is known by.

    Institutions, or stations where the institutions are one: those that at least half of the patients name, and that
    have two patients each on average, for what each patient has alone is none of a site.

    Args:
        columns: By patient and column.
        places: A patient and `SeriesExam.place`, of each series.

    Returns:
        The columns; with `SITE_COLUMN` (``site A``, ``site B``, ...) of the patients that name one of two or more.
    """
    found: dict[str, tuple[str, str]] = {}
    for patient, (name, station) in places:
        before = found.get(patient, ("", ""))
        found[patient] = before[0] or name, before[1] or station
    known = {patient: dict(of) for patient, of in columns.items()}
    for told in ({patient: of[which] for patient, of in sorted(found.items()) if of[which]} for which in (0, 1)):
        sites = {of: f"site {_letters(number)}" for number, of in enumerate(dict.fromkeys(told.values()))}
        if 1 < len(sites) <= len(told) / 2 and len(told) >= len(found) / 2:
            for patient, of in told.items():
                known.setdefault(patient, {})[SITE_COLUMN] = sites[of]
            break
    return known


def _letters(number: int) -> str:
    return ("" if number < 26 else _letters(number // 26 - 1)) + chr(ord("A") + number % 26)
