"""What is known of one series: the manifest's record, what is wrong with it, what the doctor shows of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from mgmt_monai.cohort.examination.content import SeriesContent
from mgmt_monai.cohort.files.person import Person
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.records import SeriesRecord


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
                **values,
                "record": None if record is None else SeriesRecord(**record),
                "findings": tuple(Finding(**{**f, "others": tuple(f["others"])}) for f in values["findings"]),
                "people": tuple(Person(**{**p, "names": tuple(p["names"])}) for p in values["people"]),
                "identifying": tuple(values["identifying"]),
                "content": None
                if content is None
                else SeriesContent(**{**content, "histogram": tuple(content["histogram"])}),
            }
        )
