"""The best network as an MLflow model: code, state and signature, nothing pickled, nothing of this machine."""

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient
from mlflow.types import Schema, TensorSpec

from mgmt_monai.carried_code import OURS, PACKAGE, carried, reached_code, write_code
from mgmt_monai.machine import scratch

_REQUIREMENTS = ("monai", "torch", "numpy", "safetensors", "mlflow")

#: What is carried along, so that a server needs this package as little as a bundle's user does.
_SERVED = f"{OURS}.networks.MGMTClassifier"

_TAGS = {"mlflow.user": "unknown", "mlflow.source.name": "mgmt_monai"}


def log_classifier(
    uri: str,
    run_id: str,
    checkpoint: Path,
    settings: dict[str, Any],
    registered_name: str,
    reference: Path | None = None,
) -> None:
    """Log the network of a run and register it, as `TrackedRun.log_classifier` describes it."""
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    model = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, tags=_TAGS, params=run.data.params
    )
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    with scratch(TemporaryDirectory) as folder:
        made = Path(folder, "made")
        made.mkdir()
        (made / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        artifacts = {"checkpoint": checkpoint, "settings": made / "settings.json"}
        if reference is not None:
            artifacts["reference"] = reference
        description = Model(run_id=run_id, model_uuid=model.model_id, model_id=model.model_id)
        size = int(settings["image_size"])
        taken = Schema([TensorSpec(np.dtype("float32"), (-1, 1, size, size))])
        given = Schema([TensorSpec(np.dtype("float32"), (-1, 1))])
        _save(Path(folder, "model"), made, artifacts, ModelSignature(taken, given), description)
        client.log_model_artifacts(model.model_id, str(Path(folder, "model")))
    client.finalize_logged_model(model.model_id, "READY")
    with _store(uri):
        _register(client, registered_name, model.model_id, run_id)


def _save(path: Path, made: Path, artifacts: Mapping[str, Path], signature: ModelSignature, description: Model) -> None:
    """Write the model's folder; ``made`` takes what is made for it."""
    code = _copy_code(made)
    served = made / "served_model.py"
    served.write_bytes(carried(Path(__file__).with_name(served.name), code.name))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided.*")
        warnings.filterwarnings("ignore", message=".*type hint")  # of MLflow's own classes, when it is imported
        mlflow.pyfunc.save_model(
            path=path,
            python_model=str(served),
            artifacts={name: str(file) for name, file in artifacts.items()},
            code_paths=[str(code)],
            mlflow_model=description,
            signature=signature,
            pip_requirements=[f"{package}=={version(package).partition('+')[0]}" for package in _REQUIREMENTS],
        )
    # MLflow notes where each file was on this machine, and reads the last part of it alone.
    flavor = description.flavors[mlflow.pyfunc.FLAVOR_NAME]
    flavor["model_code_path"] = served.name
    for name, entry in flavor["artifacts"].items():
        entry["uri"] = artifacts[name].name
    description.save(path / "MLmodel")


def _copy_code(folder: Path) -> Path:
    """Copy the network's code under a name that tells its content.

    Under its own name it would hide an installed mgmt_monai from whoever loads the model, or be hidden by it, and two
    models of different versions could not be loaded in one process.
    """
    files = [file for file in reached_code([_SERVED]).files if file.suffix == ".py"]  # its state is the checkpoint's
    digest = hashlib.sha256(b"".join((PACKAGE / file).read_bytes() for file in files)).hexdigest()
    copy = folder / f"mgmt_monai_{digest[:12]}"
    write_code(files, copy)
    return copy


def _register(client: MlflowClient, name: str, model_id: str, run_id: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    client.create_model_version(name, source=f"models:/{model_id}", run_id=run_id, tags=_TAGS, model_id=model_id)


@contextmanager
def _store(uri: str) -> Iterator[None]:
    """A model's address is looked up in the one store a process has, and tells to its children: only while needed."""
    named_by_user = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(named_by_user)
