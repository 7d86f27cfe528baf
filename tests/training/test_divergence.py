"""Loss courses made by hand, the noise of untrained heads, and a real training with steps that are far too long."""

import json
import math
import subprocess
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from mlflow.tracking import MlflowClient
from phantom_runs import command, newest_run, train
from torch import nn

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.training import EpochRecord, RunDirectory, StageProgress
from mgmt_monai.training.divergence import MOST_TRAINING_LOSS, MOST_VALIDATION_LOSS, check_course
from mgmt_monai.training.errors import DivergedError, TrainingError

COURSES = {
    "learns": [(0.75, 0.70), (0.66, 0.65), (0.5, 0.6)],
    "learns nothing": [(0.71, 0.69), (0.72, 0.70), (0.70, 0.694)],
    "overfits": [(0.7, 0.7), (0.1, 1.8), (0.001, 6.5), (0.0, 20.0)],
    "noisy": [(1.9, 2.5), (0.4, 3.9), (2.2, 0.9)],
    "training is not measured": [(None, 0.7), (None, 0.6)],
}
DIVERGED = {
    "validation of the issue": ([(0.7, 0.8), (0.9, 2e6), (0.9, 8e7)], 2, "validation"),
    "training": ([(0.7, 0.7), (1.4, 1.0), (6.94, 1.0)], 3, "training"),
    "at once": ([(3e4, 0.7)], 1, "training"),
    "infinite": ([(0.7, math.inf)], 1, "validation"),
    "not a number": ([(0.7, 0.7), (math.nan, 0.7)], 2, "training"),
}


def follow(course):
    for epoch, losses in enumerate(course, 1):
        check_course("fine_tune", epoch, *losses)


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
def test_course_of_a_network_that_is_fitted_goes_on(course):
    follow(course)


@pytest.mark.parametrize(("course", "epoch", "which"), DIVERGED.values(), ids=DIVERGED)
def test_course_that_diverges_is_ended_where_it_does(course, epoch, which):
    with pytest.raises(DivergedError, match=rf"^stage fine_tune, epoch {epoch}: .* {which} loss .*fine_tune_learn"):
        follow(course)


def test_limits_in_bits():
    """A probability of 1/1024 given to the truth has ten bits of loss."""
    assert pytest.approx(-math.log(1 / 1024)) == MOST_TRAINING_LOSS
    assert MOST_VALIDATION_LOSS / MOST_TRAINING_LOSS == 10


def test_untrained_heads_and_their_first_steps_are_far_from_the_limit():
    """200 heads of other seeds on noise, batches of two to sixteen slices, with steps ten times the default."""
    largest, head = 0.0, MGMTClassifier().head
    for seed in range(200):
        torch.manual_seed(seed)
        for layer in head:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
        for _ in range(3):
            n = int(torch.randint(2, 17, ()))
            loss = nn.functional.binary_cross_entropy_with_logits(
                head(torch.randn(n, head.norm1.num_features)), torch.randint(0, 2, (n, 1)).float()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            largest = max(largest, loss.item())
    assert 0.7 < largest < 0.5 * MOST_TRAINING_LOSS


@pytest.mark.xdist_group("training")
@pytest.mark.parametrize("rate", [1e15, pytest.param(1e3, marks=pytest.mark.slow)])
def test_training_with_huge_steps_ends_as_diverged(rate, phantom_dir, tmp_path, caplog):
    with pytest.raises(RuntimeError) as error:
        train(phantom_dir, tmp_path / "runs", image_size=32, transfer_learning_rate=rate)
    assert isinstance(error.value.__cause__, DivergedError)
    assert "ower transfer_learning_rate" in str(error.value.__cause__)
    run = newest_run(tmp_path / "runs")
    state = json.loads((run / "run.json").read_text())
    assert state["status"] == "diverged" and not (run / "predictions.csv").exists()
    record = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}").get_run(state["mlflow_run_id"])
    assert record.info.status == "FAILED" and "diverged" in record.data.tags["diverged"]
    for name in (run.name, ""):
        with pytest.raises(TrainingError, match=r"diverged, and would again|no unfinished training"):
            RunDirectory(tmp_path / "runs", "T1w", name, resume=True)


@pytest.mark.xdist_group("training")
@pytest.mark.slow
def test_second_stage_that_diverges_is_one_line_and_exit_code_1(phantom_dir, tmp_path):
    words = command(phantom_dir, tmp_path / "runs", image_size=32, transfer_epochs=1, fine_tune_learning_rate=100.0)
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    *_, last = ended.stderr.splitlines()
    assert last.startswith("Error: ") and "diverged" in last and "fine_tune_learning_rate" in last
    assert "Traceback" not in ended.stderr.split("Error: ")[-1]
    assert json.loads((newest_run(tmp_path / "runs") / "run.json").read_text())["status"] == "diverged"


@pytest.mark.parametrize(
    ("control", "ends"), [("none", True), ("permuted_labels", True), ("blank", False), ("background", False)]
)
def test_control_whose_images_may_be_blank_may_have_any_finite_loss(control, ends, tmp_path):
    folder = SimpleNamespace(path=tmp_path, config={"control": control}, state={})
    trainer, validator = (Engine(lambda engine, batch: None) for _ in range(2))
    trainer.state.epoch, validator.state.metrics = 1, {"val_loss": 1e4, "val_patient_log_loss": 1e4}
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1)
    record = EpochRecord(StageProgress("transfer", folder, n_validation=4), validator, optimizer)
    with pytest.raises(DivergedError) if ends else nullcontext():
        record(trainer)


def test_control_ends_with_a_loss_that_is_not_finite():
    with pytest.raises(DivergedError):
        check_course("fine_tune", 1, math.inf, 0.7, learns=False)
