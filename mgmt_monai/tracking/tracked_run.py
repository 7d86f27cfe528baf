"""One MLflow run for one training. A store that fails never stops the training: what is missing is said."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgmt_monai.tracking.mlflow_store import open_store, reason, shown

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

#: Longer values are cut: older servers refuse them.
_LONGEST_VALUE = 500

#: Lets MLflow's pages open on the runs, not on the traces of language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}

#: What each patient of a cohort is described by.
_COLUMNS = [{"name": name, "type": "string", "required": True} for name in ("split", "label", "series")]


class TrackedRun:
    """Records a training in MLflow. Nothing is opened before `start`.

    Args:
        uri: The store: ``sqlite:///...`` or a server's address.
        output_dir: Folder for the files of runs in a SQLite store.
        experiment: The experiment's name; made where it does not exist.
        run_name: The run's name, which must be new.
        parent_run_id: The run that this one belongs to, so that MLflow's pages nest it there; empty for none.
    """

    def __init__(
        self, uri: str, output_dir: str | Path, experiment: str, run_name: str, parent_run_id: str = ""
    ) -> None:
        self.uri = uri
        self.experiment = experiment
        self.run_name = run_name
        self.parent_run_id = str(parent_run_id)
        self.run_id: str | None = None
        self.not_recorded: list[str] = []
        beside_store = (Path(output_dir).resolve() / "mlartifacts").as_uri()
        self._artifact_location = beside_store if uri.startswith("sqlite") else None
        self._client: MlflowClient | None = None
        self._recorded: set[int] = set()

    def start(self, run_id: str | None = None, metric: str = "validation/loss") -> None:
        """Open a new run, or go on with the run of a training that is resumed.

        Args:
            run_id: The run to go on with.
            metric: The metric whose last step tells how far that run was recorded.
        """
        try:
            client = open_store(self.uri)
            from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

            parent = {MLFLOW_PARENT_RUN_ID: self.parent_run_id} if self.parent_run_id else {}
            if run_id is None:
                run = client.create_run(self._experiment_id(client), run_name=self.run_name, tags=parent)
                run_id = run.info.run_id
            else:
                client.update_run(run_id, status="RUNNING")
                for key, value in parent.items():
                    client.set_tag(run_id, key, value)
                self._recorded = {entry.step for entry in client.get_metric_history(run_id, metric)}
            self.run_id, self._client = run_id, client
        except Exception as error:  # whatever the store raises, the training matters more than its record
            self._missed("the run", error)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings.

        Args:
            params: Value by name; a long value is cut.
        """

        def record(client: MlflowClient) -> None:
            from mlflow.entities import Param

            client.log_batch(self.run_id, params=[Param(k, str(v)[:_LONGEST_VALUE]) for k, v in params.items()])

        self._record("the settings", record)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags.

        Args:
            tags: Text by name; a long text is cut.
        """

        def record(client: MlflowClient) -> None:
            from mlflow.entities import RunTag

            client.log_batch(self.run_id, tags=[RunTag(k, str(v)[:_LONGEST_VALUE]) for k, v in tags.items()])

        self._record("the tags", record)

    def describe(self, markdown: str) -> None:
        """Record what stands at the top of the run's page.

        Args:
            markdown: The description.
        """

        def record(client: MlflowClient) -> None:
            from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

            client.set_tag(self.run_id, MLFLOW_RUN_NOTE, markdown)

        self._record("the description", record)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record metrics at a step, unless that step was recorded before.

        Args:
            metrics: Figure by name.
            step: The epoch, counted over both stages.
        """

        def record(client: MlflowClient) -> None:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            client.log_batch(self.run_id, metrics=[Metric(k, float(v), now, step) for k, v in metrics.items()])

        if step not in self._recorded and self._record(f"the metrics of step {step}", record):
            self._recorded.add(step)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Record a file.

        Args:
            path: Of the file.
            folder: Of the run's artifacts it goes to; None for the top.
        """
        self._record(path.name, lambda client: client.log_artifact(self.run_id, str(path), artifact_path=folder))

    def log_dataset(self, name: str, digest: str, source: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        """Record the data of a training as an MLflow dataset: what it is, not where it is.

        Args:
            name: Of the dataset.
            digest: Its identity; MLflow keeps 36 characters.
            source: How the split was made.
            profile: How many patients of each class each split has.
        """

        def record(client: MlflowClient) -> None:
            from mlflow.entities import Dataset, DatasetInput, InputTag
            from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

            dataset = Dataset(
                name=name,
                digest=digest[:36],
                source_type="manifest",
                source=json.dumps({"manifest_hash": digest, **source}),
                schema=json.dumps({"mlflow_colspec": _COLUMNS}),
                profile=json.dumps(profile),
            )
            client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])])

        self._record("the dataset", record)

    def log_classifier(
        self, checkpoint: Path, settings: dict[str, Any], registered_name: str, reference: Path | None = None
    ) -> None:
        """Record the best network as an MLflow model with a signature, and register it.

        Args:
            checkpoint: The network's state.
            settings: What builds it: ``network``, ``hidden_units``, ``image_size``.
            registered_name: Name in the model registry.
            reference: How far features lie from the training data; None where that is not known.
        """

        def record(_: MlflowClient) -> None:
            from mgmt_monai.tracking.logged_model import log_classifier

            log_classifier(self.uri, str(self.run_id), checkpoint, settings, registered_name, reference)

        self._record("the model", record)

    def finish(self, status: str) -> None:
        """Close the run and say what it lacks.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        """
        self._record(f"the status {status}", lambda client: client.set_terminated(self.run_id, status))
        if self.not_recorded:
            logger.warning(f"not recorded in MLflow ({shown(self.uri)}): {', '.join(self.not_recorded)}")

    def _experiment_id(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        try:
            return client.create_experiment(self.experiment, self._artifact_location, _EXPERIMENT_TAGS)
        except Exception:  # another training made it meanwhile, or it cannot be made
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    def _record(self, what: str, action: Callable[[MlflowClient], object]) -> bool:
        """Whether it could be done."""
        if self._client is None:  # the user was told when the run could not be opened
            self._note(what)
            return False
        try:
            action(self._client)
        except Exception as error:  # whatever the store raises, the training matters more than its record
            self._missed(what, error)
            return False
        if what in self.not_recorded:
            self.not_recorded.remove(what)
        return True

    def _note(self, what: str) -> None:
        if what not in self.not_recorded:
            self.not_recorded.append(what)

    def _missed(self, what: str, error: Exception) -> None:
        self._note(what)
        logger.warning(
            f"not recorded in MLflow: {what} ({reason(error)}). The training goes on; its files "
            "are in the run's folder."
        )
