"""Pages of prepared patients: one each, and one of all, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgmt_monai.html_page import data_uri, page_pieces, write_page
from mgmt_monai.preparation import template
from mgmt_monai.preparation.registration import MAX_DISAGREEMENT_MM, MIN_OVERLAP

_LIMITS = {
    "max_disagreement_mm": MAX_DISAGREEMENT_MM,
    "min_overlap": MIN_OVERLAP,
    "max_template_mm": template.MAX_DISAGREEMENT_MM,
    "max_stretch": template.MAX_STRETCH,
}


@dataclass(frozen=True)
class Shown:
    """A patient on the page of all.

    Args:
        patient_id: Who.
        record: As ``prepare.json`` has it; None where the whole patient was refused.
        reason: Why then.
        overview: The picture, a JPEG; None without one.
    """

    patient_id: str
    record: Mapping[str, Any] | None
    reason: str = ""
    overview: bytes | None = None

    @property
    def refused(self) -> int:
        """How many series were refused; more than any patient has, where all were."""
        return 9 if self.record is None else sum(not one["accepted"] for one in self.record["series"].values())

    @property
    def doubt(self) -> float:
        """How near the worst series is to a limit: 1 is at it."""
        series = () if self.record is None else self.record["series"].values()
        ways = [(one["disagreement_mm"] or 0) / MAX_DISAGREEMENT_MM for one in series]
        fits = [(1 - (1.0 if one["overlap"] is None else one["overlap"])) / (1 - MIN_OVERLAP) for one in series]
        return max([0.0, *ways, *fits])


def write_patient_page(path: Path, patient_id: str, record: Mapping[str, Any], sheets: Mapping[str, bytes]) -> None:
    """The page of one patient.

    Args:
        path: Of the file.
        patient_id: Its heading.
        record: As ``prepare.json`` has it.
        sheets: A JPEG by modality.
    """
    content = {
        "record": record,
        "template": record.get("template"),
        "limits": _LIMITS,
        "pictures": {modality: data_uri(picture, "image/jpeg") for modality, picture in sheets.items()},
    }
    write_page(path, page_pieces(__package__, "patient.html.j2", "prepare", patient_id, content, style="prepare.css"))


def write_cohort_page(path: Path, patients: Sequence[Shown]) -> None:
    """The page of all patients, those with refused series and those near a limit first.

    Args:
        path: Of the file; the patients' own pages lie in folders beside it.
        patients: In any order.
    """
    worst_first = sorted(patients, key=lambda one: (-one.refused, -one.doubt, one.patient_id))
    content = {
        "patients": [
            {"one": one, "picture": one.overview and data_uri(one.overview, "image/jpeg")} for one in worst_first
        ],
        "n_refused": sum(one.refused > 0 for one in patients),
        "limits": _LIMITS,
    }
    name = f"{len(patients)} patient{'s' * (len(patients) != 1)}"
    write_page(path, page_pieces(__package__, "cohort.html.j2", "prepare", name, content, style="prepare.css"))
