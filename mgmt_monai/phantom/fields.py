"""Smooth random fields: the irregularity of everything in the phantom that is not a formula."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Volume = NDArray[np.floating[Any]]  # float32 throughout; numpy's types cannot follow that through arithmetic


def smooth_field(
    rng: np.random.Generator, shape: Sequence[int], step: Sequence[float], *, band_pass: bool = False
) -> Volume:
    """A random cubic B-spline: zero mean, unit standard deviation, twice differentiable, float32.

    Each axis is raised by four fixed taps rather than by a matrix product, since a threaded BLAS may round differently
    from one machine load to the next and the phantom must not.

    Args:
        rng: Draws the spline's coefficients; one normal number a knot.
        shape: The field's shape, any number of axes.
        step: Distance between knots along each axis, in voxels, above 0.
        band_pass: Take out what varies over more than a few knots, so that the zero crossings come
            about every two knots (this is how the cortex gets its folds).
    """
    knots = [int((length - 1) / gap) + 4 for length, gap in zip(shape, step, strict=True)]
    field = rng.standard_normal(knots, dtype=np.float32)
    if band_pass:
        field -= gaussian_filter(field, 1.2)
    for axis in reversed(range(len(knots))):  # the last axis first: later passes copy longer runs of memory
        field = _raise_axis(field, shape[axis], step[axis], axis)
    field -= field.mean()
    field /= field.std()
    return field


def ramp(distance: Volume, width: float) -> Volume:
    """The share of a voxel on the inner side of an edge: 0 outside, 1 inside, linear between; float32.

    ``distance`` to the edge is positive inside; over ``width``, in the same unit, the share goes from 0 to 1.
    """
    share = distance * np.float32(1.0 / width)
    share += np.float32(0.5)
    return np.clip(share, 0.0, 1.0, out=share)


def _raise_axis(coefficients: Volume, length: int, step: float, axis: int) -> Volume:
    position = np.arange(length) / step
    first = position.astype(int)
    u = position - first
    taps = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    column = [1] * coefficients.ndim
    column[axis] = length
    shape = list(coefficients.shape)
    shape[axis] = length
    raised = np.zeros(shape, dtype=np.float32)
    for offset, tap in enumerate(taps):
        part = coefficients.take(first + offset, axis=axis)
        part *= (tap / 6).astype(np.float32).reshape(column)
        raised += part
    return raised
