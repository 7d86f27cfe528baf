"""What the hospital alone tells of the label in the real cohort: the figures of explanation/verdict.md.

python docs/hospital_alone.py train_labels.csv BraTS21-17_Mapping.csv
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

N_FOLDS, N_REPEATS = 5, 20
SHRINKAGE = 2
"""Patients of the overall prevalence that are added to each hospital."""


def out_of_fold(label: pd.Series, site: pd.Series, seed: int) -> tuple[float, float]:
    """The AUC of the prevalence at the patient's hospital among the other folds: mean of the folds, and of all at once.

    Args:
        label: 0 or 1.
        site: The hospital of each.
        seed: Of the folds.
    """
    found, aucs = np.empty(len(label)), []
    for seen, unseen in StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(site, label):
        overall = label.iloc[seen].mean()
        of_site = label.iloc[seen].groupby(site.iloc[seen]).agg(["sum", "size"])
        prevalence = (of_site["sum"] + SHRINKAGE * overall) / (of_site["size"] + SHRINKAGE)
        found[unseen] = site.iloc[unseen].map(prevalence).fillna(overall)
        aucs.append(roc_auc_score(label.iloc[unseen], found[unseen]))
    return float(np.mean(aucs)), float(roc_auc_score(label, found))


@click.command()
@click.argument("labels", type=click.Path(path_type=Path, exists=True))
@click.argument("mapping", type=click.Path(path_type=Path, exists=True))
def main(labels: Path, mapping: Path) -> None:
    """Print the AUC of the hospital's prevalence among the patients of LABELS, whose hospitals MAPPING has."""
    table = pd.read_csv(mapping, dtype=str).dropna(subset="BraTS2021")
    number = next(column for column in table if column.startswith("Site No"))
    sites = table.set_index(table["BraTS2021"].str.removeprefix("BraTS2021_"))[number]
    label = pd.read_csv(labels, dtype={"BraTS21ID": str}).set_index("BraTS21ID")["MGMT_value"]
    site = sites.reindex(label.index).fillna(label.index.to_series())  # unknown: alone
    folds, pooled = np.mean([out_of_fold(label, site, seed) for seed in range(N_REPEATS)], axis=0)
    own = site.map(label.groupby(site).mean()).where(site.duplicated(keep=False), label.mean())  # of one: the overall
    largest = site.isin(["1", "18"])
    for name, m, n in ((name, of.sum(), len(of)) for name, of in label[largest].groupby(site[largest])):
        click.echo(f"site {name}: {m} of {n} methylated")
    click.echo(f"{len(label)} patients, {N_REPEATS} x {N_FOLDS} folds: AUC {folds:.3f} as the mean of the folds, "
               f"{pooled:.3f} of each {N_FOLDS} pooled")  # fmt: skip
    click.echo(f"in-sample: {roc_auc_score(label, own):.3f}; sites 1 and 18 alone: "
               f"{roc_auc_score(label[largest], own[largest]):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
