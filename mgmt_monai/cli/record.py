"""``mgmt-monai record``: trainings that MLflow does not have, or not whole."""

from pathlib import Path

import click


@click.command("record")
@click.argument("folders", metavar="RUN_FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tracking-uri", "--tracking_uri", metavar="URI", help="MLflow store  [MLFLOW_TRACKING_URI, else the "
              "mlruns.db above the folder]")  # fmt: skip
def command(folders: tuple[Path, ...], tracking_uri: str | None) -> None:
    """Record trainings in MLflow afterwards, from their folders; what MLflow has is left as it is.

    For those that ended with "not recorded in MLflow", or whose store was lost.
    """
    from mgmt_monai.tracking import mlflow_store as store
    from mgmt_monai.training.record import record

    for folder in folders:
        above = folder.resolve().parents
        output_dir = next((one for one in above if (one / "mlruns.db").is_file()), above[min(1, len(above) - 1)])
        run_id = record(folder, tracking_uri or store.tracking_uri(output_dir), output_dir)
        click.echo(f"{folder}: run {run_id}")
