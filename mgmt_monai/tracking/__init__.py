"""What MLflow is told of a training, and where its store is."""

from mgmt_monai.tracking.run import TrackedRun
from mgmt_monai.tracking.store import new_run_name, tracking_uri

__all__ = ["TrackedRun", "new_run_name", "tracking_uri"]
