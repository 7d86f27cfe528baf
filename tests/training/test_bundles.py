"""The four bundle configs: complete in MONAI's terms, alike but for the modality, tunable at the top."""

import json
from pathlib import Path

import jsonschema
import pytest
from monai.bundle import verify_net_in_out
from phantom_runs import BUNDLES, workflow

MODALITIES = {"t1w": "T1w", "t1wce": "T1wCE", "t2w": "T2w", "flair": "FLAIR"}
SCHEMA = Path(__file__).parents[2] / "../shared/data/schema/meta_schema_20240725.json"
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"

pytestmark = pytest.mark.xdist_group("training")


def read(name: str) -> dict:
    return json.loads((BUNDLES / f"{name}.json").read_text())


@pytest.mark.parametrize("name", MODALITIES)
def test_config_names_its_modality(name):
    assert read(name)["modality"] == MODALITIES[name]


@pytest.mark.parametrize("name", ["t1wce", "t2w", "flair"])
def test_configs_differ_in_nothing_but_the_modality(name):
    reference, other = read("t1w"), read(name)
    assert list(reference) == list(other)
    assert {key for key in reference if reference[key] != other[key]} == {"modality"}


@pytest.mark.parametrize("name", MODALITIES)
def test_config_passes_check_properties_from_any_folder(name, phantom_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = workflow(phantom_dir, tmp_path / "runs", f"{name}.json")
    assert made.check_properties() == []


def places(value, path=""):
    """Every scalar of a config, by where it stands."""
    if isinstance(value, dict):
        return {k: v for key, one in value.items() for k, v in places(one, f"{path}::{key}" if path else key).items()}
    if isinstance(value, list):
        return {k: v for n, one in enumerate(value) for k, v in places(one, f"{path}::{n}").items()}
    return {path: value}


def test_fusion_differs_in_its_settings_and_in_these_places_alone():
    single, fusion = read("t1w"), read("fusion")
    scalars = {
        key for config in (single, fusion) for key, value in config.items() if not isinstance(value, dict | list)
    }
    sections = [{k: v for k, v in config.items() if k not in {*scalars, "imports"}} for config in (single, fusion)]
    reference, other = map(places, sections)
    differing = {place for place in {*reference, *other} if reference.get(place) != other.get(place)}
    datasets = ("train", "validate", "test")
    assert differing == {
        "cohort::make", "cohort::modality", "store::data", "loaded_weights::_target_",
        *(f"network_def::{name}" for name in ("_target_", "modalities", "slice_pool", "backbones")),
        *(f"{split}::dataset::{name}" for split in datasets for name in ("_target_", "modalities")),
        *(f"train::dataset::{name}" for name in ("series_slices", "modality_dropout", "augment_by")),
        *(f"train::prepare_batch::{name}" for name in ("_target_", "transforms", "weigh")),
        "train::preprocessing::transforms", "train::key_metric::train_loss::weigh",
        "validate::key_metric::val_loss::weigh", "validate::prepare_batch::_target_",
        "validate::evaluator::prepare_batch", "plain_model::batch_size", "reference::_target_", "reference::batch_size",
        "opening::weigh", "experiment::_target_",
        *(f"experiment::model_settings::{name}" for name in ("modalities", "slice_pool", "backbones")),
    }  # fmt: skip


def test_fusion_predicts_by_the_chain_of_the_single_modalities():
    single, fusion = read("inference"), read("fusion_inference")
    assert fusion["preprocessing"] == single["preprocessing"]
    network = {k: v for k, v in read("fusion")["network_def"].items() if k not in ("dropout", "_requires_")}
    assert fusion["network_def"] == network


def test_fusion_passes_check_properties_from_any_folder(phantom_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert workflow(phantom_dir, tmp_path / "runs", "fusion.json").check_properties() == []


def test_paper_settings_are_the_defaults():
    config = read("t1w")
    expected = {
        "image_size": 300, "slice_fraction": 0.2, "zoom_min": 0.8, "zoom_max": 1.2, "rotation_deg": 15,
        "shift_fraction": 0.1, "brightness_min": 0.8, "brightness_max": 1.2, "dropout": 0.4, "hidden_units": 32,
        "transfer_epochs": 20, "transfer_batch_size": 128, "transfer_learning_rate": 1e-4,
        "fine_tune_epochs": 10, "fine_tune_batch_size": 64, "fine_tune_learning_rate": 1e-5,
        "early_stopping_patience": 5, "plateau_patience": 3, "test_fraction": 0.1, "train_fraction": 0.85,
    }  # fmt: skip
    assert {key: config[key] for key in expected} == expected


@pytest.mark.parametrize("name", ["t1w", "fusion"])
def test_components_hold_no_number_of_their_own(name):
    """Every tunable is a top-level scalar: below, numbers are references."""
    config = read(name)
    scalars = {key for key, value in config.items() if not isinstance(value, dict | list)}

    def numbers(value, path):
        if isinstance(value, dict):
            return [found for key, inner in value.items() for found in numbers(inner, f"{path}::{key}")]
        if isinstance(value, list):
            return [found for i, inner in enumerate(value) for found in numbers(inner, f"{path}::{i}")]
        return [path] if isinstance(value, int | float) and not isinstance(value, bool) else []

    assert [found for key in config if key not in scalars for found in numbers(config[key], key)] == []


@pytest.mark.skipif(not SCHEMA.is_file(), reason="needs MONAI's metadata schema in ../shared/data")
def test_metadata_is_valid_by_monai_schema():
    jsonschema.validate(json.loads((BUNDLES / "metadata.json").read_text()), json.loads(SCHEMA.read_text()))


def test_metadata_names_the_pinned_versions():
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    pins = {name.lower(): version for name, version in pins.items()}
    metadata = json.loads((BUNDLES / "metadata.json").read_text())
    named = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
    }
    named |= {name.lower(): version for name, version in metadata["required_packages_version"].items()}
    assert {name: pins[name] for name in named} == named


def test_network_takes_and_gives_what_the_metadata_says():
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(BUNDLES / "metadata.json"),
        config_file=str(BUNDLES / "t1w.json"),
        device="cpu",
    )
