import pytest
import torch

from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.networks.errors import NetworkError


# Published sizes (Keras' EfficientNetB0/B3 without top: trainable parameters).
@pytest.mark.parametrize(
    ("network", "n_parameters", "n_features"),
    [("efficientnet-b0", 4_007_548, 1280), ("efficientnet-b3", 10_696_232, 1536)],
    ids=["b0", "b3"],
)
def test_backbone_has_the_published_size(network: str, n_parameters: int, n_features: int) -> None:
    backbone = get_backbone(network)
    module = backbone.build().eval()
    assert sum(parameter.numel() for parameter in module.parameters()) == n_parameters
    with torch.no_grad():
        assert module(torch.rand(2, 3, 64, 64)).shape == (2, n_features) == (2, backbone.n_features)


def test_get_backbone_refuses_an_unknown_name_and_lists_the_known() -> None:
    with pytest.raises(NetworkError, match=r"'efficientnet-b00': use one of efficientnet-b0, efficientnet-b3"):
        get_backbone("efficientnet-b00")


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
