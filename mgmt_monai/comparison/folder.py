"""One folder a comparison: its state, its manifest, its trainings and its record."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mgmt_monai.cohort.manifest import Manifest, read_manifest, write_manifest
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.plan import ComparisonPlan, Training
from mgmt_monai.locked_folder import LockedFolder
from mgmt_monai.training.run_directory import run_in

_KEYS = {"plan": dict, "data": str, "created": str, "mlflow_run_id": str | None, "environment": dict, "commits": list}


class ComparisonFolder(LockedFolder):
    """Where a comparison keeps everything: ``<output_dir>/comparisons/<name>``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "comparison", "comparison.json", ComparisonError, keys=_KEYS)

    @property
    def manifest_path(self) -> Path:
        """The manifest that every training of the comparison reads."""
        return self.path / "manifest.json"

    def open(self, plan: ComparisonPlan, data: str, environment: Mapping[str, str]) -> None:
        """Make the folder, or go on with the comparison that is in it.

        Of the environment (versions and commit) those of the first start are kept, and every later commit is noted.

        Raises:
            ComparisonError: Another process runs it, or the comparison in the folder has another plan or other data.
        """
        self.take()
        if not self.has_state:
            self.begin(
                {
                    "plan": plan.identity(),
                    "data": data,
                    "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                    "mlflow_run_id": None,
                    "environment": dict(environment),
                    "commits": [],
                }
            )
        before = self.state
        commit = environment["mlflow.source.git.commit"]
        if commit not in before["commits"]:
            self.update(commits=[*before["commits"], commit])
        own = plan.identity()
        differing = [key for key in {**before["plan"], **own} if before["plan"].get(key) != own.get(key)]
        differing += ["dataset_dir"] if before["data"] != data else []
        if differing:
            self.close()
            raise ComparisonError(
                f"{self.path}: started with another {', '.join(differing)}. Go on with the same command, or give the "
                "new comparison another --name."
            )

    def keep_manifest(self, manifest: Manifest) -> None:
        """Write the manifest that the trainings read, or hold it against the one that they have read.

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
        """Where a training keeps its checkpoints and results."""
        return self.path / training.modality.lower() / training.name

    def is_done(self, training: Training) -> bool:
        """Whether a training has run to its end."""
        return self.is_begun(training) and run_in(self.run_folder(training)).state["status"] == "finished"

    def is_begun(self, training: Training) -> bool:
        """Whether there is something of a training to go on from."""
        return run_in(self.run_folder(training)).has_state
