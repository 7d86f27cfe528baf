"""Every engine gives the network's own figures, for any number and size of slices; what cannot be used is told."""

import logging
import sys
from collections.abc import Iterator
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from mgmt_monai.inference.engines import engine_choice as choice
from mgmt_monai.inference.engines.engine import Engine, PyTorchEngine
from mgmt_monai.inference.engines.engine_choice import AUTO, ENGINES, WORTHWHILE, differences, for_studies, make_engine
from mgmt_monai.inference.engines.onnx_runtime import OnnxRuntimeEngine
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.model import BundleModel, open_models
from mgmt_monai.inference.predict_study import predict_study
from mgmt_monai.inference.study import read_study
from mgmt_monai.networks import MGMTClassifier, load_backbone_weights
from mgmt_monai.networks.backbones import BACKBONES
from mgmt_monai.networks.calibrate import calibrate_batchnorm


class Coarse(OnnxRuntimeEngine):
    """Features with the digits of bfloat16."""

    name = "coarse"

    def _features(self, images: Tensor) -> Tensor:
        return super()._features(images.bfloat16().float()).bfloat16().float()


class Wrong(OnnxRuntimeEngine):
    """The features of other slices."""

    name = "wrong"

    def _features(self, images: Tensor) -> Tensor:
        return super()._features(1 - images)


class Unable(OnnxRuntimeEngine):
    """What a converter does that does not know a layer."""

    name = "unable"

    def _features(self, images: Tensor) -> Tensor:
        raise RuntimeError("no such layer")


def slices(n: int, height: int = 48, width: int = 48) -> Tensor:
    """Slices that differ: noise, smooth in the second half."""
    images = torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(7))
    images[n // 2 :] = images[n // 2 :].cumsum(-1) / width
    return images


def probabilities(network: MGMTClassifier, features: Tensor) -> np.ndarray:
    with torch.no_grad():
        return torch.sigmoid(network.head(features)).flatten().numpy()


@pytest.fixture(scope="module")
def engine(t1w_model: BundleModel) -> Engine:
    """The engine of a trained network that is not PyTorch's."""
    return make_engine("onnxruntime", t1w_model.network, 48)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(0, 48, 48), (1, 48, 48), (5, 48, 48), (3, 33, 70)])
def test_probabilities_are_the_networks_own(engine: Engine, shape: tuple[int, int, int]) -> None:
    images = slices(*shape)
    with torch.no_grad():
        expected = torch.sigmoid(engine.network(images)).flatten().numpy()

    features = engine.features(images)

    assert features.shape == (shape[0], 1280)
    assert features.dtype == torch.float32
    assert np.allclose(probabilities(engine.network, features), expected, rtol=0, atol=1e-4)
    assert shape[0] < 2 or np.ptp(expected) > 0.01  # the slices tell networks apart


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_its_own_features(backbone: str) -> None:
    torch.manual_seed(0)
    network = MGMTClassifier(backbone)
    calibrate_batchnorm(network, [slices(6, 64, 64)])
    network.eval()
    images = slices(3, 64, 64)
    with torch.no_grad():  # the exact ones: PyTorch's own are as far from them
        expected = deepcopy(network).double().features(images.double())
    largest = float(expected.abs().max())

    found = make_engine("onnxruntime", network, 64).features(images)

    assert float((expected[0] - expected[-1]).abs().max()) > 0.1 * largest
    assert torch.allclose(found.double(), expected, rtol=0, atol=1e-3 * largest)


def test_real_slices_get_the_same_probabilities(t1w_model: BundleModel, shared_data: Path) -> None:
    torch.manual_seed(0)
    network = MGMTClassifier()
    load_backbone_weights(network, "imagenet")
    network.eval()
    patients = sorted((shared_data / "rsna_t1wce_slices" / "train").iterdir())[:5]  # of each, the middle slices
    series = [read_study(patient, modalities=["T1wCE"])[0].series for patient in patients]
    images = torch.cat([t1w_model.slices(one) for one in series])
    with torch.no_grad():
        expected = torch.sigmoid(network(images)).flatten().numpy()

    found = probabilities(network, make_engine("onnxruntime", network, images.shape[-1]).features(images))

    assert np.ptp(expected) > 1e-3
    assert np.allclose(found, expected, rtol=0, atol=1e-2 * np.ptp(expected))


def test_study_gets_the_probabilities_of_the_training(t1w_bundle: Path, phantom_dir: Path, finished_run: Path) -> None:
    table = pd.read_csv(finished_run / "slice_predictions.csv", dtype={"patient_id": str})
    rows = table[(table["stage"] == "fine_tune") & (table["split"] == "validation")].sort_values("slice_index")
    patient, rows = next(iter(rows.groupby("patient_id")))
    with open_models([t1w_bundle], engine="onnxruntime") as models:
        prediction = predict_study(phantom_dir / "train" / patient, models, progress_bar=False).prediction

    assert np.allclose(prediction.series[0].slice_probabilities, rows["probability"], rtol=0, atol=1e-4)
    assert prediction.software["engine"] == "onnxruntime"
    assert prediction.software["onnxruntime"] == version("onnxruntime")


def test_number_of_threads_changes_no_figure(engine: Engine, two_threads: None) -> None:
    images = slices(5)
    again = make_engine(engine.name, engine.network, 48)

    assert torch.equal(again.features(images), engine.features(images))


def test_making_an_engine_draws_no_random_number(t1w_model: BundleModel) -> None:
    before = torch.get_rng_state()
    make_engine("onnxruntime", t1w_model.network, 32)
    assert torch.equal(torch.get_rng_state(), before)


def test_engine_by_name_that_differs_is_refused(t1w_model: BundleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "wrong", Wrong)
    with pytest.raises(InferenceError, match=r"engine wrong: expected PyTorch's .* within .*, found them .* apart"):
        make_engine("wrong", t1w_model.network, 48)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Wrong, "expected PyTorch's probabilities within 0.0001"),
        (Coarse, "expected PyTorch's "),
        (Unable, "cannot run this network (RuntimeError)"),
    ],
)
def test_auto_passes_over_an_engine_that_cannot_be_used(
    kind: type[Engine],
    told: str,
    t1w_model: BundleModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(choice, "ENGINES", {kind.name: kind, "pytorch": PyTorchEngine})
    with caplog.at_level(logging.WARNING):
        engine = make_engine(AUTO, t1w_model.network, 48)

    assert engine.name == "pytorch"
    (record,) = caplog.records
    assert told in record.getMessage()
    assert "\n" not in record.getMessage()


def test_auto_takes_the_first_that_is_installed(t1w_model: BundleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_engine(AUTO, t1w_model.network, 48).name == next(iter(ENGINES))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    assert make_engine(AUTO, t1w_model.network, 48).name == "pytorch"


def test_auto_leaves_a_single_study_to_pytorch() -> None:
    assert [for_studies(AUTO, n) for n in (1, WORTHWHILE - 1, WORTHWHILE)] == ["pytorch", "pytorch", AUTO]
    assert for_studies("onnxruntime", 1) == "onnxruntime"


def test_engine_that_is_not_installed_is_told_with_what_to_install(
    t1w_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with (
        pytest.raises(InferenceError, match=r"onnxruntime.*pip install 'mgmt_monai\[onnx\]'$"),
        open_models([t1w_bundle], engine="onnxruntime"),
    ):
        pass
    with pytest.raises(InferenceError, match="expected one of auto, onnxruntime, pytorch"):
        make_engine("openvino", MGMTClassifier("alexnet"), 64)


def test_features_that_are_no_numbers_are_no_agreement() -> None:
    network = MGMTClassifier("alexnet").eval()
    with torch.no_grad():
        next(network.backbone.parameters()).fill_(float("inf"))
    assert np.isnan(differences(PyTorchEngine(network), slices(2, 64, 64))).all()
