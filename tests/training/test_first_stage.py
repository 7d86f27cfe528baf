"""The first stage of a small cohort: it begins as the plain model, and no stage ends untrained without a word."""

import json
import math
import signal
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from mlflow.tracking import MlflowClient
from phantom_runs import command, start, train, workflow

from mgmt_monai.cli.main import main
from mgmt_monai.phantom import write_phantom
from mgmt_monai.training import EpochRecord, StageProgress
from mgmt_monai.training.outcome import ADDED_NOTHING

KILLED = Path(__file__).parents[1] / "killed_run.py"

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
    assert progress["best_epoch"] == 0 or progress["best_loss"] < plain + 0.05
    return state


#: Nothing moves: the start of both stages stays the best.
STILL = {**PAPER, "transfer_learning_rate": 1e-9, "fine_tune_learning_rate": 1e-9, "transfer_epochs": 1,
         "fine_tune_epochs": 1, "dropout": 0}  # fmt: skip


@pytest.fixture(scope="module")
def still(phantom_dir, tmp_path_factory):
    """A training that keeps its start."""
    return train(phantom_dir, tmp_path_factory.mktemp("still") / "runs", **STILL)


@pytest.fixture(scope="module")
def record(still):
    client = MlflowClient(f"sqlite:///{still.parents[1] / 'mlruns.db'}")
    return client.get_run(json.loads((still / "run.json").read_text())["mlflow_run_id"]).data


def test_small_cohort_begins_as_the_plain_model_and_every_record_says_so(still, record):
    state = check_stages(still, (still / "training.log").read_text())
    assert json.loads(record.tags["first_stage"]) == state["first_stage"]
    assert record.params["transfer_least_steps"] == "8"


def test_start_that_no_epoch_beats_is_kept_by_both_stages_and_every_record_says_so(still, record):
    state, metrics = (json.loads((still / name).read_text()) for name in ("run.json", "metrics.json"))
    plain = torch.load(still / "plain/best.pt", weights_only=True)
    told = (still / "training.log").read_text()
    table = pd.read_csv(still / "predictions.csv")
    probabilities = table.pivot(index=["patient_id", "split"], columns="stage", values="probability")
    for stage in ("transfer", "fine_tune"):
        learning = state["learning"][stage]
        assert (learning["best_epoch"], learning["steps"]) == (0, 0)
        assert metrics[stage]["learning"] == learning
        kept = torch.load(still / stage / "best.pt", weights_only=True)
        assert all(torch.equal(kept[name], plain[name]) for name in plain)
        np.testing.assert_allclose(probabilities[stage], probabilities["plain"], atol=1e-9)
        beginning = torch.load(still / stage / "last.pt", weights_only=True)["progress"]["start_loss"]
        assert beginning == pytest.approx(learning["best_loss"], abs=1e-9)
        beaten = beginning - 1 / (2 * learning["n_validation"])
        assert f"stage {stage}: 1 epoch, none with a loss of the validation patients below {beaten:.4f}" in told
        assert f"({beginning:.4f}) less what chance gains: the start is kept, as epoch 0" in told
    assert json.loads(record.tags["best_epochs"]) == {"transfer": 0, "fine_tune": 0}
    page = (still / "training.html").read_text()
    assert page.count("<td>0 (its start)</td>") == 2
    assert ADDED_NOTHING in told and ADDED_NOTHING in page and ADDED_NOTHING in record.tags["mlflow.note.content"]


def test_training_stopped_after_the_first_stage_kept_its_start_is_resumed_to_the_same(still, phantom_dir, tmp_path):
    workflow(phantom_dir, tmp_path, **STILL).trainer.run()
    check_same(train(phantom_dir, tmp_path, resume=True, **STILL), still)


@pytest.mark.slow
@pytest.mark.parametrize("n_writes", [1, 2, 4, 5], ids=["start", "first epoch", "second start", "its epoch"])
def test_training_that_keeps_its_start_is_killed_and_resumed_to_the_same(n_writes, still, phantom_dir, tmp_path):
    words = command(phantom_dir, tmp_path, **STILL)
    process = start([sys.executable, str(KILLED), str(n_writes), *words[3:]], tmp_path)
    output = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, output
    check_same(train(phantom_dir, tmp_path, resume="true", **STILL), still)


def check_same(run, expected) -> None:
    """The tables to the letter, the kept networks to the bit."""
    for name in ("predictions.csv", "epochs.csv", "metrics.json"):
        assert (run / name).read_text() == (expected / name).read_text()
    for stage in ("transfer", "fine_tune"):
        assert (run / stage / "best.pt").read_bytes() == (expected / stage / "best.pt").read_bytes()


@pytest.mark.slow
def test_stage_that_kept_its_start_is_exported_and_is_the_plain_model(still, tmp_path):
    assert main(["bundle", "export", str(still), "--out", str(tmp_path)]) == 0
    (model,) = tmp_path.glob("*/models/model.pt")
    exported, plain = (torch.load(path, weights_only=True) for path in (model, still / "plain/best.pt"))
    assert all(torch.equal(exported[name], plain[name]) for name in plain)


@pytest.mark.parametrize(
    ("start_loss", "losses", "expected"),
    [
        pytest.param(0.7, [(0.6, 0.61), (0.5, 0.601)], (0, math.inf, 2), id="less than 1/2n"),
        pytest.param(0.7, [(0.6, 0.61), (0.5, 0.599)], (2, 0.5, 0), id="more than 1/2n"),
        pytest.param(0.7, [(0.6, 0.59), (0.61, 0.4), (0.59, 0.9)], (3, 0.59, 0), id="then by the slices"),
        pytest.param(math.inf, [(0.9, 0.9), (0.8, 1.0), (0.85, 0.1)], (2, 0.8, 1), id="the paper"),
    ],
)
def test_epoch_is_better_than_the_start_by_more_than_chance_gains(start_loss, losses, expected, tmp_path):
    """Of 5 validation patients chance gains 0.1; epochs without improvement count from the best one."""
    may_keep = math.isfinite(start_loss)
    folder = SimpleNamespace(
        path=tmp_path, config=None, state={"first_stage": {"head_begins_as_plain_model": may_keep}}
    )
    progress = StageProgress("transfer", folder, n_validation=5)
    figures = iter([(start_loss, start_loss)] * may_keep + losses)
    validator, trainer = (Engine(lambda engine, batch: None) for _ in range(2))

    @validator.on(Events.COMPLETED)
    def measure(engine):
        engine.state.metrics = dict(zip(("val_loss", "val_patient_log_loss"), next(figures), strict=True))

    validator.run = partial(validator.run, [0])
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: validator.run())
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1)
    EpochRecord(progress, validator, optimizer).attach(trainer)
    trainer.run([0], max_epochs=len(losses))
    assert (progress.best_epoch, progress.best_loss, progress.epochs_without_improvement) == expected


@pytest.mark.parametrize("least_steps", [0, 1])
def test_head_is_drawn_where_an_epoch_has_its_steps(least_steps, phantom_dir, tmp_path):
    settings = {**PAPER, "transfer_learning_rate": 1e-9, "transfer_least_steps": least_steps}
    run = train(phantom_dir, tmp_path / "runs", **settings, transfer_epochs=1, fine_tune_epochs=1, dropout=0)
    assert json.loads((run / "run.json").read_text())["first_stage"]["head_begins_as_plain_model"] is False
    plain, first = (torch.load(run / stage / "best.pt", weights_only=True) for stage in ("plain", "transfer"))
    assert not torch.allclose(plain["head.dense2.weight"], first["head.dense2.weight"], atol=1e-3)


@pytest.mark.parametrize(("least_steps", "begins"), [(5, True), (4, False)])
def test_many_slices_of_few_patients_are_few_steps(least_steps, begins, phantom_dir, tmp_path, caplog):
    """Eight training patients' whole series in batches of 16: of each, 8 slices count."""
    caplog.set_level("INFO")
    made = workflow(phantom_dir, tmp_path, image_size=32, slice_fraction=1.0, transfer_least_steps=least_steps)
    with made.parser.get_parsed_content("opening").held("stopped"):
        pass
    stage = json.loads(next(tmp_path.glob("t1w/*/run.json")).read_text())["first_stage"]
    assert stage["steps"] > 10 and stage["counted_steps"] == 8 * 8 / 16
    assert stage["head_begins_as_plain_model"] is begins
    assert (
        f"{stage['steps']} steps an epoch, 4 with 8 slices a patient, fewer than 5: the head" in caplog.text
    ) is begins


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_thirty_patients_leave_no_stage_untrained_without_a_word(seed, tmp_path, caplog):
    """The whole program: made DICOM of 30 patients with a reachable AUC of 0.92, the paper's 20 epochs."""
    caplog.set_level("INFO")
    data = write_phantom(tmp_path / "phantom", n_patients=30, effect=1.987, seed=seed)
    split = {"test_fraction": 0.1, "train_fraction": 0.85}
    check_stages(train(data, tmp_path / "runs", seed=seed, transfer_epochs=20, **PAPER, **split), caplog.text)
