"""The best network as an MLflow model: code, state and signature, nothing pickled."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

_REQUIREMENTS = ("monai", "torch", "numpy", "mlflow")


def log_classifier(uri: str, run_id: str, checkpoint: Path, settings: dict[str, Any], registered_name: str) -> None:
    """Log the network under ``run_id`` and register it.

    Args:
        uri: The store.
        run_id: The run it comes from.
        checkpoint: The network's state.
        settings: ``network``, ``hidden_units``, ``image_size``.
        registered_name: Name in the model registry.
    """
    size = int(settings["image_size"])
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 1, size, size))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, 1))]),
    )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_store(uri))
        stack.enter_context(mlflow.start_run(run_id=run_id))
        # Where the files were is written into the model: so they are named without a folder.
        Path(folder, "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        shutil.copy(checkpoint, Path(folder, "checkpoint.pt"))
        shutil.copy(Path(__file__).with_name("served_model.py"), folder)
        warnings.filterwarnings("ignore", message=".*input example was not provided.*")
        stack.enter_context(chdir(folder))
        mlflow.pyfunc.log_model(
            name="model",
            python_model="served_model.py",
            artifacts={"checkpoint": "checkpoint.pt", "settings": "settings.json"},
            tags={"mlflow.user": "unknown", "mlflow.source.name": "mgmt_monai"},
            signature=signature,
            registered_model_name=registered_name,
            pip_requirements=[f"{package}=={version(package).partition('+')[0]}" for package in _REQUIREMENTS],
        )


@contextmanager
def _store(uri: str) -> Iterator[None]:
    """MLflow's model functions know one store a process, and tell it to child processes: only while it is needed."""
    named_by_user = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(named_by_user)
