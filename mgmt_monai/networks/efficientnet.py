"""MONAI's EfficientNet as a feature extractor, with the same function and tensor names in fewer passes over memory."""

from collections import OrderedDict

import torch
from monai.networks.nets import EfficientNetBN
from torch import Tensor, nn

PADDINGS = "image"
"""What a run notes: its network's paddings follow the image. Runs without the note had those of the published size."""


def build_efficientnet(network: str) -> nn.Module:
    """MONAI's EfficientNet without its ImageNet classifier, randomly initialised: (B, 3, H, W) -> (B, n_features).

    MONAI fixes the paddings for the size it was published with (224 for B0). Here they follow the image, as
    TensorFlow's do: at 300 x 300 MONAI's features have cosine 0.98 with those of the weights' own network. Else outputs
    and gradients are those of ``EfficientNetBN`` within rounding.
    """
    module = EfficientNetBN(network, pretrained=False, spatial_dims=2, in_channels=3)
    # The paper's head brings its own dropout and dense layers.
    module._dropout = nn.Identity()
    module._fc = nn.Identity()
    # What is averaged gets a name: it comes of an activation that other layers share.
    module._avg_pooling = nn.Sequential(OrderedDict(maps=nn.Identity(), mean=module._avg_pooling))
    for part in list(module.modules()):
        if hasattr(part, "_swish"):
            # MONAI's works in place, for which autograd first copies what the gradient needs.
            part._swish = nn.SiLU()
        _pad_as_the_image_needs(part)
    return module


class SamePadding(nn.Module):
    """TensorFlow's padding SAME before a convolution of stride 2, for the image that comes.

    A map of even size gets one row and column less before it than behind it, one of odd size the same on both sides.

    Args:
        kernel_size: Of the convolution, odd.

    Source: TensorFlow, tf.nn, "Notes on padding".
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.behind = kernel_size // 2

    def forward(self, maps: Tensor) -> Tensor:
        """The padded maps (B, C, H + k - 2 + H % 2, W + k - 2 + W % 2) of maps (B, C, H, W), for a kernel of k."""
        rows, columns = maps.shape[2], maps.shape[3]
        before = self.behind - 1
        pad = [before + columns % 2, self.behind, before + rows % 2, self.behind]
        return torch.nn.functional.pad(maps, pad)


def has_odd_map(image_size: int) -> bool:
    """Whether a map of odd size is halved on the way, so that paddings fixed for even ones are not the image's.

    Example:
        >>> has_odd_map(300), has_odd_map(224), has_odd_map(96)
        (True, False, False)
    """
    sizes = [image_size]
    while len(sizes) < 5:
        sizes.append((sizes[-1] + 1) // 2)
    return any(size % 2 for size in sizes)


def _pad_as_the_image_needs(part: nn.Module) -> None:
    """Let convolutions of stride 1 pad for themselves, which costs no copy; before others the image decides."""
    for name, convolution in list(part.named_children()):
        if isinstance(convolution, nn.Conv2d):
            kernel, stride = convolution.kernel_size[0], convolution.stride[0]
            if stride == 1:
                convolution.padding = (kernel // 2, kernel // 2)
            setattr(part, f"{name}_padding", nn.Identity() if stride == 1 else SamePadding(kernel))
