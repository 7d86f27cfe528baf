"""MONAI's EfficientNet as a feature extractor, with the same function and tensor names in fewer passes over memory."""

from __future__ import annotations

from collections import OrderedDict

from monai.networks.nets import EfficientNetBN
from torch import nn


def build_efficientnet(network: str) -> nn.Module:
    """MONAI's EfficientNet without its ImageNet classifier.

    Its paddings are fixed when it is built, for the size it was published with (224 for B0, 300 for B3);
    other sizes work, B0 at 300 x 300 included, with borders that differ from TensorFlow's by one pixel.

    Args:
        network: ``efficientnet-b0`` to ``efficientnet-b8``.

    Returns:
        A randomly initialised module: (B, 3, H, W) -> (B, n_features). Outputs and gradients are those of
        ``EfficientNetBN`` within rounding.
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
        _merge_paddings(part)
    return module


def _merge_paddings(part: nn.Module) -> None:
    """Let convolutions pad for themselves where the padding is the same on opposite sides: it costs no copy then."""
    for name, layer in list(part.named_children()):
        if isinstance(layer, nn.ConstantPad2d):
            left, right, top, bottom = layer.padding
            if (left, top) == (right, bottom):
                convolution = part.get_submodule(name.removesuffix("_padding"))
                convolution.padding = (top, left)  # type: ignore[assignment]
                setattr(part, name, nn.Identity())
