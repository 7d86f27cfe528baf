"""EfficientNet against MONAI's own module with the same weights: outputs, gradients, names."""

import pytest
import torch
from monai.networks.nets import EfficientNetBN
from monai.networks.utils import convert_to_torchscript
from nearness import assert_near
from torch import Tensor, nn

from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.networks.classifier import MGMTClassifier

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


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(96, 96), (224, 224), (300, 300), (97, 131)], ids=str)
def test_features_are_monais(network: str, size: tuple[int, int]) -> None:
    ours, theirs = modules(network)
    images = torch.rand(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs.eval()(images)
        found = ours.eval()(images)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(64, 64), (75, 99)], ids=str)
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


# TensorFlow's SAME, by hand: (ceil(n / 2) - 1) * 2 + kernel - n pixels in all. The stride-2 layers have kernels 3, 3,
# 5, 3, 5, and see 224, 112, 56, 28, 14 in B0: 1, 1, 3, 1, 3. In B3 they see 300, 150, 75, 38, 19: 1, 1, 4, 1, 4.
@pytest.mark.parametrize(("network", "n_uneven"), [("efficientnet-b0", 5), ("efficientnet-b3", 3)])
def test_only_uneven_paddings_are_left(network: str, n_uneven: int) -> None:
    left = [layer.padding for layer in get_backbone(network).build().modules() if isinstance(layer, nn.ConstantPad2d)]
    assert len(left) == n_uneven
    assert all((before_x, before_y) != (after_x, after_y) for before_x, after_x, before_y, after_y in left)


@pytest.mark.parametrize("network", NETWORKS)
def test_torchscript_computes_the_same(network: str) -> None:
    classifier = MGMTClassifier(network).eval()
    images = torch.rand(2, 1, 75, 64)
    scripted = convert_to_torchscript(classifier)
    with torch.no_grad():
        assert_near(scripted(images), classifier(images))
