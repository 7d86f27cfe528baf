"""From a data directory and a label table to a manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from mgmt_monai.cohort.errors import CohortError, CohortFaultsError
from mgmt_monai.cohort.exclusions import DEFAULT_EXCLUSIONS, read_exclusions
from mgmt_monai.cohort.labels import read_labels
from mgmt_monai.cohort.layouts import SeriesFolder, find_series, patient_folders
from mgmt_monai.cohort.manifest import Manifest, PatientRecord, SeriesRecord
from mgmt_monai.cohort.scan import ScannedSeries, scan_series
from mgmt_monai.cohort.splits import holdout_split

LAYOUT = "rsna-miccai-2021"

#: Below this many series a pool of processes costs more than it saves.
_PARALLEL_FROM = 40


def build_manifest(
    data_dir: Path,
    labels_csv: Path,
    *,
    test_fraction: float,
    train_fraction: float,
    seed: int,
    exclusions: str | Path = DEFAULT_EXCLUSIONS,
    workers: int | None = None,
) -> Manifest:
    """Find every series, order its slices, split the patients.

    Args:
        data_dir: The cohort's folder.
        labels_csv: The label table.
        test_fraction: Share of all patients for the test.
        train_fraction: Share of the others for training.
        seed: Of the split.
        exclusions: ``"default"``, ``"none"`` or a CSV ``patient_id,reason``.
        workers: Processes that read headers; None for one a core.

    Returns:
        The manifest. Patients excluded, and patients without images, are listed in it.

    Raises:
        CohortFaultsError: Series that cannot be used and patients without a label, each a line of ``faults``.
        CohortError: No data, a label file or exclusion list that cannot be read, a split without a class.
    """
    data_dir = Path(data_dir)
    folders = find_series(data_dir)
    labels = read_labels(labels_csv)
    reasons = read_exclusions(exclusions)
    present = {folder.patient_id for folder in folders}
    excluded = {patient_id: reason for patient_id, reason in reasons.items() if patient_id in present}
    folders = [folder for folder in folders if folder.patient_id not in excluded]

    faults = [
        f"patient {patient_id}: {data_dir / 'train' / patient_id}: expected a row in {labels_csv}, found none "
        "(did a spreadsheet strip leading zeros?). Add its label or exclude it."
        for patient_id in sorted(present - set(labels) - set(excluded))
    ]
    scanned, series_faults = _scan(folders, workers)
    faults += series_faults
    if faults:
        raise CohortFaultsError(faults)

    by_patient: dict[str, dict[str, SeriesRecord]] = {}
    for series in scanned:
        record = _record(series, data_dir)
        by_patient.setdefault(series.folder.patient_id, {})[series.folder.modality] = record
    kept = {patient_id: labels[patient_id] for patient_id in sorted(by_patient)}
    split = holdout_split(kept, test_fraction, train_fraction, seed)
    return Manifest(
        layout=LAYOUT,
        labels_sha256=hashlib.sha256(Path(labels_csv).read_bytes()).hexdigest(),
        split=split_settings(test_fraction, train_fraction, seed),
        patients=[PatientRecord(p, kept[p], split[p], by_patient[p]) for p in kept],
        excluded=excluded,
        left_out=_left_out(
            present,
            without_series={path.name for path in patient_folders(data_dir)} - present,
            labelled=set(labels),
            excluded_by_user=set() if str(exclusions) == DEFAULT_EXCLUSIONS else set(reasons),
        ),
    )


def split_settings(test_fraction: float, train_fraction: float, seed: int) -> dict[str, Any]:
    """How a hold-out split was made, as the manifest records it."""
    return {
        "method": "holdout",
        "test_fraction": test_fraction,
        "train_fraction": train_fraction,
        "seed": seed,
    }


def warnings_of(manifest: Manifest) -> list[str]:
    """One line for each gap and each series with phase images beside it: usable, but a reader should know."""
    lines = []
    for patient in manifest.patients:
        for modality, record in patient.series.items():
            where = f"patient {patient.patient_id}, {modality}: {record.directory}:"
            for before, count in record.gaps:
                lines.append(
                    f"{where} {count} missing between {_slice_name(record, before)} and "
                    f"{_slice_name(record, before + 1)} (the slices lie {record.slice_spacing_mm:.2f} mm apart)"
                )
            if record.phase_images:
                lines.append(f"{where} {record.phase_images} phase images passed over, the magnitude is read")
    return lines


def _slice_name(record: SeriesRecord, index: int) -> str:
    return record.files[index] if record.frames is None else f"frame {record.frames[index]}"


def _left_out(
    present: set[str], *, without_series: set[str], labelled: set[str], excluded_by_user: set[str]
) -> list[str]:
    lines = dict.fromkeys(without_series, "its folder has no series of a known modality")
    lines |= dict.fromkeys(labelled - present - without_series, "in the label file, but without images")
    lines |= dict.fromkeys(excluded_by_user - present - set(lines), "in the exclusion list, but not in the data")
    return [f"patient {patient_id}: {lines[patient_id]}" for patient_id in sorted(lines)]


def _scan(folders: list[SeriesFolder], workers: int | None) -> tuple[list[ScannedSeries], list[str]]:
    n_jobs = (workers or cpu_count()) if len(folders) >= _PARALLEL_FROM else 1
    results = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(_try_scan)(folder) for folder in folders)
    scanned: list[ScannedSeries] = []
    faults: list[str] = []
    for result in tqdm(results, total=len(folders), desc="Reading headers", unit="series"):
        if isinstance(result, str):
            faults.append(result)
        else:
            scanned.append(result)
    return scanned, faults


def _try_scan(folder: SeriesFolder) -> ScannedSeries | str:
    try:
        return scan_series(folder)
    except CohortError as error:
        return str(error)
    except OSError as error:
        where = f"patient {folder.patient_id}, {folder.modality}: {error.filename or folder.directory}"
        return f"{where}: cannot be read ({error.strerror}). Check the disk and your rights."


def _record(series: ScannedSeries, data_dir: Path) -> SeriesRecord:
    return SeriesRecord(
        directory=series.folder.directory.relative_to(data_dir).as_posix(),
        files=list(series.files),
        frames=None if series.frames is None else list(series.frames),
        rows=series.shape[0],
        columns=series.shape[1],
        plane=series.plane,
        pixel_spacing_mm=None if series.pixel_spacing_mm is None else list(series.pixel_spacing_mm),
        slice_spacing_mm=series.slice_spacing_mm,
        gaps=[list(gap) for gap in series.gaps],
        phase_images=series.phase_images,
        fingerprint=series.fingerprint,
    )
