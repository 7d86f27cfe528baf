"""``mgmt-monai evaluate``: what a table of predictions is worth, whoever made it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

FILE = click.Path(path_type=Path)

SHOWN_PAIRS = 10
"""Of models, on the screen."""


@click.command("evaluate")
@click.argument("predictions", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, default="evaluation", show_default=True, help="Folder for tables and pictures.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Called methylated from this probability on  [Youden's on the validation patients; 0.5 without any]",
)
@click.option("--columns", type=FILE, help="CSV patient_id,...: subgroups by each column, such as the site.")
@click.option("--manifest", type=FILE, help="Manifest: subgroups by its columns and by the plane of the modality.")
@click.option("--level", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, help="Of every interval.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resampling.")
def command(
    predictions: tuple[Path, ...],
    out: Path,
    threshold: float | None,
    columns: Path | None,
    manifest: Path | None,
    level: float,
    seed: int,
) -> None:
    """Judge PREDICTIONS, one or more patient tables (docs/reference/predictions.md).

    Each modality and stage in each file is a model; its test patients are judged, folds and seeds together. OUT gets
    evaluation.json, figures.csv, comparisons.csv, subgroups.csv and a folder of pictures for each model.
    """
    from mgmt_monai.evaluation.assessment import estimate_text
    from mgmt_monai.evaluation.evaluation_folder import write_evaluation
    from mgmt_monai.evaluation.models import read_models

    models = read_models(predictions, threshold)
    patients = dict.fromkeys(patient for pooled in models.values() for patient in pooled["patient_id"])
    evaluated = write_evaluation(models, out, _columns(patients, columns, manifest), level, seed)
    for name, figures in evaluated["models"].items():
        click.echo(f"{name}: {figures['n']} test patients, {figures['n_methylated']} methylated")
        click.echo(f"  AUC {estimate_text(figures['auc'])}, permutation p {_number(figures['permutation_p'], 4)}")
        click.echo(
            f"  at {figures['threshold']:.2f}: accuracy {estimate_text(figures['accuracy'])}, sensitivity "
            f"{estimate_text(figures['sensitivity'])}, specificity {estimate_text(figures['specificity'])}"
        )
        click.echo(
            f"  calibration slope {estimate_text(figures['calibration_slope'])}, Brier {_number(figures['brier'], 3)} "
            f"(the prevalence alone: {_number(figures['brier_of_prevalence'], 3)})"
        )
    for row in evaluated["comparisons"][:SHOWN_PAIRS]:
        difference = {"value": row["difference"], "low": row["low"], "high": row["high"]}
        click.echo(
            f"{row['first']} minus {row['second']}: {estimate_text(difference)}, p {_number(row['p'], 4)}, "
            f"{_number(row['p_holm'], 4)} after Holm ({row['n']} patients)"
        )
    if len(evaluated["comparisons"]) > SHOWN_PAIRS:
        click.echo(f"... and {len(evaluated['comparisons']) - SHOWN_PAIRS} pairs more, all in comparisons.csv")
    click.echo(f"{out}: tables and pictures")


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def _columns(patients: Iterable[str], columns: Path | None, manifest: Path | None) -> pd.DataFrame:
    """What is known of the patients, from a table, from a manifest, or from both."""
    import pandas as pd

    from mgmt_monai.cohort.manifest import read_manifest
    from mgmt_monai.cohort.tables.columns import read_columns

    known: dict[str, dict[str, str]] = {patient: {} for patient in patients}
    if manifest is not None:
        records = [record for record in read_manifest(manifest).patients if record.patient_id in known]
        if not records:
            raise click.ClickException(f"{manifest}: expected the patients of the predictions, found none of them.")
        for record in records:
            planes = {f"{name} plane": series.plane for name, series in record.series.items()}
            known[record.patient_id] = {**planes, **record.columns}
    if columns is not None:
        for patient, values in read_columns(columns, known).items():
            known[patient] |= values
    return pd.DataFrame.from_dict(known, orient="index").fillna("").astype(str)
