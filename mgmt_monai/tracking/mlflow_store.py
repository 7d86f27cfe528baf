"""Where runs are recorded, and what a new one is called."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from uuid import uuid4

from mgmt_monai.errors import causes, shortened
from mgmt_monai.own_process import is_own_process
from mgmt_monai.tracking.errors import TrackingError
from mgmt_monai.tracking.store_file import check_storage, file_of, make_store, store_uri

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

#: Loggers under MLflow that tell of every step, or of an error that is told here in one line.
_TALKATIVE = ("alembic", "mlflow.store", "mlflow.tracking", "mlflow.models", "urllib3")


def tracking_uri(output_dir: str | Path) -> str:
    """The MLflow store: the one of ``MLFLOW_TRACKING_URI`` if that is set, else SQLite in ``output_dir``.

    Raises:
        TrackingError: The models of a SQLite store would lie in ``output_dir``, and MLflow reads its name as another
            however its address is quoted: in ``50%20x`` it stores a model, and looks for it in ``50 x``.
    """
    folder = Path(output_dir).resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or store_uri(folder / "mlruns.db")
    if uri.startswith("sqlite") and (read := unquote(str(folder))) != str(folder):
        raise TrackingError(
            f"{folder}: MLflow would store models there and look for them in {read}. Take an --output_dir whose name "
            "has no % before two of 0-9 and a-f, or set MLFLOW_TRACKING_URI to a server."
        )
    return uri


def quiet_mlflow() -> None:
    """Set what MLflow does unless the user told it something else; to be called before MLflow is imported."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if is_own_process():
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)


def open_store(uri: str) -> MlflowClient:
    """A client of a store, which is made or mended first where it is a SQLite file.

    Raises:
        TrackingError: Its file is none of the installed MLflow's, and cannot be mended.
        Exception: Whatever MLflow raises.
    """
    quiet_mlflow()
    if (path := file_of(uri)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_storage(path)
        make_store(path)
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def shown(uri: str) -> str:
    """The store's address, or a text with it, as it may be logged: `shortened`, without user name and password.

    Example:
        >>> shown("https://doe:secret@mlflow.example.org/x")
        'https://mlflow.example.org/x'
    """
    return shortened(re.sub(r"//[^/@]*@", "//", uri))


def reason(error: Exception) -> str:
    """What a store raised, short enough for a line, without a password; our own words whole."""
    if isinstance(error, TrackingError):
        return str(error)
    return f"{type(error).__name__}: {shown((str(error).splitlines() or [''])[0][:200])}"


def does_not_answer(error: BaseException) -> bool:
    """Whether a store could not be reached, or has its database away, as opposed to one that refused something."""
    import requests

    return any(
        isinstance(one, requests.RequestException) or getattr(one, "error_code", "") == "TEMPORARILY_UNAVAILABLE"
        for one in causes(error, handled=True)
    )


@contextmanager
def reading(uri: str, what: str, without: str) -> Iterator[MlflowClient]:
    """A client of a store; whatever the store raises in the block is told in one line that begins with ``what``.

    Raises:
        TrackingError: There is no store (``without`` says what to do), or something in the block failed.
    """
    path = file_of(uri)
    if path is not None and not path.is_file():
        raise TrackingError(f"{path}: no recorded runs there. {without}")
    try:
        yield open_store(uri)
    except TrackingError:
        raise
    except Exception as error:  # whatever the store raises
        raise TrackingError(f"{what} ({reason(error)}).") from error


def new_run_name(modality: str) -> str:
    """A name no other run has: modality, UTC time to the second, and a random part."""
    return f"{modality.lower()}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:6]}"
