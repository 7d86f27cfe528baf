import numpy as np
import pytest
import torch
from torch import Tensor

from mgmt_monai.networks.backbones import BACKBONES
from mgmt_monai.networks.calibrate import calibrate_batchnorm
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.freeze import batchnorm_layers


@pytest.mark.parametrize("backbone", ["efficientnet-b0", "efficientnet-b3", "mobilenet-v2"])
def test_calibration_brings_the_features_of_a_random_backbone_back(backbone: str, made_slices: Tensor) -> None:
    network = MGMTClassifier(backbone).eval()
    with torch.no_grad():
        before = network.features(made_slices)
        calibrate_batchnorm(network, made_slices.split(4))
        after = network.features(made_slices)
    assert before.abs().max() < 1e-6  # the signal is lost
    assert after.std(dim=0).mean() > 0.01  # and differs between slices again


@pytest.mark.parametrize("network", BACKBONES)
def test_features_of_a_calibrated_backbone_differ_between_slices(network: str, made_slices: Tensor) -> None:
    classifier = MGMTClassifier(network).eval()
    calibrate_batchnorm(classifier, made_slices.split(4))
    with torch.no_grad():
        features = classifier.features(made_slices)
    assert features.abs().mean() > 0.1
    assert features.std(dim=0).mean() > 0.1 * features.abs().mean()


def test_calibration_averages_the_statistics_of_the_batches(made_slices: Tensor) -> None:
    network = MGMTClassifier().eval()
    calibrate_batchnorm(network, [made_slices[:8], made_slices[8:]])  # unequal: each counts the same
    seen: list[np.ndarray] = []
    first = network.backbone._bn0
    hook = first.register_forward_pre_hook(lambda _, args: seen.append(args[0].double().numpy()))
    with torch.no_grad():
        network.features(made_slices[:8])
        network.features(made_slices[8:])
    hook.remove()
    mean = np.mean([batch.mean(axis=(0, 2, 3)) for batch in seen], axis=0)
    variance = np.mean([batch.var(axis=(0, 2, 3), ddof=1) for batch in seen], axis=0)
    np.testing.assert_allclose(first.running_mean.numpy(), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first.running_var.numpy(), variance, rtol=1e-4)


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_calibration_changes_only_the_statistics_of_the_backbone(mode: bool, made_slices: Tensor) -> None:
    network = MGMTClassifier().train(mode)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    momenta = [layer.momentum for layer in batchnorm_layers(network)]
    calibrate_batchnorm(network, [made_slices])
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {name for name in before if name.startswith("backbone.") and name.endswith(statistics)}
    assert [module.training for module in network.modules()] == modes
    assert [layer.momentum for layer in batchnorm_layers(network)] == momenta


def test_calibration_refuses_loaded_weights(pretrained: MGMTClassifier, made_slices: Tensor) -> None:
    with pytest.raises(NetworkError, match="efficientnet-b0 is not to be calibrated: weights are loaded"):
        calibrate_batchnorm(pretrained, [made_slices])


@pytest.mark.parametrize(
    ("batches", "message"),
    [([], "no training images"), ([torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64)], r"\(B, 1, H, W\)")],
    ids=["no batch", "3 channels"],
)
def test_failed_calibration_leaves_the_network_as_it_was(batches: list[Tensor], message: str) -> None:
    network = MGMTClassifier()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(NetworkError, match=message):
        calibrate_batchnorm(network, batches)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(layer.momentum == 0.01 for layer in batchnorm_layers(network.backbone))
