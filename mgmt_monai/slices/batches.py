"""Which slices go together into a batch, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import Sampler

from mgmt_monai.slices.errors import SlicesError

SMALLEST_BATCH = 8
"""To which a batch is made smaller so that an epoch has enough steps: BatchNorm's statistics of fewer are noise."""


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Shuffled batches whose order depends on seed and epoch alone, so that a resumed run draws the same.

    Every index travels with its epoch: the dataset seeds the augmentation with both, whatever process it runs in.
    A last batch of one slice is joined to the one before, because BatchNorm cannot train on a single slice.

    Args:
        dataset: What is drawn from; only its length matters.
        batch_size: Slices a batch.
        seed: Of the order.
        least_steps: Batches that an epoch has at least: of few slices, they are made smaller, to 8 slices at the least.
            ``is_smaller`` says whether it came to that, ``batch_size`` what it came to. 0: they stay as they are.

    Raises:
        SlicesError: A batch size below 2, or fewer than 2 slices.

    Example:
        >>> batches = EpochBatches(range(135), 128, seed=0, least_steps=8)
        >>> batches.batch_size, len(batches), batches.is_smaller
        (19, 8, True)
    """

    def __init__(self, dataset: Sized, batch_size: int, seed: int, least_steps: int = 0) -> None:
        if int(batch_size) < 2:
            raise SlicesError(f"batch_size: BatchNorm trains on 2 slices or more a batch, found {batch_size}.")
        if len(dataset) < 2:
            raise SlicesError(f"training takes 2 slices or more, found {len(dataset)}. Use more patients.")
        self.n_slices = len(dataset)
        self.batch_size = int(batch_size)
        while len(self) < least_steps and self.batch_size > SMALLEST_BATCH:
            self.batch_size -= 1
        self.is_smaller = self.batch_size < int(batch_size)
        self.seed = int(seed)
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of this epoch (counted from 1) next."""
        self.epoch = epoch

    def first_counted(self, epochs: int) -> int:
        """From which epoch on a stage's validation loss counts.

        Args:
            epochs: Of the stage, at most.

        Returns:
            1; of smaller batches the middle one: before, the loss of a few patients says more of chance than of steps.
        """
        return max(1, int(epochs) // 2) if self.is_smaller else 1

    def __len__(self) -> int:
        """How many batches an epoch has."""
        full, rest = divmod(self.n_slices, self.batch_size)
        return max(1, full + (rest > 1))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Lists of ``(epoch, index)``, each slice once."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n_slices)
        cuts = np.arange(1, len(self)) * self.batch_size
        for batch in np.split(order, cuts):
            yield [(self.epoch, int(index)) for index in batch]
