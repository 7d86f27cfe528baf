"""``mgmt-monai fuse``: finished trainings of several modalities, as one answer a patient."""

import shlex
from collections.abc import Collection
from pathlib import Path

import click

from mgmt_monai.cli.json_result import result, with_json

FILE = click.Path(path_type=Path)


@click.command("fuse")
@click.argument("runs", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, default="fusion", show_default=True, help="Folder for the fusion.")
@click.option("--stage", default="fine_tune", show_default=True, help="Whose predictions are fused; plain, transfer.")
@click.option("--bound", type=click.FloatRange(0, 0.5, min_open=True), default=0.05, show_default=True,
              help="The smallest difference in AUC that would matter, set beforehand.")  # fmt: skip
@click.option("--columns", type=FILE, help="CSV patient_id,...: with a site, patients of one site alone are compared.")
@click.option("--site", default="", metavar="COLUMN", help="That tells the site  [one called site, centre...]")
@click.option("--level", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, help="Of the interval.")
@click.option("--overwrite", is_flag=True, help="Replace another fusion that is there.")
@with_json
def command(
    runs: tuple[Path, ...], out: Path, stage: str, bound: float, columns: Path | None, site: str, level: float,
    overwrite: bool,
) -> None:  # fmt: skip
    """Fuse RUNS, the folders of finished trainings of two to four modalities on one manifest.

    For each fold and seed a logistic model of the single models' answers is fitted on the validation patients, and
    asked about the test patients. Patients without a series stay in. Folds and seeds of a modality are each a run.
    """
    from mgmt_monai.comparison.fusing import (
        PRESENCE,
        RESULT,
        TABLE,
        fair_test,
        fuse,
        missing_otherwise,
        read_training,
        write_fusion,
    )

    trainings = [read_training(run, stage) for run in runs]
    fused = fuse(trainings)
    patients = set(fused.tables[TABLE]["patient_id"])
    sites, column = _sites(patients, columns, site)
    document = write_fusion(fused, fair_test(fused, bound, level, sites), out, overwrite)
    for training in trainings:
        learning = training.run.get("learning") or {}
        if sentence := (learning.get(stage) or {}).get("sentence"):
            click.echo(f"Warning: {training.folder}: {sentence}", err=True)
    for name, (fitted, tested) in missing_otherwise(fused).items():
        told = f"{fitted:.0%} of the validation patients, on whom the fusion is fitted, and in {tested:.0%} of the test"
        click.echo(f"Warning: {name} is missing in {told} patients: look why before you believe it.", err=True)
    origin = trainings[0].run.get("origin") or {}
    if origin.get("text"):
        click.echo(origin["text"])
    if document["control"] != "none":
        click.echo(f"These are trainings of the negative control {document['control']}, not of models.")
    falls = document["auc_falls_when_shuffled"]
    for name, n in document["missing"].items():
        fall = "" if falls[name] is None else f"without it the AUC changes by {-falls[name]:+.2f}, "
        click.echo(f"{name}: {fall}missing in {n} of {len(patients)} patients")
    adds = document["adds"]
    click.echo(adds["sentence"])
    if adds["fusion"] is not None:
        within = f", within {column}" if column else ""
        singles = f"best single modality {adds['best_single']:.2f}"
        click.echo(f"AUC {adds['fusion']:.2f}, {singles}; {adds['n']} test patients{within}")
    click.echo(f"{out / RESULT}")
    words = ["mgmt-monai", "evaluate", str(out / TABLE)]
    words += [str(out / PRESENCE), "--control", "presence"] if PRESENCE in fused.tables else []
    words += ["--columns", str(columns)] if columns else []
    click.echo(f"What it is worth: {shlex.join(words)}")
    result(out / RESULT)


def _sites(patients: Collection[str], columns: Path | None, named: str) -> tuple[dict[str, str] | None, str]:
    """The site by patient, and its column; None without one."""
    if columns is None:
        if named:
            raise click.UsageError("--site is a column of --columns: give that table too.")
        return None, ""
    import pandas as pd

    from mgmt_monai.cohort.tables.columns import read_columns
    from mgmt_monai.evaluation.within_site import site_column

    table = pd.DataFrame.from_dict(read_columns(columns, patients), orient="index")
    column = site_column(table, named)
    if not column:
        raise click.ClickException(
            f"{columns}: expected a column that tells the site, found {', '.join(table.columns)}. Name it with --site."
        )
    return table[column].to_dict(), column
