"""Where runs are recorded, and what a new one is called."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

#: How long a tracking server may take before a training goes on without it; the user's own settings win.
#: MLflow's defaults (7 retries, 120 s each) would hold a training up for minutes at every epoch.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def tracking_uri(output_dir: str | Path) -> str:
    """The MLflow store: the server of ``MLFLOW_TRACKING_URI`` if that is set, else SQLite in ``output_dir``."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(output_dir).resolve() / 'mlruns.db'}"


def artifact_location(output_dir: str | Path) -> str:
    """Where the files of runs go when the store is SQLite: a folder beside it, as a URI."""
    return (Path(output_dir).resolve() / "mlartifacts").as_uri()


def new_run_name(modality: str) -> str:
    """A name no other run has: modality, UTC time, and a random part."""
    return f"{modality.lower()}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:6]}"
