"""Trainings on a small phantom, for the tests that need a real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.tracking import MlflowClient
from monai.bundle import ConfigWorkflow

BUNDLES = Path(__file__).parents[1] / "bundles"

#: Seconds instead of hours: few pixels, few epochs, a split that gives 16 patients two of a class in each part. On the
#: CPU also where there is a GPU, so that the same figures are expected everywhere.
SMALL: dict[str, Any] = {
    "device": "cpu",
    "image_size": 48,
    "transfer_epochs": 2,
    "fine_tune_epochs": 2,
    "transfer_batch_size": 16,
    "transfer_least_steps": 0,
    "fine_tune_batch_size": 16,
    "transfer_learning_rate": 0.001,
    "bootstrap_resamples": 50,
    "test_fraction": 0.25,
    "train_fraction": 0.67,
}


@cache
def _empty_store() -> tuple[TemporaryDirectory[str], Path]:
    """An MLflow store without a run; the folder goes when this process ends."""
    folder = TemporaryDirectory()
    path = Path(folder.name) / "mlruns.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return folder, path


def with_store(output_dir: Path) -> Path:
    """The folder with a store that was made before: MLflow makes one in dozens of steps, each written to the disk."""
    output_dir.mkdir(parents=True, exist_ok=True)
    if not (output_dir / "mlruns.db").exists():
        shutil.copyfile(_empty_store()[1], output_dir / "mlruns.db")
    return output_dir


def workflow(dataset_dir: Path, output_dir: Path, config: str = "t1w.json", **overrides: Any) -> ConfigWorkflow:
    """The bundle's workflow, initialised, in this process."""
    settings = {**SMALL, "dataset_dir": str(dataset_dir), "output_dir": str(with_store(output_dir)), **overrides}
    made = ConfigWorkflow(
        str(BUNDLES / config), logging_file=False, run_id="training", workflow_type="train", **settings
    )
    made.initialize()
    return made


def train(dataset_dir: Path, output_dir: Path, config: str = "t1w.json", **overrides: Any) -> Path:
    """Train in this process; the run's folder."""
    workflow(dataset_dir, output_dir, config, **overrides).run()
    return newest_run(output_dir)


def command(dataset_dir: Path, output_dir: Path, *words: str, **overrides: Any) -> list[str]:
    """The main command's words, for a process of its own."""
    settings = {**SMALL, "dataset_dir": dataset_dir, "output_dir": with_store(output_dir), **overrides}
    options = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    return [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(BUNDLES / "t1w.json"),
            *options, *words]  # fmt: skip


def start(words: list[str], cwd: Path, own_group: bool = False, **environment: str) -> subprocess.Popen[str]:
    """Start a command whose output is read at its end; in a process group of its own, where that is asked to end."""
    return subprocess.Popen(
        words,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=own_group,
    )


def newest_run(output_dir: Path) -> Path:
    """The folder of the run that was started last."""
    return max((path.parent for path in output_dir.glob("*/*/run.json")), key=lambda path: path.stat().st_ctime)
