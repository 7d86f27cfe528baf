"""How often trainings end in each verdict where nothing is to be learnt: ``python benchmarks/real_trainings.py``.

What `verdicts.py` simulates with a ridge regression, with `mgmt_monai.train` itself: each draw permutes the labels or
keeps them, cross-validates both stages on a made cohort, and judges all folds together. Rows and seeds (1000 and on)
are fixed here. The control is drawn at random, so that a signal may be called supported.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pandas as pd

import mgmt_monai as mgmt
from mgmt_monai.cli.main import main as mgmt_monai
from mgmt_monai.cohort.manifest import Manifest, read_manifest, write_manifest
from mgmt_monai.cohort.splits.plans import KFold
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.evaluation.folds import across_folds
from mgmt_monai.evaluation.model_rows import read_rows
from mgmt_monai.evaluation.pooling import pool
from mgmt_monai.evaluation.verdict import judge

FIRST_SEED = 1000
N_FOLDS = 3
SMALL = {
    "image_size": 48, "transfer_epochs": 5, "fine_tune_epochs": 1, "transfer_batch_size": 16,
    "fine_tune_batch_size": 16, "transfer_learning_rate": 0.001, "bootstrap_resamples": 20, "device": "cpu",
}  # fmt: skip
"""Seconds a training; everything else is the packaged config's."""


def draw(manifest: Manifest, data: Path, folder: Path, seed: int, permuted: bool) -> tuple[float, str]:
    """AUC and state of one cross-validated study.

    Args:
        manifest: Of the made cohort.
        data: Its folder.
        folder: Gets the trainings.
        seed: Of labels, folds, trainings and the control.
        permuted: Whether the labels are permuted before anything is trained.
    """
    random = np.random.default_rng(seed)
    labels = [patient.label for patient in manifest.patients]
    dealt = random.permutation(labels).tolist() if permuted else labels
    patients = [replace(patient, label=label) for patient, label in zip(manifest.patients, dealt, strict=True)]
    made = KFold(N_FOLDS, 1, 0, seed).apply(replace(manifest, patients=patients))
    path = folder / f"manifest-{seed}-{permuted}.json"
    write_manifest(made, path)
    tables = []
    for fold in range(N_FOLDS):
        run = mgmt.train("t1w", dataset_dir=data, manifest=path, output_dir=folder, fold=fold, seed=seed, **SMALL)
        tables.append(read_rows([run / "predictions.csv"])[0]["T1w fine_tune"])
    rows = pd.concat(tables, ignore_index=True)
    pooled = pool(rows, 0.5)
    scores, _ = across_folds(pooled["probability"], pooled["fold"], pooled["label"])
    control = {"header_tags": random.standard_normal(len(pooled))}
    state = judge(pooled["label"], pooled["probability"], control, seed=seed, fold=pooled["fold"]).state
    return auc(pooled["label"].to_numpy(), scores), state


@click.command()
@click.option("--draws", default=20, show_default=True, help="Of each row.")
@click.option("--patients", default=48, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path("data/real-trainings"), show_default=True)
def main(draws: int, patients: int, data: Path) -> None:
    """Print, for labels as they are and permuted before training, how the trainings' AUCs spread and what is said."""
    if not data.exists():
        mgmt.write_phantom(data, n_patients=patients, effect=3.0, seed=0)
        mgmt_monai(["manifest", "build", str(data)])
    manifest = read_manifest(data / "manifest.json")
    states = ("supported", "too_small_to_matter", "cannot_tell", "below_chance")
    head = ("labels", "draws", "mean AUC (lowest to highest)", *(state.replace("_", " ") for state in states))
    click.echo(f"| {' | '.join(head)} |")
    click.echo("|---" * 7 + "|")
    for name, permuted in (("permuted", True), ("as planted", False)):
        with tempfile.TemporaryDirectory() as folder:
            seeds = range(FIRST_SEED, FIRST_SEED + draws)
            found = [draw(manifest, data, Path(folder), seed, permuted) for seed in seeds]
        counted, aucs = Counter(state for _, state in found), [value for value, _ in found]
        spread = f"{np.mean(aucs):.2f} ({min(aucs):.2f} to {max(aucs):.2f})"
        cells = [str(draws), spread, *(str(counted[state]) for state in states)]
        click.echo(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
