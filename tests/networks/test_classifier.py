import io
import re

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from nearness import assert_near
from torch import Tensor

from mgmt_monai.networks.backbones import BACKBONES
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError


def spread_between_images(features: Tensor) -> float:
    """Standard deviation over images over mean size, averaged over features."""
    return float(features.std(dim=0).mean() / features.abs().mean())


def as_keras_would(slices: Tensor) -> Tensor:
    """What reaches the first convolution of Keras' EfficientNet: x / 255, then ImageNet's mean and std."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return (slices.repeat(1, 3, 1, 1) / 255 - mean) / std


@pytest.mark.parametrize("network", BACKBONES)
def test_classifier_returns_one_logit_a_slice(network: str) -> None:
    classifier = MGMTClassifier(network).eval()
    for size in [(64, 80), (96, 96), (63, 63) if network == "alexnet" else (32, 32)]:
        assert classifier(torch.rand(3, 1, *size)).shape == (3, 1)


def test_backbone_gets_the_normalised_slice_in_three_channels() -> None:
    classifier = MGMTClassifier().eval()
    seen: list[Tensor] = []
    classifier.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    classifier(torch.stack([torch.zeros(1, 64, 64), torch.ones(1, 64, 64)]))
    assert seen[0].shape == (2, 3, 64, 64)
    # (0 - mean) / std and (1 - mean) / std, by hand
    np.testing.assert_allclose(seen[0][0, :, 5, 9].numpy(), [-2.117904, -2.035714, -1.804444], rtol=1e-5)
    np.testing.assert_allclose(seen[0][1, :, 5, 9].numpy(), [2.248908, 2.428571, 2.640000], rtol=1e-5)


def test_head_computes_what_the_paper_describes() -> None:
    classifier = MGMTClassifier(hidden_units=5).eval()
    weights = {name: value.double() for name, value in classifier.head.state_dict().items()}
    for norm in ("norm1", "norm2"):  # values that a mix-up of mean, variance, scale and offset would show
        for kind in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{kind}"] = torch.rand_like(weights[f"{norm}.{kind}"]) + 0.1
    classifier.head.load_state_dict(weights)
    w = {name: value.numpy() for name, value in weights.items()}
    features = torch.randn(4, 1280)

    def batchnorm(x: np.ndarray, name: str) -> np.ndarray:
        scaled = (x - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = batchnorm(features.double().numpy(), "norm1") @ w["dense1.weight"].T + w["dense1.bias"]
    x = batchnorm(np.maximum(x, 0), "norm2") @ w["dense2.weight"].T + w["dense2.bias"]
    with torch.no_grad():
        np.testing.assert_allclose(classifier.head(features).numpy(), x, rtol=1e-4)


def test_head_drops_out_in_train_mode_only() -> None:
    head = MGMTClassifier(dropout=0.4).head
    ones = torch.ones(1, 200_000)
    for dropout in (head.dropout1, head.dropout2):
        # 0.4 of the values dropped, the others scaled by 1/0.6; 5 standard errors are 0.0055
        assert (dropout.train()(ones) == 0).float().mean().item() == pytest.approx(0.4, abs=0.0055)
        assert torch.equal(dropout.eval()(ones), ones)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "resnet"}, "unknown network 'resnet'"),
        ({"hidden_units": 0}, "hidden_units must be at least 1 (got 0)"),
        ({"dropout": 1.0}, "dropout must be at least 0 and less than 1 (got 1.0)"),
        ({"dropout": float("nan")}, "dropout must be at least 0 and less than 1 (got nan)"),
    ],
    ids=["network", "hidden_units", "dropout-1", "dropout-nan"],
)
def test_classifier_refuses_a_bad_setting(settings: dict, message: str) -> None:
    with pytest.raises(NetworkError, match=re.escape(message)):
        MGMTClassifier(**settings)


@pytest.mark.parametrize(
    "images",
    [torch.rand(1, 3, 64, 64), torch.rand(1, 64, 64), torch.zeros(1, 1, 64, 64, dtype=torch.uint8)],
    ids=["3 channels", "no batch", "8 bit"],
)
def test_forward_refuses_other_input(images: Tensor) -> None:
    with pytest.raises(NetworkError, match=r"float slices of shape \(B, 1, H, W\).*got torch\.\w+ of shape"):
        MGMTClassifier().eval()(images)


def test_normalisation_is_not_part_of_a_checkpoint() -> None:
    parts = {name.split(".")[0] for name in MGMTClassifier().state_dict()}
    assert parts == {"backbone", "head"}


def test_channels_last_gives_the_same_logits(pretrained: MGMTClassifier, made_slices: Tensor) -> None:
    plain = MGMTClassifier(channels_last=False).eval()
    plain.load_state_dict(pretrained.state_dict())
    stem = pretrained.backbone._conv_stem.weight
    assert stem.is_contiguous(memory_format=torch.channels_last)
    assert not plain.backbone._conv_stem.weight.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert_near(pretrained.eval()(made_slices), plain(made_slices))


def test_channels_last_gives_the_same_logits_with_every_backbone(
    calibrated: MGMTClassifier, made_slices: Tensor
) -> None:
    plain = MGMTClassifier(calibrated.network, channels_last=False).eval()
    plain.load_state_dict(calibrated.state_dict())
    convolution = next(parameter for parameter in calibrated.backbone.parameters() if parameter.dim() == 4)
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert_near(calibrated.eval()(made_slices), plain(made_slices))


def test_loading_keeps_the_channels_last_layout(pretrained: MGMTClassifier) -> None:
    assert pretrained.backbone._conv_stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_metatensor_gives_the_same_logits_as_a_plain_tensor(made_slices: Tensor) -> None:
    classifier = MGMTClassifier().eval()
    with torch.no_grad():
        logits = classifier(MetaTensor(made_slices))
        assert type(logits) is Tensor
        assert torch.equal(logits, classifier(made_slices))


@pytest.mark.parametrize("slices", ["made_slices", "real_slices"])
def test_pretrained_features_differ_between_slices_only_when_normalised_once(
    slices: str, pretrained: MGMTClassifier, request: pytest.FixtureRequest
) -> None:
    images = request.getfixturevalue(slices)
    pretrained.eval()
    with torch.no_grad():
        ours = spread_between_images(pretrained.features(images))
        keras = spread_between_images(pretrained.backbone(as_keras_would(images)))
    assert keras < 0.02, "slices in [0, 1], divided by 255 again, all look black to the network"
    assert ours > 0.3
    assert ours > 50 * keras


@pytest.mark.parametrize("how", ["trace", "script"])
def test_torchscript_gives_the_same_logits(how: str, pretrained: MGMTClassifier, made_slices: Tensor) -> None:
    pretrained.eval()
    with torch.no_grad():
        scripted = torch.jit.script(pretrained) if how == "script" else torch.jit.trace(pretrained, made_slices[:2])
        stored = io.BytesIO()
        torch.jit.save(scripted, stored)
        stored.seek(0)
        loaded = torch.jit.load(stored)
        assert_near(loaded(made_slices), pretrained(made_slices))


@pytest.mark.parametrize("how", ["trace", "script"])
def test_torchscript_gives_the_same_logits_with_every_backbone(
    how: str, calibrated: MGMTClassifier, made_slices: Tensor
) -> None:
    calibrated.eval()
    with torch.no_grad():
        scripted = torch.jit.script(calibrated) if how == "script" else torch.jit.trace(calibrated, made_slices[:2])
        # Another number and size of slices than traced with
        assert_near(scripted(made_slices[:3, :, :, 8:]), calibrated(made_slices[:3, :, :, 8:]))


@pytest.mark.parametrize("hidden_units", [2, 5, 32])
@pytest.mark.parametrize("size", [0.0, 1e-7, 1.0], ids=["nothing", "tiny", "large"])
def test_head_that_answers_linearly_does_so_and_can_be_trained(hidden_units: int, size: float) -> None:
    torch.manual_seed(0)
    head = MGMTClassifier(hidden_units=hidden_units).eval()
    features = torch.rand(40, 1280) * torch.linspace(0, 3, 1280)  # the first does not vary
    weight = size * torch.randn(1280, dtype=torch.float64)
    head.answer_linearly(weight, 0.3, features.double().mean(0), features.double().var(0), features[:10])
    others = 2 * torch.rand(50, 1280)
    expected = others.double() @ weight + 0.3
    np.testing.assert_allclose(head.head(others)[:, 0].detach(), expected, atol=1e-4 * max(size, 1e-3))
    head.train()
    head.head(features).square().sum().backward()
    assert head.head.dense2.weight.grad.any()
    assert head.head.dense1.weight.grad.any() or not size  # behind weights of zero


def test_head_of_one_hidden_unit_answers_nothing_linearly() -> None:
    classifier = MGMTClassifier(hidden_units=1)
    with pytest.raises(NetworkError, match="hidden_units: a linear answer takes 2 or more, found 1"):
        classifier.answer_linearly(torch.ones(1280), 0.0, torch.zeros(1280), torch.ones(1280), torch.rand(4, 1280))
