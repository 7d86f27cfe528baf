"""The first stage of a small cohort: it begins as the plain model, and no stage ends untrained without a word."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from phantom_runs import train

from mgmt_monai.phantom import write_phantom

pytestmark = pytest.mark.xdist_group("training")

PAPER = {"transfer_batch_size": 128, "transfer_learning_rate": 1e-4, "transfer_least_steps": 8, "image_size": 32}


def check_stages(run, told: str) -> dict:
    """The head begins as the plain model, no epoch's loss is much above it, and a word where nothing is learnt."""
    state = json.loads((run / "run.json").read_text())
    stage = state["first_stage"]
    assert stage["head_begins_as_plain_model"] and stage["steps"] < 8
    assert f"few training slices: {stage['steps']} step" in told
    progress = torch.load(run / "transfer/last.pt", weights_only=True)["progress"]
    assert state["learning"]["transfer"]["steps"] == progress["best_epoch"] * stage["steps"]
    for name, learning in state["learning"].items():
        assert (learning["sentence"] == "") is learning["has_learnt"]
        assert f"stage {name}: {learning['sentence']}" in told or learning["has_learnt"]
    table = pd.read_csv(run / "slice_predictions.csv").query("split == 'validation' and stage == 'plain'")
    truth = table["probability"].where(table["label"] == 1, 1 - table["probability"])
    plain = (-np.log(truth)).groupby(table["patient_id"]).mean().mean()  # by patient, of its slices, as the stage's is
    assert progress["best_loss"] < plain + 0.05
    return state


def test_small_cohort_begins_as_the_plain_model_and_every_record_says_so(phantom_dir, tmp_path, caplog):
    caplog.set_level("INFO")
    run = train(phantom_dir, tmp_path / "runs", **{**PAPER, "transfer_learning_rate": 1e-9}, transfer_epochs=1,
                fine_tune_epochs=1, dropout=0)  # fmt: skip
    state = check_stages(run, caplog.text)
    record = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}").get_run(state["mlflow_run_id"]).data
    assert json.loads(record.tags["first_stage"]) == state["first_stage"]
    assert record.params["transfer_least_steps"] == "8"
    weights = [torch.load(run / stage / "best.pt", weights_only=True) for stage in ("plain", "transfer")]
    for name in ("head.dense1.weight", "head.dense2.weight", "backbone.fc.weight"):
        if name in weights[0]:
            torch.testing.assert_close(weights[1][name], weights[0][name], atol=1e-7, rtol=0)


@pytest.mark.parametrize("least_steps", [0, 1])
def test_head_is_drawn_where_an_epoch_has_its_steps(least_steps, phantom_dir, tmp_path):
    settings = {**PAPER, "transfer_learning_rate": 1e-9, "transfer_least_steps": least_steps}
    run = train(phantom_dir, tmp_path / "runs", **settings, transfer_epochs=1, fine_tune_epochs=1, dropout=0)
    assert json.loads((run / "run.json").read_text())["first_stage"]["head_begins_as_plain_model"] is False
    plain, first = (torch.load(run / stage / "best.pt", weights_only=True) for stage in ("plain", "transfer"))
    assert not torch.allclose(plain["head.dense2.weight"], first["head.dense2.weight"], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_thirty_patients_leave_no_stage_untrained_without_a_word(seed, tmp_path, caplog):
    """The whole program: made DICOM of 30 patients with a reachable AUC of 0.92, the paper's 20 epochs."""
    caplog.set_level("INFO")
    data = write_phantom(tmp_path / "phantom", n_patients=30, effect=1.987, seed=seed)
    split = {"test_fraction": 0.1, "train_fraction": 0.85}
    check_stages(train(data, tmp_path / "runs", seed=seed, transfer_epochs=20, **PAPER, **split), caplog.text)
