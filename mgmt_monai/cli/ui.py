"""``mgmt-monai ui``: MLflow's pages on the store that trainings write to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click


@click.command("ui")
@click.option(
    "--output-dir",
    "--output_dir",
    default="runs",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the trainings.",
)
@click.option("--port", default=5000, show_default=True, help="Port on this machine.")
def command(output_dir: Path, port: int) -> None:
    """Open the MLflow UI on the recorded runs, until Ctrl-C.

    Where MLFLOW_TRACKING_URI names a server, its address is printed instead: the server has its own UI.
    """
    from mgmt_monai.tracking.errors import TrackingError
    from mgmt_monai.tracking.mlflow_store import quiet_mlflow, shown, tracking_uri

    quiet_mlflow()
    uri = tracking_uri(output_dir)
    if uri.startswith(("http://", "https://")):
        click.echo(f"The runs are on the server {shown(uri)}: open it in a browser.")
        return
    if uri.startswith("sqlite") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise TrackingError(
            f"{output_dir}: no recorded runs (mlruns.db) here. Train first, or name the folder with --output-dir DIR."
        )
    click.echo(f"Open http://127.0.0.1:{port}/#/experiments in a browser; Ctrl-C ends it.")
    call = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        uri,
        "--host",
        "127.0.0.1",
        "--workers",
        "1",
        "--port",
        str(port),
    ]
    code = subprocess.call(call)
    if code not in (0, 130):
        raise TrackingError(
            f"the MLflow UI ended with exit code {code}. Is port {port} taken? Name another with --port N."
        )
