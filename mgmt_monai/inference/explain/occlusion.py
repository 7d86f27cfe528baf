"""Occlusion sensitivity: how the logit of a slice changes when a patch of it is darkened."""

import warnings

import numpy as np
import torch
from monai.visualize import OcclusionSensitivity
from torch import Tensor
from tqdm import tqdm

from mgmt_monai.networks import MGMTClassifier

PATCH_SHARE = 1 / 8
"""Side of a patch over that of the slice: 37 of 300 pixels. It is darkened by a Gaussian of a quarter of its side, so
what is hidden is about half as wide, 15 to 18 mm of a head: less than most glioblastomas, more than a sulcus."""

LEAST_PATCH = 5
"""Pixels; a Gaussian on fewer is no longer one."""

OVERLAP = 0.5
"""Of neighbouring patches: with a Gaussian of a quarter of the side, every pixel is well hidden by one of them."""

BATCH = 32
"""Slices at once: some 100 MB with 300 x 300 pixels in EfficientNet, where no gradient is kept."""


def occlusion_maps(network: MGMTClassifier, images: Tensor, description: str = "") -> np.ndarray:
    """By how much the logit falls when a place is darkened, ``(K, H, W)`` float32, in logits.

    Positive: what is there raises the logit of "methylated". A value is the mean over the patches at a pixel, weighted
    by how much of it they hid. Patches outside the box around what is not black are left out: they darken nothing, and
    the map is zero there.

    Args:
        network: In eval mode; it is not changed.
        images: Slices ``(K, 1, H, W)``, float32, in [0, 1], background 0.
        description: Of the progress bar; empty for none.

    Source:
        M. D. Zeiler and R. Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2.
    """
    height, width = images.shape[2:]
    patch = [min(side, max(LEAST_PATCH, round(side * PATCH_SHARE))) for side in (height, width)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own mask
        sensitivity = OcclusionSensitivity(
            network, mask_size=patch, n_batch=BATCH, mode="gaussian", overlap=OVERLAP, activate=False, verbose=False
        )
    maps = np.zeros((len(images), height, width), dtype=np.float32)
    with torch.no_grad():
        for index, image in enumerate(
            tqdm(images.to(network.imagenet_mean.device), desc=description, unit="slice", disable=not description)
        ):
            box = _box(image[0] > 0, patch)
            if box is None:
                continue
            (top, bottom), (left, right) = box
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # how MONAI indexes, which torch tells it anew for each patch
                occluded, _ = sensitivity(image[None], b_box=[top, bottom, left, right])
            fall = network(image[None]) - torch.as_tensor(np.asarray(occluded))[0, 0]
            maps[index, top:bottom, left:right] = fall.cpu().numpy()
    return maps


def _box(bright: Tensor, patch: list[int]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """First and last but one row and column that hold anything, at least as large as a patch; None without any."""
    if not bool(bright.any()):
        return None
    (top, bottom), (left, right) = (
        _widened(along.nonzero().flatten(), least, len(along))
        for along, least in zip((bright.any(dim=1), bright.any(dim=0)), patch, strict=True)
    )
    return (top, bottom), (left, right)


def _widened(found: Tensor, least: int, n: int) -> tuple[int, int]:
    first, last = int(found[0]), int(found[-1]) + 1
    missing = max(0, least - (last - first))
    first = max(0, min(first - missing // 2, n - least))
    return first, max(last, first + least)
