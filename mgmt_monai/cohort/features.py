"""What is known of a patient's series without its pixels, for controls that predict from it."""

import math
from contextlib import closing
from pathlib import Path

from mgmt_monai.cohort.examination.header_checks import NUMERIC_TAGS
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.examination.scan_cache import ScanCache
from mgmt_monai.cohort.files.values import finite
from mgmt_monai.cohort.layouts.found import series_of_record
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.records import SeriesRecord

NUMBERS = (*NUMERIC_TAGS, "MagneticFieldStrength", "BitsStored")
"""Tags whose values are given as numbers; of the field strength too, as the scanner wrote it: 2.89 is not 3."""

Features = dict[str, dict[str, float | str]]
"""By patient, by name: numbers (``nan`` where there is none) and text ("" where there is none)."""


def geometry_features(manifest: Manifest, modality: str) -> Features:
    """How each patient's series lies in space; from the manifest alone.

    Returns:
        Of each patient who has the modality: ``n_slices``, ``missing_slices``, ``rows``, ``columns``,
        ``row_spacing_mm``, ``column_spacing_mm``, ``slice_spacing_mm`` (``nan`` where the files do not tell),
        ``plane`` and ``orientation``.
    """
    return {p.patient_id: _geometry(p.series[modality]) for p in manifest.patients if modality in p.series}


def header_features(manifest: Manifest, data_dir: Path, modality: str, workers: int | None = None) -> Features:
    """What the tags of each patient's series say, read by the scan and kept in its cache.

    These are the scan's facts (`mgmt_monai.cohort.examination.header_checks.FACTS`): no name, identifier or date is
    among them.

    Args:
        manifest: Whose patients they are.
        data_dir: Where their files are.
        modality: Whose series.
        workers: Processes that read what the cache does not have; None for one a core.

    Returns:
        Of each patient who has the modality, by keyword: a tag of `NUMBERS` as a number where it is one, any other
        as text, ``varies`` where the slices differ. A tag that a series does not have has no key: NIfTI has none.
    """
    data_dir = Path(data_dir)
    found = [
        series_of_record(patient.series[modality], patient.patient_id, modality, data_dir)
        for patient in manifest.patients
        if modality in patient.series
    ]
    with closing(ScanCache(data_dir)) as cache:
        exams = scan(found, data_dir, pixels=False, cache=cache, workers=workers, description="Reading headers")
        return {exam.patient_id: {name: _value(name, text) for name, text in exam.facts.items()} for exam in exams}


def _geometry(record: SeriesRecord) -> dict[str, float | str]:
    between_rows, between_columns = record.pixel_spacing_mm or (math.nan, math.nan)
    return {
        "n_slices": float(record.n_slices),
        "missing_slices": float(sum(count for _, count in record.gaps)),
        "rows": float(record.rows),
        "columns": float(record.columns),
        "row_spacing_mm": float(between_rows),
        "column_spacing_mm": float(between_columns),
        "slice_spacing_mm": math.nan if record.slice_spacing_mm is None else float(record.slice_spacing_mm),
        "plane": record.plane,
        "orientation": record.orientation,
    }


def _value(name: str, text: str) -> float | str:
    number = finite(text) if name in NUMBERS else None
    return text if number is None else number
