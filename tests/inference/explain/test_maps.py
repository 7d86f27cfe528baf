"""Maps find what the logit is made of: a network whose logit is known in full, and whose maps follow by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from nearness import assert_near
from torch import Tensor, nn

from mgmt_monai.inference.explain.gradcam import cells, gradcam_maps
from mgmt_monai.inference.explain.occlusion import occlusion_maps
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.backbones import BACKBONES, Backbone

SIZE = 32


class Quadrants(nn.Module):
    """Two maps: the slice's upper left quarter, and its lower right quarter. Features: their means."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        grey = images[:, :1]
        upper_left, lower_right = torch.zeros_like(grey), torch.zeros_like(grey)
        half = SIZE // 2
        upper_left[..., :half, :half] = grey[..., :half, :half]
        lower_right[..., half:, half:] = grey[..., half:, half:]
        return self.maps(torch.cat([upper_left, lower_right], dim=1)).mean(dim=(2, 3))


class Linear(nn.Module):
    """The first feature raises the logit by 2 for each 1, the second lowers it by 3."""

    def forward(self, features: Tensor) -> Tensor:
        return 2 * features[:, :1] - 3 * features[:, 1:]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[MGMTClassifier]:
    known = Backbone(2, Quadrants, None, (), maps="maps")
    monkeypatch.setitem(BACKBONES, "quadrants", known)
    classifier = MGMTClassifier("quadrants")
    classifier.head = Linear()
    return classifier.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.full((2, 1, SIZE, SIZE), 0.8)


def test_gradcam_raises_and_lowers_where_the_logit_comes_from(network: MGMTClassifier, images: Tensor) -> None:
    maps = gradcam_maps(network, images)
    # By hand: the gradient of the logit by a pixel of a map is the weight over the number of pixels.
    normalised = (0.8 - 0.485) / 0.229
    expected = np.zeros((SIZE, SIZE))
    expected[: SIZE // 2, : SIZE // 2] = 2 * normalised / SIZE**2
    expected[SIZE // 2 :, SIZE // 2 :] = -3 * normalised / SIZE**2
    np.testing.assert_allclose(maps, [expected, expected], rtol=1e-4, atol=1e-7)


def test_gradcam_of_efficientnet_sums_up_to_gradient_times_features() -> None:
    torch.manual_seed(0)
    network = MGMTClassifier("mobilenet-v2").eval()
    images = torch.rand(1, 1, 64, 64)
    features = network.features(images).detach().requires_grad_(True)
    network.head(features).sum().backward()
    expected = float((features.grad * features).sum())
    n_down, n_across = cells(network, images)
    # Interpolated from cells to pixels, each cell keeps its weight but for the border: the mean is near, not equal.
    found = float(gradcam_maps(network, images).mean()) * n_down * n_across
    assert (n_down, n_across) == (2, 2)
    assert found == pytest.approx(expected, rel=0.35, abs=1e-4)


def test_gradcam_leaves_the_network_as_it_was(network: MGMTClassifier, images: Tensor) -> None:
    before = network(images)
    gradcam_maps(network, images)
    assert torch.equal(network(images), before)
    assert not any(module._forward_hooks for module in network.modules())


def test_occlusion_raises_and_lowers_where_the_logit_comes_from(network: MGMTClassifier, images: Tensor) -> None:
    maps = occlusion_maps(network, images)
    quarter = SIZE // 4
    assert maps[:, quarter, quarter].min() > 0
    assert maps[:, -quarter, -quarter].max() < 0
    np.testing.assert_allclose(maps[:, quarter, -quarter], 0, atol=1e-6)
    np.testing.assert_allclose(maps[:, -quarter, -quarter] / maps[:, quarter, quarter], -1.5, rtol=1e-3)


def test_occlusion_of_an_empty_slice_is_zero(network: MGMTClassifier) -> None:
    assert not occlusion_maps(network, torch.zeros(1, 1, SIZE, SIZE)).any()


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_names_the_maps_that_become_its_features(name: str) -> None:
    torch.manual_seed(0)
    network = MGMTClassifier(name).eval()
    found: list[Tensor] = []
    layer = network.backbone.get_submodule(BACKBONES[name].maps)
    layer.register_forward_hook(lambda _layer, _given, output: found.append(output))
    with torch.no_grad():
        features = network.features(torch.rand(1, 1, 96, 96))
    assert_near(features, found[0].mean(dim=(2, 3)))
