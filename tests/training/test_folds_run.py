"""A training on one fold of a cross-validation."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from phantom_runs import SMALL, train

from mgmt_monai.cli.main import main

pytestmark = pytest.mark.xdist_group("training")

#: A small cohort's head begins as the plain model, and nothing moves but BatchNorm: both stages keep their start.
CHEAP = {"image_size": 32, "transfer_epochs": 1, "fine_tune_epochs": 1, "bootstrap_resamples": 20, "dropout": 0,
         "transfer_least_steps": 100, "transfer_learning_rate": 1e-9, "fine_tune_learning_rate": 1e-9}  # fmt: skip


def test_training_on_a_fold_tests_its_patients_and_no_others_and_keeps_its_start_by_its_own(phantom_dir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantom_dir, data, ignore=shutil.ignore_patterns("FLAIR", "T2w", "T1wCE", "manifest.json", ".*"))
    shares = ["--test-fraction", str(SMALL["test_fraction"]), "--train-fraction", str(SMALL["train_fraction"])]
    assert main(["manifest", "build", str(data), *shares]) == 0
    assert main(["manifest", "split", str(data / "manifest.json"), "--folds", "4", "--repeats", "2"]) == 0
    run = train(data, tmp_path / "runs", repeat=1, fold=1, **CHEAP)

    patients = json.loads((data / "manifest.json").read_text())["patients"]
    fold = {patient["patient_id"]: patient["folds"][1] for patient in patients}
    predictions = pd.read_csv(run / "predictions.csv", dtype={"patient_id": str})
    assert set(predictions["fold"]) == {5}  # the second of the second repeat's four
    for stage in ("transfer", "fine_tune", "plain"):
        for split, number in (("test", 1), ("validation", 2)):
            chosen = predictions[(predictions["stage"] == stage) & (predictions["split"] == split)]
            assert sorted(chosen["patient_id"]) == sorted(p for p, of in fold.items() if of == number)
    assert len(predictions) == 3 * (4 + 4)
    of = predictions.pivot(index="patient_id", columns="stage", values="probability")
    learning = json.loads((run / "run.json").read_text())["learning"]
    for stage in ("transfer", "fine_tune"):
        np.testing.assert_allclose(of[stage], of["plain"], atol=1e-9)
        assert (learning[stage]["best_epoch"], learning[stage]["n_validation"]) == (0, 4)
