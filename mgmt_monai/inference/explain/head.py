"""Where the head is on slices that are scaled to [0, 1]: what shares and comparisons of maps are taken over."""

from __future__ import annotations

import numpy as np

from mgmt_monai.transforms.conceal import head_mask


def head_pixels(anatomy: np.ndarray) -> np.ndarray:
    """The pixels of the head.

    Args:
        anatomy: ``(K, R, C)`` float32, background at or near 0.

    Returns:
        The same shape, bool: what is brighter than the darkest within the generous outline of the head; all of the
        slices where no head is found.
    """
    head = head_mask(anatomy) & (anatomy > anatomy.min(initial=np.inf))
    return head if head.any() else np.ones(anatomy.shape, dtype=bool)
