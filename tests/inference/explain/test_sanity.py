"""Random networks, how alike two maps are, and when a map counts as another one."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from mgmt_monai.inference.explain.gradcam import gradcam_maps
from mgmt_monai.inference.explain.sanity import Sanity, randomised, sanity_check, similarity
from mgmt_monai.networks import MGMTClassifier, load_backbone_weights


@pytest.fixture(scope="module")
def network() -> MGMTClassifier:
    torch.manual_seed(0)
    classifier = MGMTClassifier(hidden_units=8)
    load_backbone_weights(classifier, "imagenet")
    return classifier.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def test_randomised_network_is_another_of_the_same_kind(network: MGMTClassifier, images: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.random.get_rng_state()

    fresh, again, other = (randomised(network, images, seed) for seed in (1, 1, 2))

    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    shapes = {name: tensor.shape for name, tensor in fresh.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in before.items()}
    kernel = "backbone._conv_stem.weight"
    assert torch.equal(fresh.state_dict()[kernel], again.state_dict()[kernel])
    assert not torch.equal(fresh.state_dict()[kernel], other.state_dict()[kernel])
    assert not torch.equal(fresh.state_dict()[kernel], before[kernel])


def test_randomised_network_still_has_a_signal(network: MGMTClassifier, images: Tensor) -> None:
    with torch.no_grad():
        size = float(randomised(network, images, 0).features(images).abs().mean())
    assert 1e-3 < size < 1e3


def test_similarity_is_that_of_ranks_whatever_the_sign() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(16, 16))
    everywhere = np.ones((16, 16), dtype=bool)
    assert similarity(one, np.exp(one), everywhere) == pytest.approx(1)
    assert similarity(one, -one, everywhere) == pytest.approx(1)
    assert similarity(one, rng.normal(size=(16, 16)), everywhere) < 0.3


def test_similarity_looks_at_nothing_outside_the_head() -> None:
    one = np.random.default_rng(0).normal(size=(16, 16))
    other, head = one.copy(), np.zeros((16, 16), dtype=bool)
    other[8:] = 5
    head[:8] = True
    assert similarity(one, other, head) == pytest.approx(1)
    assert math.isnan(similarity(one, other, ~head))


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1, True), (0.49, True), (0.5, False), (1.0, False), (math.nan, None)]
)
def test_changes_has_three_answers(value: float, expected: bool | None) -> None:
    assert Sanity(value, (value,), (0,)).changes is expected


def test_sanity_check_of_an_edge_detector_fails(network: MGMTClassifier, images: Tensor) -> None:
    def edges(_network: MGMTClassifier, slices: Tensor) -> np.ndarray:
        return np.gradient(slices[:, 0].numpy(), axis=1)

    checked = sanity_check(network, images, edges(network, images), edges)
    assert checked.similarity == pytest.approx(1)
    assert checked.changes is False


def test_sanity_check_of_a_map_of_the_weights_passes(network: MGMTClassifier, images: Tensor) -> None:
    def of_weights(asked: MGMTClassifier, slices: Tensor) -> np.ndarray:
        weights = asked.backbone.get_parameter("_conv_head.weight").detach().flatten()[: slices[0].numel()]
        return weights.reshape(1, *slices.shape[2:]).expand(len(slices), -1, -1).numpy()

    assert sanity_check(network, images, of_weights(network, images), of_weights).changes is True


def test_sanity_check_of_a_map_that_is_zero_cannot_tell(network: MGMTClassifier, images: Tensor) -> None:
    def zero(_network: MGMTClassifier, slices: Tensor) -> np.ndarray:
        return np.zeros(slices[:, 0].shape)

    assert sanity_check(network, images, zero(network, images), zero).changes is None


def test_sanity_check_asks_three_random_networks(network: MGMTClassifier, images: Tensor) -> None:
    checked = sanity_check(network, images, gradcam_maps(network, images), partial(_gradcam))
    assert len(set(checked.similarities)) == 3
    assert checked.slices == (0, 1, 2)
    assert checked.similarity == pytest.approx(np.mean(checked.similarities))


def _gradcam(network: MGMTClassifier, images: Tensor) -> np.ndarray:
    return gradcam_maps(network, images)
