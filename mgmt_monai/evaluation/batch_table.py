"""The table of ``predict --batch``, read as predictions of test patients."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mgmt_monai.evaluation.predictions import BATCH_COLUMNS, PATIENT_COLUMNS, EvaluationError, checked_table, text_table


def is_batch(path: Path) -> bool:
    """Whether a table is what ``predict --batch`` writes: predictions without labels.

    Raises:
        EvaluationError: It cannot be read.
    """
    header = set(text_table(path).columns)
    return "label" not in header and set(BATCH_COLUMNS) <= header


def read_batch(path: Path, labels: Mapping[str, int]) -> tuple[pd.DataFrame, dict[str, int]]:
    """The table of ``predict --batch`` with labels from elsewhere, as test patients.

    Args:
        path: A table with the columns :data:`BATCH_COLUMNS` (docs/reference/prediction.md).
        labels: By patient.

    Returns:
        The columns :data:`PATIENT_COLUMNS`, ``bundle`` and ``threshold`` (``nan`` where it has none), and how many
        predictions are left out: ``without a probability`` (the model abstained or failed), ``without a label``. Of
        several bundles of one modality and stage the stage carries the bundle's name.

    Raises:
        EvaluationError: The file cannot be read, breaks the schema, a model has several thresholds, or nothing is left.
    """
    table = text_table(path)
    without = {"without a probability": int((table["probability"] == "").sum())}
    table = table[table["probability"] != ""]
    known = table["patient_id"].isin(list(labels))
    without["without a label"] = int((~known).sum())
    table = table[known].reset_index(drop=True)
    if not len(table):
        raise EvaluationError(
            f"{path}: expected predictions of patients with a label, found none: "
            + ", ".join(f"{n} {what}" for what, n in without.items())
            + "; give the labels of these patients"
        )
    stage = table["stage"].replace("", "unknown")
    bundles = table.groupby(["modality", stage])["bundle"].transform("nunique")
    table["stage"] = stage.where(bundles == 1, stage + " " + table["bundle"])
    rows = table.assign(split="test", fold=0, seed=0, label=table["patient_id"].map(labels))
    threshold = pd.to_numeric(rows["threshold"], errors="coerce")
    for model, of in rows.groupby(["modality", "stage"])["threshold"]:
        if of.nunique() > 1:
            some = ", ".join(value or "none" for value in of.unique()[:2])
            raise EvaluationError(
                f"{path}, column threshold: expected one threshold for {' '.join(model)}, found {some}; give the table "
                "as 'predict --batch' wrote it"
            )
    return checked_table(rows, PATIENT_COLUMNS, str(path)).assign(threshold=threshold, bundle=rows["bundle"]), without
