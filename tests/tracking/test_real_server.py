"""A real MLflow server on a real PostgreSQL: killed in mid training, back again, or back only afterwards."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mlflow.tracking import MlflowClient
from phantom_runs import command, newest_run, start
from real_orthanc import free_port

from mgmt_monai.cli.main import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("training"),
    pytest.mark.skipif(not shutil.which("initdb", path=f"{os.environ['PATH']}:/usr/lib/postgresql/15/bin"),
                       reason="needs PostgreSQL (Debian: postgresql)"),
]  # fmt: skip

PROGRAMS = f"{os.environ['PATH']}:/usr/lib/postgresql/15/bin"


class Server:
    """PostgreSQL and MLflow on ports of their own; either can be killed and started again."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder, self.logs = folder, logs
        self.database_port, self.port = free_port(), free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        # PostgreSQL refuses to be run by root.
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        self._as_nobody = as_nobody
        if as_nobody:
            shutil.chown(folder, "nobody")
        initdb = [str(shutil.which("initdb", path=PROGRAMS)), "-D", str(folder / "data"), "-A", "trust", "-U", "mlflow"]
        subprocess.run([*as_nobody, *initdb, "--no-sync"], check=True, capture_output=True)
        self.start("database")
        self.start("server")

    def start(self, which: str) -> None:
        database = [
            *self._as_nobody, str(shutil.which("postgres", path=PROGRAMS)), "-D", str(self.folder / "data"), "-F",
            "-p", str(self.database_port), "-k", str(self.folder), "-h", "127.0.0.1",
        ]  # fmt: skip
        server = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"postgresql+psycopg2://mlflow@127.0.0.1:{self.database_port}/postgres",
            "--artifacts-destination", str(self.logs / "artifacts"),
        ]  # fmt: skip
        with (self.logs / f"{which}.log").open("ab") as log:
            self.running[which] = subprocess.Popen(
                {"database": database, "server": server}[which], stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(600):
            if which == "database" or self._answers():
                return
            assert self.running[which].poll() is None, (self.logs / f"{which}.log").read_text()
            time.sleep(0.2)
        pytest.fail((self.logs / f"{which}.log").read_text())

    def kill(self, which: str) -> None:
        process = self.running.pop(which)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=2).ok
        except requests.RequestException:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("psycopg2")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        made = Server(Path(folder), tmp_path)
        yield made
        for which in tuple(made.running):
            made.kill(which)


def wait(until: Path, process: subprocess.Popen[str], pattern: str) -> None:
    while not list(until.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def check_nothing_is_lost(server: Server, run: Path) -> None:
    client = MlflowClient(server.uri)
    state = json.loads((run / "run.json").read_text())
    stored = client.get_run(state["mlflow_run_id"])
    assert stored.info.status == "FINISHED" and stored.data.params["image_size"] == "48"
    for metric in ("validation/loss", "train/loss"):
        assert [entry.step for entry in client.get_metric_history(stored.info.run_id, metric)] == [1, 2, 3, 4, 5, 6]
    files = {entry.path for entry in client.list_artifacts(stored.info.run_id)}
    assert {"metrics.json", "epochs.csv", "predictions.csv", "config.json", "figures"} <= files
    assert len(stored.inputs.dataset_inputs) == 1 and len(stored.outputs.model_outputs) == 1
    assert len(client.search_model_versions(f"run_id = '{stored.info.run_id}'")) == 1
    assert len(client.search_runs([stored.info.experiment_id])) == 1


@pytest.mark.parametrize("which", ["server", "database"])
def test_training_whose_server_is_away_for_a_while_is_recorded_whole(
    which: str, server: Server, phantom_dir: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    words = command(phantom_dir, runs, transfer_epochs=4, transfer_least_steps=0)
    training = start(words, tmp_path, MLFLOW_TRACKING_URI=server.uri)
    wait(runs, training, "t1w/*/transfer/last.pt")
    server.kill(which)
    wait(runs, training, "t1w/*/fine_tune/last.pt")
    training.send_signal(signal.SIGSTOP)  # a server may take longer to start than this training has left
    server.start(which)
    training.send_signal(signal.SIGCONT)
    output, _ = training.communicate()
    assert training.returncode == 0, output
    assert "not recorded in MLflow: the metrics of step" in output and "Traceback" not in output
    assert "When it can be reached" not in output
    check_nothing_is_lost(server, newest_run(runs))


def test_training_whose_server_does_not_come_back_is_recorded_afterwards(
    server: Server, phantom_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    training = start(command(phantom_dir, runs, transfer_epochs=4), tmp_path, MLFLOW_TRACKING_URI=server.uri)
    wait(runs, training, "t1w/*/transfer/last.pt")
    server.kill("server")
    output, _ = training.communicate()
    run = newest_run(runs)
    assert training.returncode == 0, output
    assert output.rstrip().endswith(f"When it can be reached: mgmt-monai record {run}")
    server.start("server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert main(["record", str(run)]) == 0
    check_nothing_is_lost(server, run)
