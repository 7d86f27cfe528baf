"""One folder a training: ``<output_dir>/<modality>/<run_name>``, and how to find the one to resume."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mgmt_monai.atomic import remove_leftovers, write_text
from mgmt_monai.tracking import new_run_name
from mgmt_monai.training.config import differing_settings
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.ranks import from_main_rank, is_main_rank
from mgmt_monai.training.settings import as_boolean


class RunDirectory:
    """Where a training keeps its checkpoints and results. Nothing is written before `open`.

    Args:
        output_dir: Folder of all trainings.
        modality: Names the folder below it.
        run_name: Of a new run, or of the one to resume; empty for a name no other run has, or for the newest run
            that is not finished.
        resume: Go on with a run that was stopped.

    Raises:
        TrainingError: ``output_dir`` cannot be written to, a new run's name is taken or no folder's name, or there is
            nothing to resume.
    """

    def __init__(self, output_dir: str | Path, modality: str, run_name: str, resume: bool | str) -> None:
        self.resumes = as_boolean("resume", resume)
        run_name = str(run_name)
        if run_name and Path(run_name).name != run_name:
            raise TrainingError(f"run_name: expected the name of a folder, found {run_name!r}.")
        self.output_dir = Path(output_dir)
        _check_writable(self.output_dir)
        folder = self.output_dir / modality.lower()
        find = _run_to_resume if self.resumes else _new_run
        self.path = from_main_rank(lambda: find(folder, run_name))
        self.name = self.path.name
        self.config: dict[str, Any] = {}
        self._held: FileLock | None = None

    @property
    def mlflow_run_id(self) -> str | None:
        """The MLflow run of a training that is resumed."""
        return self.state["mlflow_run_id"] if self.resumes else None

    def claim(self, config: dict[str, Any]) -> None:
        """Note how this process runs; take a run that is resumed for it alone, and compare with how that was started.

        Args:
            config: As it is executed.

        Raises:
            TrainingError: The run is still running, or was started with other settings.
        """
        self.config = config
        if not self.resumes or not is_main_rank():
            return
        self._lock()
        differing = differing_settings(json.loads((self.path / "config.json").read_text()), config)
        if differing:
            raise TrainingError(
                f"{self.path}: started with other settings: {', '.join(differing)}. Resume with the same command, or "
                "start a new run without --resume."
            )

    def open(self, manifest_hash: str) -> None:
        """Make the folder of a new training, or clear up what a killed one left half-written; after `claim`.

        Args:
            manifest_hash: Of the cohort.

        Raises:
            TrainingError: The resumed training was started with another cohort.
        """
        if not self.resumes:
            self.path.mkdir(parents=True)
            self._lock()
            self.write_json("config.json", self.config)
            self.write_json("run.json", _first_state(manifest_hash))
        elif self.state["manifest_hash"] != manifest_hash:
            raise TrainingError(f"{self.path}: started with another cohort or split. Start a new run without --resume.")
        remove_leftovers(self.path)

    def close(self) -> None:
        """Let another process resume the run."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def update(self, **values: Any) -> None:
        """Note something about the run in its ``run.json``.

        Args:
            values: By name; others stay.
        """
        self.write_json("run.json", {**self.state, **values})

    def write_json(self, name: str, content: Any) -> Path:
        """Write a JSON file of the run, whole or not at all.

        Args:
            name: Of the file, below the run's folder.
            content: What JSON can hold; anything else is written as text.

        Returns:
            The file.
        """
        path = self.path / name
        write_text(path, json.dumps(content, indent=2, default=str) + "\n")
        return path

    @property
    def pseudonym_key(self) -> str:
        """The run's secret: without this file nobody can tell which patient a pseudonym in MLflow stands for."""
        return str(self.state["pseudonym_key"])

    @property
    def state(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        return _state(self.path)

    def _lock(self) -> None:
        lock = FileLock(self.path / ".lock")  # the system lets go of it when the process ends, however it ends
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise TrainingError(f"{self.path}: this training is still running in another process.") from error
        self._held = lock


def _first_state(manifest_hash: str) -> dict[str, Any]:
    return {
        "status": "running",
        "mlflow_run_id": None,
        "manifest_hash": manifest_hash,
        "described": False,
        "pseudonym_key": secrets.token_hex(16),
    }


def _check_writable(output_dir: Path) -> None:
    place = next(parent for parent in (output_dir.absolute(), *output_dir.absolute().parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise TrainingError(f"{output_dir}: cannot be written to. Name another folder with --output_dir DIR.")


def _new_run(folder: Path, run_name: str) -> Path:
    path = folder / (run_name or new_run_name(folder.name))
    if path.exists():
        raise TrainingError(f"{path}: there is a run of this name already. Take another run_name, or --resume true.")
    return path


def _run_to_resume(folder: Path, run_name: str) -> Path:
    path = folder / run_name if run_name else _newest_unfinished(folder)
    if not (path / "run.json").is_file():
        raise TrainingError(f"{path}: no training of this name to resume. Look into {folder} for the names.")
    if _state(path)["status"] == "finished":
        raise TrainingError(f"{path}: this training is finished: there is nothing to resume.")
    return path


def _state(path: Path) -> dict[str, Any]:
    return json.loads((path / "run.json").read_text(encoding="utf-8"))


def _newest_unfinished(folder: Path) -> Path:
    runs = sorted(folder.glob("*/run.json"), key=lambda path: path.stat().st_ctime)
    unfinished = [path.parent for path in runs if json.loads(path.read_text())["status"] != "finished"]
    if not unfinished:
        raise TrainingError(f"{folder}: no unfinished training to resume. Start one without --resume.")
    return unfinished[-1]
