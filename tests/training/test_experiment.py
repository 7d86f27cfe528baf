"""Whole trainings, for real: what they leave behind, what they cost nothing to repeat, how they end."""

import dataclasses
import getpass
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from mlflow.tracking import MlflowClient
from phantom_runs import command, newest_run, start, train, workflow
from sklearn.metrics import roc_auc_score
from torch import nn

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.training import Opening, RunDirectory, SeedEpoch

pytestmark = pytest.mark.xdist_group("training")

KILLED = Path(__file__).parents[1] / "killed_run.py"
STATE_FILES = ["epochs.csv", "predictions.csv", "slice_predictions.csv", "metrics.json"]

#: Files that hold no text to search in; their headers have tests of their own.
BINARY = (".png", ".pt", ".safetensors")


@pytest.fixture(scope="module")
def finished(finished_run) -> Path:
    return finished_run


@pytest.fixture(scope="module")
def client(finished) -> MlflowClient:
    return MlflowClient(f"sqlite:///{finished.parents[1] / 'mlruns.db'}")


@pytest.fixture(scope="module")
def record(finished, client):
    return client.get_run(json.loads((finished / "run.json").read_text())["mlflow_run_id"])


def texts(run: Path) -> dict[str, str]:
    return {name: (run / name).read_text() for name in STATE_FILES}


def wait_for(run_glob: str, output_dir: Path, process, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not list(output_dir.glob(run_glob)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"no {run_glob} after {seconds} s"
        time.sleep(0.01)


def test_patient_probability_is_the_mean_of_its_slices(finished):
    patients = pd.read_csv(finished / "predictions.csv", dtype={"patient_id": str})
    slices = pd.read_csv(finished / "slice_predictions.csv", dtype={"patient_id": str})
    keys = ["patient_id", "stage", "split"]
    means = slices.groupby(keys)["probability"].agg(["mean", "size"]).reset_index()
    both = patients.merge(means, on=keys)
    assert (
        len(both) == len(patients) == 3 * (4 + 4)
    )  # two stages and the plain model, 4 validation and 4 test patients of 16
    np.testing.assert_allclose(both["probability"], both["mean"], rtol=1e-12)
    assert (both["n_slices"] == both["size"]).all()


def test_reported_auc_is_scikit_learns_of_the_table(finished):
    patients = pd.read_csv(finished / "predictions.csv")
    metrics = json.loads((finished / "metrics.json").read_text())
    for stage in ("transfer", "fine_tune"):
        chosen = patients[(patients["stage"] == stage) & (patients["split"] == "test")]
        figure = metrics[stage]["test"]["patient"]["auc"]
        assert figure["value"] == pytest.approx(roc_auc_score(chosen["label"], chosen["probability"]))
        few = chosen["label"].value_counts().min() < 5
        assert figure["low"] is None if few else figure["low"] <= figure["value"] <= figure["high"]


def test_every_figure_of_both_units_has_an_interval(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    for unit in ("patient", "slice"):
        figures = metrics["fine_tune"]["test"][unit]
        assert {"auc", "accuracy", "precision", "recall", "f1"} <= set(figures)
        assert all({"value", "low", "high"} <= set(figure) for figure in figures.values())


def test_best_checkpoint_gives_the_predictions(finished, phantom_dir):
    """The table is what the kept checkpoint says, computed again by hand from the manifest."""

    from mgmt_monai.cohort.manifest import read_manifest, series_reference

    parser = workflow(phantom_dir, finished.parents[1] / "again").parser
    transform = parser.get_parsed_content("validate::preprocessing")
    network = MGMTClassifier().eval()
    network.load_state_dict(torch.load(finished / "fine_tune/best.pt", weights_only=True))
    patient = read_manifest(phantom_dir / "manifest.json").members("test", "T1w")[0]
    volume = transform({"image": series_reference(patient, "T1w", phantom_dir)})["image"]
    with torch.no_grad():
        expected = torch.sigmoid(network(volume.as_tensor().float().unsqueeze(1)).double()).mean().item()
    table = pd.read_csv(finished / "predictions.csv", dtype={"patient_id": str})
    row = table[(table["patient_id"] == patient.patient_id) & (table["stage"] == "fine_tune")]
    assert row["probability"].item() == pytest.approx(expected, abs=1e-6)


def test_fine_tuning_starts_from_the_best_of_transfer(finished):
    """The head's BatchNorm trains in transfer and is frozen after: fine-tuning shows which epoch it came from."""
    best, last, tuned = (
        torch.load(finished / name, weights_only=True)
        for name in ("transfer/best.pt", "transfer/last.pt", "fine_tune/best.pt")
    )
    norms = [name for name in best if name.startswith("head.norm")]
    assert norms and all(torch.equal(best[name], tuned[name]) for name in norms)
    if last["progress"]["best_epoch"] != last["progress"]["epochs"]:
        assert not all(torch.equal(last["network"][name], tuned[name]) for name in norms)


def test_no_epoch_repeats_the_augmentation_of_another(phantom_dir, tmp_path):
    parser = workflow(phantom_dir, tmp_path / "runs").parser
    progress = [parser.get_parsed_content(f"{section}::progress") for section in ("train", "fine_tune")]
    progress[0].epochs = 2
    seeds = []
    for section in ("train", "fine_tune"):
        (handler,) = (one for one in parser.get_parsed_content(f"{section}::handlers") if isinstance(one, SeedEpoch))
        for epoch in (1, 2):
            handler(SimpleNamespace(state=SimpleNamespace(epoch=epoch)))
            seeds.append((handler.batches.epoch, torch.initial_seed()))
    assert [epoch for epoch, _ in seeds] == [1, 2, 3, 4] and len({seed for _, seed in seeds}) == 4


def test_run_in_mlflow_is_finished_and_described(record):
    assert record.info.status == "FINISHED"
    assert record.data.params["seed"] == "3" and len(record.data.params["manifest_hash"]) == 64
    tags = {"mlflow.source.git.commit", "version.monai", "version.torch", "hardware.cpu", "mgmt.test_patients"}
    assert tags <= set(record.data.tags)
    (dataset,) = record.inputs.dataset_inputs
    assert record.data.params["manifest_hash"].startswith(dataset.dataset.digest)


def test_both_stages_lie_on_one_step_axis(record, client):
    for metric in (
        "train/loss",
        "validation/loss",
        "train/auc",
        "validation/auc",
        "validation/patient_auc",
        "train/accuracy",
    ):
        steps = [entry.step for entry in client.get_metric_history(record.info.run_id, metric)]
        assert sorted(steps) == [1, 2, 3, 4], metric


def test_pictures_tables_and_config_are_in_mlflow(record, client):
    def files(folder=None):
        for entry in client.list_artifacts(record.info.run_id, folder):
            yield from files(entry.path) if entry.is_dir else [entry.path]

    expected = {f"figures/{name}.png" for name in ("roc", "learning_curves", "prediction_distribution")}
    expected |= {
        "config.json",
        "metrics.json",
        "training.html",
        "predictions.csv",
        "slice_predictions.csv",
        "classification_report.txt",
    }
    assert expected <= set(files())


def test_registered_model_has_a_signature_and_answers_like_the_checkpoint(finished, record, client):
    (version,) = client.search_model_versions("name = 'mgmt-t1w'")
    assert version.run_id == record.info.run_id
    mlflow.set_tracking_uri(client.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/mgmt-t1w/1")
    mlflow.set_tracking_uri(None)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 1, 48, 48)
    slices = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    network = MGMTClassifier().eval()
    network.load_state_dict(torch.load(finished / "fine_tune/best.pt", weights_only=True))
    with torch.no_grad():
        expected = torch.sigmoid(network(slices)).numpy()
    np.testing.assert_allclose(model.predict(slices.numpy()), expected, atol=1e-6)


def test_mlflow_holds_no_study_identifier_user_or_path(finished):
    ids = set(pd.read_csv(finished / "predictions.csv", dtype=str)["patient_id"])
    secret = [rf"(?<![\d.]){patient_id}(?!\d)" for patient_id in ids]
    secret += [re.escape(str(finished)), re.escape(str(Path(__file__).parents[2])), "phantom0/phantom"]
    files = [path for path in finished.parents[1].joinpath("mlartifacts").rglob("*") if path.is_file()]
    texts = {path.name: path.read_text(errors="replace") for path in files if path.suffix not in BINARY}
    assert {"MLmodel", "config.json", "predictions.csv"} <= set(texts)
    with sqlite3.connect(finished.parents[1] / "mlruns.db") as store:
        for table in ("params", "tags", "datasets", "logged_model_tags", "model_versions"):
            texts[table] = json.dumps(store.execute(f"select * from {table}").fetchall())
    found = {name: pattern for name, text in texts.items() for pattern in secret if re.search(pattern, text)}
    assert found == {}
    assert f'"mlflow.user", "{getpass.getuser()}"' not in texts["logged_model_tags"] + texts["tags"]


@pytest.mark.parametrize(
    "other_way",
    [
        pytest.param({"slice_store": ""}, id="from memory"),
        pytest.param({"augment_on": "loader", "num_workers": 2}, id="single slices by workers", marks=pytest.mark.slow),
    ],
)
def test_same_seed_gives_the_same_figures_in_other_ways(other_way, finished, phantom_dir, tmp_path):
    again = train(phantom_dir, tmp_path / "runs", seed=3, **other_way)
    assert texts(again) == texts(finished)
    assert (finished.parents[1] / "slices").is_dir()
    assert (tmp_path / "runs" / "slices").exists() == ("slice_store" not in other_way)


@pytest.mark.slow
def test_another_seed_gives_other_figures(finished, phantom_dir, tmp_path):
    other = train(phantom_dir, tmp_path / "runs", seed=4)
    assert (other / "epochs.csv").read_text() != (finished / "epochs.csv").read_text()


@pytest.mark.parametrize(
    "n_writes",
    [
        pytest.param(1, id="transfer", marks=pytest.mark.slow),
        pytest.param(3, id="transfer again", marks=pytest.mark.slow),
        pytest.param(4, id="between stages", marks=pytest.mark.slow),
        pytest.param(5, id="fine_tune"),
    ],
)
def test_killed_run_resumes_to_the_same_result(n_writes, finished, phantom_dir, tmp_path):
    """Killed without notice right after the n-th checkpoint was written, then resumed."""
    runs = tmp_path / "runs"
    words = command(phantom_dir, runs, seed=3)
    process = start([sys.executable, str(KILLED), str(n_writes), *words[3:]], tmp_path)
    output = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, output
    before = newest_run(runs)
    assert not (before / "predictions.csv").exists()
    resumed = train(phantom_dir, runs, seed=3, resume="true")
    assert resumed == before
    assert texts(resumed) == texts(finished)
    assert (resumed / "reference.safetensors").read_bytes() == (finished / "reference.safetensors").read_bytes()
    client = MlflowClient(f"sqlite:///{runs / 'mlruns.db'}")
    run_id = json.loads((resumed / "run.json").read_text())["mlflow_run_id"]
    assert [entry.step for entry in client.get_metric_history(run_id, "validation/loss")] == [1, 2, 3, 4]
    assert client.get_run(run_id).info.status == "FINISHED"
    assert len(client.search_runs(["1"])) == 1


@pytest.mark.slow
def test_stage_stopped_early_is_not_trained_on_when_it_is_resumed(phantom_dir, tmp_path):
    settings = {
        "transfer_epochs": 5,
        "early_stopping_patience": 1,
        "transfer_learning_rate": 0.05,
        "fine_tune_epochs": 1,
    }
    whole = train(phantom_dir, tmp_path / "whole", **settings)
    stopped = pd.read_csv(whole / "epochs.csv").query("stage == 'transfer'")["epoch"].max()
    assert stopped < 5, "nothing was stopped early: the test tests nothing"
    best = torch.load(whole / "transfer/last.pt", weights_only=True)["progress"]["best_epoch"]
    writes = stopped + best  # each epoch writes last.pt, the best ones best.pt too: every one up to the best here
    words = command(phantom_dir, tmp_path / "runs", **settings)
    process = start([sys.executable, str(KILLED), str(writes), *words[3:]], tmp_path)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    resumed = train(phantom_dir, tmp_path / "runs", resume="true", **settings)
    assert (resumed / "epochs.csv").read_text() == (whole / "epochs.csv").read_text()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="alone", marks=pytest.mark.slow),
        pytest.param({"num_workers": 2, "augment_on": "loader"}, id="workers", marks=pytest.mark.slow),
    ],
)
def test_terminated_run_is_marked_killed(settings, phantom_dir, tmp_path):
    runs = tmp_path / "runs"
    process = start(command(phantom_dir, runs, **settings), tmp_path, own_group=True)
    wait_for("t1w/*/transfer/last.pt", runs, process)
    os.killpg(process.pid, signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 143, output
    *_, last = output.replace("\r", "\n").splitlines()
    assert "WARNING interrupted; go on with the same command and --resume true" in last and last[2] == ":"
    run = json.loads((newest_run(runs) / "run.json").read_text())
    assert run["status"] == "killed"
    client = MlflowClient(f"sqlite:///{runs / 'mlruns.db'}")
    assert client.get_run(run["mlflow_run_id"]).info.status == "KILLED"


def test_failing_run_is_marked_failed(phantom_dir, tmp_path):
    with pytest.raises(RuntimeError) as error:
        train(phantom_dir, tmp_path / "runs", **{"train::trainer::loss_function": "$lambda *_: 1 // 0"})
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    run = json.loads((newest_run(tmp_path / "runs") / "run.json").read_text())
    assert run["status"] == "failed"
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}")
    assert client.get_run(run["mlflow_run_id"]).info.status == "FAILED"


def test_new_run_never_attaches_to_an_old_one(finished, phantom_dir, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(finished.parents[1], runs)
    MlflowClient(f"sqlite:///{runs / 'mlruns.db'}").update_run(
        json.loads((newest_run(runs) / "run.json").read_text())["mlflow_run_id"], status="RUNNING"
    )
    first, second = newest_run(runs), train(phantom_dir, runs, transfer_epochs=1, fine_tune_epochs=1)
    ids = [json.loads((run / "run.json").read_text())["mlflow_run_id"] for run in (first, second)]
    assert first != second and ids[0] != ids[1]


def test_unreachable_server_does_not_stop_the_training(phantom_dir, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    run = train(phantom_dir, tmp_path / "runs", transfer_epochs=1, fine_tune_epochs=1)
    assert (run / "predictions.csv").is_file()
    assert "not recorded in MLflow: the run" in caplog.text
    assert "the metrics of step 1" in caplog.records[-1].getMessage()


def test_without_weights_batchnorm_is_calibrated_and_the_log_is_loud(phantom_dir, tmp_path, caplog):
    run = train(phantom_dir, tmp_path / "runs", weights="none", transfer_epochs=1, fine_tune_epochs=1)
    state = torch.load(run / "transfer/best.pt", weights_only=True)
    assert state["backbone._bn0.running_mean"].abs().max() > 0  # 0 where BatchNorm never saw an image
    assert any(r.levelname == "WARNING" and "NOT THE PAPER'S METHOD" in r.getMessage() for r in caplog.records)


def test_no_identifier_of_the_headers_is_written_anywhere(phantom_dir, tmp_path, caplog):
    data = tmp_path / "data"
    shutil.copytree(phantom_dir, data)
    (data / "manifest.json").unlink(missing_ok=True)
    planted = {"PatientName": "Zebulon^Quagga", "PatientBirthDate": "19010203", "InstitutionName": "Xyloburg Clinic"}
    for path in data.glob("train/*/T1w/*"):
        dataset = pydicom.dcmread(path)
        for keyword, value in {**planted, "PatientID": "MRN-7731"}.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    train(data, tmp_path / "runs", transfer_epochs=1, fine_tune_epochs=1)
    written = [*(tmp_path / "runs").rglob("*"), data / "manifest.json"]
    assert len(written) > 20
    for secret in ("Zebulon", "Quagga", "19010203", "Xyloburg", "MRN-7731"):
        assert secret not in caplog.text
        assert not [path for path in written if path.is_file() and secret.encode() in path.read_bytes()]


def test_precision_is_noted_and_told_where_it_differs_on_resuming(tmp_path, caplog):
    run_directory = RunDirectory(tmp_path / "runs", "T1w", "", resume=False)
    run_directory.claim({})
    run_directory.open("hash")

    def noted(dtype: torch.dtype) -> str:
        unused = dict.fromkeys(field.name for field in dataclasses.fields(Opening))
        Opening(**{**unused, "run_directory": run_directory, "dtype": dtype, "network": nn.Flatten()})._note_precision()
        return run_directory.state["precision"]

    assert noted(torch.bfloat16) == "bfloat16" and noted(torch.bfloat16) == "bfloat16" and not caplog.records
    assert noted(torch.float32) == "float32"
    assert "began in bfloat16 and goes on in float32" in caplog.text
