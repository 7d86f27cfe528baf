"""A real SQLite store, a store that is not there, and one that goes away."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from mgmt_monai.tracking import TrackedRun, tracking_uri
from mgmt_monai.tracking.environment import environment_tags, git_commit


@pytest.fixture
def run(tmp_path, made_store) -> TrackedRun:
    shutil.copy(made_store, tmp_path / "mlruns.db")
    made = TrackedRun(tracking_uri(tmp_path), tmp_path, "mgmt", "a-run")
    made.start()
    return made


def steps(run: TrackedRun, metric: str) -> list[int]:
    return [entry.step for entry in MlflowClient(run.uri).get_metric_history(run.run_id, metric)]


def test_default_store_is_sqlite_in_the_output_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlruns.db"


def test_server_in_the_environment_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5555")
    assert tracking_uri(tmp_path) == "http://127.0.0.1:5555"


def test_dataset_tells_what_it_is_and_not_where(run):
    run.log_dataset("T1w cohort", "f" * 64, {"seed": 0}, {"train": 3})
    (entry,) = MlflowClient(run.uri).get_run(run.run_id).inputs.dataset_inputs
    assert entry.dataset.digest == "f" * 36
    assert json.loads(entry.dataset.source) == {"manifest_hash": "f" * 64, "seed": 0}
    assert json.loads(entry.dataset.profile) == {"train": 3}


def test_files_lie_beside_the_store(run, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    run.log_file(tmp_path / "a.txt", folder="figures")
    assert [path.name for path in (tmp_path / "mlartifacts").rglob("figures/*")] == ["a.txt"]


def test_resumed_run_does_not_record_an_epoch_twice(run, tmp_path):
    for step in (1, 2):
        run.log_metrics({"validation/loss": 0.5}, step)
    again = TrackedRun(run.uri, tmp_path, "mgmt", "a-run")
    again.start(run.run_id)
    for step in (1, 2, 3):
        again.log_metrics({"validation/loss": 0.5}, step)
    assert again.run_id == run.run_id and steps(run, "validation/loss") == [1, 2, 3]


def test_new_run_does_not_attach_to_an_unfinished_one_of_its_name(run, tmp_path):
    other = TrackedRun(run.uri, tmp_path, "mgmt", "a-run")
    other.start()
    assert other.run_id != run.run_id


def parent_of(run: TrackedRun) -> str | None:
    return MlflowClient(run.uri).get_run(run.run_id).data.tags.get("mlflow.parentRunId")


def test_run_of_a_study_is_nested_under_it(run, tmp_path):
    child = TrackedRun(run.uri, tmp_path, "mgmt", "a-child", parent_run_id=run.run_id)
    child.start()
    client = MlflowClient(run.uri)
    experiment = client.get_run(run.run_id).info.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.run_id}'")  # as MLflow's pages ask
    assert [entry.info.run_id for entry in found] == [child.run_id]


def test_run_of_its_own_has_no_parent(run):
    assert parent_of(run) is None


def test_resumed_run_goes_under_the_study_that_resumes_it(run, tmp_path):
    study = TrackedRun(run.uri, tmp_path, "mgmt", "a-study")
    study.start()
    again = TrackedRun(run.uri, tmp_path, "mgmt", "a-run", parent_run_id=study.run_id)
    again.start(run.run_id)
    assert again.run_id == run.run_id and parent_of(run) == study.run_id


def test_run_resumed_alone_stays_under_its_study(run, tmp_path):
    child = TrackedRun(run.uri, tmp_path, "mgmt", "a-child", parent_run_id=run.run_id)
    child.start()
    TrackedRun(run.uri, tmp_path, "mgmt", "a-child").start(child.run_id)
    assert parent_of(child) == run.run_id


def test_status_is_set(run):
    run.finish("FAILED")
    assert MlflowClient(run.uri).get_run(run.run_id).info.status == "FAILED"


def test_store_that_is_not_there_is_told_and_nothing_is_raised(tmp_path, caplog):
    run = TrackedRun("sqlite:////proc/no/such/place.db", tmp_path, "mgmt", "a-run")
    run.start()
    run.log_metrics({"loss": 1.0}, 1)
    run.log_file(Path("roc.png"))
    run.finish("FINISHED")
    assert run.run_id is None
    assert "not recorded in MLflow: the run" in caplog.text
    assert all(what in caplog.records[-1].getMessage() for what in ("the metrics of step 1", "roc.png"))


def test_file_that_cannot_be_recorded_is_told_and_the_rest_is_recorded(run, tmp_path, caplog):
    run.log_file(tmp_path / "absent.png")
    run.log_metrics({"loss": 1.0}, 1)
    assert run.not_recorded == ["absent.png"] and "absent.png" in caplog.text
    assert steps(run, "loss") == [1]


def test_environment_names_versions_and_hardware():
    tags = environment_tags()
    assert tags["version.torch"] and tags["hardware.cpu_count"].isdigit()
    assert tags["mlflow.source.git.commit"] == git_commit()
