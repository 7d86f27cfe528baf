"""AlexNet's convolutions as a feature extractor, with torchvision's parameter names."""

import torch
from torch import Tensor, nn

from mgmt_monai.networks.errors import NetworkError

N_FEATURES = 256
"""Length of the feature vector of one image."""

MIN_SIZE = 63
"""Smallest height and width of an image, in pixels: below it nothing is left for the last pooling."""


class AlexNet(nn.Module):
    """The five convolutions of the one-column AlexNet, then the mean over all positions.

    The published network goes on with three dense layers on a 6 x 6 grid; here the paper's head follows.
    There is no BatchNorm in it. The initialisation is He's, which keeps the size of the signal from layer to
    layer; PyTorch's own makes it smaller with each.

    Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks (2014),
    arXiv:1404.5997; He et al., Delving deep into rectifiers (2015), arXiv:1502.01852.

    Example:
        >>> AlexNet()(torch.rand(2, 3, 64, 80)).shape
        torch.Size([2, 256])
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, N_FEATURES, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """The pooled features (B, 256) of each image.

        Args:
            images: Shape (B, 3, H, W), float, normalised; H and W at least 63.

        Raises:
            NetworkError: The images are too small.
        """
        if not torch.jit.is_scripting():
            _check_size(images)
        return self.features(images).mean(dim=(2, 3))


def _check_size(images: Tensor) -> None:
    height, width = images.shape[-2:]
    # While tracing, sizes are tensors and a check would only warn.
    if not torch.jit.is_tracing() and min(height, width) < MIN_SIZE:
        raise NetworkError(
            f"alexnet takes images of at least {MIN_SIZE} x {MIN_SIZE} pixels (got {height} x {width}): "
            f"set image_size to {MIN_SIZE} or more, or take another backbone"
        )
