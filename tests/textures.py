"""Pixels for made files."""

from __future__ import annotations

import numpy as np


def texture(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels that are another image for every name, and the same for the same."""
    return np.random.default_rng(list(name.encode())).integers(1, 1000, shape).astype(np.uint16)
