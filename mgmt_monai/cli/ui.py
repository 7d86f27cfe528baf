"""``mgmt-monai ui``: MLflow's pages on the store that trainings write to."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.command("ui")
@click.option(
    "--output-dir", "--output_dir", type=FOLDER, default="runs", show_default=True, help="Folder of the trainings."
)
@click.option("--port", default=5000, show_default=True, help="Port on this machine.")
def command(output_dir: Path, port: int) -> None:
    """Open the MLflow UI on the recorded runs, until Ctrl-C.

    Where MLFLOW_TRACKING_URI names a server, its address is printed instead: the server has its own UI.
    """
    from mgmt_monai.tracking.errors import TrackingError
    from mgmt_monai.tracking.mlflow_store import open_store, quiet_mlflow, shown, tracking_uri
    from mgmt_monai.tracking.store_file import file_of, make_store
    from mgmt_monai.tracking.tracked_run import VIEW

    uri = tracking_uri(output_dir)
    if uri.startswith(("http://", "https://")):
        click.echo(f"The runs are on the server {shown(uri)}: open it in a browser.")
        return
    if (path := file_of(uri)) is not None and not path.is_file():
        raise TrackingError(
            f"{output_dir}: no recorded runs (mlruns.db) here. Train first, or name the folder with --output-dir DIR."
        )
    _check_free(port)
    quiet_mlflow()
    if path is not None:
        make_store(path)
    call = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--workers", "1"]
    # Its own session: it has processes of its own, and all of them end with this one.
    server = subprocess.Popen([*call, "--port", str(port)], start_new_session=True)
    try:
        while server.poll() is None and not _answers(port):
            time.sleep(0.2)
        if server.poll() is None:
            address, view = f"http://127.0.0.1:{port}/#/experiments", "workflowType=machine_learning&viewStateShareKey="
            click.echo(f"Open {address} in a browser; Ctrl-C ends it. With the test AUC in the list of runs:")
            for of in open_store(uri).search_experiments():
                if f"mlflow.sharedViewState.{VIEW}" in of.tags:
                    click.echo(f"  {address}/{of.experiment_id}/runs?{view}{VIEW} ({of.name})")
        code = server.wait()
    finally:
        _end(server)
    if code:
        raise TrackingError(f"the MLflow UI ended with exit code {code}; what it said stands above.")


def _check_free(port: int) -> None:
    from mgmt_monai.tracking.errors import TrackingError

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended is no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TrackingError(f"port {port} cannot be had ({reason}). Name another with --port N.") from error


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(5)
