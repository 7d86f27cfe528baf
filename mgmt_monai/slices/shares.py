"""Each process's share of the slices, where several processes train one network."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import distributed
from torch.utils.data import Sampler

from mgmt_monai.slices.batches import EpochBatches
from mgmt_monai.slices.dataset import SliceDataset
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.slices.loader import SliceLoader


def share(n_slices: int, rank: int, n_ranks: int) -> range:
    """The indices of one of ``n_ranks`` parts of a data set that lie one after the other, as equally long as can be.

    Raises:
        SlicesError: There are fewer slices than parts.

    Example:
        >>> [list(share(5, rank, 2)) for rank in range(2)]
        [[0, 1], [2, 3, 4]]
    """
    if n_slices < n_ranks:
        raise SlicesError(f"{n_slices} slices cannot be shared by {n_ranks} processes. Start fewer (--nproc_per_node).")
    return range(n_slices * rank // n_ranks, n_slices * (rank + 1) // n_ranks)


def own_share(dataset: SliceDataset) -> range:
    """The indices that this process evaluates, so that the shares of all, one after the other, are the data set.

    No slice is in two shares, and none is added to make them equally long.

    Raises:
        SlicesError: There are fewer slices than processes.
    """
    return share(len(dataset), *_place())


class BatchShares(Sampler[list[tuple[int, int]]]):
    """This process's share of every batch; a share is empty where a batch has fewer slices than there are processes.

    ``batches`` are those of all processes together, the same in each of them.
    """

    def __init__(self, batches: EpochBatches, rank: int, n_ranks: int) -> None:
        self.batches = batches
        self.batch_size = -(-batches.batch_size // n_ranks)
        self.rank = rank
        self.n_ranks = n_ranks

    def __len__(self) -> int:
        """How many batches an epoch has, in every process."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Lists of ``(epoch, index)``: the shares of all ranks, one after the other, are the batch."""
        for batch in self.batches:
            cuts = np.array_split(np.arange(len(batch)), self.n_ranks)
            yield [batch[i] for i in cuts[self.rank]]


class ShareLoader(SliceLoader):
    """Loads this process's share of every batch.

    Every process has all of the data set, and ``batch_sampler`` has the batches of all processes together; the other
    arguments, of this process, are those of `SliceLoader`.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        batch_sampler: EpochBatches,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
        keep_workers: bool = False,
    ) -> None:
        shares = BatchShares(batch_sampler, *_place())
        super().__init__(dataset, device, num_workers, keep_workers, batch_sampler=shares)


def _place() -> tuple[int, int]:
    """This process's rank, and how many there are; it is the only one where no group was joined."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
