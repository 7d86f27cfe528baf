"""MobileNetV2 against its function written out, with torchvision's names, and the published weights on a photograph."""

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn import functional as F

from mgmt_monai.networks.backbones import get_backbone
from mgmt_monai.networks.calibrate import calibrate_batchnorm
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.weights import load_backbone_weights

CHECKPOINT = "mobilenet_v2-b0353104.pth"
PALACE = 698  # of ImageNet's 1000 classes

# One row a block, 1 to 17: channels in, in the middle, out; stride.
BLOCKS = [
    (32, 32, 16, 1),
    (16, 96, 24, 2),
    (24, 144, 24, 1),
    (24, 144, 32, 2),
    (32, 192, 32, 1),
    (32, 192, 32, 1),
    (32, 192, 64, 2),
    (64, 384, 64, 1),
    (64, 384, 64, 1),
    (64, 384, 64, 1),
    (64, 384, 96, 1),
    (96, 576, 96, 1),
    (96, 576, 96, 1),
    (96, 576, 160, 2),
    (160, 960, 160, 1),
    (160, 960, 160, 1),
    (160, 960, 320, 1),
]


def random_weights() -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}

    def add(convolution: str, norm: str, n_out: int, n_in: int, kernel: int) -> None:
        size = (2 / (n_in * kernel**2)) ** 0.5
        weights[f"{convolution}.weight"] = torch.randn(n_out, n_in, kernel, kernel, dtype=torch.float64) * size
        for kind in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{kind}"] = torch.rand(n_out, dtype=torch.float64) + (0.5 if kind != "bias" else 0)
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(0)

    add("features.0.0", "features.0.1", 32, 3, 3)
    for index, (n_in, n_middle, n_out, _) in enumerate(BLOCKS, start=1):
        block = f"features.{index}.conv"
        if index == 1:  # nothing to expand
            add(f"{block}.0.0", f"{block}.0.1", n_middle, 1, 3)
            add(f"{block}.1", f"{block}.2", n_out, n_middle, 1)
        else:
            add(f"{block}.0.0", f"{block}.0.1", n_middle, n_in, 1)
            add(f"{block}.1.0", f"{block}.1.1", n_middle, 1, 3)
            add(f"{block}.2", f"{block}.3", n_out, n_middle, 1)
    add("features.18.0", "features.18.1", 1280, 320, 1)
    return weights


def reference(images: Tensor, weights: dict[str, Tensor]) -> Tensor:
    def normed(x: Tensor, norm: str) -> Tensor:
        mean, var, scale, offset = (
            weights[f"{norm}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, offset, eps=1e-5)

    def convolved(x: Tensor, layer: str, **geometry: int) -> Tensor:
        return F.relu6(normed(F.conv2d(x, weights[f"{layer}.0.weight"], **geometry), f"{layer}.1"))

    x = convolved(images, "features.0", stride=2, padding=1)
    for index, (n_in, n_middle, n_out, stride) in enumerate(BLOCKS, start=1):
        block = f"features.{index}.conv"
        y = x if index == 1 else convolved(x, f"{block}.0")
        at = 0 if index == 1 else 1
        y = convolved(y, f"{block}.{at}", stride=stride, padding=1, groups=n_middle)
        y = normed(F.conv2d(y, weights[f"{block}.{at + 1}.weight"]), f"{block}.{at + 2}")
        x = x + y if stride == 1 and n_in == n_out else y
    return convolved(x, "features.18").mean(dim=(2, 3))


@pytest.mark.parametrize("size", [(32, 32), (65, 96)], ids=["small", "oblong"])
def test_mobilenet_v2_computes_the_published_function(size: tuple[int, int]) -> None:
    weights = random_weights()
    module = get_backbone("mobilenet-v2").build().double().eval()
    module.load_state_dict(weights, strict=True)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(module(images), reference(images, weights), rtol=1e-9, atol=1e-9)


@pytest.fixture
def published(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published checkpoint, where a download would have left it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub/checkpoints" / CHECKPOINT
    path.parent.mkdir(parents=True)
    path.symlink_to((shared_data / "weights" / CHECKPOINT).resolve())
    return path


def test_published_weights_see_the_palace(published: Path) -> None:
    classifier = MGMTClassifier("mobilenet-v2").eval()
    report = load_backbone_weights(classifier, "imagenet")
    assert report.source == CHECKPOINT
    assert report.not_loaded == ("classifier.1.bias", "classifier.1.weight")
    tensors = torch.load(published, weights_only=True)
    # China's Summer Palace, 427 x 640: the square in the middle
    photograph = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None, :, :, 106:533] / 255
    photograph = F.interpolate(photograph, size=(224, 224), mode="bilinear", antialias=True)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        features = classifier.backbone((photograph - mean) / std)
        logits = F.linear(features, tensors["classifier.1.weight"], tensors["classifier.1.bias"])
    assert int(logits.argmax()) == PALACE


def test_published_weights_are_not_calibrated_away(published: Path, made_slices: Tensor) -> None:
    classifier = MGMTClassifier("mobilenet-v2")
    load_backbone_weights(classifier, "imagenet")
    with pytest.raises(NetworkError, match="mobilenet-v2 is not to be calibrated: weights are loaded"):
        calibrate_batchnorm(classifier, [made_slices])
