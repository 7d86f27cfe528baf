"""A trained network scored on a manifest's test patients, by bundles/evaluate.json on top of a training config."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from monai.bundle import ConfigWorkflow
from phantom_runs import BUNDLES, SMALL
from sklearn.metrics import roc_auc_score

from mgmt_monai.cli.main import main
from mgmt_monai.cohort.manifest import read_manifest, write_manifest
from mgmt_monai.errors import one_line

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture
def evaluate(exported_bundle, tmp_path):
    """Runs it in this process; its folder."""

    def run(dataset_dir, **overrides):
        output_dir = tmp_path / "out"
        settings = {**SMALL, "dataset_dir": str(dataset_dir), "output_dir": str(output_dir), "seed": 3}
        workflow = ConfigWorkflow(
            [str(BUNDLES / "t1w.json"), str(BUNDLES / "evaluate.json")],
            logging_file=False, workflow_type="train", **{"bundle_root": str(exported_bundle), **settings, **overrides},
        )  # fmt: skip
        workflow.initialize()
        workflow.run()
        return output_dir

    return run


@pytest.fixture
def cohort(phantom_dir, tmp_path):
    """T1w of the phantom, without a manifest."""
    others = shutil.ignore_patterns("manifest.json", "T1wCE", "T2w", "FLAIR")
    return shutil.copytree(phantom_dir, tmp_path / "cohort", ignore=others)


def fine_tuned(path):
    table = pd.read_csv(path, dtype={"patient_id": str})
    return table[table["stage"] == "fine_tune"].set_index("patient_id")


def refusal(evaluate, cohort, **overrides):
    """The one line of the error."""
    with pytest.raises(Exception) as caught:  # MONAI wraps what is raised
        evaluate(cohort, **overrides)
    return one_line(caught.value)


def test_test_patients_get_the_training_runs_predictions(evaluate, phantom_dir, finished_run):
    out = evaluate(phantom_dir)

    expected = fine_tuned(finished_run / "predictions.csv")
    expected = expected[expected["split"] == "test"]
    pd.testing.assert_frame_equal(fine_tuned(out / "predictions.csv"), expected, atol=1e-6)
    slices = fine_tuned(finished_run / "slice_predictions.csv")
    pd.testing.assert_frame_equal(
        fine_tuned(out / "slice_predictions.csv"), slices[slices["split"] == "test"], atol=1e-6
    )
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (out, finished_run))
    assert ours["fine_tune"]["test"]["patient"]["auc"] == theirs["fine_tune"]["test"]["patient"]["auc"]
    assert list(ours) == ["fine_tune"]
    assert list(ours["fine_tune"]) == ["test"]
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["prediction_distribution.png", "roc.png"]


def test_external_cohort_has_test_patients_alone(evaluate, cohort):
    assert main(["manifest", "build", str(cohort), "--external"]) == 0

    out = evaluate(cohort)

    table = fine_tuned(out / "predictions.csv")
    assert len(table) == 16
    metrics = json.loads((out / "metrics.json").read_text())["fine_tune"]["test"]["patient"]
    assert metrics["auc"]["value"] == pytest.approx(roc_auc_score(table["label"], table["probability"]))


def test_external_cohort_may_be_of_one_class(evaluate, cohort):
    labels = pd.read_csv(cohort / "train_labels.csv", dtype=str)
    methylated = labels[labels["MGMT_value"] == "1"]
    for patient in set(labels["BraTS21ID"]) - set(methylated["BraTS21ID"]):
        shutil.rmtree(cohort / "train" / patient)
    methylated.to_csv(cohort / "train_labels.csv", index=False)
    assert main(["manifest", "build", str(cohort), "--external"]) == 0

    metrics = json.loads((evaluate(cohort) / "metrics.json").read_text())["fine_tune"]["test"]["patient"]

    assert metrics["auc"]["value"] is None
    assert metrics["recall"]["n"] == 8


def test_manifest_of_another_split_is_taken_as_it_is(evaluate, cohort):
    assert main(["manifest", "build", str(cohort), "--test-fraction", "0.5", "--train-fraction", "0.5"]) == 0

    assert len(fine_tuned(evaluate(cohort) / "predictions.csv")) == 8


def test_predictions_that_are_there_stay_unless_they_may_be_replaced(evaluate, phantom_dir):
    out = evaluate(phantom_dir)
    (out / "predictions.csv").write_text("mine")

    assert "there are predictions already" in refusal(evaluate, phantom_dir)
    assert (out / "predictions.csv").read_text() == "mine"

    evaluate(phantom_dir, overwrite=True)
    assert (out / "predictions.csv").read_text() != "mine"


def test_bundle_without_a_model_is_told(evaluate, phantom_dir, tmp_path):
    assert "no model. Name the bundle's folder" in refusal(evaluate, phantom_dir, bundle_root=str(tmp_path))


def test_mistyped_setting_is_told(evaluate, phantom_dir):
    assert "'treshold': unknown; did you mean 'threshold'?" in refusal(evaluate, phantom_dir, treshold=0.4)


def test_cohort_without_test_patients_is_refused(evaluate, cohort):
    assert main(["manifest", "build", str(cohort), "--external"]) == 0
    manifest = read_manifest(cohort / "manifest.json")
    patients = [replace(patient, split="train") for patient in manifest.patients]
    write_manifest(replace(manifest, patients=patients), cohort / "manifest.json")

    assert "expected test patients with T1w, found none" in refusal(evaluate, cohort)
