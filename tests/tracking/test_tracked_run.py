"""A real SQLite store, a store that is not there, and one that goes away."""

import json
import shutil
import socket
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from mgmt_monai.cli.main import main
from mgmt_monai.tracking import TrackedRun, tracking_uri
from mgmt_monai.tracking.environment import environment_tags, git_commit
from mgmt_monai.tracking.errors import TrackingError
from mgmt_monai.tracking.tracked_run import NOTES
from mgmt_monai.training.record import lacks_record
from mgmt_monai.training.run_directory import RunDirectory, run_in


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


def test_list_of_runs_has_a_view_with_the_test_auc(run, tmp_path):
    client = MlflowClient(run.uri)
    (tag,) = [key for key in client.get_experiment("1").tags if key.startswith("mlflow.sharedViewState.")]
    first = json.loads(client.get_experiment("1").tags[tag])
    assert first["selectedColumns"][0] == "metrics.`test_AUC`"
    client.delete_experiment_tag("1", tag)  # as an earlier version made it
    TrackedRun(run.uri, tmp_path, "mgmt", "b-run").start()
    assert json.loads(client.get_experiment("1").tags[tag]) == first


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


@pytest.fixture
def away(tmp_path) -> TrackedRun:
    """A run whose store cannot be made, because a file is in the place of its folder."""
    (tmp_path / "runs").touch()
    (tmp_path / "a").mkdir()
    return TrackedRun(tracking_uri(tmp_path / "runs"), tmp_path / "runs", "mgmt", "a")


def told(away: TrackedRun, folder: Path) -> None:
    (folder / "roc.png").touch()
    away.start(folder=folder)
    away.log_params({"seed": 0})
    away.set_tags({"weights": "none"})
    away.set_tags({"learnt": "yes"})
    away.log_dataset("T1w cohort", "f" * 64, {"seed": 0}, {"train": 3})
    away.log_metrics({"validation/loss": 1.0}, 1)
    away.log_file(folder / "roc.png", "figures")


def check_whole(uri: str, run_id: str) -> None:
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert run.info.run_name == "a" and run.info.status == "FINISHED"
    assert run.data.params == {"seed": "0"} and run.data.metrics == {"validation/loss": 1.0}
    assert (run.data.tags["weights"], run.data.tags["learnt"]) == ("none", "yes")
    assert [file.path for file in client.list_artifacts(run_id, "figures")] == ["figures/roc.png"]
    assert len(run.inputs.dataset_inputs) == 1


def test_store_that_is_not_there_is_told_once_and_nothing_is_raised(away, tmp_path, caplog):
    told(away, tmp_path / "a")
    away.retry()
    away.finish("FINISHED")
    away.say_what_is_missing("mgmt-monai record a")
    assert away.run_id is None
    first, last = (entry.getMessage() for entry in caplog.records)
    assert "not recorded in MLflow: the run" in first
    assert "the metrics of step 1, figures/roc.png and 1 more. When it can be reached: mgmt-monai record a" in last


def test_store_that_comes_back_is_told_all_that_it_lacks(away, tmp_path, made_store):
    told(away, tmp_path / "a")
    (tmp_path / "runs").unlink()
    (tmp_path / "runs").mkdir()
    shutil.copy(made_store, tmp_path / "runs" / "mlruns.db")
    away.retry()
    away.log_metrics({"validation/loss": 1.0}, 1)
    away.finish("FINISHED")
    assert away.not_recorded == []
    check_whole(away.uri, away.run_id)
    assert steps(away, "validation/loss") == [1]


def test_training_that_was_not_recorded_is_recorded_from_its_folder(away, tmp_path, made_store, capsys):
    directory = RunDirectory(tmp_path / "trained", "T1w", "a", resume=False)
    directory.claim({"experiment_name": "mgmt"})
    directory.open("hash")
    told(away, directory.path)
    away.finish("FINISHED")
    directory.update(status="finished")
    words = ["record", str(directory.path)]
    assert main(words) == 1 and "still running in another process" in capsys.readouterr().err
    directory.close()
    moved = tmp_path / "moved"
    (tmp_path / "trained").rename(moved)
    shutil.copy(made_store, moved / "mlruns.db")
    assert lacks_record(moved / "t1w" / "a")
    for _ in range(2):
        assert main(["record", str(moved / "t1w" / "a")]) == 0
    first, second = (line.split()[-1] for line in capsys.readouterr().out.splitlines())
    assert first == second == run_in(moved / "t1w" / "a").state["mlflow_run_id"]
    check_whole(tracking_uri(moved), first)
    assert not lacks_record(moved / "t1w" / "a")
    assert {path.parents[1] for path in moved.rglob("roc.png")} >= {moved / "mlartifacts" / first / "artifacts"}


def test_server_that_hangs_is_asked_once_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "a").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections and never answers
        server.setblocking(False)
        run = TrackedRun(f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path, "mgmt", "a")

        def asked() -> int:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return 0
            return 1 + asked()

        told(run, tmp_path / "a")
        assert asked() == 1
        for step in (2, 3):
            run.retry()
            run.log_metrics({"validation/loss": 1.0}, step)
            assert asked() == 1
    assert run.run_id is None


def test_folder_of_an_earlier_version_is_told_in_one_line(tmp_path, capsys):
    state = {"status": "finished", "mlflow_run_id": None, "manifest_hash": "hash", "described": True}
    (tmp_path / "run.json").write_text(json.dumps(state))  # those of before the notes had all of these
    assert main(["record", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {tmp_path}/mlflow.json: expected what MLflow is told")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": {"kind": "shell", "value": 1, "told": null}}'])
def test_notes_that_are_none_are_refused(content, tmp_path):
    (tmp_path / NOTES).write_text(content)
    with pytest.raises(TrackingError, match=r"mlflow\.json: expected what MLflow is told of a training, found"):
        TrackedRun("sqlite:////proc/no.db", tmp_path, "mgmt", "a").start(folder=tmp_path)


def test_file_that_cannot_be_recorded_is_told_and_the_rest_is_recorded(run, tmp_path, caplog):
    run.log_file(tmp_path / "absent.png")
    run.log_metrics({"loss": 1.0}, 1)
    run.retry()
    assert run.not_recorded == ["absent.png"] and caplog.text.count("absent.png: no such file") == 1
    assert steps(run, "loss") == [1]


def test_environment_names_versions_and_hardware():
    tags = environment_tags()
    assert tags["version.torch"] and tags["hardware.cpu_count"].isdigit()
    assert tags["mlflow.source.git.commit"] == git_commit()
