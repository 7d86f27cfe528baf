"""The network that finds the brain in a T1w volume: deepbet's LinkNet, as plain modules with weights in safetensors."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor, nn

from mgmt_monai.preparation.errors import PreparationError

WEIGHTS = Path(__file__).parent / "data" / "deepbet_1_0_2_fp16.safetensors"
SHA256 = "fd071c96f35b3a4460b8dfdea247b0d6f94e3f5e8697598cd6d51dea662be0df"
"""Of that file; the card beside it says what it is."""


def _unit(convolution: nn.Conv3d | nn.ConvTranspose3d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.InstanceNorm3d(convolution.out_channels), nn.ReLU())


class _Block(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv3d(channels_in, channels, 3, stride, 1, bias=False),
            nn.InstanceNorm3d(channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, 1, 1, bias=False),
            nn.InstanceNorm3d(channels),
        )
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            around = nn.Conv3d(channels_in, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(around, nn.InstanceNorm3d(channels))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.double_conv(features) + self.downsample(features))


class _Down(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.block1 = _Block(channels_in, channels, stride)
        self.block2 = _Block(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.block2(self.block1(features))
        return found


class _Up(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        narrow = channels_in // 4
        self.conv1 = _unit(nn.Conv3d(channels_in, narrow, 1, bias=False))
        self.tp_conv = _unit(nn.ConvTranspose3d(narrow, narrow, 3, stride, 1, stride - 1, bias=False))
        self.conv2 = _unit(nn.Conv3d(narrow, channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.conv2(self.tp_conv(self.conv1(features)))
        return found


class BrainNetwork(nn.Module):
    """The probability that a voxel is brain.

    Takes volumes, shape ``(B, 1, X, Y, Z)`` in RAS order, each side a multiple of 32, of mean 0.449 and standard
    deviation 0.226; gives ``(B, X, Y, Z)``, from 0 to 1.

    Source: Fisch et al., deepbet, Comput Biol Med 2024 (MIT licence); Chaurasia & Culurciello, LinkNet, 2017.
    """

    def __init__(self) -> None:
        super().__init__()
        self.init = nn.Sequential(*_unit(nn.Conv3d(1, 16, 7, 2, 3, bias=False)), nn.MaxPool3d(3, 2, 1))
        self.down0, self.down1 = _Down(16, 16, 1), _Down(16, 32, 2)
        self.down2, self.down3 = _Down(32, 64, 2), _Down(64, 128, 2)
        self.up0, self.up1, self.up2, self.up3 = _Up(128, 64, 2), _Up(64, 32, 2), _Up(32, 16, 2), _Up(16, 16, 1)
        self.tp_conv1 = _unit(nn.ConvTranspose3d(16, 8, 3, 2, 1, 1))
        self.conv = _unit(nn.Conv3d(8, 8, 3, 1, 1))
        self.tp_conv2 = nn.ConvTranspose3d(8, 2, 2, 2)

    def forward(self, volumes: Tensor) -> Tensor:
        """As the class says."""
        start = self.init(volumes)
        half = self.down0(start)
        quarter = self.down1(half)
        eighth = self.down2(quarter)
        deep = self.up0(self.down3(eighth)) + eighth
        deep = self.up1(deep) + quarter
        deep = self.up2(deep) + half
        deep = self.up3(deep) + start
        return torch.softmax(self.tp_conv2(self.conv(self.tp_conv1(deep))), 1)[:, 1]


@cache
def brain_network(name: str) -> BrainNetwork:
    """The network with its packaged weights, in evaluation mode.

    Args:
        name: ``where`` for the whole field of view, ``edge`` for the head.

    Raises:
        PreparationError: The file with the weights is damaged.
    """
    content = WEIGHTS.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise PreparationError(
            f"{WEIGHTS}: expected the packaged weights, found a damaged file. Install mgmt_monai again."
        )
    prefix = f"{name}."
    own = {key.removeprefix(prefix): value.float() for key, value in load(content).items() if key.startswith(prefix)}
    network = BrainNetwork()
    network.load_state_dict(own)
    return network.eval()
