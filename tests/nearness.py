"""Two results of a network, compared on the network's own scale."""

import torch
from torch import Tensor


def assert_near(found: Tensor, expected: Tensor, within: float = 1e-4) -> None:
    """What two ways of computing the same network give differs by rounding alone.

    Processors add up in different orders, and rounding is relative: what is near depends on how large a network's
    numbers are, which an untrained network leaves to chance. So no absolute tolerance fits it.

    Args:
        found: Any shape.
        expected: The same shape; not all zero.
        within: Largest difference allowed, as a share of the largest ``expected``.
    """
    assert found.shape == expected.shape
    largest = float(expected.abs().max())
    assert largest > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=within * largest)
