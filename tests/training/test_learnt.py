"""When a stage has learnt nothing, against scikit-learn's loss of a constant answer; and that every record says so."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from phantom_runs import train, workflow
from sklearn.metrics import log_loss

from mgmt_monai.training.learnt import LEAST_STEPS, NOT_LEARNT, NOT_SHOWN, Learning, learning_of


def slices_of(*series: tuple[int, int]) -> SimpleNamespace:
    """Label and number of slices of each patient."""
    data = [{"label": label} for label, _ in series]
    ids = [str(n) for n in range(len(series))]
    return SimpleNamespace(data=data, patient_ids=ids, slice_counts=[n for _, n in series])


def test_network_is_held_against_the_prevalence_by_patient_as_scikit_learn_does():
    training = slices_of((1, 10), (0, 2), (1, 4), (1, 4))
    found = learning_of({"1": 0.8, "0": 0.3}, training, slices_of((0, 5), (1, 3)), 12, 10)
    assert found.best_loss == pytest.approx(log_loss([0, 1], [0.3, 0.8]))
    assert found.prevalence_loss == pytest.approx(log_loss([0, 1], [0.75, 0.75]))
    assert found.constant_loss == pytest.approx(np.log(2))
    assert found.loss_to_beat == pytest.approx(min(found.prevalence_loss - 1 / 4, np.log(2) - 1e-6))
    assert (found.n_validation, found.steps, found.has_learnt) == (2, 12, True)


@pytest.mark.parametrize("labels", [(0, 1, 1), (0, 0, 0, 1)], ids=str)
@pytest.mark.parametrize("answer", [None, 0.5, 0.4, 0.9])
def test_no_constant_has_learnt_whatever_the_validation_patients_prevalence(labels, answer):
    validation = slices_of(*((label, 2 + n) for n, label in enumerate(labels)))
    constant = np.float32(np.mean(labels) if answer is None else answer)
    last_digits = {str(n): float(constant) + (2 * label - 1) * 1e-8 for n, label in enumerate(labels)}
    assert learning_of(last_digits, slices_of((0, 2), (1, 3)), validation, 99, 10).has_learnt is False


@pytest.mark.parametrize("of", ["training", "validation"])
def test_one_class_leaves_nothing_to_learn_or_to_see_it_by(of):
    one, both = slices_of((1, 3), (1, 4)), slices_of((0, 5), (1, 3))
    parts = (one, both) if of == "training" else (both, one)
    assert learning_of({"0": 0.1 if of == "training" else 0.9, "1": 0.9}, *parts, 99, 10).has_learnt is False


@pytest.mark.parametrize(
    ("loss", "steps", "expected", "said"),
    [
        (0.564, LEAST_STEPS, True, None),
        (
            0.566,
            LEAST_STEPS,
            False,
            "loss of 4 validation patients 0.5660, expected below 0.5650: always answering the prevalence has 0.6900",
        ),
        (0.679, LEAST_STEPS, False, "0.6790"),
        (0.75, 400, False, "0.7500"),
        (0.3, LEAST_STEPS - 1, False, "9 of Adam"),
        (float("inf"), 0, False, "0 of Adam"),
    ],
    ids=["learnt", "within what chance gains", "hardly below", "above", "too few steps", "nothing done"],
)
def test_stage_that_has_not_learnt_says_why(loss, steps, expected, said):
    learning = Learning(loss, 0.69, 0.68, 4, steps)
    assert learning.has_learnt is expected
    assert (learning.sentence == "") is expected
    lead = NOT_SHOWN if 0.565 <= loss < 0.68 else NOT_LEARNT
    assert said is None or (learning.sentence.startswith(f"{lead} (") and said in learning.sentence)


@pytest.mark.xdist_group("training")
def test_every_record_of_a_training_that_has_not_learnt_says_so(phantom_dir, tmp_path, caplog):
    caplog.set_level("INFO")
    settings = {"image_size": 32, "transfer_epochs": 1, "fine_tune_epochs": 1, "transfer_batch_size": 1000}
    settings["weigh"] = "slice"
    run = train(phantom_dir, tmp_path / "runs", **settings)  # one step in the first stage, a few in the second
    told = [record.getMessage() for record in caplog.records if NOT_LEARNT in record.getMessage()]
    assert told[0].startswith("stage transfer: ") and "1 of Adam" in told[0]
    state, metrics = (json.loads((run / name).read_text()) for name in ("run.json", "metrics.json"))
    table = pd.read_csv(run / "predictions.csv").query("split == 'validation'")
    parser = workflow(phantom_dir, tmp_path / "again", **settings).parser
    training = parser.get_parsed_content("train::dataset")
    share = np.mean([item["label"] for item in training.data])
    for stage, of in table.groupby("stage"):
        if stage != "plain":
            learning = metrics[stage]["learning"]
            assert state["learning"][stage] == learning
            assert learning["best_loss"] == pytest.approx(log_loss(of["label"], of["probability"]))
            assert learning["prevalence_loss"] == pytest.approx(log_loss(of["label"], np.full(len(of), share)))
            assert learning["n_validation"] == len(of)
    found = metrics["transfer"]["learning"]
    assert found["steps"] == 1 and found["has_learnt"] is False
    steps = 1 + -(-len(training) // 16)
    assert metrics["fine_tune"]["learning"]["steps"] == steps
    record = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}").get_run(state["mlflow_run_id"]).data
    last = metrics["fine_tune"]["learning"]
    assert record.metrics["learnt"] == last["has_learnt"]
    assert record.tags["learnt"] == (last["sentence"] or "yes")
    (headline,) = (line for record in caplog.records if (line := record.getMessage()).startswith("T1w, test patients"))
    assert (NOT_LEARNT[1:] in headline) is not last["has_learnt"]
