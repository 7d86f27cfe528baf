"""The first stage of a small cohort: enough steps, and no stage that ends untrained without a word."""

import json
import math

import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from phantom_runs import train

from mgmt_monai.phantom import write_phantom
from mgmt_monai.training.learnt import LEAST_STEPS, NOT_LEARNT

pytestmark = pytest.mark.xdist_group("training")

PAPER = {"transfer_batch_size": 128, "transfer_learning_rate": 1e-4, "transfer_least_steps": 8, "image_size": 32}


def check_stages(run, told: str, epochs: int) -> dict:
    """Few slices: enough steps, the first half of the epochs never the best, and a word where nothing is learnt."""
    state = json.loads((run / "run.json").read_text())
    stage = state["first_stage"]
    assert stage["head_begins_at_zero"] and stage["counted_from"] == epochs // 2
    assert stage["batch_size"] == 8 or stage["steps"] == 8
    assert f"{stage['steps']} batches of {stage['batch_size']} an epoch" in told
    progress = torch.load(run / "transfer/last.pt", weights_only=True)["progress"]
    assert progress["best_epoch"] >= epochs // 2
    rows = pd.read_csv(run / "epochs.csv").query("stage == 'transfer' and metric == 'loss'")
    losses = rows[rows["split"] == "validation"]
    counted = losses[losses["epoch"] >= epochs // 2].set_index("epoch")["value"]
    assert progress["best_epoch"] == counted.idxmin() and progress["best_loss"] == pytest.approx(counted.min())
    assert state["learning"]["transfer"]["steps"] == progress["best_epoch"] * stage["steps"]
    for name, learning in state["learning"].items():
        assert learning["steps"] >= LEAST_STEPS
        assert (f"stage {name}: {NOT_LEARNT}" in told) is not learning["has_learnt"]
    return state


def test_small_cohort_gets_its_steps_and_every_record_says_so(phantom_dir, tmp_path, caplog):
    caplog.set_level("INFO")
    epochs = 4
    run = train(phantom_dir, tmp_path / "runs", **PAPER, transfer_epochs=epochs, fine_tune_epochs=1)
    state = check_stages(run, caplog.text, epochs)
    record = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}").get_run(state["mlflow_run_id"]).data
    assert json.loads(record.tags["first_stage"]) == state["first_stage"]
    assert record.params["transfer_least_steps"] == "8"
    losses = pd.read_csv(run / "epochs.csv").query("stage == 'transfer' and metric == 'loss' and epoch == 1")
    # A head that has taken 8 steps from zero at a rate of 1e-4 still answers nearly 0.5.
    assert losses["value"].tolist() == pytest.approx([math.log(2)] * 2, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_thirty_patients_leave_no_stage_untrained_without_a_word(seed, tmp_path, caplog):
    """The whole program: made DICOM of 30 patients with a reachable AUC of 0.92, the paper's 20 epochs."""
    caplog.set_level("INFO")
    data = write_phantom(tmp_path / "phantom", n_patients=30, effect=1.987, seed=seed)
    split = {"test_fraction": 0.1, "train_fraction": 0.85}
    check_stages(train(data, tmp_path / "runs", seed=seed, transfer_epochs=20, **PAPER, **split), caplog.text, 20)
