"""One MLflow run for one training. A store that fails never stops the training: what is missing is said."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgmt_monai.atomic import write_text
from mgmt_monai.tracking.errors import TrackingError
from mgmt_monai.tracking.mlflow_store import does_not_answer, open_store, reason, shown

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

NOTES = "mlflow.json"
"""What MLflow is told of a training, in its folder: by name, with the run that was told it."""

TEST_TAG = "mgmt.test_patients"
"""`tested` of the patients that a run tests."""

#: Longer values are cut: older servers refuse them.
_LONGEST_VALUE = 500

VIEW = "mgmt-monai"
"""Under this name MLflow's list of runs shows the test AUC: ``#/experiments/ID/runs?viewStateShareKey=mgmt-monai``."""

_COLUMNS_IN_VIEW = [f"metrics.`{name}`" for name in ("test_AUC", "test_AUC_low", "test_AUC_high", "test_patients")]

#: Lets MLflow's pages open on the runs, not on the traces of language models; and the view of that name.
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    f"mlflow.sharedViewState.{VIEW}": json.dumps({"selectedColumns": [*_COLUMNS_IN_VIEW, "tags.`cohort`"]}),
}

#: What each patient of a cohort is described by.
_COLUMNS = [{"name": name, "type": "string", "required": True} for name in ("split", "label", "series")]


class TrackedRun:
    """Records a training in MLflow. Nothing is opened before `start`.

    What MLflow is told is first noted in a file of the training's folder. What a store did not take is told again: at
    the next epoch, at the end, when the training is resumed, or by ``mgmt-monai record``.

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
        beside_store = (Path(output_dir).resolve() / "mlartifacts").as_uri()
        self._artifact_location = beside_store if uri.startswith("sqlite") else None
        self._client: MlflowClient | None = None
        self._is_away = False
        self._recorded: set[int] = set()
        self._folder: Path | None = None
        self._notes: dict[str, dict[str, Any]] = {}
        self._resumed: str | None = None
        self._metric = ""
        self._said: set[str] = set()

    @property
    def not_recorded(self) -> list[str]:
        """What the run lacks, in words."""
        if self.run_id is None:
            return ["the run", *self._notes]
        return [what for what, note in self._notes.items() if note["told"] != self.run_id]

    def start(self, run_id: str | None = None, metric: str = "validation/loss", folder: Path | None = None) -> None:
        """Open a new run, or go on with the run of a training that is resumed.

        Args:
            run_id: The run to go on with; where the store does not have it, a new one is opened.
            metric: The metric whose steps tell how far that run was recorded.
            folder: Of the training, whose notes are gone on with and kept; None keeps none.

        Raises:
            TrackingError: The notes cannot be read.
        """
        if folder is not None:
            notes = read_notes(folder, absent_ok=True)
            self._notes = {what: note for what, note in notes.items() if note["kind"] != "status"}
        self._resumed, self._metric, self._folder = run_id, metric, folder
        self._open()

    def retry(self) -> None:
        """Ask a store that was away whether it answers again, and tell it what it lacks: once an epoch."""
        if not self._metric:
            return  # not started
        if self._client is None or self._is_away:
            self._open()
        else:
            for what in self.not_recorded:
                self._tell(what)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings; a long value is cut."""
        self._record("the settings", "params", {k: str(v)[:_LONGEST_VALUE] for k, v in params.items()})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags; a long text is cut."""
        before = self._notes.get("the tags", {"value": {}})["value"]
        self._record("the tags", "tags", {**before, **{k: str(v)[:_LONGEST_VALUE] for k, v in tags.items()}})

    def describe(self, markdown: str) -> None:
        """Record what stands at the top of the run's page."""
        self._record("the description", "description", markdown)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record figures by name at a step (the epoch, counted over both stages), unless it was recorded before."""
        what = f"the metrics of step {step}"
        if what not in self._notes:
            now = int(time.time() * 1000)
            figures = {name: float(value) for name, value in metrics.items()}
            self._record(what, "metrics", {"step": step, "time": now, "figures": figures})

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Record a file, in a folder of the run's artifacts; None for the top."""
        self._record(f"{folder}/{path.name}" if folder else path.name, "file", {"path": self._kept(path), "to": folder})

    def log_dataset(self, name: str, digest: str, source: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        """Record the data of a training as an MLflow dataset: what it is, not where it is.

        The digest is its identity, of which MLflow keeps 36 characters; the source says how the split was made, the
        profile how many patients of each class each split has.
        """
        value = {
            "name": name,
            "digest": digest[:36],
            "source": json.dumps({"manifest_hash": digest, **source}),
            "profile": json.dumps(profile),
        }
        self._record("the dataset", "dataset", value)

    def log_classifier(
        self, checkpoint: Path, settings: dict[str, Any], registered_name: str, reference: Path | None = None
    ) -> None:
        """Record the best network as an MLflow model with a signature, and register it.

        ``settings`` build it: ``network``, ``hidden_units``, ``image_size``.
        """
        value = {
            "checkpoint": self._kept(checkpoint),
            "settings": settings,
            "name": registered_name,
            "reference": None if reference is None else self._kept(reference),
        }
        self._record("the model", "classifier", value)

    def finish(self, status: str) -> None:
        """Close the run as ``FINISHED``, ``FAILED`` or ``KILLED``; a store that was away is asked once more."""
        self.retry()
        self._record(f"the status {status}", "status", status)

    def say_what_is_missing(self, command: str) -> None:
        """Log what the run lacks, in one line; nothing where it is whole."""
        if self._notes and self.not_recorded:
            lacks = self.not_recorded
            few = ", ".join(lacks[:6]) + (f" and {len(lacks) - 6} more" if len(lacks) > 6 else "")
            logger.warning(f"not recorded in MLflow ({shown(self.uri)}): {few}. When it can be reached: {command}")

    def _open(self) -> None:
        """Open the run, and tell it what it lacks."""
        try:
            client = open_store(self.uri)
            run_id = self.run_id or self._resumed
            if run_id is not None and self._exists(client, run_id):
                client.update_run(run_id, status="RUNNING")
                if self.parent_run_id:
                    client.set_tag(run_id, "mlflow.parentRunId", self.parent_run_id)
                self._recorded = {entry.step for entry in client.get_metric_history(run_id, self._metric)}
            else:
                parent = {"mlflow.parentRunId": self.parent_run_id} if self.parent_run_id else {}
                run_id = client.create_run(self._experiment_id(client), run_name=self.run_name, tags=parent).info.run_id
                self._recorded = set()
            self.run_id, self._client = run_id, client
        except Exception as error:  # whatever the store raises, the training matters more than its record
            self._missed("the run", error)
            return
        if self._is_away:
            logger.info(f"MLflow answers again ({shown(self.uri)})")
            self._is_away = False
        for what in self.not_recorded:
            self._tell(what)

    @staticmethod
    def _exists(client: MlflowClient, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_run(run_id) is not None
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _experiment_id(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            for name in _EXPERIMENT_TAGS.keys() - found.tags.keys():  # of an earlier version
                client.set_experiment_tag(found.experiment_id, name, _EXPERIMENT_TAGS[name])
            return str(found.experiment_id)
        try:
            return client.create_experiment(self.experiment, self._artifact_location, _EXPERIMENT_TAGS)
        except Exception:  # another training made it meanwhile, or it cannot be made
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    def _kept(self, path: Path) -> str:
        """A path as it is noted: a training's folder may move."""
        if self._folder is not None and path.is_relative_to(self._folder):
            return str(path.relative_to(self._folder))
        return str(path)

    def _record(self, what: str, kind: str, value: Any) -> None:
        self._notes[what] = {"kind": kind, "value": value, "told": None}
        self._tell(what)
        self._keep()

    def _tell(self, what: str) -> None:
        """Tell MLflow what is noted; nothing to one that is away, which the user knows by then."""
        if self._client is None or self._is_away or self.run_id is None:
            return
        note = self._notes[what]
        try:
            if note["kind"] != "metrics" or note["value"]["step"] not in self._recorded:
                _SENT[note["kind"]](self, self._client, note["value"])
        except Exception as error:  # whatever the store raises, the training matters more than its record
            self._missed(what, error)
        else:
            note["told"] = self.run_id

    def _keep(self) -> None:
        if self._folder is None:
            return
        try:
            write_text(self._folder / NOTES, json.dumps(self._notes, indent=1) + "\n")
        except OSError as error:
            if NOTES not in self._said:
                logger.warning(f"{self._folder / NOTES}: cannot be written ({error.strerror})")
            self._said.add(NOTES)

    def _missed(self, what: str, error: Exception) -> None:
        self._is_away = does_not_answer(error)
        if what not in self._said:
            logger.warning(
                f"not recorded in MLflow: {what} ({reason(error)}). The training goes on; its files are in the run's "
                "folder, and MLflow is asked again at the next epoch."
            )
        self._said.add(what)

    def _send_params(self, client: MlflowClient, value: dict[str, str]) -> None:
        from mlflow.entities import Param

        client.log_batch(self.run_id, params=[Param(*each) for each in value.items()])

    def _send_tags(self, client: MlflowClient, value: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        client.log_batch(self.run_id, tags=[RunTag(*each) for each in value.items()])

    def _send_description(self, client: MlflowClient, value: str) -> None:
        client.set_tag(self.run_id, "mlflow.note.content", value)

    def _send_metrics(self, client: MlflowClient, value: dict[str, Any]) -> None:
        from mlflow.entities import Metric

        figures = value["figures"].items()
        client.log_batch(self.run_id, metrics=[Metric(k, v, value["time"], value["step"]) for k, v in figures])

    def _send_file(self, client: MlflowClient, value: dict[str, str | None]) -> None:
        path = (self._folder or Path()) / str(value["path"])
        if not path.is_file():
            raise FileNotFoundError(f"{path.name}: no such file")
        client.log_artifact(self.run_id, str(path), artifact_path=value["to"])

    def _send_dataset(self, client: MlflowClient, value: dict[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        schema = json.dumps({"mlflow_colspec": _COLUMNS})
        dataset = Dataset(**value, source_type="manifest", schema=schema)
        client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])])

    def _send_classifier(self, client: MlflowClient, value: dict[str, Any]) -> None:
        from mgmt_monai.tracking.logged_model import log_classifier

        folder = self._folder or Path()
        reference = value["reference"] and folder / value["reference"]
        log_classifier(
            self.uri, str(self.run_id), folder / value["checkpoint"], value["settings"], value["name"], reference
        )

    def _send_status(self, client: MlflowClient, value: str) -> None:
        client.set_terminated(self.run_id, value)


_SENT: dict[str, Callable[[TrackedRun, MlflowClient, Any], None]] = {
    name.removeprefix("_send_"): method for name, method in vars(TrackedRun).items() if name.startswith("_send_")
}


def tested(patients: Iterable[tuple[str, int]]) -> str:
    """What tells the test patients (identifier and label) of a run from others: the value of `TEST_TAG`."""
    return hashlib.sha256("\n".join(sorted(f"{name} {label}" for name, label in patients)).encode()).hexdigest()


def read_notes(folder: Path, absent_ok: bool = False) -> dict[str, dict[str, Any]]:
    """What MLflow was to be told of a training, and was told; nothing where there is none and ``absent_ok``.

    Raises:
        TrackingError: There are no such notes, or they cannot be read.
    """
    path = folder / NOTES
    if absent_ok and not path.exists():
        return {}
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        if all(note["kind"] in _SENT and {"value", "told"} <= set(note) for note in notes.values()):
            return dict(notes)
        found = "something else"
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        found = f"none ({error})"
    raise TrackingError(
        f"{path}: expected what MLflow is told of a training, found {found}. If this is a training's folder, it is of "
        "an earlier version, or the file is damaged: move it away, and MLflow keeps what it has."
    )
