"""Every engine gives the network's own figures, for any number and size of slices; what cannot be used is told."""

import logging
import os
import subprocess
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

GRAPHS = ("onnxruntime", "openvino")


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


@pytest.fixture(scope="module", params=GRAPHS)
def engine(request: pytest.FixtureRequest, t1w_model: BundleModel) -> Engine:
    """An engine of a trained network."""
    return make_engine(request.param, t1w_model.network, 48)


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


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_its_own_features(backbone: str, name: str) -> None:
    torch.manual_seed(0)
    network = MGMTClassifier(backbone)
    calibrate_batchnorm(network, [slices(6, 64, 64)])
    network.eval()
    images = slices(3, 64, 64)
    with torch.no_grad():  # the exact ones: PyTorch's own are as far from them
        expected = deepcopy(network).double().features(images.double())
    largest = float(expected.abs().max())

    found = make_engine(name, network, 64).features(images)

    assert float((expected[0] - expected[-1]).abs().max()) > 0.1 * largest
    assert torch.allclose(found.double(), expected, rtol=0, atol=1e-3 * largest)


@pytest.mark.parametrize("name", GRAPHS)
def test_real_slices_get_the_same_probabilities(name: str, t1w_model: BundleModel, shared_data: Path) -> None:
    torch.manual_seed(0)
    network = MGMTClassifier()
    load_backbone_weights(network, "imagenet")
    network.eval()
    patients = sorted((shared_data / "rsna_t1wce_slices" / "train").iterdir())[:5]  # of each, the middle slices
    series = [read_study(patient, modalities=["T1wCE"])[0].series for patient in patients]
    images = torch.cat([t1w_model.slices(one) for one in series])
    with torch.no_grad():
        expected = torch.sigmoid(network(images)).flatten().numpy()

    found = probabilities(network, make_engine(name, network, images.shape[-1]).features(images))

    assert np.ptp(expected) > 1e-3
    assert np.allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", GRAPHS)
def test_study_gets_the_probabilities_of_the_training(
    name: str, t1w_bundle: Path, phantom_dir: Path, finished_run: Path
) -> None:
    table = pd.read_csv(finished_run / "slice_predictions.csv", dtype={"patient_id": str})
    rows = table[(table["stage"] == "fine_tune") & (table["split"] == "validation")].sort_values("slice_index")
    patient, rows = next(iter(rows.groupby("patient_id")))
    with open_models([t1w_bundle], engine=name) as models:
        prediction = predict_study(phantom_dir / "train" / patient, models, progress_bar=False).prediction

    assert np.allclose(prediction.series[0].slice_probabilities, rows["probability"], rtol=0, atol=1e-4)
    assert prediction.software["engine"] == name
    assert prediction.software[name] == version(name)


def test_number_of_threads_changes_no_figure(engine: Engine, two_threads: None) -> None:
    images = slices(5)
    again = make_engine(engine.name, engine.network, 48)

    assert torch.equal(again.features(images), engine.features(images))


@pytest.mark.parametrize("name", GRAPHS)
def test_making_an_engine_draws_no_random_number(name: str, t1w_model: BundleModel) -> None:
    before = torch.get_rng_state()
    make_engine(name, t1w_model.network, 32)
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
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    assert make_engine(AUTO, t1w_model.network, 48).name == "pytorch"


def test_auto_leaves_a_single_study_to_pytorch() -> None:
    assert [for_studies(AUTO, n) for n in (1, WORTHWHILE - 1, WORTHWHILE)] == ["pytorch", "pytorch", AUTO]
    assert for_studies("openvino", 1) == "openvino"


def test_engine_that_is_not_installed_is_told_with_what_to_install(
    t1w_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with (
        pytest.raises(InferenceError, match=r"openvino.*pip install 'mgmt_monai\[openvino\]'$"),
        open_models([t1w_bundle], engine="openvino"),
    ):
        pass
    with pytest.raises(InferenceError, match="expected one of auto, onnxruntime, openvino, pytorch"):
        make_engine("tensorrt", MGMTClassifier("alexnet"), 64)


def test_features_that_are_no_numbers_are_no_agreement() -> None:
    network = MGMTClassifier("alexnet").eval()
    with torch.no_grad():
        next(network.backbone.parameters()).fill_(float("inf"))
    assert np.isnan(differences(PyTorchEngine(network), slices(2, 64, 64))).all()


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    code = (
        "import torch\n"
        "from mgmt_monai.inference.engines.engine_choice import make_engine\n"
        "from mgmt_monai.networks import MGMTClassifier\n"
        "make_engine('openvino', MGMTClassifier('alexnet').eval(), 64).features(torch.rand(2, 1, 64, 64))\n"
        "import sys\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print('openvino_telemetry' in sys.modules, telemetry_utils.tm.__name__)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["False", "openvino.tools.ovc.telemetry_stub"]
    assert not (tmp_path / "intel").exists()  # where it keeps the number by which it knows a machine


def test_graphs_come_and_go_without_waiting_for_each_other() -> None:
    # With Python functions as callbacks, one in some tens of deletions waited for ever.
    code = (
        "import torch\n"
        "from mgmt_monai.inference.engines.engine_choice import make_engine\n"
        "from mgmt_monai.networks import MGMTClassifier\n"
        "network, images = MGMTClassifier('alexnet').eval(), torch.rand(2, 1, 64, 64)\n"
        "for _ in range(30):\n"
        "    print(tuple(make_engine('openvino', network, 64).features(images).shape))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.splitlines() == ["(2, 256)"] * 30


@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO changes the stack of signals on Linux alone")
def test_signals_are_answered_when_graphs_have_come_and_gone() -> None:
    # Each openvino.Core gives its thread a stack for signals, which is gone for good once two of them have ended.
    code = (
        "import os, signal, torch\n"
        "from mgmt_monai.inference.engines.engine_choice import make_engine\n"
        "from mgmt_monai.networks import MGMTClassifier\n"
        "network, images = MGMTClassifier('alexnet').eval(), torch.rand(2, 1, 64, 64)\n"
        "engines = [make_engine('openvino', network, 64) for _ in range(2)]\n"
        "shapes = [engine.features(images).shape for engine in engines]\n"
        "del engines[0]\n"
        "del engines[0]\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('answered'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "answered\n")
