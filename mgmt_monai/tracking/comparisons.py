"""Comparisons as MLflow keeps them: the parent run, found by its name or identifier, and its files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mgmt_monai.tracking.errors import TrackingError
from mgmt_monai.tracking.mlflow_store import quiet_mlflow, shown

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

COMPARISON_TAG = "mgmt.comparison"
"""Tells the parent run of a comparison from the run of a training; its value is the comparison's name."""


def find_comparison(uri: str, named: str) -> str:
    """The parent run of a comparison.

    Args:
        uri: The store.
        named: Its identifier in MLflow, or the comparison's name; empty for the newest comparison.

    Returns:
        The run's identifier.

    Raises:
        TrackingError: There is none, the store cannot be read, or the run is no comparison's.
    """
    client = _client(uri)
    try:
        if len(named) == 32 and all(character in "0123456789abcdef" for character in named):
            run = client.get_run(named)
            if COMPARISON_TAG not in run.data.tags:
                raise TrackingError(f"{named}: expected the run of a comparison, found another in {shown(uri)}.")
            return named
        found = _comparisons(client, named)
    except TrackingError:
        raise
    except Exception as error:  # whatever the store raises
        raise TrackingError(f"{shown(uri)}: cannot be searched for comparisons ({_reason(error)}).") from error
    if not found:
        what = f"a comparison {named!r}" if named else "a comparison"
        raise TrackingError(f"{shown(uri)}: expected {what}, found none. Run one with 'mgmt-monai compare'.")
    return str(found[0].info.run_id)


def fetch_files(uri: str, run_id: str, folder: str, destination: Path) -> Path:
    """Copy a folder of a run's artifacts.

    Args:
        uri: The store.
        run_id: Of the run.
        folder: Of its artifacts.
        destination: Where to; made if absent.

    Returns:
        The folder with the files.

    Raises:
        TrackingError: The run has no such folder, or it cannot be read.
    """
    client = _client(uri)
    try:
        if not client.list_artifacts(run_id, folder):
            raise TrackingError(
                f"run {run_id}: expected the files of a comparison, found none. It has not come to its end: start "
                "it again, it goes on where it was."
            )
        with tempfile.TemporaryDirectory() as temporary:
            fetched = client.download_artifacts(run_id, folder, temporary)
            shutil.copytree(fetched, destination, dirs_exist_ok=True)
    except TrackingError:
        raise
    except Exception as error:  # whatever the store raises
        raise TrackingError(f"run {run_id}: its files cannot be read from {shown(uri)} ({_reason(error)}).") from error
    return destination


def _comparisons(client: MlflowClient, named: str) -> list[Run]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"tags.`{COMPARISON_TAG}` = '{named}'" if named else f"tags.`{COMPARISON_TAG}` LIKE '%'"
    return list(client.search_runs(experiments, wanted, order_by=["attributes.start_time DESC"], max_results=1))


def _client(uri: str) -> MlflowClient:
    quiet_mlflow()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise TrackingError(f"{uri}: no recorded runs there. Run a comparison, or name its folder with --output-dir.")
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {shown((str(error).splitlines() or [''])[0][:200])}"
