"""The trained negative controls: what the network sees of each, and what is left behind."""

import json

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from phantom_runs import train, workflow
from planted_comparisons import only, plant_burned_in, read_labels

from mgmt_monai.tracking import TrackedRun
from mgmt_monai.training.config import FREE_ON_RESUME
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.settings import WORDS, check_settings

pytestmark = pytest.mark.xdist_group("training")

CHEAP = {"image_size": 32, "transfer_epochs": 1, "fine_tune_epochs": 1, "bootstrap_resamples": 20}
CONTROLS = ("background", "blank", "permuted_labels")


@pytest.fixture(scope="module")
def data_dir(phantom_dir, tmp_path_factory):
    """A phantom's T1w series, each with a mark burned in where the patient is methylated; not to be changed."""
    data_dir = only(tmp_path_factory.mktemp("controls") / "data", "T1w", phantom_dir)
    plant_burned_in(data_dir, "T1w")
    return data_dir


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    """The runs' folders by control, of one store, under a parent run."""
    output_dir = tmp_path_factory.mktemp("controls") / "runs"
    study = TrackedRun(f"sqlite:///{output_dir}/mlruns.db", output_dir, "mgmt", "study")
    study.start()
    return {
        control: train(data_dir, output_dir, control=control, run_name=control, parent_run_id=study.run_id, **CHEAP)
        for control in ("none", *CONTROLS)
    }


@pytest.fixture(scope="module")
def client(runs):
    return MlflowClient(f"sqlite:///{runs['none'].parents[1] / 'mlruns.db'}")


def record(client, run):
    return client.get_run(json.loads((run / "run.json").read_text())["mlflow_run_id"])


def images(data_dir, tmp_path, control, part="validate"):
    """The slices of every patient of a part by patient, as the network gets them, and the labels that go with them."""
    made = workflow(data_dir, tmp_path / "seen", control=control, **CHEAP)
    dataset = made.parser.get_parsed_content(f"{part}::dataset")
    items = [dataset[index] for index in range(len(dataset))]
    found = {}
    for item in items:
        patient = dataset.patient_ids[item["patient_index"]]
        found.setdefault(patient, ([], int(item["label"])))[0].append(np.asarray(item["image"]))
    return {patient: (np.concatenate(slices), label) for patient, (slices, label) in found.items()}


@pytest.mark.parametrize("part", ["validate", "test"])
def test_background_is_the_mark_and_nothing_else(data_dir, tmp_path, part):
    labels = read_labels(data_dir)
    for patient, (slices, _) in images(data_dir, tmp_path, "background", part).items():
        corner = slices[:, :8, :8]  # of 32 pixels; the mark ends at 1/6
        assert (corner.max() == pytest.approx(1, abs=0.2)) if labels[patient] else (corner.max() == 0)
        assert slices.sum() == pytest.approx(corner.sum(), rel=1e-3)


def test_training_sees_the_background_too(data_dir, tmp_path):
    labels = read_labels(data_dir)
    seen = images(data_dir, tmp_path, "background", "train")
    # Turned, shifted and zoomed: the mark may leave the picture in a slice or two, never in all.
    assert {patient for patient, (slices, _) in seen.items() if slices.any()} == {p for p in seen if labels[p]}


@pytest.mark.parametrize("part", ["train", "validate", "test"])
def test_blank_is_zeros(data_dir, tmp_path, part):
    assert not any(slices.any() for slices, _ in images(data_dir, tmp_path, "blank", part).values())


def test_permuted_labels_reach_training_and_validation_and_not_the_test(data_dir, tmp_path):
    labels = read_labels(data_dir)
    differing = {}
    for part in ("train", "validate", "test"):
        seen = {patient: label for patient, (_, label) in images(data_dir, tmp_path, "permuted_labels", part).items()}
        assert sum(seen.values()) == sum(labels[patient] for patient in seen)
        differing[part] = sum(label != labels[patient] for patient, label in seen.items())
    assert differing["train"] > 0 and differing["validate"] > 0 and differing["test"] == 0


@pytest.mark.parametrize("control", ["none", *CONTROLS])
def test_predictions_carry_the_true_labels(runs, data_dir, control):
    labels = read_labels(data_dir)
    for name in ("predictions.csv", "slice_predictions.csv"):
        table = pd.read_csv(runs[control] / name, dtype={"patient_id": str})
        assert set(table["split"]) == {"validation", "test"}
        assert (table["label"] == table["patient_id"].map(labels)).all()


def test_controls_are_of_the_models_patients(runs):
    patients = {control: pd.read_csv(run / "predictions.csv")[["patient_id", "split"]] for control, run in runs.items()}
    for control in CONTROLS:
        pd.testing.assert_frame_equal(patients[control], patients["none"])


def test_blank_images_give_everyone_the_same_probability(runs):
    table = pd.read_csv(runs["blank"] / "predictions.csv")
    for _, of_stage in table.groupby("stage"):
        assert np.ptp(of_stage["probability"]) < 1e-6


def test_only_the_model_is_offered_in_the_registry(runs, client):
    versions = client.search_model_versions("name = 'mgmt-t1w'")
    assert [version.run_id for version in versions] == [record(client, runs["none"]).info.run_id]
    assert [bool(record(client, run).outputs.model_outputs) for run in runs.values()] == [True, False, False, False]


def test_control_has_no_reference_that_a_model_could_be_offered_with(runs):
    assert [control for control, run in runs.items() if (run / "reference.safetensors").exists()] == ["none"]


@pytest.mark.parametrize("control", ["none", *CONTROLS])
def test_record_tells_the_control(runs, client, control):
    found = record(client, runs[control]).data
    assert (found.params["control"], found.tags["control"]) == (control, control)


def test_runs_are_nested_under_their_study(runs, client):
    parents = {record(client, run).data.tags["mlflow.parentRunId"] for run in runs.values()}
    assert len(parents) == 1
    assert client.get_run(parents.pop()).info.run_name == "study"


def test_training_may_be_resumed_by_another_study():
    assert "parent_run_id" in FREE_ON_RESUME and "control" not in FREE_ON_RESUME


@pytest.mark.parametrize("control", ["backgrounds", "", True, None])
def test_unknown_control_is_refused(control):
    with pytest.raises(TrainingError, match="control: expected one of none, background, blank, permuted_labels"):
        check_settings({"control": control})


@pytest.mark.parametrize("control", ["none", *CONTROLS])
def test_known_control_is_taken(control):
    assert control in WORDS["control"]
    check_settings({"control": control})
