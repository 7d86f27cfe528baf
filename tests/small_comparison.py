"""A comparison that takes a minute, as the command line starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mlflow.tracking import MlflowClient
from phantom_runs import BUNDLES, SMALL, with_store

NETWORKS = ("efficientnet-b0", "resnet-10")
SETTINGS = {**SMALL, "image_size": 32, "transfer_epochs": 1, "fine_tune_epochs": 1}


def comparison_words(data_dir: Path, output_dir: Path, name: str, *words: str) -> list[str]:
    """The words behind ``mgmt-monai``: two networks on T1w, five trainings with the controls of one."""
    settings = {**SETTINGS, "dataset_dir": data_dir, "output_dir": with_store(output_dir)}
    settings["exclusions"] = data_dir.parent / "excluded.csv"
    options = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    return ["compare", "--networks", ",".join(NETWORKS), "--modalities", "T1w", "--bundles", str(BUNDLES),
            "--name", name, "--workers", "1", *words, *options]  # fmt: skip


def start_comparison(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start the command as a process of its own."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "mgmt_monai.cli.main", *words], stdout=stream, stderr=subprocess.STDOUT
        )


def kill_when(
    process: subprocess.Popen[bytes],
    condition: Callable[[], bool],
    seconds: float = 240,
    by: signal.Signals = signal.SIGKILL,
) -> int:
    """Kill a process, without notice if not told otherwise, as soon as a condition holds; its exit code."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, by)
    return process.wait(seconds)


def tables(report: Path) -> dict[str, object]:
    """What a comparison found, without what tells one run of it from another."""
    found = json.loads(report.read_text())
    return {key: value for key, value in found.items() if key != "comparison"}


def unfinished(runs: Path) -> dict[str, str]:
    """The states of the comparison's own run and of its trainings, by control, that MLflow has not as finished."""
    client = MlflowClient(f"sqlite:///{runs / 'mlruns.db'}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return {run.data.params.get("control", "parent"): run.info.status for run in found if run.info.status != "FINISHED"}
