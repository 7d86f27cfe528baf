"""One training of all modalities: its life is that of any other, and a patient may lack a series."""

import json
import re
import shutil
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from phantom_runs import BUNDLES, command, newest_run, start, train
from shared_trainings import assert_equal_within_rounding, begin

from mgmt_monai.networks.feature_distance import FeatureDistance

KILLED = Path(__file__).parents[1] / "killed_run.py"

#: Batches are of patients.
FUSED = {"transfer_batch_size": 4, "fine_tune_batch_size": 4, "series_slices": 2, "modality_dropout": 0.3, "seed": 3}

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def lacking(phantom_dir, tmp_path_factory) -> Path:
    """The phantom, in which three patients lack a series, and one has T2w alone."""
    data = tmp_path_factory.mktemp("lacking") / "phantom"
    shutil.copytree(phantom_dir, data, ignore=shutil.ignore_patterns("manifest.json"))
    patients = sorted((data / "train").iterdir())
    for n, modality in ((0, "FLAIR"), (1, "FLAIR"), (2, "T1w"), (5, "FLAIR"), (5, "T1w"), (5, "T1wCE")):
        shutil.rmtree(patients[n] / modality)
    return data


@pytest.fixture(scope="module")
def fused(lacking, tmp_path_factory) -> Path:
    torch.set_num_threads(1)  # as in the processes that the tests start
    return train(lacking, tmp_path_factory.mktemp("fused") / "runs", "fusion.json", **FUSED)


def texts(run: Path) -> dict[str, str]:
    names = ("epochs.csv", "metrics.json", "predictions.csv", "slice_predictions.csv")
    return {name: (run / name).read_text() for name in names}


def words(data: Path, runs: Path, *more: str) -> list[str]:
    found = command(data, runs, *more, **FUSED)
    return [str(BUNDLES / "fusion.json") if word.endswith("t1w.json") else word for word in found]


def test_each_patient_has_one_answer(fused):
    run = json.loads((fused / "run.json").read_text())
    table = pd.read_csv(fused / "predictions.csv", dtype={"patient_id": str})

    assert run["status"] == "finished" and run["origin"]["patients"] == 16
    assert set(table["modality"]) == {"fusion"}
    assert set(table["stage"]) == {"plain", "transfer", "fine_tune"}
    assert table.groupby("stage")["patient_id"].nunique().tolist() == [8, 8, 8]
    assert not table.duplicated(["stage", "patient_id"]).any()


def test_each_modality_has_a_distance_from_the_training_data(fused):
    files = sorted(path.name for path in fused.glob("*.safetensors"))
    assert files == [f"reference-{modality}.safetensors" for modality in ("FLAIR", "T1w", "T1wCE", "T2w")]
    assert all(FeatureDistance.load(fused / name).n_features == 1280 for name in files)
    assert set(json.loads((fused / "run.json").read_text())["files"]) >= {*files, "fine_tune/best.pt"}


def test_what_each_modality_is_worth_is_told(fused):
    found = json.loads((fused / "modalities.json").read_text())
    tested = pd.read_csv(fused / "predictions.csv", dtype={"patient_id": str}).query("split == 'test'")["patient_id"]
    assert list(found) == ["T1w", "T1wCE", "T2w", "FLAIR"]
    lacking = {"90000", "90001", "90005"} & set(tested)
    assert found["FLAIR"]["missing"] == len(lacking) and found["T2w"]["missing"] == 0


def test_it_is_recorded_as_any_training_and_with_its_model(fused):
    client = MlflowClient(f"sqlite:///{fused.parents[1] / 'mlruns.db'}")
    record = client.get_run(json.loads((fused / "run.json").read_text())["mlflow_run_id"])

    assert record.info.status == "FINISHED"
    assert record.data.params["modalities"] == "T1w+T1wCE+T2w+FLAIR"
    names = {artifact.path for artifact in client.list_artifacts(record.info.run_id, "model")}
    assert {"model/best.pt", "model/reference-T1w.safetensors"} <= names


def test_page_tells_what_was_fused(fused):
    page = (fused / "training.html").read_text()
    assert (re.search(r"<h1[^>]*>[^<]*fusion", page) and "learning_curves" in page) or "Learning curves" in page
    assert "00000" not in page


def test_killed_run_resumes_to_the_same_result(fused, lacking, tmp_path):
    process = start([sys.executable, str(KILLED), "4", *words(lacking, tmp_path / "runs")[3:]], tmp_path)
    output = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, output
    before = newest_run(tmp_path / "runs")

    resumed = train(lacking, tmp_path / "runs", "fusion.json", resume="true", **FUSED)

    assert resumed == before
    assert texts(resumed) == texts(fused)


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(fused, lacking, tmp_path):
    process = begin(0, lacking, tmp_path / "runs", config="fusion", **FUSED)
    output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    assert_equal_within_rounding(newest_run(tmp_path / "runs"), fused)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [
    {"slice_pool": "attention", "augment_by": "slice"}, {"backbones": "each", "modalities": "T1wCE+FLAIR"},
    {"control": "blank", "series_slices": 0}, {"control": "permuted_labels"}, {"control": "background"},
], ids=str)  # fmt: skip
def test_every_setting_trains(settings, lacking, tmp_path):
    short = {**FUSED, "transfer_epochs": 1, "fine_tune_epochs": 1, **settings}
    run = train(lacking, tmp_path / "runs", "fusion.json", **short)
    table = pd.read_csv(run / "predictions.csv")
    assert table["probability"].between(0, 1).all()
