"""Comparisons as MLflow keeps them: the parent run, found by its name or identifier, and its files."""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from mgmt_monai.machine import scratch
from mgmt_monai.tracking.errors import TrackingError
from mgmt_monai.tracking.mlflow_store import reading, shown
from mgmt_monai.tracking.tracked_run import TEST_TAG

COMPARISON_TAG = "mgmt.comparison"
"""Tells the parent run of a comparison from the run of a training; its value is the comparison's name."""

PLAN_TAG = "mgmt.plan"
"""SHA-256 of a comparison's plan, set before anything is scored."""

_NO_STORE = "Run a comparison, or name its folder with --output-dir."


def find_comparison(uri: str, named: str) -> str:
    """The parent run of a comparison, by its identifier in MLflow or its name; of the newest where ``named`` is empty.

    Returns:
        The run's identifier.

    Raises:
        TrackingError: There is none, the store cannot be read, or the run is no comparison's.
    """
    with reading(uri, f"{shown(uri)}: cannot be searched for comparisons", _NO_STORE) as client:
        if re.fullmatch("[0-9a-f]{32}", named):
            if COMPARISON_TAG not in client.get_run(named).data.tags:
                raise TrackingError(f"{named}: expected the run of a comparison, found another in {shown(uri)}.")
            return named
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        wanted = f"tags.`{COMPARISON_TAG}` = '{named}'" if named else f"tags.`{COMPARISON_TAG}` LIKE '%'"
        found = client.search_runs(experiments, wanted, order_by=["attributes.start_time DESC"], max_results=1)
    if not found:
        what = f"a comparison {named!r}" if named else "a comparison"
        raise TrackingError(f"{shown(uri)}: expected {what}, found none. Run one with 'mgmt-monai compare'.")
    return str(found[0].info.run_id)


def n_judged(uri: str, run_id: str) -> int:
    """How many comparisons, and trainings outside them, of a store have tested a run's patients; those under way too.

    One that was deleted has judged them all the same; it counts until MLflow's garbage collection.

    Returns:
        From 1 on; 0 where the run does not tell its patients.

    Raises:
        TrackingError: The store cannot be read.
    """
    from mlflow.entities import ViewType

    with reading(uri, f"{shown(uri)}: cannot be searched for comparisons", _NO_STORE) as client:
        patients = client.get_run(run_id).data.tags.get(TEST_TAG, "")
        experiments = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
        wanted, n, page = f"tags.`{TEST_TAG}` = '{patients}'", 0, None
        while patients:
            found = client.search_runs(experiments, wanted, run_view_type=ViewType.ALL, page_token=page)
            n, page = n + len(found), found.token
            if not page:
                break
        return n


def fetch_files(uri: str, run_id: str, folder: str, destination: Path) -> Path:
    """Copy a folder of a run's artifacts to ``destination``, which is made if absent and returned.

    Raises:
        TrackingError: The run has no such folder, or it cannot be read.
    """
    with reading(uri, f"run {run_id}: its files cannot be read from {shown(uri)}", _NO_STORE) as client:
        if not client.list_artifacts(run_id, folder):
            raise TrackingError(
                f"run {run_id}: expected the files of a comparison, found none. It has not come to its end: start "
                "it again, it goes on where it was."
            )
        with scratch(TemporaryDirectory) as temporary:
            fetched = client.download_artifacts(run_id, folder, temporary)
            shutil.copytree(fetched, destination, dirs_exist_ok=True)
    return destination
