"""What the doctor keeps of each series while the exams pass by: small, so that a large cohort fits in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mgmt_monai.cohort.doctor.checks import (
    differing_patient_tags,
    height_by_width,
    identifying_tags,
    known_pixel_spacing_mm,
    missing_modalities,
    mixed_shapes,
)
from mgmt_monai.cohort.doctor.confounders import Fact
from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.examination.header_checks import NUMERIC_TAGS
from mgmt_monai.cohort.files.values import finite
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts.found import Tagged
from mgmt_monai.cohort.people import People
from mgmt_monai.cohort.records import PatientRecord, SeriesRecord
from mgmt_monai.cohort.relations import copied_series, related_patients

#: Stands for the plane of a series that an error makes unusable.
UNUSABLE = "unusable"

_ORIENTATION = "orientation"
_IMAGE_SIZE, _PROPORTION = ("image size", False), ("height by width", True)
_FIELD_STRENGTH = "MagneticFieldStrength"
_GAUSS_PER_TESLA = 10_000
_STRONGEST_TESLA = 30  # no magnet for people is stronger; larger values are in gauss


class Survey:
    """The cohort as the exams tell it.

    Args:
        aliases: Other names of each patient's person.
        tagged: Who files are of that a layout has read, also those of series that are left out.
    """

    def __init__(self, aliases: Mapping[str, Sequence[str]] | None = None, tagged: Iterable[Tagged] = ()) -> None:
        self.n_slices = 0
        self.findings: list[Finding] = []
        self.planes: dict[str, Counter[str]] = {}
        self._aliases = aliases or {}
        self._tagged = list(tagged)
        self._records: dict[str, dict[str, SeriesRecord | None]] = {}
        self._facts: dict[tuple[str, str, bool], dict[str, str]] = {}
        self._patient_tags: dict[str, dict[str, str]] = {}
        self.places: list[tuple[str, tuple[str, str]]] = []
        self._identifying: dict[str, dict[str, tuple[str, ...]]] = {}

    def add(self, exam: SeriesExam) -> None:
        """Take in one series."""
        patient_id, modality, record = exam.patient_id, exam.modality, exam.record
        self.findings += exam.findings
        self.planes.setdefault(modality, Counter())[record.plane if record else UNUSABLE] += 1
        self._patient_tags.setdefault(patient_id, {})[modality] = exam.patient_tag
        self._tagged.append(Tagged(patient_id, exam.directory, exam.people))
        self._identifying.setdefault(patient_id, {})[modality] = exam.identifying
        self.places.append((patient_id, exam.place))
        # The names of the files are most of a record, and nothing here asks for them.
        self._records.setdefault(patient_id, {})[modality] = replace(record, files=[]) if record else None
        if record is not None:
            self.n_slices += record.n_slices
            for (name, numeric), value in _facts_of(record, exam.facts).items():
                self._facts.setdefault((name, modality, numeric), {})[patient_id] = value

    @property
    def patients(self) -> list[str]:
        """Patients with at least one series, sorted."""
        return sorted(self._records)

    @property
    def n_series(self) -> int:
        """How many series there are, usable or not."""
        return sum(len(by_modality) for by_modality in self._records.values())

    @property
    def n_usable(self) -> int:
        """How many series no error makes unusable."""
        return sum(record is not None for found in self._records.values() for record in found.values())

    @property
    def n_complete(self) -> int:
        """How many patients have a usable series of every modality of the cohort."""
        return sum(
            all(by_modality.get(modality) is not None for modality in self.planes)
            for by_modality in self._records.values()
        )

    def cohort_findings(self) -> list[Finding]:
        """Seen across series and patients: D030, D033, D036, D040 to D042, D044, D045, D047, D048, D060, D061."""
        people = People(self._tagged, self._aliases)
        records = [
            PatientRecord(
                patient_id=patient_id,
                label=0,
                split="train",
                series={modality: record for modality, record in self._records[patient_id].items() if record},
                aliases=[*self._aliases.get(patient_id, ()), *people.others(patient_id)],
            )
            for patient_id in self.patients
        ]
        return [
            *missing_modalities(self._records),
            *differing_patient_tags(self._patient_tags),
            *copied_series(records),
            *related_patients(records),
            *people.findings(),
            *identifying_tags(self._identifying),
            *mixed_shapes(self._records),
        ]

    def facts(self, columns: Mapping[str, Mapping[str, str]] | None = None) -> list[Fact]:
        """What may go with the label.

        Args:
            columns: What tables tell of the patients, such as the site: ``{patient_id: {column: value}}``.

        Returns:
            Tags, geometry, which modalities a patient has, and the columns.
        """
        by_name: dict[tuple[str, bool], dict[str, dict[str, str]]] = {}
        for (name, modality, numeric), values in self._facts.items():
            # The files of a patient may lack a tag: that is a value too.
            usable = (p for p, found in self._records.items() if found.get(modality) is not None)
            by_name.setdefault((name, numeric), {})[modality] = {**dict.fromkeys(usable, ""), **values}
        for modality in self.planes:
            # Where no series is flipped, the orientation says what the plane says: tested twice, it would cost power.
            pairs = {(r.plane, r.orientation) for found in self._records.values() if (r := found.get(modality))}
            if len(pairs) == len({plane for plane, _ in pairs}):
                by_name.get((_ORIENTATION, False), {}).pop(modality, None)
            # Sizes that hardly two patients share are no category: their proportion is tested, else the sizes alone.
            sizes = by_name.get(_IMAGE_SIZE, {}).get(modality, {})
            rare = len(set(sizes.values())) > len(sizes) / 2
            by_name.get(_IMAGE_SIZE if rare else _PROPORTION, {}).pop(modality, None)
        facts = [
            fact
            for (name, numeric), by_modality in by_name.items()
            if by_modality
            for fact in _one_fact(name, numeric, by_modality)
        ]
        facts += [
            Fact(f"has {modality}", "", {p: "yes" if modality in found else "no" for p, found in self._records.items()})
            for modality in sorted(self.planes)
        ]
        told = columns or {}
        for column in dict.fromkeys(column for values in told.values() for column in values):
            by_patient = {patient_id: told.get(patient_id, {}).get(column, "") for patient_id in self.patients}
            facts.append(Fact(column, "", by_patient))
        return facts


def _one_fact(name: str, numeric: bool, by_modality: Mapping[str, Mapping[str, str]]) -> list[Fact]:
    """A fact of each modality; where no patient's modalities differ in it, one of the patient.

    One scanner makes all series of a patient: tested once for each of them, it would pay for the correction four times.
    """
    merged: dict[str, str] = {}
    for values in by_modality.values():
        if any(merged.setdefault(patient_id, value) != value for patient_id, value in values.items()):
            return [Fact(name, modality, own, numeric) for modality, own in by_modality.items()]
    return [Fact(name, next(iter(by_modality)) if len(by_modality) == 1 else "", merged, numeric)]


def _facts_of(record: SeriesRecord, tags: Mapping[str, str]) -> dict[tuple[str, bool], str]:
    """The facts of one usable series: text by (name, whether it is a number); "" for a tag it does not have."""
    spacing, thickness = known_pixel_spacing_mm(record), record.slice_spacing_mm
    facts: dict[tuple[str, bool], Any] = {
        ("plane", False): record.plane,
        (_ORIENTATION, False): record.orientation,
        _IMAGE_SIZE: f"{record.rows} x {record.columns}",
        _PROPORTION: f"{height_by_width(record):.3f}",
        ("number of slices", True): record.n_slices,
        ("missing slices", True): sum(count for _, count in record.gaps),
        ("pixel spacing (mm)", True): f"{spacing[0]:.3f}" if spacing else "",
        ("slice spacing (mm)", True): f"{thickness:.2f}" if thickness else "",
    }
    for name, value in tags.items():
        facts[name, name in NUMERIC_TAGS] = _tesla(value) if name == _FIELD_STRENGTH else value
    return {key: str(value) for key, value in facts.items()}


def _tesla(text: str) -> str:
    """A field strength as people say it: 2.89 is 3 T; some writers give gauss."""
    value = finite(text)
    if value is None:
        return text
    tesla = value / _GAUSS_PER_TESLA if value > _STRONGEST_TESLA else value
    return f"{round(2 * tesla) / 2:g} T" if tesla >= 1 else f"{tesla:g} T"
