"""The configs of a bundle: the run's settings in them, nothing of its machine."""

import copy
import json
from pathlib import Path

import pytest

from mgmt_monai.carried_code import SCRIPTS, renamed
from mgmt_monai.exchange.configs import (
    PER_RUN,
    evaluate_config,
    in_package_names,
    inference_config,
    multi_gpu_config,
    train_config,
)
from mgmt_monai.exchange.errors import ExchangeError

BUNDLES = Path(__file__).parents[2] / "bundles"
TEMPLATE = json.loads((BUNDLES / "t1w.json").read_text())
INFERENCE = json.loads((BUNDLES / "inference.json").read_text())


@pytest.fixture
def executed() -> dict:
    """As a run of the template has it in its folder: MONAI has written out what ``%training`` stands for."""
    return copy.deepcopy({**TEMPLATE, "run": TEMPLATE["training"]})


def test_settings_of_the_run_are_kept(executed):
    executed |= {"image_size": 96, "seed": 7, "transfer_epochs": 3, "test_fraction": 0.25, "plane": "axial"}

    train, inference = train_config(executed), inference_config(executed)

    assert {key: train[key] for key in ("image_size", "seed", "transfer_epochs", "test_fraction")} == {
        "image_size": 96, "seed": 7, "transfer_epochs": 3, "test_fraction": 0.25,
    }  # fmt: skip
    assert inference == {**INFERENCE, "image_size": 96, "plane": "axial"}


def test_settings_of_one_run_and_one_machine_are_the_templates(executed):
    executed |= dict.fromkeys(PER_RUN & set(executed), "/home/doe/secret")
    executed |= {"weights": "/home/doe/w.pt", "exclusions": "mine.csv"}

    train = train_config(executed)

    assert "secret" not in json.dumps(train)
    assert {key: train[key] for key in (PER_RUN & set(TEMPLATE)) | {"weights", "exclusions"}} == {
        key: TEMPLATE[key] for key in (PER_RUN & set(TEMPLATE)) | {"weights", "exclusions"}
    }
    assert "secret" not in json.dumps(inference_config(executed))


def test_words_that_are_no_paths_are_kept(executed):
    executed |= {"weights": "none", "exclusions": "none"}

    assert [train_config(executed)[key] for key in ("weights", "exclusions")] == ["none", "none"]


@pytest.mark.parametrize(
    "path", ["/data/x", "~/x", "C:\\data", "file:///data", "(a path)", "$'/data/' + @modality", "$open('C:\\\\x')"]
)
def test_path_inside_a_component_is_the_templates(executed, path):
    executed["cohort"]["dataset_dir"] = path

    assert train_config(executed)["cohort"]["dataset_dir"] == "@dataset_dir"


def test_path_where_the_template_has_nothing_is_refused(executed):
    executed["cohort"]["cache_dir"] = "/data/x"

    with pytest.raises(ExchangeError, match=r"cohort::cache_dir"):
        train_config(executed)


def test_changed_transform_is_the_bundles_too(executed):
    executed["train"]["deterministic_transforms"][7]["mode"] = "nearest"

    transforms = inference_config(executed)["preprocessing"]["transforms"]

    assert [step["mode"] for step in transforms if step["_target_"] == "Resized"] == ["nearest"]
    assert transforms != INFERENCE["preprocessing"]["transforms"]


def test_setting_that_a_changed_component_refers_to_goes_along(executed):
    executed["train"]["deterministic_transforms"][7]["mode"] = "@interpolation"
    executed["interpolation"] = "nearest"

    assert inference_config(executed)["interpolation"] == "nearest"


def test_computed_setting_becomes_its_value(executed):
    executed["slice_fraction"] = "$1 / 4"

    assert inference_config(executed)["slice_fraction"] == 0.25


def test_config_of_an_older_version_lends_the_template_its_settings(executed):
    del executed["reference"], executed["reference_slices"], executed["abstain_quantile"]
    executed["image_size"] = 64
    executed["dataset_dir"] = "/home/doe"

    late = {**TEMPLATE, "image_size": 64}
    late["training"] = late.pop("initialize") + late["training"]
    assert train_config(executed) == late


def test_cohort_opened_by_its_class_before_is_opened_by_the_function(executed):
    executed["cohort"]["_target_"] = "mgmt_monai.cohort.modality.ModalityCohort"
    executed["image_size"] = 64
    made = train_config(executed)
    assert made["cohort"] == TEMPLATE["cohort"]
    assert made["image_size"] == 64


def test_run_from_before_there_was_a_choice_squashed_its_images(executed):
    del executed["aspect"]
    del executed["train"]["deterministic_transforms"][6]
    assert [made(executed)["aspect"] for made in (train_config, inference_config)] == ["squash", "squash"]
    assert train_config(executed)["train"] == TEMPLATE["train"]


def test_what_is_initialised_runs_first_because_scripts_is_found_no_sooner(executed):
    executed["training"] = ["$@experiment.run()"]
    train, evaluate, multi = train_config(executed), evaluate_config("transfer"), multi_gpu_config(executed)

    assert train["training"] == [*TEMPLATE["initialize"], "$@experiment.run()"]
    assert evaluate["run"] == [*TEMPLATE["initialize"], "@evaluation"]
    assert train["run"] == "%training"
    assert multi["training"][-1] == "$@experiment.run()"
    assert [made for made in (train, evaluate, multi, inference_config(executed)) if "initialize" in made] == []


def test_evaluation_names_the_exported_stage():
    assert evaluate_config("transfer")["stage"] == "transfer"


def test_config_of_a_bundle_reads_in_the_packages_names(executed):
    assert in_package_names(renamed(executed, SCRIPTS)) == executed
    assert renamed(executed, SCRIPTS) != executed


def test_run_of_a_bundle_has_every_step_in_its_training(executed):
    in_bundle = renamed(train_config(executed), SCRIPTS)

    assert train_config(in_package_names(in_bundle)) == train_config(executed)


def test_modality_that_is_none_is_refused(executed):
    executed["modality"] = "$'T1w'"

    with pytest.raises(ExchangeError, match="modality: expected one of"):
        train_config(executed)


def test_config_with_a_word_of_that_name_stays_as_it_is(executed):
    executed["experiment_name"] = "scripts.of mine"

    assert in_package_names(executed) == executed
