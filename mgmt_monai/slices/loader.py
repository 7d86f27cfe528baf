"""Batches of slices for a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mgmt_monai.slices.dataset import SliceDataset


class SliceLoader(DataLoader):
    """torch's loader, set for the device that its batches go to; they are those of `SliceDataset.batch`.

    For a GPU of CUDA they lie in pinned memory, from which they can be copied while it computes. It draws nothing from
    torch's global random numbers, so that these do not depend on the number of workers.

    Args:
        dataset: Of slices.
        device: Where the network is.
        num_workers: Processes that hand out slices; 0: this one does.
        keep_workers: Whether they live as long as the loader, as befits one that hands out epoch after epoch.
        arguments: Of torch's loader: ``batch_sampler``, or ``batch_size`` and ``sampler``.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
        keep_workers: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(
            _Batches(dataset),
            num_workers=num_workers,
            pin_memory=torch.device(device).type == "cuda",
            persistent_workers=keep_workers and num_workers > 0,
            generator=torch.Generator(),
            collate_fn=as_it_is,
            **arguments,
        )
        self.slices = dataset


class _Batches(Dataset):
    """What torch's loader takes whole batches from."""

    def __init__(self, slices: SliceDataset) -> None:
        self.slices = slices

    def __len__(self) -> int:
        return len(self.slices)

    def __getitems__(self, places: Sequence[int | tuple[int, int]]) -> dict[str, Tensor]:
        return self.slices.batch(places)


def as_it_is(batch: Any) -> Any:
    """For a loader whose data set hands out whole batches: the batch."""
    return batch
