"""Where runs are recorded, and what a new one is called."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from mgmt_monai.tracking.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

#: What MLflow is told unless the user told it something else: nothing about this machine goes out, and a server that
#: does not answer is given up soon, where MLflow's own 7 retries of 120 s would hold a training up at every epoch.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def tracking_uri(output_dir: str | Path) -> str:
    """The MLflow store: the server of ``MLFLOW_TRACKING_URI`` if that is set, else SQLite in ``output_dir``.

    Args:
        output_dir: Folder of all trainings.

    Returns:
        Its address, as MLflow takes it.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(output_dir).resolve() / 'mlruns.db'}"


def quiet_mlflow() -> None:
    """Set what MLflow does unless the user told it something else; to be called before MLflow is imported."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def shown(uri: str) -> str:
    """The store's address as it may be logged.

    Args:
        uri: Of the store, or a text with it.

    Returns:
        The same without user name and password.

    Example:
        >>> shown("https://doe:secret@mlflow.example.org/x")
        'https://mlflow.example.org/x'
    """
    return re.sub(r"//[^/@]*@", "//", uri)


def reason(error: Exception) -> str:
    """What a store raised, short enough for a line, without a password."""
    return f"{type(error).__name__}: {shown((str(error).splitlines() or [''])[0][:200])}"


@contextmanager
def reading(uri: str, what: str, without: str) -> Iterator[MlflowClient]:
    """A client of a store; whatever the store raises in the block is told in one line.

    Args:
        uri: The store.
        what: Begins that line: what cannot be done.
        without: What to do where there is no store.

    Raises:
        TrackingError: There is no store, or something in the block failed.
    """
    quiet_mlflow()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise TrackingError(f"{uri}: no recorded runs there. {without}")
    from mlflow.tracking import MlflowClient

    try:
        yield MlflowClient(uri)
    except TrackingError:
        raise
    except Exception as error:  # whatever the store raises
        raise TrackingError(f"{what} ({reason(error)}).") from error


def new_run_name(modality: str) -> str:
    """A name no other run has.

    Args:
        modality: Of the training.

    Returns:
        Modality, UTC time to the second, and a random part.
    """
    return f"{modality.lower()}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:6]}"
