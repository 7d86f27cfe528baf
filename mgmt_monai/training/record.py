"""A training recorded in MLflow afterwards, from its folder."""

from pathlib import Path

from mgmt_monai.tracking import TrackedRun
from mgmt_monai.tracking.mlflow_store import shown
from mgmt_monai.tracking.tracked_run import read_notes
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.run_directory import run_in

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}


def lacks_record(folder: Path) -> bool:
    """Whether a training's notes have something that MLflow was not told."""
    return any(note["told"] is None for note in read_notes(folder, absent_ok=True).values())


def record(folder: Path, uri: str, output_dir: Path) -> str:
    """Tell MLflow what it lacks of a training; what it has is left.

    Args:
        folder: Of the training, which nobody is running.
        uri: The store; one that does not have the training's run gets a new one.
        output_dir: For the files of runs in a SQLite store.

    Returns:
        The run's identifier.

    Raises:
        TrainingError: No training's folder, one that is running, or MLflow did not take everything.
        TrackingError: What MLflow is told is not noted there.
    """
    directory = run_in(folder)
    state = directory.state
    read_notes(folder)
    directory.take()
    try:
        config = directory.read_json("config.json", "the config of a training")
        name, parent = directory.path.resolve().name, str(config.get("parent_run_id", ""))
        run = TrackedRun(uri, output_dir, str(config.get("experiment_name", "mgmt")), name, parent)
        run.start(state.get("mlflow_run_id"), folder=directory.path)
        run.finish(_STATUS.get(state["status"], "KILLED"))
        if run.run_id is None or run.not_recorded:
            raise TrainingError(f"{folder}: {shown(uri)} did not take {', '.join(run.not_recorded)}. Run it again.")
        directory.update(mlflow_run_id=run.run_id)
    finally:
        directory.close()
    return run.run_id
