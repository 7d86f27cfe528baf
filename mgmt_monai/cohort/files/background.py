"""What in a volume is outside the head: a value found at the edge of its slices, padding, voxels that are no number."""

from dataclasses import dataclass

import numpy as np

#: The edge of the slices is outside where at least this share of it has one value (or is not a number).
EDGE_SHARE = 0.5

#: Where the lowest value has this share of the edge, it is an ordinary value of the air there, and the background; but
#: a negative one beside an edge of 0 is the padding of a part.
LOWEST_SHARE = 0.01

#: A volume with negative values, of which at least this share is exactly 0, has 0 outside, wherever its edge lies...
ZERO_SHARE = 0.1

#: ... or this share, where so many times as many are 0 as have the values next to it: a z-scored head, tightly cropped.
FEW_ZEROS_SHARE, ZERO_TIMES = 0.01, 10

#: A lowest, negative value of at least this share of the voxels and so many, by so much of the range below all others,
#: is no tissue but the mask of a part: what lies outside besides is found among the others.
MASK_SHARE, MASK_LEAST, MASK_GAP = 0.001, 10, 0.05

#: Values below the background are tissue, and not the overshoot of an interpolation, where together they weigh at least
#: this share of what lies above: a z-scored head weighs the same on both sides, the overshoot of splines 1 to 5 %.
WEIGHT_BELOW = 0.1


@dataclass(frozen=True)
class Background:
    """What lies outside the head.

    Args:
        value: Of its voxels.
        found: ``lowest`` value of the volume, the value of the ``edge`` of its slices, or exact ``zeros``.
        tissue_below: Tissue lies below it too, as in a z-scored head; else what is below belongs to the background.
        mask: Of the voxels of a masked part, below all tissue, which are background too; None where there is none.
    """

    value: float
    found: str = "lowest"
    tissue_below: bool = False
    mask: float | None = None

    def foreground(self, values: np.ndarray) -> np.ndarray:
        """Which values are tissue.

        Args:
            values: Any shape, finite.

        Returns:
            The same shape, bool.
        """
        if not self.tissue_below:
            return values > self.value
        return values != self.value if self.mask is None else (values != self.value) & (values > self.mask)


def find_background(volume: np.ndarray) -> Background:
    """The background of a volume.

    It is the lowest value, unless that is a rare one or a mask, and another one fills the edge of the slices, or (with
    negative values about) 0 stands out among all others.

    Args:
        volume: (slices, rows, columns), finite. With other axes, or none, the background is the lowest value.

    Example:
        >>> z_scored = np.zeros((1, 4, 5), np.float32)
        >>> z_scored[0, 1:3, 1:4] = [[-1, 0.5, 2], [-2, -0.5, 1]]
        >>> find_background(z_scored)
        Background(value=0.0, found='edge', tissue_below=True, mask=None)
    """
    if volume.size == 0:
        return Background(0.0)
    lowest = float(volume.min())
    if volume.ndim != 3:
        return Background(lowest)
    return background_of(edge(volume), volume, lowest)


def background_of(at_edge: np.ndarray, values: np.ndarray, lowest: float) -> Background:
    """The background of a volume by a part of its values.

    Args:
        at_edge: The values at the edge of its slices, ``(n,)``.
        values: All of its values or an even sample of them, any shape.
        lowest: The lowest of all.
    """
    mask = None
    if _is_mask(values, lowest):
        inner, rest = at_edge[at_edge != lowest], values[values != lowest]
        fills = filling(inner) if inner.size >= LOWEST_SHARE * at_edge.size else None
        found = (fills, "edge") if fills is not None else (0.0, "zeros") if _zero_stands_out(rest) else None
        if found is not None:
            mask, values = lowest, rest
    else:
        found = _found(at_edge, values, lowest)
        if found is not None and np.mean(at_edge == lowest) >= LOWEST_SHARE:
            values = values[values != lowest]  # padding is no tissue
    if found is None:
        return Background(lowest)
    deviation = np.asarray(values, np.float64) - found[0]
    below, above = -deviation[deviation < 0].sum(), deviation[deviation > 0].sum()
    return Background(*found, tissue_below=bool(below >= WEIGHT_BELOW * above), mask=mask)


def edge(volume: np.ndarray) -> np.ndarray:
    """The outermost rows and columns of each slice.

    Args:
        volume: (slices, rows, columns).

    Returns:
        ``(n,)``, each voxel once.
    """
    parts = [volume[:, 0], volume[:, -1], volume[:, 1:-1, 0], volume[:, 1:-1, -1]]
    return np.concatenate([part.ravel() for part in parts])


def filling(at_edge: np.ndarray) -> float | None:
    """The value that fills the edge of slices, at least `EDGE_SHARE` of it; None where none does.

    Args:
        at_edge: ``(n,)``, as `edge` gives it.
    """
    if not at_edge.size:
        return None
    middle = np.partition(at_edge, at_edge.size // 2)[at_edge.size // 2]  # what fills half of it is its median
    return float(middle) if np.mean(at_edge == middle) >= EDGE_SHARE else None


def nan_outside(volume: np.ndarray) -> np.ndarray | None:
    """Where a volume is not a number because it is outside; None where no voxel is.

    Each slice is judged by itself, so that it is the same in a volume of some of them.

    Args:
        volume: (slices, rows, columns), floating point.

    Returns:
        The same shape, bool: the NaN of slices at least half of whose edge is NaN.
    """
    if not np.isnan(volume.max(initial=-np.inf)):
        return None
    outside = np.isnan(volume)
    outside &= np.array([edge(one[None]).mean() >= EDGE_SHARE for one in outside])[:, None, None]
    return outside if outside.any() else None


def fill_outside(volume: np.ndarray, outside: np.ndarray) -> None:
    """Give the voxels outside, in place, the lowest value of the others; a volume that is all outside stays.

    Args:
        volume: Any shape.
        outside: The same shape, bool.
    """
    if outside.all() or not outside.any():
        return
    lowest = volume[~outside].min()
    # What is lowest already stays as it is: it is the background as well.
    if not volume[outside].max() <= lowest:
        volume[outside] = lowest


def _is_mask(values: np.ndarray, lowest: float) -> bool:
    if lowest >= 0 or not values.size:
        return False
    others = values != lowest
    above, highest = float(values.min(initial=np.inf, where=others)), float(values.max())
    is_apart = above - lowest >= MASK_GAP * (highest - lowest) > 0
    n_lowest = values.size - np.count_nonzero(others)
    return bool(is_apart and n_lowest >= max(MASK_SHARE * values.size, MASK_LEAST))


def _found(at_edge: np.ndarray, values: np.ndarray, lowest: float) -> tuple[float, str] | None:
    if not at_edge.size:
        return None
    is_common, fills = np.mean(at_edge == lowest) >= LOWEST_SHARE, filling(at_edge)
    if fills is not None and (not is_common or fills == 0 > lowest):
        return fills, "edge"
    if is_common:
        return None
    return (0.0, "zeros") if lowest < 0 and _zero_stands_out(values) else None


def _zero_stands_out(values: np.ndarray) -> bool:
    n_zeros = int(np.count_nonzero(values == 0))
    share = n_zeros / max(values.size, 1)
    if not FEW_ZEROS_SHARE <= share < ZERO_SHARE:
        return share >= ZERO_SHARE
    above, below = values[values > 0], values[values < 0]
    beside = (
        np.count_nonzero(above == above.min(initial=np.inf)),
        np.count_nonzero(below == below.max(initial=-np.inf)),
    )
    return n_zeros >= ZERO_TIMES * int(max(beside))
