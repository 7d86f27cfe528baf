"""A data set of slices: each series is read once, each slice is augmented anew in every epoch."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.data import Dataset
from monai.transforms import Compose, Randomizable
from monai.utils import convert_to_tensor
from torch import Tensor

from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.slices.reading import read_series
from mgmt_monai.slices.slice_store import SliceStore
from mgmt_monai.slices.stored_series import StoredSeries
from mgmt_monai.transforms.batch import augmentation_seed

logger = logging.getLogger(__name__)


class SliceDataset(Dataset):
    """The slices of all series, one item a slice.

    Like MONAI's ``CacheDataset``, it runs the transforms before the first random one once and keeps the result, in a
    store or in memory; they turn a series into a volume ``(K, H, W)`` whose channels are the slices. The random ones
    run on one slice at a time, seeded by seed, epoch and index: the same whatever process, order or batch they run
    in. Where a batch is augmented as a whole, the chain has none (`mgmt_monai.transforms.batch.BatchAugmentation`).

    Args:
        data: Items ``{"image": Series, "label": 0 | 1, "patient_id": str}``, one a series.
        transform: The chain; its result's data type is what is kept (float16 halves the memory), float32 is
            what is handed out.
        seed: Of the augmentation.
        description: Of the progress bar where series are read into memory.
        store: Keeps the slices; None keeps them in memory.

    Raises:
        SlicesError: With one line for each series that cannot be read; or as `SliceStore.series`.

    Example:
        >>> import mgmt_monai as mgmt
        >>> cohort = mgmt.open_cohort("data/phantom", "t1w")  # doctest: +SKIP
        >>> slices = mgmt.SliceDataset(cohort.items("train"), mgmt.slice_transforms("t1w"))  # doctest: +SKIP
        >>> slices[0]["image"].shape  # doctest: +SKIP
        torch.Size([1, 300, 300])
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Compose,
        seed: int = 0,
        description: str = "Reading slices",
        store: SliceStore | None = None,
    ) -> None:
        super().__init__(data, transform)
        first_random = transform.get_index_of_first(lambda t: isinstance(t, Randomizable))
        n_deterministic = len(transform.transforms) if first_random is None else int(first_random)
        self._chain = chain = Compose(transform.transforms[:n_deterministic])
        self._store = store
        self.random_transform = Compose(transform.transforms[n_deterministic:])
        self.seed = int(seed)
        self._volumes: Sequence[Tensor | StoredSeries]
        if store is None:
            kept = [volume for _, volume in read_series(data, chain, description)]
            n_slices, size = sum(map(len, kept)), sum(volume.nbytes for volume in kept) / 2**20
            logger.info(f"{n_slices} slices of {len(kept)} series are kept in memory, {size:.0f} MiB")
            self._volumes = kept
        else:
            stored = store.series(chain)
            absent = [item["patient_id"] for item in data if item["patient_id"] not in stored]
            if absent:
                raise SlicesError(f"patient {absent[0]}: expected a series in the slice store, found none.")
            self._volumes = [stored[item["patient_id"]] for item in data]
        self._weights = _patient_weights(self.patient_ids, self.slice_counts)
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
        """The slices of one series in ``data`` as they are without augmentation, ``(K, 1, H, W)`` float32."""
        return self._volumes[series_index][:].float().unsqueeze(1)

    def features(self, network: str, compute: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """What a frozen network makes of the slices of each series, without augmentation; kept where they are stored.

        ``network`` tells it from every other, as `SliceStore.features` takes it; "" where they are not to be kept.

        Yields:
            ``(K, D)`` of each series in ``data``, as ``compute`` makes them of ``(K, 1, H, W)`` float32.

        Raises:
            SlicesError: As `SliceStore.features`.
        """
        if self._store is None or not network:
            yield from (compute(self.series_slices(n)) for n in range(len(self.data)))
        else:
            stored = self._store.features(self._chain, network, compute)
            yield from (stored[patient_id][:].squeeze(1) for patient_id in self.patient_ids)

    def __len__(self) -> int:
        """How many slices there are."""
        return len(self._index)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """One slice.

        Args:
            index: Of the slice, or ``(epoch, index)``.

        Returns:
            ``image`` ``(1, H, W)`` float32; ``label`` ``(1,)`` float32; ``patient_index``, of the series in
            ``data``; ``slice_index``, counted among the slices kept of it; ``epoch`` and ``index``, as they were
            asked for, which with the seed tell the augmentation; ``weight`` float32, with which all patients weigh the
            same: on average 1, and of a patient's slices together the same as of any other's.
        """
        label, about = self._about(index)
        epoch, index = about["epoch"], about["index"]
        item = {"image": self._stored(index).float(), "label": torch.tensor([label]), **about}
        item["weight"] = torch.tensor(self._weights[about["patient_index"]])
        if self.random_transform.transforms:
            self.random_transform.set_random_state(seed=augmentation_seed(self.seed, epoch, index))
            item = self.random_transform(item)
            item["image"] = convert_to_tensor(item["image"], track_meta=False)
        return item

    def batch(self, places: Sequence[int | tuple[int, int]]) -> dict[str, Tensor]:
        """Several slices, of one size, as torch would collate them.

        Each is read into its place, so that none but the whole lies in memory: hundreds of small pieces among the
        large ones would let the memory of a training grow from step to step.

        Args:
            places: As ``__getitem__`` takes them; none give tensors of the same shapes, whose first axis is 0.

        Returns:
            ``image`` ``(B, 1, H, W)``, ``label`` ``(B, 1)`` and ``weight`` ``(B,)`` float32; the other names of an
            item, ``(B,)`` int64.
        """
        told = [self._about(place) for place in places]
        images = torch.empty(len(told), *self._stored(told[0][1]["index"] if told else 0).shape)
        for place, (_, about), image in zip(places, told, images, strict=True):
            image.copy_(self[place]["image"] if self.random_transform.transforms else self._stored(about["index"]))
        names = ("patient_index", "slice_index", "epoch", "index")
        return {
            "image": images,
            "label": torch.tensor([label for label, _ in told]).reshape(-1, 1),
            "weight": torch.tensor([self._weights[about["patient_index"]] for _, about in told], dtype=torch.float32),
            **{name: torch.tensor([about[name] for _, about in told], dtype=torch.int64) for name in names},
        }

    def _about(self, place: int | tuple[int, int]) -> tuple[float, dict[str, int]]:
        """A slice's label, and the whole numbers that are told of it."""
        epoch, index = place if isinstance(place, tuple) else (0, place)
        series_index, slice_index = self._index[index]
        about = {"patient_index": series_index, "slice_index": slice_index, "epoch": epoch, "index": index}
        return float(self.data[series_index]["label"]), about

    def _stored(self, index: int) -> Tensor:
        """A slice as it is kept, ``(1, H, W)``."""
        series_index, slice_index = self._index[index]
        return self._volumes[series_index][slice_index : slice_index + 1]


def _patient_weights(patient_ids: Sequence[str], slice_counts: Sequence[int]) -> list[float]:
    """By series, the weight of each of its slices: n / (patients * slices of the patient), n being all slices."""
    held: Counter[str] = Counter()
    for patient, n in zip(patient_ids, slice_counts, strict=True):
        held[patient] += n
    return [held.total() / (len(held) * held[patient]) if held[patient] else 0.0 for patient in patient_ids]
