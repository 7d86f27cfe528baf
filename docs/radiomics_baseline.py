"""Predictions of a plain random forest on a table of radiomics features.

    python docs/radiomics_baseline.py TABLE OUT

TABLE is a CSV with a column that names the patient, ``MGMT_value``, and features in all the others. Every patient is
predicted once, by a forest that has not seen the patient (5 folds, stratified by label). OUT is a predictions table:
``mgmt-monai evaluate OUT`` judges it.
"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from mgmt_monai.evaluation.predictions import write_patients

N_FOLDS = 5
N_TREES = 500


@click.command()
@click.argument("table", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--patient-column", default="ID", show_default=True, help="Column that names the patient.")
@click.option("--seed", default=0, show_default=True, help="Of the folds and the forests.")
def main(table: Path, out: Path, patient_column: str, seed: int) -> None:
    """Cross-validate a random forest on TABLE and write its predictions to OUT."""
    rows = pd.read_csv(table, dtype={patient_column: str})
    label = rows["MGMT_value"]
    features = rows.drop(columns=[patient_column, "MGMT_value"]).dropna(axis="columns", how="all")
    parts = []
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(features, label)
    for fold, (seen, unseen) in enumerate(folds):
        forest = make_pipeline(SimpleImputer(), RandomForestClassifier(N_TREES, random_state=seed))
        forest.fit(features.iloc[seen], label.iloc[seen])
        parts.append(
            pd.DataFrame(
                {
                    "patient_id": rows[patient_column].iloc[unseen].str.zfill(5),  # BraTS has five digits
                    "modality": "radiomics",
                    "stage": "random_forest",
                    "split": "test",
                    "fold": fold,
                    "seed": seed,
                    "label": label.iloc[unseen],
                    "probability": forest.predict_proba(features.iloc[unseen])[:, 1],
                    "n_slices": 1,
                }
            )
        )
    write_patients(pd.concat(parts), out)
    click.echo(f"{out}: {len(rows)} patients, {features.shape[1]} features, {N_FOLDS} folds")


if __name__ == "__main__":
    main()
