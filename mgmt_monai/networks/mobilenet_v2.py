"""MobileNetV2 as a feature extractor, with torchvision's parameter names."""

from torch import Tensor, nn

N_FEATURES = 1280
"""Length of the feature vector of one image."""

N_STEM_CHANNELS = 32
"""Channels behind the first convolution."""

STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, channels, number of blocks and stride of the first of them. Source: the paper's table 2."""


class MobileNetV2(nn.Module):
    """The convolutions of MobileNetV2 at width 1, then the mean over all positions.

    The published network goes on with dropout and ImageNet's classifier; here the paper's head follows.

    Source: Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks (2018), arXiv:1801.04381.

    Example:
        >>> import torch
        >>> MobileNetV2().eval()(torch.rand(2, 3, 32, 48)).shape
        torch.Size([2, 1280])
    """

    def __init__(self) -> None:
        super().__init__()
        n_channels = N_STEM_CHANNELS
        layers: list[nn.Module] = [_convolution(3, n_channels, kernel_size=3, stride=2)]
        for expansion, n_out, n_blocks, first_stride in STAGES:
            for index in range(n_blocks):
                layers.append(InvertedResidual(n_channels, n_out, first_stride if index == 0 else 1, expansion))
                n_channels = n_out
        layers.append(_convolution(n_channels, N_FEATURES, kernel_size=1))
        self.features = nn.Sequential(*layers)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """The pooled features (B, 1280) of each image of (B, 3, H, W), float, normalised."""
        return self.features(images).mean(dim=(2, 3))


class InvertedResidual(nn.Module):
    """Expand the channels, convolve each alone, project back without activation; add the input where it fits.

    The middle, whose convolution has stride 1 or 2, is ``expansion`` times wider; 1 leaves the first convolution out.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        n_middle = n_in * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_convolution(n_in, n_middle, kernel_size=1)]
        self.conv = nn.Sequential(
            *layers,
            _convolution(n_middle, n_middle, kernel_size=3, stride=stride, groups=n_middle),
            nn.Conv2d(n_middle, n_out, kernel_size=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.adds_input = stride == 1 and n_in == n_out

    def forward(self, images: Tensor) -> Tensor:
        """The block's output (B, n_out, H / stride, W / stride), rounded up, of images (B, n_in, H, W)."""
        projected = self.conv(images)
        return images + projected if self.adds_input else projected


def _convolution(n_in: int, n_out: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU6(inplace=True),
    )
