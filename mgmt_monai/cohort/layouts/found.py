"""One series as a layout finds it, before any of its files is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: The modalities, as RSNA-MICCAI 2021 spells its folders.
MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")


@dataclass(frozen=True)
class FoundSeries:
    """Where a series is and what it is taken for.

    Args:
        patient_id: The patient's name in this cohort.
        modality: One of `MODALITIES`.
        directory: The folder that holds its files.
        files: Their paths below ``directory``, with ``/``, in no order; None for every visible entry of the folder.
        reason: Why it is taken for this modality, for people: ``folder T1w``, ``file name _t1ce``.
    """

    patient_id: str
    modality: str
    directory: Path
    files: tuple[str, ...] | None
    reason: str
