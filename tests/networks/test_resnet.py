"""The ResNets against their function written out, with torchvision's parameter names."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mgmt_monai.networks.backbones import get_backbone

# Blocks of each of the four layers.
N_BLOCKS = {"resnet-10": (1, 1, 1, 1), "resnet-50": (3, 4, 6, 3)}


def convolutions_of_a_block(network: str, n_in: int, width: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Inputs, outputs, kernel and stride of each convolution on the way that is not the shortcut."""
    if network == "resnet-10":
        return [(n_in, width, 3, stride), (width, width, 3, 1)]
    return [(n_in, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)]


def blocks(network: str) -> list[tuple[str, list[tuple[int, int, int, int]]]]:
    rows, n_in = [], 64
    for layer, n_blocks in enumerate(N_BLOCKS[network], start=1):
        for index in range(n_blocks):
            stride = 2 if layer > 1 and index == 0 else 1
            convolutions = convolutions_of_a_block(network, n_in, 32 * 2**layer, stride)
            rows.append((f"layer{layer}.{index}", convolutions))
            n_in = convolutions[-1][1]
    return rows


def has_convolution_in_the_shortcut(convolutions: list[tuple[int, int, int, int]]) -> bool:
    return convolutions[0][0] != convolutions[-1][1] or any(stride == 2 for *_, stride in convolutions)


def random_weights(network: str) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}

    def add(convolution: str, norm: str, n_in: int, n_out: int, kernel: int) -> None:
        size = (2 / (n_in * kernel**2)) ** 0.5
        weights[f"{convolution}.weight"] = torch.randn(n_out, n_in, kernel, kernel, dtype=torch.float64) * size
        for kind in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{kind}"] = torch.rand(n_out, dtype=torch.float64) + (0.5 if kind != "bias" else 0)
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(0)

    add("conv1", "bn1", 3, 64, 7)
    for name, convolutions in blocks(network):
        for number, (n_in, n_out, kernel, _) in enumerate(convolutions, start=1):
            add(f"{name}.conv{number}", f"{name}.bn{number}", n_in, n_out, kernel)
        if has_convolution_in_the_shortcut(convolutions):
            add(f"{name}.downsample.0", f"{name}.downsample.1", convolutions[0][0], convolutions[-1][1], 1)
    return weights


def reference(network: str, images: Tensor, weights: dict[str, Tensor]) -> Tensor:
    def convolved(x: Tensor, convolution: str, norm: str, stride: int) -> Tensor:
        kernel = weights[f"{convolution}.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, var, scale, offset = (
            weights[f"{norm}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, offset, eps=1e-5)

    x = F.max_pool2d(F.relu(convolved(images, "conv1", "bn1", 2)), 3, 2, padding=1)
    for name, convolutions in blocks(network):
        y = x
        for number, (*_, stride) in enumerate(convolutions, start=1):
            y = convolved(y, f"{name}.conv{number}", f"{name}.bn{number}", stride)
            y = y if number == len(convolutions) else F.relu(y)
        if has_convolution_in_the_shortcut(convolutions):
            stride = max(stride for *_, stride in convolutions)
            x = convolved(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        x = F.relu(x + y)
    return x.mean(dim=(2, 3))


@pytest.mark.parametrize("network", N_BLOCKS)
@pytest.mark.parametrize("size", [(32, 32), (65, 96)], ids=["small", "oblong"])
def test_resnet_computes_the_published_function(network: str, size: tuple[int, int]) -> None:
    weights = random_weights(network)
    module = get_backbone(network).build().double().eval()
    module.load_state_dict(weights, strict=True)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(module(images), reference(network, images, weights), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", N_BLOCKS)
def test_resnet_has_torchvisions_names_and_shapes(network: str) -> None:
    state = get_backbone(network).build().state_dict()
    published = {get_backbone(network).published_name(name): tensor.shape for name, tensor in state.items()}
    expected = {name: tensor.shape for name, tensor in random_weights(network).items()}
    assert published == expected
    if network == "resnet-50":
        assert len(expected) == 53 * (1 + 5)  # convolutions, each with the five tensors of its BatchNorm
