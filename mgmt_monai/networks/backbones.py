"""The networks that turn an image into features: by name, with what is needed to load weights into them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from monai.networks.nets import resnet10, resnet50
from monai.networks.nets.efficientnet import url_map
from torch import nn

from mgmt_monai.networks import alexnet, mobilenet_v2
from mgmt_monai.networks.efficientnet import build_efficientnet
from mgmt_monai.networks.errors import NetworkError

TORCHVISION = "https://download.pytorch.org/models"
"""The folder of torchvision's published checkpoints."""


@dataclass(frozen=True)
class Backbone:
    """How one backbone is built, how wide its features are, and how its published checkpoint is read.

    Args:
        n_features: Length of the feature vector of one image.
        build: Makes the randomly initialised module: ``(B, 3, H, W)`` -> ``(B, n_features)``, pooled.
        url: The ImageNet checkpoint; the first digits of its SHA-256 are part of the file name. ``None``
            where none is published.
        left_out: Prefixes of the checkpoint's tensors that the module has no use for (its ImageNet
            classifier); anything else that the module does not know is an error.
        published_name: Turns a tensor's name in our module into its name in that checkpoint.
        min_size: Smallest height and width of an image, in pixels.
        maps: Name of the module inside whose output, (B, n_features, h, w), is averaged over all positions into
            the features: the last place that still knows where something was seen.
    """

    n_features: int
    build: Callable[[], nn.Module]
    url: str | None
    left_out: tuple[str, ...] = ("classifier.",)
    published_name: Callable[[str], str] = str
    min_size: int = 1
    maps: str = "features"


def get_backbone(network: str) -> Backbone:
    """The backbone of this name.

    Raises:
        NetworkError: The name is unknown; the message lists those that are known.

    Example:
        >>> get_backbone("efficientnet-b0").n_features
        1280
    """
    try:
        return BACKBONES[network]
    except KeyError:
        known = ", ".join(BACKBONES)
        raise NetworkError(f"unknown network {network!r}: use one of {known}") from None


def _published_efficientnet_name(name: str) -> str:
    """``_blocks.2.4._bn0.bias`` (MONAI: stack, block) -> ``_blocks.4._bn0.bias`` (published: block)."""
    parts = name.split(".")
    return ".".join(["_blocks", *parts[2:]]) if parts[0] == "_blocks" else name


def _efficientnet(network: str, n_features: int) -> Backbone:
    build, maps = partial(build_efficientnet, network), "_avg_pooling.maps"
    return Backbone(n_features, build, url_map[network], ("_fc.",), _published_efficientnet_name, maps=maps)


def _build_resnet(build: Callable[..., nn.Module]) -> nn.Module:
    """MONAI's ResNet for pictures, without classifier, as published.

    MONAI's own defaults are those for volumes: no stride in the first convolution, biases in the shortcuts.
    """
    return build(
        pretrained=False,
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_size=7,
        conv1_t_stride=2,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )


def _resnet(build: Callable[..., nn.Module], n_features: int, file_name: str | None) -> Backbone:
    url = f"{TORCHVISION}/{file_name}" if file_name else None  # MONAI's names of tensors are torchvision's
    return Backbone(n_features, partial(_build_resnet, build), url, ("fc.",), maps="layer4")


BACKBONES: dict[str, Backbone] = {
    "efficientnet-b0": _efficientnet("efficientnet-b0", n_features=1280),
    "efficientnet-b3": _efficientnet("efficientnet-b3", n_features=1536),
    "alexnet": Backbone(
        alexnet.N_FEATURES, alexnet.AlexNet, f"{TORCHVISION}/alexnet-owt-7be5be79.pth", min_size=alexnet.MIN_SIZE
    ),
    "mobilenet-v2": Backbone(
        mobilenet_v2.N_FEATURES, mobilenet_v2.MobileNetV2, f"{TORCHVISION}/mobilenet_v2-b0353104.pth"
    ),
    "resnet-10": _resnet(resnet10, n_features=512, file_name=None),
    # The first of torchvision's two; the second comes of a later and longer way of training.
    "resnet-50": _resnet(resnet50, n_features=2048, file_name="resnet50-0676ba61.pth"),
}
"""Every backbone, by the name that a config gives as ``backbone``."""
