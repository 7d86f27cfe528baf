"""The sanity check of a saliency map: it must change when what the network learned is thrown away."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from mgmt_monai.inference.explain.share import head_pixels
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.calibrate import calibrate_batchnorm

SIMILARITY_LIMIT = 0.5
"""A map that does not depend on the weights keeps its order of pixels: 1, or -1 where only the logit's sign turned.
Two maps that have nothing to do with each other have about 0 if they are fine, and up to 0.3 or so by chance if they
are as smooth as Grad-CAM's, of a few dozen cells. Half way to 1 is beyond chance and far from unchanged."""

N_NETWORKS = 3
"""Random networks: one may resemble by chance."""

N_SLICES = 3
"""Slices compared, evenly spread over those explained: enough for a mean, and occlusion stays affordable."""


@dataclass(frozen=True)
class Sanity:
    """How alike the maps of a network and of random ones are.

    Args:
        similarity: The mean of ``similarities``; nan where none is defined.
        similarities: For each random network, the mean over slices of the absolute rank correlation, 0 to 1; nan where
            a map is of one value.
        slices: Which of the slices explained were compared, from 0.
    """

    similarity: float
    similarities: tuple[float, ...]
    slices: tuple[int, ...]

    @property
    def changes(self) -> bool | None:
        """Whether the map changes when the weights are randomised, as it must; None where it cannot be told."""
        return None if math.isnan(self.similarity) else self.similarity < SIMILARITY_LIMIT

    @property
    def sentence(self) -> str:
        """The same in words."""
        if self.changes is None:
            return "the map is even, or that of random weights is: it cannot be told whether it depends on the weights"
        if self.changes:
            return "the map changes when the weights are random"
        return "THE MAP HARDLY CHANGES when the weights are random: it shows the picture, not what the model learnt"


def sanity_check(
    network: MGMTClassifier, images: Tensor, maps: np.ndarray, explain: Callable[[MGMTClassifier, Tensor], np.ndarray]
) -> Sanity:
    """Compare maps ``(K, H, W)`` with those of networks of the same kind that never learned anything.

    All weights are drawn anew at once (the far end of the paper's cascade), and BatchNorm is measured on the slices, so
    that the random network's signal does not die on its way. The rank correlation is taken over the head alone: the
    background, where every map is much the same, would make all maps alike.

    Args:
        network: The one explained.
        images: Its slices, ``(K, 1, H, W)`` float32 in [0, 1].
        maps: Its maps.
        explain: What made them, of a network and of slices.

    Source:
        J. Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 3: model parameter randomization,
        compared by Spearman's rank correlation.
    """
    chosen = sorted({round(float(index)) for index in np.linspace(0, len(images) - 1, N_SLICES)})
    head = head_pixels(images[:, 0].numpy())
    similarities = []
    for index in range(N_NETWORKS):
        random_maps = explain(randomised(network, images, index), images[chosen])
        pairs = zip(chosen, random_maps, strict=True)
        similarities.append(_mean([similarity(maps[k], random_map, head[k]) for k, random_map in pairs]))
    return Sanity(_mean(similarities), tuple(similarities), tuple(chosen))


def randomised(network: MGMTClassifier, images: Tensor, seed: int) -> MGMTClassifier:
    """A network of the same kind, its backbone's and head's sizes taken, with random weights, in eval mode.

    BatchNorm's statistics are measured on ``images``, ``(K, 1, H, W)``; no random stream of the process is moved.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden_units = int(network.head.get_submodule("dense1").get_parameter("weight").shape[0])
        fresh = MGMTClassifier(network.network, hidden_units=hidden_units)
    fresh.to(network.imagenet_mean.device)
    calibrate_batchnorm(fresh, images.split(8))
    return fresh.eval()


def similarity(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """The absolute rank correlation of two maps ``(H, W)`` of one slice, over the pixels ``where``.

    Returns:
        0 to 1; nan where a map has one value in all of them.
    """
    first, second = one[where], other[where]
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return abs(float(spearmanr(first, second).statistic))


def _mean(values: list[float]) -> float:
    """Of those that are defined; nan without any."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
