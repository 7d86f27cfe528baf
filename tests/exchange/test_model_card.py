"""The model card says what the figures mean, also when that is nothing."""

import json

import pytest

from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.model_card import model_card

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture
def card_of(exported_bundle):
    """The bundle's card, with parts of its metadata changed."""
    with open_bundle(exported_bundle) as bundle:
        metadata, settings = json.loads(json.dumps(bundle.metadata)), bundle.settings

    def made(change=lambda metadata: None, has_reference=True, formats=()):
        change(metadata)
        return model_card(metadata, settings, has_reference, formats)

    return made


def test_card_in_the_bundle_is_the_one_of_its_metadata(exported_bundle, card_of):
    assert (exported_bundle / "docs" / "README.md").read_text() == card_of()


def test_card_gives_the_figures_with_their_intervals(card_of):
    def change(metadata):
        metadata["training"]["made_cohort"], metadata["data_source"] = False, "Ours"
        metadata["evaluation"]["auc"] = {"value": 0.712, "low": 0.449, "high": 0.931}
        metadata["evaluation"]["f1"] = {"value": None, "low": None, "high": None}

    card = card_of(change)

    assert "| AUC | 0.71 | 0.45-0.93 |" in card
    assert "| F1 | undefined | undefined |" in card
    assert "The interval of the AUC holds 0.5" in card


def test_card_counts_the_patients(card_of):
    card = card_of()

    assert "| train | 8 | 4 | 4 |" in card
    assert "| test | 4 | 2 | 2 |" in card


def test_card_says_what_was_not_recorded(card_of):
    card = card_of(lambda metadata: metadata["training"].update(patients={}, software={}))

    assert "| train | not recorded | not recorded | not recorded |" in card
    assert "With which versions of the software it was trained was not recorded." in card


def test_card_says_whether_it_knows_its_training_data(card_of):
    assert "models/reference.safetensors" in card_of(has_reference=True)
    assert "It does not know what its training data looked like" in card_of(has_reference=False)


def test_card_lists_other_forms(card_of):
    assert "`model.ts`, `model.onnx`" in card_of(formats=["model.ts", "model.onnx"])
    assert "model.onnx" not in card_of()


def test_card_says_that_the_model_is_one_of_many(card_of):
    said = "It is one training of a comparison (seed 7)"

    assert "of a comparison" not in card_of()
    assert f"**{said}**" in card_of(lambda metadata: metadata["training"].update(one_of_many=said))


def test_card_says_that_the_model_has_not_learnt(card_of):
    assert "**This training has not learnt; its figures say nothing about the images (" in card_of()
    assert "has not learnt" not in card_of(lambda metadata: metadata["training"].pop("learnt"))


def test_card_names_the_fold(card_of):
    card = card_of(lambda metadata: metadata["training"].update(fold={"repeat": 0, "fold": 2, "inner_fold": None}))

    assert "of which repeat 0, fold 2." in card


def test_card_pins_what_pip_installs(card_of, exported_bundle):
    metadata = json.loads((exported_bundle / "configs" / "metadata.json").read_text())
    line = next(line for line in card_of().splitlines() if line.startswith("pip install "))

    required = metadata["required_packages_version"]
    assert set(line.split()[2:]) == {
        f"monai=={metadata['monai_version']}",
        f"torch=={metadata['pytorch_version']}",
        f"numpy=={metadata['numpy_version']}",
        *(f"{name}=={version}" for name, version in required.items()),
    }


def test_card_says_research_only_and_leaves_the_datas_licence_to_its_user(card_of, exported_bundle):
    assert card_of().count("Research only") == 1
    licence = (exported_bundle / "docs" / "data_license.txt").read_text()
    assert "The export does not know it." in licence
    assert "rules of that competition" in licence
