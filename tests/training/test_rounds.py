"""A trainer that is run alone, once and in the rounds of a federation: `workflow.trainer.run()`, `MonaiAlgo`."""

import json
import logging
import math
import runpy
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject
from phantom_runs import BUNDLES, SMALL, newest_run, train, workflow

import mgmt_monai.transforms
from mgmt_monai.training.errors import DivergedError, TrainingError

STATISTICS = Path(__file__).parents[2] / "docs" / "federated_statistics.py"

pytestmark = pytest.mark.xdist_group("training")


def test_trainer_run_alone_trains_as_the_command_and_leaves_a_run_that_resumes(finished_run, phantom_dir, tmp_path):
    made = workflow(phantom_dir, tmp_path, seed=3)
    assert made.check_properties() == []
    made.trainer.run()

    run = newest_run(tmp_path)
    assert json.loads((run / "run.json").read_text())["status"] == "stopped"
    assert (run / "transfer/best.pt").read_bytes() == (finished_run / "transfer/best.pt").read_bytes()
    assert not (run / ".owner").exists()
    assert train(phantom_dir, tmp_path, seed=3, resume=True) == run
    assert (run / "predictions.csv").read_bytes() == (finished_run / "predictions.csv").read_bytes()


def test_max_epochs_of_the_trainers_are_the_stages_epochs(phantom_dir, tmp_path):
    epochs = {"train::trainer::max_epochs": 1, "fine_tune#trainer#max_epochs": 1}
    run = train(phantom_dir, tmp_path, bootstrap_resamples=5, **epochs)
    rows = pd.read_csv(run / "epochs.csv")
    assert rows.groupby("stage")["epoch"].unique().map(list).to_dict() == {"transfer": [1], "fine_tune": [2]}


def test_rounds_of_a_small_cohort_go_on_in_the_second_stage_and_keep_the_start_of_both(phantom_dir, tmp_path):
    """An epoch of the second stage has more steps than one of the first, as by default; nothing moves but BatchNorm."""
    made = workflow(
        phantom_dir, tmp_path, image_size=32, transfer_epochs=1, transfer_batch_size=128, transfer_least_steps=8,
        transfer_learning_rate=1e-9, fine_tune_learning_rate=1e-9, dropout=0,
    )  # fmt: skip
    for _ in range(3):
        train_round(made.trainer)

    run = newest_run(tmp_path)
    rows = pd.read_csv(run / "epochs.csv")
    told = rows[["stage", "epoch"]].drop_duplicates().to_numpy().tolist()
    assert told == [["transfer", 1], ["fine_tune", 2], ["fine_tune", 3]]
    kept, plain = (torch.load(run / name / "best.pt", weights_only=True) for name in ("transfer", "plain"))
    assert all(torch.equal(kept[name], plain[name]) for name in plain)
    second = torch.load(run / "fine_tune/last.pt", weights_only=True)["progress"]
    (moved,) = rows.query("stage == 'transfer' and metric == 'patient_log_loss'")["value"]
    assert (second["best_epoch"], second["start_loss"]) == (0, pytest.approx(moved, abs=1e-6))


@pytest.mark.parametrize("n_before", [0, 1, 2], ids=["first stage", "second stage", "second stage again"])
def test_no_round_follows_one_that_failed(phantom_dir, tmp_path, n_before):
    """ignite's engine does nothing when it is run again, and returns as if it had."""
    made = workflow(phantom_dir, tmp_path, image_size=32, transfer_epochs=1)
    trainer = made.trainer
    for _ in range(n_before):
        train_round(trainer)
    good = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    trainer.network.head.dense2.bias.data.fill_(math.nan)
    with pytest.raises(DivergedError):
        train_round(trainer)

    trainer.network.load_state_dict(good)
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"a round before ended in DivergedError.*Start this client again"):
            train_round(trainer)
    assert all(torch.equal(tensor, good[name]) for name, tensor in trainer.network.state_dict().items())


def test_evaluation_after_one_that_failed_is_of_the_new_weights(phantom_dir, tmp_path):
    evaluator = workflow(phantom_dir, tmp_path, image_size=32).evaluator
    bias, found = evaluator.network.head.dense2.bias.data, []
    for value in (0.0, math.nan, 3.0):
        bias.fill_(value)
        with pytest.raises(DivergedError) if math.isnan(value) else nullcontext():
            evaluator.run()
        found.append(evaluator.state.metrics["val_loss"])
    assert found[2] > found[0] + 0.1


def test_last_round_of_the_first_stage_trains_what_is_left(phantom_dir, tmp_path, monkeypatch):
    """``local_epochs`` 2 do not make four epochs of ``transfer_epochs`` 3."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("MonaiAlgo"), "disabled", True)
    settings = {**SMALL, "dataset_dir": str(phantom_dir), "output_dir": str(tmp_path / "runs"), "image_size": 32}
    algo = MonaiAlgo(
        bundle_root=str(BUNDLES), local_epochs=2, config_train_filename="t1w.json", config_evaluate_filename=None,
        train_kwargs={**settings, "transfer_epochs": 3},
    )  # fmt: skip
    algo.initialize({ExtraItems.CLIENT_NAME: "site1"})
    for _ in range(3):
        given = {name: tensor.clone() for name, tensor in algo.trainer.network.state_dict().items()}
        algo.train(ExchangeObject(weights=given), {})

    rows = pd.read_csv(newest_run(tmp_path / "runs") / "epochs.csv")
    told = rows[["stage", "epoch"]].drop_duplicates().to_numpy().tolist()
    assert told == [
        [stage, epoch] for stage, epochs in (("transfer", (1, 2, 3)), ("fine_tune", (4, 5))) for epoch in epochs
    ]


def train_round(trainer):
    """One more epoch, as MONAI FL asks for it."""
    trainer.state.max_epochs = trainer.state.epoch + 1
    trainer.run()


@pytest.mark.slow
@pytest.mark.parametrize("moved", [0.25, 0.0], ids=["other weights", "its own"])
def test_federation_trains_both_stages_from_the_weights_it_is_given(moved, phantom_dir, tmp_path, monkeypatch):
    """A client that gets its own weights back begins a small cohort's head as the plain model, others do not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("MonaiAlgo"), "disabled", True)
    settings = {
        **SMALL, "dataset_dir": str(phantom_dir), "output_dir": str(tmp_path / "runs"), "transfer_epochs": 1,
        "fine_tune_batch_size": 8, "transfer_least_steps": 100,
    }  # fmt: skip
    algo = MonaiAlgo(
        bundle_root=str(BUNDLES), local_epochs=1, config_train_filename="t1w.json", train_kwargs=dict(settings),
        config_evaluate_filename=["t1w.json", "evaluate.json"], eval_kwargs=dict(settings),
    )  # fmt: skip
    algo.initialize({ExtraItems.CLIENT_NAME: "site1"})
    network = algo.trainer.network
    given = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    given["head.dense2.bias"] += moved

    for stage in ("transfer", "fine_tune", "fine_tune"):
        algo.train(ExchangeObject(weights=given), {})
        returned = algo.get_weights({})
        changed = {name for name, change in returned.weights.items() if change.abs().max() > 0}
        assert changed and not changed & set(network.frozen_tensors(stage))
        assert any(name.startswith("backbone") for name in changed) == (stage == "fine_tune")
        given = {name: given[name] + torch.as_tensor(returned.weights[name]) for name in given}
        metrics = algo.evaluate(ExchangeObject(weights=given), {}).metrics
        assert metrics["val_loss"] > 0
    algo.finalize({})

    rows = pd.read_csv(newest_run(tmp_path / "runs") / "epochs.csv")
    told = rows[["stage", "epoch"]].drop_duplicates().to_numpy().tolist()
    assert told == [["transfer", 1], ["fine_tune", 2], ["fine_tune", 3]]
    first = json.loads((newest_run(tmp_path / "runs") / "run.json").read_text())["first_stage"]
    assert first["head_begins_as_plain_model"] is (moved == 0)


@pytest.mark.slow
def test_federation_gets_its_statistics(phantom_dir, tmp_path, monkeypatch):
    others = shutil.ignore_patterns("manifest.json", "T1wCE", "T2w", "FLAIR")
    cohort = shutil.copytree(phantom_dir, tmp_path / "cohort", ignore=others)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "scripts", mgmt_monai)
    monkeypatch.setitem(sys.modules, "scripts.transforms", mgmt_monai.transforms)

    told = runpy.run_path(str(STATISTICS))["statistics_of"](str(BUNDLES), str(cohort), "t1w.json")

    splits = [one["split"] for one in json.loads((cohort / "manifest.json").read_text())["patients"]]
    assert told["train"]["data_count"] == splits.count("train") > 0
    assert told["eval"]["data_count"] == splits.count("validation") > 0
    assert told["train"]["fail_count"] == told["eval"]["fail_count"] == 0
