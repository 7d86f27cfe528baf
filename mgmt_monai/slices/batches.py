"""Which slices go together into a batch, epoch by epoch."""

from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import Sampler

from mgmt_monai.slices.errors import SlicesError


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Shuffled batches whose order depends on seed and epoch alone, so that a resumed run draws the same.

    Every index travels with its epoch: the dataset, of which only the length matters here, seeds the augmentation with
    both. A last batch of one slice is joined to the one before, because BatchNorm cannot train on a single slice.

    Raises:
        SlicesError: A batch size below 2, or fewer than 2 slices.
    """

    def __init__(self, dataset: Sized, batch_size: int, seed: int) -> None:
        if int(batch_size) < 2:
            raise SlicesError(f"batch_size: BatchNorm trains on 2 slices or more a batch, found {batch_size}.")
        if len(dataset) < 2:
            raise SlicesError(f"training takes 2 slices or more, found {len(dataset)}. Use more patients.")
        self.n_slices = len(dataset)
        self.batch_size = int(batch_size)
        self.seed = int(seed)
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of this epoch (counted from 1) next."""
        self.epoch = epoch

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
