"""``mgmt-monai record``: trainings that MLflow does not have, or not whole."""

from pathlib import Path

import click

from mgmt_monai.errors import MgmtMonaiError, printable


@click.command("record")
@click.argument("folders", metavar="RUN_FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tracking-uri", "--tracking_uri", metavar="URI", help="MLflow store  [MLFLOW_TRACKING_URI, else the "
              "mlruns.db above the folder]")  # fmt: skip
def command(folders: tuple[Path, ...], tracking_uri: str | None) -> int:
    """Record trainings in MLflow afterwards, from their folders; what MLflow has is left as it is.

    For those that ended with "not recorded in MLflow", or whose store was lost. One that cannot be recorded does not
    stop the others; the exit code is then 1.
    """
    n_refused = 0
    for folder in folders:
        try:
            if not (folder / "run.json").is_file():  # told before anything heavy is imported
                raise MgmtMonaiError(f"{folder}: expected the folder of a training that has begun, found none")
            click.echo(f"{folder}: run {_recorded(folder, tracking_uri)}")
        except MgmtMonaiError as error:
            click.echo(f"Error: {printable(str(error))}", err=True)
            n_refused += 1
    return min(n_refused, 1)


def _recorded(folder: Path, tracking_uri: str | None) -> str:
    from mgmt_monai.tracking import mlflow_store as store
    from mgmt_monai.training.record import record

    above = folder.resolve().parents
    output_dir = next((one for one in above if (one / "mlruns.db").is_file()), above[min(1, len(above) - 1)])
    return record(folder, tracking_uri or store.tracking_uri(output_dir), output_dir)
