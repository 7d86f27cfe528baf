"""A data set of slices: each series is read once, each slice is augmented anew in every epoch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from monai.data import Dataset
from monai.transforms import Compose, Randomizable
from monai.utils import convert_to_tensor
from torch import Tensor
from tqdm import tqdm

from mgmt_monai.errors import one_line
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.transforms.load import itk_warnings_off


class SliceDataset(Dataset):
    """The slices of all series, one item a slice.

    Like MONAI's ``CacheDataset``, it runs the transforms before the first random one once and keeps the result in
    memory; they turn a series into a volume ``(K, H, W)`` whose channels are the slices. The random ones run on one
    slice at a time, seeded by seed, epoch and index: the same whatever process, order or batch they run in.

    Args:
        data: Items ``{"image": Series, "label": 0 | 1, "patient_id": str}``, one a series.
        transform: The chain; its result's data type is what is kept (float16 halves the memory), float32 is
            what is handed out.
        seed: Of the augmentation.
        description: Of the progress bar.

    Raises:
        SlicesError: With one line for each series that cannot be read.
    """

    def __init__(
        self, data: Sequence[dict[str, Any]], transform: Compose, seed: int = 0, description: str = "Reading slices"
    ) -> None:
        super().__init__(data, transform)
        first_random = transform.get_index_of_first(lambda t: isinstance(t, Randomizable))
        n_deterministic = len(transform.transforms) if first_random is None else int(first_random)
        self.random_transform = Compose(transform.transforms[n_deterministic:])
        self.seed = int(seed)
        self._volumes = _read_all(data, transform, n_deterministic, description)
        self._index = [(i, j) for i, volume in enumerate(self._volumes) for j in range(len(volume))]

    @property
    def patient_ids(self) -> list[str]:
        """The patient of each series, which an item's ``patient_index`` counts in."""
        return [item["patient_id"] for item in self.data]

    @property
    def slice_counts(self) -> list[int]:
        """How many slices each series has."""
        return [len(volume) for volume in self._volumes]

    def series_slices(self, series_index: int) -> Tensor:
        """The slices of one series as they are without augmentation.

        Args:
            series_index: Of the series in ``data``.

        Returns:
            ``(K, 1, H, W)`` float32.
        """
        return self._volumes[series_index].float().unsqueeze(1)

    def __len__(self) -> int:
        """How many slices there are."""
        return len(self._index)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """One slice.

        Args:
            index: Of the slice, or ``(epoch, index)``.

        Returns:
            ``image`` ``(1, H, W)`` float32; ``label`` ``(1,)`` float32; ``patient_index``, of the series in
            ``data``; ``slice_index``, counted among the slices kept of it.
        """
        epoch, index = index if isinstance(index, tuple) else (0, index)
        series_index, slice_index = self._index[index]
        item = {
            "image": self._volumes[series_index][slice_index : slice_index + 1].float(),
            "label": torch.tensor([float(self.data[series_index]["label"])]),
            "patient_index": series_index,
            "slice_index": slice_index,
        }
        if self.random_transform.transforms:
            seed = np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0]
            self.random_transform.set_random_state(seed=int(seed))
            item = self.random_transform(item)
            item["image"] = convert_to_tensor(item["image"], track_meta=False)
        return item


def _read_all(
    data: Sequence[dict[str, Any]], transform: Compose, n_deterministic: int, description: str
) -> list[Tensor]:
    def read(item: dict[str, Any]) -> Tensor | str:
        try:
            volume = transform(item, end=n_deterministic, threading=True)["image"]
        except Exception as error:
            message = one_line(error)  # MONAI wraps what a transform raises
            if message is None:
                raise
            return message
        return convert_to_tensor(volume, track_meta=False).contiguous()

    # Readers switch warnings off and on again for the whole process: held off here, their threads cannot interfere.
    with itk_warnings_off(), warnings.catch_warnings(), ThreadPoolExecutor(cpu_count()) as pool:
        results = list(tqdm(pool.map(read, data), total=len(data), desc=description, unit="series"))
    faults = [result for result in results if isinstance(result, str)]
    if faults:
        raise SlicesError("\n".join(faults))
    return [result for result in results if isinstance(result, Tensor)]
