"""Whether a map depends on what the network has learnt: with random weights it must be another."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from mgmt_monai.networks import MGMTClassifier

ALIKE = 0.5
"""Mean rank correlation from which a map counts as unchanged. Adebayo et al. give no limit; at 0.5 a quarter of the
ranks' variance is shared, which an edge detector exceeds and an unrelated map does not."""

#: Rank correlation is taken over every second pixel at most: neighbours in a map say the same.
_STEP = 2


def randomised(network: MGMTClassifier, part: str, seed: int) -> MGMTClassifier:
    """A copy whose weights are dealt out anew within each tensor: random, but of the size that the layers are used to.

    Args:
        network: Stays as it is.
        part: ``head``: the classifier's head alone; ``all``: the backbone too.
        seed: Of the dealing.

    Source:
        J. Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018: cascading randomisation from the top.
    """
    copy = deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    module: nn.Module = copy.head if part == "head" else copy
    with torch.no_grad():
        for parameter in module.parameters():
            flat = parameter.detach().cpu().flatten()
            dealt = flat[torch.randperm(flat.numel(), generator=generator)]
            # A single weight or a layer of equal ones has nothing to deal out; its sign has.
            sign = 1 if torch.rand(1, generator=generator) < 0.5 else -1
            parameter.copy_((sign * dealt).view(parameter.shape).to(parameter.device))
    return copy.eval()


def similarity(maps: np.ndarray, others: np.ndarray, images: Tensor) -> float | None:
    """Mean over slices of Spearman's rank correlation between two maps, within what is not black.

    Args:
        maps: ``(K, H, W)``.
        others: The same shape.
        images: ``(K, 1, H, W)``, the slices.

    Returns:
        -1 to 1; None where no slice has two maps that vary.
    """
    found = []
    for one, other, image in zip(maps, others, images[:, 0].numpy() > 0, strict=True):
        places = image[::_STEP, ::_STEP]
        values = [each[::_STEP, ::_STEP][places] for each in (one, other)]
        if places.sum() > 1 and all(np.ptp(each) > 0 for each in values):
            found.append(float(spearmanr(*values).statistic))
    return float(np.mean(found)) if found else None


def changes(correlations: list[float | None]) -> bool:
    """Whether the map is another with random weights: no correlation reaches `ALIKE`, by its size.

    Args:
        correlations: As `similarity` gives them. A map that vanishes with the weights has none, and has changed.
    """
    return all(each is None or abs(each) < ALIKE for each in correlations)
