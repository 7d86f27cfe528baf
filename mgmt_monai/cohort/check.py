"""Whether a manifest can be trusted: nothing crosses a split, and the files are still those it speaks of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.examination.scan_cache import ScanCache
from mgmt_monai.cohort.files import geometry
from mgmt_monai.cohort.findings import Finding, Severity
from mgmt_monai.cohort.layouts.found import series_of_record
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.records import SeriesRecord
from mgmt_monai.cohort.relations import crossing, open_relations


def overlaps(manifest: Manifest) -> list[Finding]:
    """What crosses the splits or folds: identical or nearly identical images, one study, one person.

    Args:
        manifest: Nothing else is read.

    Returns:
        One finding a pair of patients, without those that the manifest's ignore list accepts.
    """
    return crossing(manifest.patients, open_relations(manifest))


def changed_files(
    manifest: Manifest,
    data_dir: Path,
    *,
    modalities: Sequence[str],
    pixels: bool,
    cached: bool,
    workers: int | None = None,
) -> list[Finding]:
    """The series whose files are no longer what the manifest says.

    Args:
        manifest: What is held against the files.
        data_dir: Where they are.
        modalities: Whose series.
        pixels: Compare every slice's pixels, where the manifest has their digests; else names, sizes, instance
            identifiers and order.
        cached: Trust what an earlier scan found of files with the same names, sizes and times.
        workers: Processes; None for one a core.

    Returns:
        D046 for each series that differs, or the errors of the series where it cannot be used any more.
    """
    known = {
        (patient.patient_id, modality): patient.series[modality]
        for patient in manifest.patients
        for modality in modalities
        if modality in patient.series
    }
    found = [series_of_record(record, *key, Path(data_dir)) for key, record in known.items()]
    cache = ScanCache(data_dir) if cached else None
    findings: list[Finding] = []
    try:
        for exam in scan(
            found, data_dir, pixels=pixels, cache=cache, workers=workers, description="Checking the files"
        ):
            record, now = known[exam.patient_id, exam.modality], exam.record
            if now is None:
                findings += [finding for finding in exam.findings if finding.kind.severity is Severity.ERROR]
                continue
            text = None
            if record.fingerprint not in (now.fingerprint, exam.before):
                text = (
                    f"expected the {len(record.files)} files of the manifest, found others ({_difference(record, now)})"
                )
            elif moved := _moved(record, now):
                text = f"expected the geometry of the manifest, found {moved}"
            elif pixels and record.digests and now.digests != record.digests:
                text = "expected the pixels of the manifest, found others in the same files"
            if text is not None:
                findings.append(Finding("D046", exam.patient_id, exam.modality, record.directory, text))
    finally:
        if cache is not None:
            cache.close()
    return findings


def _moved(record: SeriesRecord, now: SeriesRecord) -> str:
    """What says otherwise where the slices lie, in words; "" where nothing that the manifest has does."""
    for what in ("rows", "columns", "plane", "orientation", "pixel_spacing_mm", "slice_spacing_mm"):
        before, after = getattr(record, what), getattr(now, what)
        if before in (None, "", after):
            continue
        numbers = what.endswith("_mm") and after is not None
        if not numbers or not np.allclose(before, after, rtol=geometry.SPACING_TOLERANCE, atol=0):
            return f"{what} {after} in place of {before}"
    return ""


def _difference(record: SeriesRecord, now: SeriesRecord) -> str:
    before, after = set(record.files), set(now.files)
    if before != after:
        return f"{len(after - before)} new, {len(before - after)} gone"
    return "their sizes, identifiers, rescale or order changed"
