import json
import re
from pathlib import Path

import pytest
from phantom_runs import BUNDLES

from mgmt_monai.training import RunDirectory
from mgmt_monai.training.config import (
    FREE_ON_RESUME,
    differing_settings,
    executed_config,
    read_config,
    settings_of,
    without_paths,
)
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.overrides import check_overrides
from mgmt_monai.training.settings import NUMBERS, OPTIONAL, WHOLE, check_settings

CONFIG = {"seed": 0, "weights": "/home/a/b.pt", "device": "$pick()", "train": {"trainer": {"max_epochs": "@n"}}}


@pytest.mark.parametrize("key", ["seed", "train::trainer::max_epochs", "train#trainer#max_epochs"])
def test_override_of_a_key_that_exists_is_taken(key):
    check_overrides(CONFIG, {key: 1})


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sed", "'sed': unknown; did you mean 'seed'"),
        ("train::trainer::max_epoch", "did you mean 'max_epochs'"),
        ("seed::x", "'seed::x': unknown"),
    ],
)
def test_override_of_an_unknown_key_is_refused_by_name(key, expected):
    with pytest.raises(TrainingError, match=expected):
        check_overrides(CONFIG, {key: 1})


def test_settings_are_scalars_without_paths_and_expressions():
    assert settings_of(CONFIG) == {"seed": 0}


def test_shared_config_has_no_path_of_the_user():
    shared = without_paths(CONFIG)
    assert shared["weights"] == "(a path)" and shared["seed"] == 0
    assert "/home" not in json.dumps(shared)


def test_only_settings_that_change_the_result_hinder_a_resume():
    now = {**CONFIG, "seed": 1, "num_workers": 4, "dataset_dir": "elsewhere"}
    assert differing_settings(CONFIG, now) == ["seed"]


def test_every_epoch_is_validated():
    check_settings({"val_interval": 1})
    with pytest.raises(TrainingError, match="val_interval: expected a whole number from 1 to 1, found 2"):
        check_settings({"val_interval": 2})


def test_config_outside_a_workflow_is_looked_at_but_not_trained(tmp_path):
    directory = RunDirectory(tmp_path / "runs", "T1w", "", resume=False)
    directory.claim(executed_config())
    with pytest.raises(TrainingError, match="part of a bundle config"):
        directory.open("hash")
    assert not (tmp_path / "runs").exists()


def test_unreadable_config_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(TrainingError, match="not a JSON config"):
        read_config(path)


def test_bundle_is_read():
    assert read_config(BUNDLES / "t1w.json")["modality"] == "T1w"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("seed", -1, "seed: expected a whole number from 0 to"),
        ("transfer_epochs", 0, "expected a whole number from 1, found 0"),
        ("early_stopping_patience", "abc", "found 'abc'"),
        ("fine_tune_learning_rate", -0.1, "expected a number above 0, found -0.1"),
        ("confidence_level", 95, "expected a number above 0 below 1, found 95"),
        ("threshold", True, "found True"),
    ],
)
def test_setting_out_of_range_is_refused_by_name(name, value, expected):
    with pytest.raises(TrainingError, match=expected):
        check_settings({name: value})


def test_shipped_settings_are_in_range_and_each_number_has_one():
    config = {**read_config(BUNDLES / "fusion.json"), **read_config(BUNDLES / "t1w.json")}
    check_settings(config)
    numbers = {k for k, v in config.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    computed = {k for k, v in config.items() if str(v).startswith("$")}
    assert numbers == (set(WHOLE) | set(NUMBERS)) - set(OPTIONAL) - computed
    assert computed & (set(WHOLE) | set(NUMBERS)) == {"num_workers"}
    assert [config[name] for name in OPTIONAL] == [None, None]


def test_path_inside_a_section_is_not_shared():
    shared = without_paths({"run_directory": {"output_dir": "/hospital/doe", "resume": "@resume"}})
    assert shared == {"run_directory": {"output_dir": "(a path)", "resume": "@resume"}}


def test_page_on_resuming_names_what_may_differ():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "resume.md").read_text()
    told = re.search(r"^What may differ\n: (.*?)\. Any other", page, re.DOTALL | re.MULTILINE)[1]
    assert set(re.findall(r"`(\w+)`", told)) == FREE_ON_RESUME - {"resume", "run_name"}
