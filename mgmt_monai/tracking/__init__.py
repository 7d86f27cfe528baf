"""What MLflow is told of a training, and where its store is."""

from mgmt_monai.tracking.mlflow_store import new_run_name, tracking_uri
from mgmt_monai.tracking.tracked_run import TrackedRun

__all__ = ["TrackedRun", "new_run_name", "tracking_uri"]
