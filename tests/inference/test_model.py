"""A bundle's network and chain give the training's own numbers, and a damaged bundle is told in one line."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.model import BundleModel, load_model, open_models
from mgmt_monai.inference.study import read_study
from mgmt_monai.networks.feature_distance import FeatureDistance


@pytest.fixture
def copied(t1w_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(t1w_bundle, tmp_path / "copied"))


def refused(folder: Path, match: str) -> None:
    with open_bundle(folder) as bundle, pytest.raises(ExchangeError, match=match) as caught:
        load_model(bundle)
    assert "\n" not in str(caught.value)


def test_network_is_in_eval_mode_and_knows_its_modality(t1w_model: BundleModel) -> None:
    assert not t1w_model.network.training
    assert (t1w_model.modality, t1w_model.threshold) == ("T1w", 0.5)
    assert t1w_model.reference is not None


def test_slices_are_those_of_the_training_in_0_to_1(
    t1w_model: BundleModel, phantom_dir: Path, finished_run: Path
) -> None:
    table = pd.read_csv(finished_run / "slice_predictions.csv", dtype={"patient_id": str})
    patient = table["patient_id"].iloc[0]
    images = t1w_model.slices(read_study(phantom_dir / "train" / patient, modalities=["T1w"])[0].series)

    assert len(images) == table[(table["patient_id"] == patient) & (table["stage"] == "fine_tune")].shape[0]
    assert images.shape[1:] == (1, 48, 48)
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max()) <= 1) == (0.0, True)


def test_features_and_probabilities_are_the_networks_own(t1w_model: BundleModel) -> None:
    images = torch.rand(5, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = torch.sigmoid(t1w_model.network(images).double()).flatten()

    features = t1w_model.features(images)

    assert features.shape == (5, 1280)
    assert np.allclose(t1w_model.probabilities(features), whole, atol=1e-6)


def test_series_that_is_gone_is_told_in_one_line(t1w_model: BundleModel, study: Path) -> None:
    series = read_study(study, modalities=["T1w"])[0].series
    series.files[len(series.files) // 2].unlink()

    with pytest.raises(InferenceError, match="expected a DICOM file, found no file"):
        t1w_model.slices(series)


def test_state_that_is_a_pickle_is_never_run(copied: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return Path.touch, (canary,)

    torch.save({"backbone": Evil()}, copied / "models" / "model.pt")
    refused(copied, r"models/model\.pt is not the state")
    assert not canary.exists()


def test_state_of_another_network_is_refused(copied: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), copied / "models" / "model.pt")
    refused(copied, "is not the state of the network")


def test_state_cut_short_is_refused(copied: Path) -> None:
    path = copied / "models" / "model.pt"
    path.write_bytes(path.read_bytes()[:-1000])
    refused(copied, "is not the state of the network")


def test_state_far_larger_than_its_network_is_not_read(copied: Path) -> None:
    with (copied / "models" / "model.pt").open("r+b") as file:
        file.truncate(2**36)  # a hole: it takes no room
    refused(copied, "in at most")


def test_weights_that_are_no_numbers_are_refused(copied: Path) -> None:
    state = torch.load(copied / "models" / "model.pt", weights_only=True)
    state["head.dense2.bias"].fill_(float("nan"))
    torch.save(state, copied / "models" / "model.pt")
    refused(copied, r"expected finite weights.*head\.dense2\.bias")


def test_reference_of_another_network_is_refused(copied: Path) -> None:
    features = np.random.default_rng(0).normal(size=(40, 7))
    other = FeatureDistance.fit(features).calibrated([1.0, 2.0], 0.5)
    other.save(copied / "models" / "reference.safetensors")
    refused(copied, "expected 1280 features as the network has, found 7")


def test_reference_that_is_damaged_is_refused(copied: Path) -> None:
    (copied / "models" / "reference.safetensors").write_bytes(b"no numbers")
    refused(copied, r"models/reference\.safetensors")


def test_reference_as_large_as_a_disk_is_not_read(copied: Path) -> None:
    with (copied / "models" / "reference.safetensors").open("r+b") as file:
        file.truncate(2**36)
    refused(copied, "at most 268435456 bytes")


def test_chain_that_cannot_be_built_is_refused(copied: Path) -> None:
    path = copied / "configs" / "inference.json"
    path.write_text(path.read_text().replace('"lower_percentile": 0.5', '"lower_percentile": 99.9'))
    refused(copied, r"configs/inference\.json cannot be run.*lower_percentile")


def test_the_same_model_twice_is_refused(t1w_bundle: Path, copied: Path) -> None:
    twice = "--bundle: expected different models, found the same one twice"
    with pytest.raises(InferenceError, match=twice), open_models([t1w_bundle, copied]):
        pass


def test_several_bundles_are_open_together(t1w_bundle: Path, flair_bundle: Path) -> None:
    with open_models([flair_bundle, t1w_bundle]) as models:
        assert [model.modality for model in models] == ["FLAIR", "T1w"]
        assert [model.reference is None for model in models] == [True, False]
