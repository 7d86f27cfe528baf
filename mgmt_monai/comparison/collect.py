"""What the trainings of a comparison left behind, brought together under pseudonyms."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.patients import LATE_FUSION
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.folder import ComparisonFolder
from mgmt_monai.comparison.kept_results import CURVE_COLUMNS
from mgmt_monai.comparison.plan import LAST_STAGE, Candidate, ComparisonPlan, Training
from mgmt_monai.evaluation.columns import quarters
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, SLICE_COLUMNS, read_patients, read_slices
from mgmt_monai.training.run_directory import run_in

LEAST_SHARED = 3
"""A value that fewer patients share could single one out, and is no subgroup: it is left empty in the record."""


def predictions_by(
    what: str, folder: ComparisonFolder, trainings: Iterable[Training], stage: str = ""
) -> dict[str, pd.DataFrame]:
    """The patient tables of trainings, one below the other, with the patients' own names, by network or control.

    ``stage`` is one that each has to have scored: a plain model, say, without which a training goes on.

    Raises:
        ComparisonError: A training has no predictions of the stage.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    for training in trainings:
        table = read_patients(folder.run_folder(training) / "predictions.csv")
        if stage and stage not in set(table["stage"]):
            raise ComparisonError(
                f"training {training.name}: expected predictions of the stage {stage}, which was chosen, found none; "
                f"its training.log says why. Mend that, delete {folder.run_folder(training)} and start the comparison "
                "again."
            )
        tables.setdefault(getattr(training, what), []).append(table)
    return {name: pd.concat(of, ignore_index=True)[list(PATIENT_COLUMNS)] for name, of in tables.items()}


def chosen_slices(
    folder: ComparisonFolder, plan: ComparisonPlan, chosen: Candidate, predictions: pd.DataFrame
) -> pd.DataFrame:
    """Slice table of the candidate chosen, on the test patients; of a fusion, one row a patient.

    ``predictions``: the patient table of its network.
    """
    if chosen.modality == LATE_FUSION:
        slices = predictions[predictions["modality"] == LATE_FUSION].assign(slice_index=0)[list(SLICE_COLUMNS)]
    else:
        tables = [
            read_slices(folder.run_folder(training) / "slice_predictions.csv") for training in plan.trainings_of(chosen)
        ]
        slices = pd.concat(tables, ignore_index=True)
    return slices[(slices["stage"] == chosen.stage) & (slices["split"] == "test")].reset_index(drop=True)


def curves_of(folder: ComparisonFolder, trainings: Iterable[Training], n_folds: int | None) -> pd.DataFrame:
    """The figures of every epoch of trainings; folds are numbered over their repeats, as in predictions tables."""
    tables = []
    for training in trainings:
        fold = 0 if training.fold is None else (training.repeat or 0) * (n_folds or 0) + training.fold
        rows = pd.read_csv(folder.run_folder(training) / "epochs.csv")
        tables.append(rows.assign(**asdict(replace(training, fold=fold))))
    return pd.concat(tables, ignore_index=True)[list(CURVE_COLUMNS)]


def patient_columns(manifest: Manifest, seen: Collection[str], site: str = "") -> pd.DataFrame:
    """What is known of the patients that can part them into subgroups: the plane, and the manifest's columns.

    Args:
        manifest: The patients; those with a series of the modalities that are ``seen`` are told of.
        seen: Modalities; where a patient's series lie in several planes, the plane is ``several``.
        site: The column that was named as the site: its numbers are codes.

    Returns:
        Text by patient (the index) and column. Values shared by fewer than `LEAST_SHARED` patients are empty, and
        columns without any other are left out.
    """
    present = [patient for patient in manifest.patients if not patient.series.keys().isdisjoint(seen)]
    index = [patient.patient_id for patient in present]
    named = pd.DataFrame.from_records([patient.columns for patient in present], index=index).fillna("").astype(str)
    named = named.apply(lambda values: values if values.name == site else quarters(values))
    shared = named.apply(lambda values: values.where(values.map(values.value_counts()) >= LEAST_SHARED, ""))
    planes = pd.Series([_plane(patient, seen) for patient in present], index=index, name="plane", dtype=str)
    return pd.concat([planes, shared.loc[:, (shared != "").any()]], axis="columns")


def cohort_summary(manifest: Manifest, with_folds: bool, made: bool = False) -> dict[str, Any]:
    """The cohort in numbers: nobody is named.

    ``made``: it is a phantom, where the manifest is of a version that does not say so.
    """
    return {
        "layout": manifest.layout,
        "made": made or manifest.is_made,
        "n_patients": len(manifest.patients),
        "n_methylated": sum(patient.label for patient in manifest.patients),
        "splits": None
        if with_folds
        else {split: {"unmethylated": n[0], "methylated": n[1]} for split, n in manifest.counts().items()},
        "folds": {key: manifest.folds[key] for key in ("n_folds", "n_repeats")} if with_folds else None,
        "excluded": _counted(_shown(reason, manifest) for reason in manifest.excluded.values()),
        "left_out": _counted(_reason(line) for line in manifest.left_out),
        "modalities": {
            modality: {
                "n_series": sum(modality in patient.series for patient in manifest.patients),
                "planes": dict(
                    Counter(p.series[modality].plane for p in manifest.patients if modality in p.series).most_common()
                ),
            }
            for modality in MODALITIES
            if any(modality in patient.series for patient in manifest.patients)
        },
    }


def training_rows(folder: ComparisonFolder, trainings: Sequence[Training]) -> list[dict[str, Any]]:
    """What the record says of each training."""
    rows = []
    for training in trainings:
        state = run_in(folder.run_folder(training)).state
        stages = state.get("learning", {})
        learning = stages.get(LAST_STAGE, {})
        rows.append(
            {
                "name": training.name,
                **asdict(training),
                "weights": state["weights"],
                "pretrained": state["weights"] != "none",
                "status": state["status"],
                "learnt": learning.get("has_learnt"),
                "not_learnt": learning.get("sentence", ""),
                "kept_start": [stage for stage, of in stages.items() if of.get("best_epoch") == 0],
                "run_id": state["mlflow_run_id"],
            }
        )
    return rows


def _plane(patient: PatientRecord, seen: Collection[str]) -> str:
    planes = {series.plane for modality, series in patient.series.items() if modality in seen}
    return planes.pop() if len(planes) == 1 else "several"


def _reason(line: str) -> str:
    """Why a patient was left out, without the patient and without who else it is."""
    reason = re.sub(r"^patient .*?: ", "", line, count=1)
    return "already in the training data" if reason.startswith("is ") else reason


def _shown(reason: str, manifest: Manifest) -> str:
    """Why a patient was excluded, unless it tells who one is."""
    names = {patient.patient_id for patient in manifest.patients} | set(manifest.excluded)
    return "(not shown: it names a patient)" if names & set(re.findall(r"[\w-]+", reason)) else reason


def _counted(reasons: Iterable[str]) -> list[dict[str, Any]]:
    return [{"reason": reason, "n": n} for reason, n in Counter(reasons).most_common()]
