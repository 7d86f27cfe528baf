"""The made cohort on disk: every patient's series, the labels, and the truth behind them."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mgmt_monai.atomic import umask
from mgmt_monai.cohort.examination.readers import Readers
from mgmt_monai.csv_file import csv_text
from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.own_process import processors
from mgmt_monai.phantom.acquisition import SeriesPlan, draw_plan, measure
from mgmt_monai.phantom.anatomy import Head, build_tissue, draw_head
from mgmt_monai.phantom.appearance import MODALITIES, paint, tumour_look
from mgmt_monai.phantom.dicom import SCANNERS, series_headers, write_series
from mgmt_monai.phantom.effect import Planted, Stream, draw_labels, reachable_auc, stream
from mgmt_monai.phantom.raw_head import ORIGIN_MM, build_surroundings, moved, pose, surround

FIRST_ID = 90000  # above every id of the real cohort, so that the two can never be mixed up
TRUTH_VERSION = 1

#: For one patient, in seconds: it takes one or two.
_PATIENT_S = 3600.0


class PhantomError(MgmtMonaiError):
    """The phantom cannot be made or written as asked."""


@dataclass(frozen=True)
class PatientPlan:
    """All about a patient that depends on the seed and the patient's place alone: no label, no look.

    The index is counted from 0; a scanner is manufacturer, model and field strength in tesla; one series a modality,
    and one pose: the head as that series sees it.
    """

    index: int
    patient_id: str
    head: Head
    scanner: tuple[str, str, float]
    series: tuple[SeriesPlan, ...]
    poses: tuple[Head, ...]


def plan_patient(index: int, seed: int, moves: float = 0.0) -> PatientPlan:
    """What patient ``index``, from 0, of the cohort of ``seed`` is like, before any label.

    From T1wCE to each other series the head moves by at most ``moves`` mm and degrees.
    """
    rng = stream(seed, Stream.HEAD, index)
    head = draw_head(rng)
    scanner = SCANNERS[int(rng.integers(len(SCANNERS)))]
    poses = tuple(
        moved(head, stream(seed, Stream.MOVE, index, number), moves) if moves and modality != "T1wCE" else head
        for number, modality in enumerate(MODALITIES)
    )
    series = tuple(
        draw_plan(poses[number], modality, stream(seed, Stream.SERIES, index, number))
        for number, modality in enumerate(MODALITIES)
    )
    return PatientPlan(index, str(FIRST_ID + index), head, scanner, series, poses)


def write_patient(
    train_dir: Path, index: int, latents: Mapping[str, float], seed: int, moves: float | None = None
) -> dict[str, Any]:
    """Write one patient's series under ``train_dir/<id>/<modality>``: those that have a latent value.

    The latent values are the only way in which the label reaches the pixels. ``moves`` is None for the brain alone,
    else how far a head with skull, eyes and neck moves between series.

    Returns:
        The patient's entry of ``truth.json``, without label.

    Raises:
        OSError: A file cannot be written.
    """
    plan = plan_patient(index, seed, moves or 0.0)
    head = plan.head
    looks = {modality: tumour_look(latent) for modality, latent in latents.items()}
    tissue = build_tissue(head, stream(seed, Stream.TISSUE, index))
    surroundings = None if moves is None else build_surroundings(tissue, head)
    for number, (series, seen) in enumerate(zip(plan.series, plan.poses, strict=True)):
        if series.modality not in looks:
            continue
        image = paint(tissue, series.modality, looks[series.modality], head.tumour_radius_mm)
        rng = stream(seed, Stream.SCANNER, index, number)
        if surroundings is None:
            pixels = measure(image, tissue.depth_mm, seen, series, rng)
        else:
            pixels = measure(surround(image, surroundings, series.modality), None, seen, series, rng, ORIGIN_MM)
        headers = series_headers(series, plan.patient_id, plan.scanner, seed)
        write_series(train_dir / plan.patient_id / series.modality, headers, pixels)
    centre = head.to_scanner(head.tumour_centre_mm)
    planted = {
        modality: {"latent": latent, "core_share": looks[modality].core_share} for modality, latent in latents.items()
    }
    return {
        "patient_id": plan.patient_id,
        **(next(iter(planted.values())) if len(set(latents.values())) == 1 else {}),
        "tumour_centre_mm": [round(float(value), 3) for value in centre],
        "tumour_radius_mm": round(head.tumour_radius_mm, 3),
        "oedema_mm": round(head.oedema_mm, 3),
        "series": {
            series.modality: {
                **planted[series.modality],
                "plane": series.plane,
                "n_slices": series.n_slices,
                "slice_spacing_mm": series.slice_spacing_mm,
                "numbers": list(series.numbers),
                **({} if moves is None else {"head_to_scanner_mm": pose(seen).round(6).tolist()}),
            }
            for series, seen in zip(plan.series, plan.poses, strict=True)
            if series.modality in looks
        },
    }


def write_phantom(
    out_dir: str | Path,
    n_patients: int,
    effect: float,
    seed: int,
    workers: int | None = None,
    moves: float | None = None,
    effects: Mapping[str, float] | None = None,
    shared: float = 0.0,
    missing: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """Write a made cohort of head MRI in Kaggle's layout, with labels and the truth behind them.

    The files are written beside ``out_dir`` and moved there when all are done: a run that is stopped
    leaves no half cohort. The result does not depend on the number of workers.

    Args:
        out_dir: A folder that does not exist yet or is empty.
        n_patients: 2 to 10000; half of them (rounded down) are methylated.
        effect: Distance between the classes' latent means in standard deviations, 0 or more: one latent value for all
            modalities.
        seed: 0 or more. The same seed gives the same heads, series and headers at every effect.
        workers: Processes; all cores where None.
        moves: Heads as a scanner sees them, with skull, eyes and neck, which move by at most so many mm and degrees
            between series; None for brains alone, which do not move.
        effects: In place of ``effect``: one by modality, 0 where it is not named, each with a latent value of its own.
        shared: With ``effects``: how their latent values correlate within a class, 0 to below 1.
        missing: By modality, the shares of unmethylated and of methylated patients without that series, 0 to 1. One
            modality at least is never missing.

    Returns:
        ``out_dir``.

    Raises:
        PhantomError: An argument out of range, ``out_dir`` in use or not writable, or a full disk.

    Example:
        >>> import mgmt_monai as mgmt
        >>> mgmt.write_phantom("data/phantom", n_patients=16, effect=3, seed=0)  # doctest: +SKIP
        PosixPath('data/phantom')
    """
    out_dir = Path(out_dir)
    workers = _check(out_dir, n_patients, effect, seed, workers)
    if moves is not None and not 0 <= moves <= 90:
        raise PhantomError(f"phantom: expected heads that move by 0 to 90, found {moves}; pass another --moves")
    planted = _planted(effect, effects, shared)
    missing = _missing(missing or {})
    labels = draw_labels(n_patients, seed)
    latents = [
        {
            modality: latent
            for number, (modality, latent) in enumerate(planted.latents(int(label), seed, index).items())
            if stream(seed, Stream.MISSING, index, number).random() >= missing.get(modality, (0.0, 0.0))[label]
        }
        for index, label in enumerate(labels)
    ]
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.partial-", dir=out_dir.parent))
    except OSError as error:
        raise PhantomError(_unwritable(out_dir, error)) from error
    try:
        patients = _write_all(partial / "train", latents, seed, workers, moves)
        for patient, label in zip(patients, labels, strict=True):
            patient["label"] = int(label)
        labels_csv = csv_text(["BraTS21ID", "MGMT_value"], ((one["patient_id"], one["label"]) for one in patients))
        (partial / "train_labels.csv").write_text(labels_csv, encoding="utf-8")
        truth = {
            "version": TRUTH_VERSION,
            "seed": seed,
            "effect": planted.together(),
            "reachable_auc": reachable_auc(planted.together()),
            "n_patients": n_patients,
            **(
                {}
                if effects is None
                else {
                    "effects": dict(planted.effects),
                    "shared": planted.shared,
                    "reachable_auc_of": {name: reachable_auc(one) for name, one in planted.effects.items()},
                }
            ),
            **({"missing": {name: list(shares) for name, shares in missing.items()}} if missing else {}),
            **({} if moves is None else {"raw": True, "moves": moves}),
            "patients": patients,
        }
        (partial / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
        partial.chmod(0o777 & ~umask())  # mkdtemp makes private folders
        partial.replace(out_dir)
    except OSError as error:
        raise PhantomError(_unwritable(out_dir, error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out_dir


def _check(out_dir: Path, n_patients: int, effect: float, seed: int, workers: int | None) -> int:
    if not 2 <= n_patients <= 10000:
        raise PhantomError(f"phantom: expected 2 to 10000 patients, found {n_patients}; pass another --patients")
    if not (np.isfinite(effect) and effect >= 0):
        raise PhantomError(f"phantom: expected an effect of 0 or more, found {effect}; pass another --effect")
    if seed < 0:
        raise PhantomError(f"phantom: expected a seed of 0 or more, found {seed}; pass another --seed")
    if workers is not None and workers < 1:
        raise PhantomError(f"phantom: expected 1 worker or more, found {workers}; pass another --workers")
    try:
        if out_dir.exists() and not out_dir.is_dir():
            raise PhantomError(f"phantom: {out_dir}: expected a new or empty folder, found a file; name another")
        if out_dir.is_dir() and any(out_dir.iterdir()):
            raise PhantomError(
                f"phantom: {out_dir}: expected a new or empty folder, found files in it; "
                "name another or remove it first"
            )
    except OSError as error:
        raise PhantomError(_unwritable(out_dir, error)) from error
    return min(n_patients, workers or processors())


def _planted(effect: float, effects: Mapping[str, float] | None, shared: float) -> Planted:
    """What is planted, as it was asked for."""
    if effects is None:
        return Planted(dict.fromkeys(MODALITIES, effect))
    _known(effects, "--effects")
    if not all(np.isfinite(one) and one >= 0 for one in effects.values()):
        raise PhantomError(f"phantom: expected effects of 0 or more, found {dict(effects)}; pass other --effects")
    if not 0 <= shared < 1:
        raise PhantomError(f"phantom: expected a share of 0 to below 1, found {shared:g}; pass another --shared")
    return Planted({modality: float(effects.get(modality, 0.0)) for modality in MODALITIES}, shared)


def _missing(missing: Mapping[str, tuple[float, float]]) -> Mapping[str, tuple[float, float]]:
    """The shares by modality, held against what is possible."""
    _known(missing, "--missing")
    if not all(0 <= share <= 1 for shares in missing.values() for share in shares):
        raise PhantomError("phantom: expected missing shares of 0 to 1, found others; pass another --missing")
    if all(any(missing.get(modality, (0.0, 0.0))) for modality in MODALITIES):
        raise PhantomError(
            "phantom: expected one modality that no patient lacks, found none; leave one out of --missing"
        )
    return missing


def _known(named: Mapping[str, Any], option: str) -> None:
    if unknown := sorted(set(named) - set(MODALITIES)):
        raise PhantomError(
            f"phantom: expected of {', '.join(MODALITIES)}, found {', '.join(unknown)!r}; correct {option}"
        )


def _unwritable(out_dir: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"phantom: {out_dir}: cannot be written ({reason}); free space, change permissions or name another"


def _write_all(
    train_dir: Path, latents: list[dict[str, float]], seed: int, workers: int, moves: float | None
) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    progress = tqdm(total=len(latents), desc="phantom", unit="patient")
    with progress:
        if workers == 1:
            for index, of_patient in enumerate(latents):
                found[index] = write_patient(train_dir, index, of_patient, seed, moves)
                progress.update()
        else:
            readers = Readers(workers)  # their processes write as well
            try:
                futures = {
                    readers.submit(
                        write_patient, train_dir, index, of_patient, seed, moves, timeout_s=_PATIENT_S
                    ): index
                    for index, of_patient in enumerate(latents)
                }
                for future in as_completed(futures):
                    found[futures[future]] = future.result()
                    progress.update()
            finally:
                readers.close()
    return [found[index] for index in sorted(found)]
