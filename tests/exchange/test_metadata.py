"""metadata.json: MONAI's schema holds, versions are those installed, figures are those of the predictions."""

import dataclasses
import json
from importlib import resources
from importlib.metadata import version

import jsonschema
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score

from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.metadata import make_metadata

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture
def metadata(exported_bundle) -> dict:
    return json.loads((exported_bundle / "configs" / "metadata.json").read_text())


def test_metadata_fits_monais_schema(metadata, shared_data):
    jsonschema.validate(metadata, json.loads((shared_data / "schema" / "meta_schema_20240725.json").read_text()))


def test_metadata_fits_the_packaged_schema(metadata):
    packaged = resources.files("mgmt_monai.exchange") / "data" / "metadata.schema.json"

    jsonschema.validate(metadata, json.loads(packaged.read_text()))


def test_versions_are_those_installed(metadata):
    named = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    assert {key: metadata[key] for key in named.values()} == {
        key: version(package).partition("+")[0] for package, key in named.items()
    }
    required = metadata["required_packages_version"]
    assert required == {package: version(package) for package in required}
    assert {"fire", "pytorch-ignite", "SimpleITK", "mlflow"} <= {
        {"simpleitk": "SimpleITK"}.get(package, package) for package in required
    }
    assert not {"monai", "torch", "numpy", "mgmt_monai"} & set(required)


def test_version_is_in_the_changelog(metadata):
    assert metadata["version"] in metadata["changelog"]


def test_figures_are_those_of_the_test_patients_predictions(metadata, finished_run):
    table = pd.read_csv(finished_run / "predictions.csv")
    table = table[(table["stage"] == "fine_tune") & (table["split"] == "test")]
    label, probability = table["label"], table["probability"]
    called = (probability >= 0.5).astype(int)

    evaluation = metadata["evaluation"]

    assert (evaluation["n"], evaluation["n_methylated"]) == (4, 2) == (len(label), label.sum())
    assert (evaluation["stage"], evaluation["level"], evaluation["threshold"]) == ("fine_tune", 0.95, 0.5)
    expected = {
        "auc": roc_auc_score(label, probability),
        "accuracy": accuracy_score(label, called),
        "sensitivity": recall_score(label, called),
        "specificity": recall_score(label, called, pos_label=0),
        "precision": precision_score(label, called) if called.sum() else None,
    }
    assert {name: evaluation[name]["value"] for name in expected} == pytest.approx(expected)
    for name, figure in evaluation.items():
        if isinstance(figure, dict) and figure["low"] is not None:
            assert figure["low"] <= figure["value"] <= figure["high"], name


def test_what_it_was_trained_on_is_numbers(metadata, finished_run):
    training = metadata["training"]

    assert training["patients"]["train"] == {"unmethylated": 4, "methylated": 4}
    assert training["manifest_hash"] == json.loads((finished_run / "run.json").read_text())["manifest_hash"]
    assert training["seed"] == 3
    assert training["software"]["monai"] == version("monai")
    assert "made cohort" in metadata["data_source"] and training["made_cohort"] is True
    assert "fold" not in training


def test_a_training_of_a_comparison_says_that_it_is_one_of_many(source, metadata):
    config = {**source.config, "parent_run_id": "0" * 32, "seed": 7}
    of_many, folded = (dataclasses.replace(source, config={**config, "fold": fold}) for fold in (None, 4))

    assert "one training of a comparison (seed 7, fold 4)" in make_metadata(folded, "x", [])["description"]
    assert "one training of a comparison (seed 7)" in make_metadata(of_many, "x", [])["description"]
    assert "comparison" not in metadata["description"]


@pytest.mark.parametrize(
    ("stage", "best", "plain"),
    [("fine_tune", (0, 0), True), ("fine_tune", (3, 0), False), ("transfer", (0, 2), True), ("plain", (1, 1), True)],
)
@pytest.mark.parametrize("sentence", ["", "this training has not learnt (why)"])
def test_a_stage_that_has_not_learnt_or_is_a_plain_model_says_so(stage, best, plain, sentence, source):
    metrics = json.loads(json.dumps(source.metrics))
    for name, epoch in zip(("transfer", "fine_tune"), best, strict=True):
        metrics[name]["learning"] |= {"best_epoch": epoch, "sentence": sentence if name == stage else "another's"}
    changed = dataclasses.replace(source, metrics=metrics, stage=stage)

    said = "It is a plain model: a logistic regression on the features of the frozen network." if plain else ""
    said += " " * bool(said and sentence and stage != "plain")
    said += "This training has not learnt (why)." if sentence and stage != "plain" else ""
    assert make_metadata(changed, "x", [])["training"].get("learnt", "") == said


def test_a_run_from_before_anybody_noted_what_it_learnt_says_nothing_of_it(source):
    metrics = {stage: {k: v for k, v in of.items() if k != "learning"} for stage, of in source.metrics.items()}
    assert "learnt" not in make_metadata(dataclasses.replace(source, metrics=metrics), "x", [])["training"]


def test_input_has_the_runs_size(metadata):
    image = metadata["network_data_format"]["inputs"]["image"]

    assert (image["spatial_shape"], image["num_channels"]) == ([48, 48], 1)


def test_use_is_research_only(metadata):
    assert metadata["intended_use"].startswith("Research only")


def test_data_is_what_the_user_says_and_else_not_said(source):
    real = dataclasses.replace(source, origin="")

    assert make_metadata(real, "x", [], "our hospital's")["data_source"] == "our hospital's"
    assert make_metadata(real, "x", [])["data_source"].startswith("Not said")
    assert make_metadata(source, "x", [], "ours")["data_source"] == f"{source.origin} ours"


def test_fold_is_told(source):
    folded = dataclasses.replace(source, config={**source.config, "fold": 2, "repeat": 1, "inner_fold": None})

    training = make_metadata(folded, "x", [])["training"]
    assert training["fold"] == {"repeat": 1, "fold": 2, "inner_fold": None}
    assert "one training of a cross-validation (seed 3, fold 2): a cross-validation judges" in training["one_of_many"]


def test_undefined_figure_has_no_metric(source):
    metrics = json.loads(json.dumps(source.metrics))
    metrics["fine_tune"]["test"]["patient"]["auc"] = {"value": None, "low": None, "high": None, "n": 4}

    made = make_metadata(dataclasses.replace(source, metrics=metrics), "x", [])

    assert "auc" not in made["eval_metrics"]
    assert made["evaluation"]["auc"] == {"value": None, "low": None, "high": None}


def test_figures_without_the_stage_are_refused(source):
    with pytest.raises(ExchangeError, match="figures of fine_tune"):
        make_metadata(dataclasses.replace(source, metrics={"transfer": source.metrics["transfer"]}), "x", [])
