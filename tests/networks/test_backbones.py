import re

import pytest
import torch
from nearness import assert_near

from mgmt_monai.networks.backbones import BACKBONES, get_backbone
from mgmt_monai.networks.errors import NetworkError


# Published sizes without the classifier (Keras' EfficientNetB0/B3 without top: trainable parameters; torchvision's
# others). ResNet-10 by hand: ResNet-18's 11,176,512 less the second block of each layer, 73,984 + 295,424 +
# 1,180,672 + 4,720,640.
@pytest.mark.parametrize(
    ("network", "n_parameters", "n_features"),
    [
        ("efficientnet-b0", 4_007_548, 1280),
        ("efficientnet-b3", 10_696_232, 1536),
        ("alexnet", 2_469_696, 256),
        ("mobilenet-v2", 2_223_872, 1280),
        ("resnet-10", 4_905_792, 512),
        ("resnet-50", 23_508_032, 2048),
    ],
)
def test_backbone_has_the_published_size(network: str, n_parameters: int, n_features: int) -> None:
    backbone = get_backbone(network)
    module = backbone.build().eval()
    assert sum(parameter.numel() for parameter in module.parameters()) == n_parameters
    with torch.no_grad():
        assert module(torch.rand(2, 3, 64, 64)).shape == (2, n_features) == (2, backbone.n_features)


def test_get_backbone_refuses_an_unknown_name_and_lists_the_known() -> None:
    known = "efficientnet-b0, efficientnet-b3, alexnet, mobilenet-v2, resnet-10, resnet-50"
    with pytest.raises(NetworkError, match=f"'efficientnet-b00': use one of {known}$"):
        get_backbone("efficientnet-b00")


@pytest.mark.parametrize("network", BACKBONES)
def test_published_file_has_the_digits_of_its_hash_in_its_name(network: str) -> None:
    url = get_backbone(network).url
    if network == "resnet-10":
        assert url is None
    else:
        assert re.fullmatch(r"https://\S+/\w[\w-]*-[0-9a-f]{8}\.pth", url)


# Names as they are in the published checkpoints (efficientnet_pytorch counts blocks without stacks).
@pytest.mark.parametrize(
    ("ours", "published"),
    [
        ("_conv_stem.weight", "_conv_stem.weight"),
        ("_bn0.running_mean", "_bn0.running_mean"),
        ("_blocks.0.0._depthwise_conv.weight", "_blocks.0._depthwise_conv.weight"),
        ("_blocks.5.14._se_reduce.bias", "_blocks.14._se_reduce.bias"),
        ("_conv_head.weight", "_conv_head.weight"),
    ],
)
def test_published_name_of_a_tensor(ours: str, published: str) -> None:
    assert get_backbone("efficientnet-b0").published_name(ours) == published


@pytest.mark.parametrize("network", BACKBONES)
def test_mean_of_the_maps_is_the_features(network: str) -> None:
    backbone = get_backbone(network)
    module = backbone.build().eval()
    kept = []
    module.get_submodule(backbone.maps).register_forward_hook(lambda layer, given, maps: kept.append(maps.clone()))

    with torch.no_grad():
        features = module(torch.rand(2, 3, 96, 128))

    assert len(kept) == 1
    assert kept[0].ndim == 4
    assert kept[0].shape[2] > 1
    assert_near(features, kept[0].mean(dim=(2, 3)))
