"""Exams of made series, without any file behind them."""

from collections.abc import Callable
from typing import Any

import pytest

from mgmt_monai.cohort.examination.content import SeriesContent
from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.records import SeriesRecord


@pytest.fixture
def make_exam() -> Callable[..., SeriesExam]:
    """One series: ``make_exam("00042", "T1w", plane="coronal", findings=[("D011", "...")], ...)``."""
    return exam


def exam(
    patient_id: str = "00042",
    modality: str = "T1w",
    *,
    plane: str = "axial",
    orientation: str = "LPS",
    n_slices: int = 20,
    rows: int = 256,
    spacing_mm: float | None = 5.0,
    gaps: tuple[tuple[int, int], ...] = (),
    findings: tuple[tuple[str, str], ...] = (),
    readable: bool = True,
    tags: dict[str, str] | None = None,
    study: str = "",
    patient_tag: str = "",
    identifying: tuple[str, ...] = (),
    digests: str = "",
    directory: str | None = None,
    montage: str = "",
    pixels: dict[str, Any] | None = None,
) -> SeriesExam:
    directory = f"train/{patient_id}/{modality}" if directory is None else directory
    record = SeriesRecord(
        directory=directory,
        files=[f"Image-{number}.dcm" for number in range(n_slices)],
        frames=None,
        n_slices=n_slices,
        rows=rows,
        columns=rows,
        plane=plane,
        orientation=orientation,
        pixel_spacing_mm=[0.9, 0.9],
        slice_spacing_mm=spacing_mm,
        whole_folder=True,
        gaps=[list(gap) for gap in gaps],
        phase_images=0,
        reason=f"folder {modality}",
        study=study,
        fingerprint="0" * 64,
        digests=digests,
        signature="",
    )
    content = {
        "digests": digests,
        "signature": "",
        "n_blank": 0,
        "n_blank_middle": 0,
        "constant": False,
        "low": 0.0,
        "high": 900.0,
        "robust_low": 0.0,
        "robust_high": 800.0,
        "clipped": 0.0,
        "histogram": tuple(1000 // (1 + abs(i - 14)) for i in range(32)),
        "montage": montage,
    }
    return SeriesExam(
        patient_id=patient_id,
        modality=modality,
        reason=f"folder {modality}",
        directory=directory,
        record=record if readable else None,
        findings=tuple(Finding(id, patient_id, modality, directory, text) for id, text in findings),
        facts={"Manufacturer": "GE", "BitsStored": "16"} if tags is None else tags,
        study=study,
        patient_tag=patient_tag,
        people=(),
        identifying=identifying,
        content=SeriesContent(**{**content, **(pixels or {})}) if readable else None,
    )
