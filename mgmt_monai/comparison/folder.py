"""One folder a comparison: its state, its manifest, its trainings and its record."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mgmt_monai.atomic import remove_leftovers, write_text
from mgmt_monai.cohort.manifest import Manifest, read_manifest, write_manifest
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.plan import ComparisonPlan, Training


class ComparisonFolder:
    """Where a comparison keeps everything: ``<output_dir>/comparisons/<name>``.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: FileLock | None = None

    @property
    def name(self) -> str:
        """Of the comparison."""
        return self.path.name

    @property
    def state(self) -> dict[str, Any]:
        """What ``comparison.json`` says."""
        return json.loads((self.path / "comparison.json").read_text(encoding="utf-8"))

    @property
    def manifest_path(self) -> Path:
        """The manifest that every training of the comparison reads."""
        return self.path / "manifest.json"

    def open(self, plan: ComparisonPlan, data: str, environment: Mapping[str, str]) -> None:
        """Make the folder, or go on with the comparison that is in it.

        Args:
            plan: Of the comparison.
            data: The data directory.
            environment: Versions and commit; those of the first start are kept, and every later commit is noted.

        Raises:
            ComparisonError: Another process runs it, or the comparison in the folder has another plan or other data.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")  # the system lets go of it when the process ends, however it ends
            lock.acquire(blocking=False)
        except Timeout as error:
            raise ComparisonError(f"{self.path}: this comparison is still running in another process.") from error
        except OSError as error:
            raise ComparisonError(
                f"{self.path}: cannot be written to ({error.strerror}). Name another --output_dir."
            ) from error
        self._held = lock
        remove_leftovers(self.path)
        if not (self.path / "comparison.json").is_file():
            self._write(
                {
                    "plan": plan.identity(),
                    "data": data,
                    "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                    "mlflow_run_id": None,
                    "pseudonym_key": secrets.token_hex(16),
                    "environment": dict(environment),
                    "commits": [],
                }
            )
        before = self.state
        commit = environment["mlflow.source.git.commit"]
        if commit not in before["commits"]:
            self.update(commits=[*before["commits"], commit])
        differing = [key for key, value in plan.identity().items() if before["plan"].get(key) != value]
        differing += ["dataset_dir"] if before["data"] != data else []
        if differing:
            raise ComparisonError(
                f"{self.path}: started with another {', '.join(differing)}. Go on with the same command, or give the "
                "new comparison another --name."
            )

    def close(self) -> None:
        """Let another process go on with the comparison."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def update(self, **values: Any) -> None:
        """Note something about the comparison.

        Args:
            values: By name; others stay.
        """
        self._write({**self.state, **values})

    def keep_manifest(self, manifest: Manifest) -> None:
        """Write the manifest that the trainings read, or hold it against the one that they have read.

        Args:
            manifest: As it is made now.

        Raises:
            ComparisonError: The comparison was started with another one.
        """
        if not self.manifest_path.is_file():
            write_manifest(manifest, self.manifest_path)
        elif read_manifest(self.manifest_path).content_hash != manifest.content_hash:
            raise ComparisonError(
                f"{self.path}: started with another cohort or split than the data now give. Give the new one another "
                "--name."
            )

    def run_folder(self, training: Training) -> Path:
        """Where a training keeps its checkpoints and results.

        Args:
            training: Of the comparison.
        """
        return self.path / training.modality.lower() / training.name

    def is_done(self, training: Training) -> bool:
        """Whether a training has run to its end.

        Args:
            training: Of the comparison.
        """
        state = _state_of(self.run_folder(training))
        return state is not None and state["status"] == "finished"

    def is_begun(self, training: Training) -> bool:
        """Whether there is something of a training to go on from; a folder with nothing in it is cleared away.

        Args:
            training: Of the comparison.
        """
        folder = self.run_folder(training)
        if _state_of(folder) is not None:
            return True
        shutil.rmtree(folder, ignore_errors=True)  # killed between making the folder and noting the run in it
        return False

    def _write(self, state: dict[str, Any]) -> None:
        write_text(self.path / "comparison.json", json.dumps(state, indent=2) + "\n")


def _state_of(folder: Path) -> dict[str, Any] | None:
    path = folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
