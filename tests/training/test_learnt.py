"""When a stage has learnt nothing, against scikit-learn's loss of a constant answer; and that every record says so."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from phantom_runs import train, workflow
from sklearn.metrics import log_loss

from mgmt_monai.training.learnt import LEAST_STEPS, NOT_LEARNT, Learning, prevalence_loss


def slices_of(*series: tuple[int, int]) -> SimpleNamespace:
    """Label and number of slices of each patient."""
    return SimpleNamespace(data=[{"label": label} for label, _ in series], slice_counts=[n for _, n in series])


TRAINING = slices_of((1, 10), (0, 2), (0, 4), (1, 4))
VALIDATION = slices_of((0, 5), (1, 3))


def test_loss_of_always_answering_the_prevalence_is_scikit_learns():
    labels = np.repeat([0, 1], [5, 3])
    assert prevalence_loss(TRAINING, VALIDATION, "slice") == pytest.approx(log_loss(labels, np.full(8, 14 / 20)))
    three_to_one = slices_of((1, 10), (0, 2), (1, 4), (1, 4))
    found = prevalence_loss(three_to_one, VALIDATION, "patient")
    assert found == pytest.approx(log_loss([0, 1], [0.75, 0.75]))


def test_training_of_one_class_has_nothing_to_learn():
    assert prevalence_loss(slices_of((1, 3), (1, 4)), VALIDATION, "slice") == 0


@pytest.mark.parametrize(
    ("loss", "steps", "expected", "said"),
    [
        (0.68, LEAST_STEPS, True, None),
        (0.69, LEAST_STEPS, False, "lowest validation loss 0.6900, always answering the prevalence: 0.6900"),
        (0.75, 400, False, "0.7500"),
        (0.3, LEAST_STEPS - 1, False, "9 of Adam"),
        (float("inf"), 0, False, "0 of Adam"),
    ],
    ids=["learnt", "not below", "above", "too few steps", "nothing done"],
)
def test_stage_that_has_not_learnt_says_why(loss, steps, expected, said):
    learning = Learning(loss, 0.69, steps)
    assert learning.has_learnt is expected
    assert (learning.sentence == "") is expected
    assert said is None or (learning.sentence.startswith(NOT_LEARNT) and said in learning.sentence)


@pytest.mark.xdist_group("training")
def test_every_record_of_a_training_that_has_not_learnt_says_so(phantom_dir, tmp_path, caplog):
    caplog.set_level("INFO")
    settings = {"image_size": 32, "transfer_epochs": 1, "fine_tune_epochs": 1, "transfer_batch_size": 1000}
    settings["weigh"] = "slice"
    run = train(phantom_dir, tmp_path / "runs", **settings)  # one step in the first stage, a few in the second
    told = [record.getMessage() for record in caplog.records if NOT_LEARNT in record.getMessage()]
    assert told[0].startswith("stage transfer: ") and "1 of Adam" in told[0]
    state, metrics = (json.loads((run / name).read_text()) for name in ("run.json", "metrics.json"))
    epochs = pd.read_csv(run / "epochs.csv")
    loss = epochs[(epochs["split"] == "validation") & (epochs["metric"] == "loss")].set_index("stage")["value"]
    for stage in ("transfer", "fine_tune"):
        assert state["learning"][stage] == metrics[stage]["learning"]
        assert metrics[stage]["learning"]["best_loss"] == pytest.approx(loss[stage])
    parser = workflow(phantom_dir, tmp_path / "again", **settings).parser
    sets = [parser.get_parsed_content(f"{part}::dataset") for part in ("train", "validate")]
    training, validation = (
        np.repeat([item["label"] for item in of.data], [len(of.series_slices(n)) for n in range(len(of.data))])
        for of in sets
    )
    expected = log_loss(validation, np.full(len(validation), training.mean()))
    found = metrics["transfer"]["learning"]
    assert found["prevalence_loss"] == pytest.approx(expected)
    assert found["steps"] == 1 and found["has_learnt"] is False
    steps = 1 + -(-len(training) // 16)
    assert metrics["fine_tune"]["learning"]["steps"] == steps
    record = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}").get_run(state["mlflow_run_id"]).data
    last = metrics["fine_tune"]["learning"]
    assert record.metrics["learnt"] == last["has_learnt"]
    assert record.tags["learnt"] == (last["sentence"] or "yes")
    assert told[-1].startswith("T1w, test patients, after fine_tune") == (not last["has_learnt"])
