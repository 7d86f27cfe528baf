"""Batches of slices for a device."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from mgmt_monai.slices.dataset import SliceDataset


class SliceLoader(DataLoader):
    """torch's loader, set for the device that its batches go to.

    For a GPU of CUDA they lie in pinned memory, from which they can be copied while it computes. Worker processes
    live as long as the loader. It draws nothing from torch's global random numbers, so that these do not depend on the
    number of workers.

    Args:
        dataset: Of slices.
        device: Where the network is.
        num_workers: Processes that hand out slices; 0: this one does.
        arguments: Of torch's loader: ``batch_sampler``, or ``batch_size`` and ``sampler``, and ``collate_fn``.
    """

    def __init__(
        self, dataset: SliceDataset, device: torch.device | str = "cpu", num_workers: int = 0, **arguments: Any
    ) -> None:
        super().__init__(
            dataset,
            num_workers=num_workers,
            pin_memory=torch.device(device).type == "cuda",
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),
            **arguments,
        )
