"""A training as MLflow keeps it: for whoever has the store, but not the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mgmt_monai.json_file import parse_json
from mgmt_monai.tracking.comparisons import COMPARISON_TAG
from mgmt_monai.tracking.errors import TrackingError
from mgmt_monai.tracking.mlflow_store import reading, shown

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_FILES = ("config.json", "metrics.json")


@dataclass(frozen=True)
class StoredRun:
    """A run and the files that were fetched for it.

    Args:
        run_id: In MLflow.
        status: As MLflow words it: ``FINISHED`` for a whole training.
        params: Settings by name.
        tags: Text by name.
        counts: Patients by split and label, ``{"train": {"unmethylated": 7, "methylated": 9}, ...}``.
        folder: With ``config.json`` (without paths) and ``metrics.json``, where the run has them.
        checkpoint: The logged model's network; it is not there where no model was logged.
        reference: How far features lie from the training data; None without one.
    """

    run_id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    counts: dict[str, dict[str, int]]
    folder: Path
    checkpoint: Path
    reference: Path | None


def fetch_run(uri: str, run_id: str, folder: Path) -> StoredRun:
    """Fetch what was recorded of a training.

    Raises:
        TrackingError: The store cannot be read, has no such run, or the run is a comparison's and no training's.
    """
    no_store = "Name the folder of the trainings, or the store."
    with reading(uri, f"run {run_id}: cannot be read from {shown(uri)}", no_store) as client:
        run = client.get_run(run_id)
        if COMPARISON_TAG in run.data.tags:
            raise TrackingError(
                f"run {run_id}: expected a training, found a comparison. Name one of the trainings below it."
            )
        present = {entry.path for entry in client.list_artifacts(run_id)}
        for name in _FILES:
            if name in present:
                client.download_artifacts(run_id, name, str(folder))
        checkpoint, reference = _fetch_model(client, uri, run, folder / "model")
    profiles = [entry.dataset.profile for entry in run.inputs.dataset_inputs] if run.inputs else []
    return StoredRun(
        run_id=run_id,
        status=run.info.status,
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        counts=parse_json(profiles[0].encode()) if profiles and profiles[0] else {},
        folder=folder,
        checkpoint=checkpoint,
        reference=reference,
    )


def _fetch_model(client: MlflowClient, uri: str, run: Run, folder: Path) -> tuple[Path, Path | None]:
    """The checkpoint and the reference of the run's model; paths where nothing is without a model."""
    models = run.outputs.model_outputs if run.outputs else []
    if not models:
        return folder / "checkpoint", None
    import yaml
    from mlflow.artifacts import download_artifacts

    location = client.get_logged_model(models[-1].model_id).artifact_location
    folder.mkdir()
    fetched = Path(download_artifacts(location, dst_path=str(folder), tracking_uri=uri))
    description = yaml.safe_load((fetched / "MLmodel").read_text(encoding="utf-8"))
    artifacts = description["flavors"]["python_function"]["artifacts"]
    reference = artifacts.get("reference")
    return fetched / artifacts["checkpoint"]["path"], None if reference is None else fetched / reference["path"]
