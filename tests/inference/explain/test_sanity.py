"""Randomised weights, and when a map counts as another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mgmt_monai.inference.explain.sanity import changes, randomised, similarity
from mgmt_monai.networks import MGMTClassifier


@pytest.fixture
def network() -> MGMTClassifier:
    torch.manual_seed(0)
    return MGMTClassifier("resnet-10").eval()


@pytest.mark.parametrize("part", ["head", "all"])
def test_randomised_deals_the_same_weights_out_anew(network: MGMTClassifier, part: str) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    copy = randomised(network, part, seed=0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    for name, parameter in copy.named_parameters():
        original = before[name]
        np.testing.assert_array_equal(np.sort(parameter.abs().detach().flatten()), np.sort(original.abs().flatten()))
        if len(original.unique()) > 100:
            assert torch.equal(parameter, original) == (part == "head" and name.startswith("backbone."))


def test_randomised_is_the_same_for_a_seed(network: MGMTClassifier) -> None:
    one, other, third = (randomised(network, "all", seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], third[name]) for name in one)


def test_similarity_is_that_of_ranks_within_the_head() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 16, 16))
    images = torch.ones(2, 1, 16, 16)
    assert similarity(maps, np.exp(maps), images) == pytest.approx(1)
    assert similarity(maps, -maps, images) == pytest.approx(-1)
    assert abs(similarity(maps, rng.normal(size=(2, 16, 16)), images)) < 0.3


def test_similarity_looks_at_nothing_outside_the_head() -> None:
    maps = np.random.default_rng(0).normal(size=(1, 16, 16))
    other = maps.copy()
    other[:, 8:] = 5
    images = torch.zeros(1, 1, 16, 16)
    images[:, :, :8] = 1
    assert similarity(maps, other, images) == pytest.approx(1)


def test_similarity_of_a_constant_map_is_none() -> None:
    assert similarity(np.zeros((1, 8, 8)), np.ones((1, 8, 8)), torch.ones(1, 1, 8, 8)) is None


@pytest.mark.parametrize(
    ("correlations", "expected"),
    [([0.1, -0.2], True), ([0.1, 0.8], False), ([-0.9, 0.0], False), ([None, 0.1], True)],
)
def test_changes(correlations: list[float | None], expected: bool) -> None:
    assert changes(correlations) is expected
