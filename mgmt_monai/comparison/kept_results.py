"""The record of a comparison: what its report is made from, as it lies in MLflow. Patients are pseudonyms in it.

A folder of plain files (docs/reference/comparison.md):

- ``comparison.json``: plan, settings, versions, hashes, cohort, trainings, the candidate chosen;
- ``predictions/<network>.csv`` and ``controls/<control>.csv``: predictions tables by patient, and
  ``slices.csv``: by slice, of the candidate chosen;
- ``curves.csv``: the figures of every epoch; ``columns.csv``: what is known of the patients.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from mgmt_monai.atomic import write_text
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.csv_file import csv_text, plain
from mgmt_monai.evaluation.predictions import read_patients, read_slices, write_patients, write_slices
from mgmt_monai.json_file import JsonFileError, read_json
from mgmt_monai.machine import check_machine, scratch
from mgmt_monai.tracking.comparisons import fetch_files, n_judged

SCHEMA = "mgmt-monai/comparison/1"
"""Raised when a file or a key is added, removed, renamed or means something else."""

CURVE_COLUMNS = ("network", "modality", "control", "fold", "seed", "stage", "epoch", "split", "metric", "value")

RECORD, REPORT = "comparison", "report"
"""The folders of the parent run's artifacts in MLflow."""


@dataclass(frozen=True)
class ComparisonRecord:
    """What is known of a comparison when its trainings are done.

    Args:
        about: ``comparison.json``.
        predictions: Patient table by network, in the plan's order: every modality, stage, fold and seed.
        controls: Patient table by control, of the candidate chosen.
        slices: Slice table of the candidate chosen, its last stage, test patients.
        curves: `CURVE_COLUMNS`, one row a figure of an epoch.
        columns: Text by patient (the index) and column.
    """

    about: Mapping[str, Any]
    predictions: Mapping[str, pd.DataFrame]
    controls: Mapping[str, pd.DataFrame]
    slices: pd.DataFrame
    curves: pd.DataFrame
    columns: pd.DataFrame


def write_record(record: ComparisonRecord, folder: Path) -> None:
    """Write a record's files, each whole or not at all; the folder is made if absent."""
    for name in ("predictions", "controls"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for key, table in getattr(record, name).items():
            write_patients(table, folder / name / f"{key}.csv")
    write_slices(record.slices, folder / "slices.csv")
    write_text(folder / "curves.csv", csv_text(list(record.curves), record.curves.itertuples(index=False)))
    names = ["patient_id", *record.columns]
    write_text(folder / "columns.csv", csv_text(names, record.columns.itertuples()))
    about = {"schema": SCHEMA, **record.about}
    write_text(folder / "comparison.json", json.dumps(about, indent=2) + "\n")


def read_record(folder: Path) -> ComparisonRecord:
    """Read what `write_record` wrote.

    Raises:
        ComparisonError: It holds no record, or one of another schema.
        EvaluationError: A table breaks the schema of predictions.
    """
    try:
        about = read_json(folder / "comparison.json")
        found = about.pop("schema", None)
        if found != SCHEMA:
            raise ComparisonError(
                f"{folder}: expected a comparison's record of the schema {SCHEMA}, found {found}. Run it again."
            )
        columns = pd.read_csv(folder / "columns.csv", index_col="patient_id", dtype=str, keep_default_na=False)
        return ComparisonRecord(
            about=about,
            predictions={n: read_patients(folder / "predictions" / f"{n}.csv") for n in about["plan"]["networks"]},
            controls={path.stem: read_patients(path) for path in sorted((folder / "controls").glob("*.csv"))},
            slices=read_slices(folder / "slices.csv"),
            curves=pd.read_csv(folder / "curves.csv"),
            columns=columns.map(plain).rename(index=plain, columns=plain),
        )
    except (OSError, JsonFileError, AttributeError, KeyError, TypeError, pd.errors.ParserError) as error:
        check_machine(error, folder)
        raise ComparisonError(
            f"{folder}: no complete record of a comparison ({error}). Start the comparison again."
        ) from error


def stored_record(uri: str, run_id: str) -> ComparisonRecord:
    """The record of a comparison that has come to its end, from MLflow, and how often its patients were judged by now.

    Raises:
        TrackingError: MLflow cannot be read, or the run has no record.
        ComparisonError: The record is not whole.
    """
    with scratch(TemporaryDirectory) as temporary:
        record = read_record(fetch_files(uri, run_id, RECORD, Path(temporary) / "record"))
    judged = n_judged(uri, run_id)
    return replace(record, about={**record.about, "n_judged": judged}) if judged else record
