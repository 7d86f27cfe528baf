"""AlexNet against its function written out, with torchvision's parameter names."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.networks.calibrate import calibrate_batchnorm
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError

# torchvision's `alexnet().features`: index, outputs, inputs, kernel.
CONVOLUTIONS = [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)]


def random_weights() -> dict[str, Tensor]:
    weights = {}
    for index, n_out, n_in, kernel in CONVOLUTIONS:
        size = (2 / (n_in * kernel**2)) ** 0.5
        weights[f"features.{index}.weight"] = torch.randn(n_out, n_in, kernel, kernel, dtype=torch.float64) * size
        weights[f"features.{index}.bias"] = torch.randn(n_out, dtype=torch.float64) * 0.1
    return weights


def reference(images: Tensor, weights: dict[str, Tensor]) -> Tensor:
    def convolved(x: Tensor, index: int, **geometry: int) -> Tensor:
        return F.relu(F.conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], **geometry))

    x = F.max_pool2d(convolved(images, 0, stride=4, padding=2), 3, 2)
    x = F.max_pool2d(convolved(x, 3, padding=2), 3, 2)
    x = convolved(convolved(convolved(x, 6, padding=1), 8, padding=1), 10, padding=1)
    return F.max_pool2d(x, 3, 2).mean(dim=(2, 3))


@pytest.mark.parametrize("size", [(63, 63), (96, 130)], ids=["smallest", "oblong"])
def test_alexnet_computes_the_published_function(size: tuple[int, int]) -> None:
    weights = random_weights()
    module = get_backbone("alexnet").build().double().eval()
    module.load_state_dict(weights, strict=True)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(module(images), reference(images, weights), rtol=1e-9, atol=1e-9)


def test_alexnet_has_torchvisions_names_and_shapes() -> None:
    state = get_backbone("alexnet").build().state_dict()
    published = {get_backbone("alexnet").published_name(name): tensor.shape for name, tensor in state.items()}
    assert published == {name: tensor.shape for name, tensor in random_weights().items()}


@pytest.mark.parametrize("size", [(32, 32), (48, 48), (62, 63), (96, 62)])
def test_alexnet_refuses_an_image_that_is_too_small(size: tuple[int, int]) -> None:
    with pytest.raises(NetworkError, match=rf"at least 63 x 63 pixels \(got {size[0]} x {size[1]}\): set image_size"):
        MGMTClassifier("alexnet").eval()(torch.rand(1, 1, *size))


def test_calibration_leaves_alexnet_alone(made_slices: Tensor) -> None:
    classifier = MGMTClassifier("alexnet")
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    calibrate_batchnorm(classifier, made_slices.split(4))
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    with pytest.raises(NetworkError, match="no training images were given"):
        calibrate_batchnorm(classifier, [])


def test_random_alexnet_keeps_the_size_of_the_signal() -> None:
    features = get_backbone("alexnet").build()(torch.randn(8, 3, 96, 96))
    assert 0.1 < features.abs().mean() < 10  # PyTorch's own initialisation: below 0.02
