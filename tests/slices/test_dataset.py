import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad, RandScaleIntensityd
from torch.utils.data import DataLoader

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.slices import EpochBatches, SliceDataset
from mgmt_monai.slices.errors import SlicesError

#: Three series of 3, 1 and 2 slices; a slice's value tells series and place.
VOLUMES = [np.arange(n)[:, None, None] + 10.0 * (i + 1) + np.zeros((n, 4, 4)) for i, n in enumerate((3, 1, 2))]
ITEMS = [{"image": i, "label": i % 2, "patient_id": f"p{i}"} for i in range(3)]


def read(index: int) -> torch.Tensor:
    return torch.as_tensor(VOLUMES[index], dtype=torch.float16)


LOAD = Lambdad(keys="image", func=read)
SCALE = RandScaleIntensityd(keys="image", factors=0.5, prob=1.0)


def test_each_slice_is_one_item_with_its_series_label_and_place():
    dataset = SliceDataset(ITEMS, Compose([LOAD]))
    found = [(int(i["image"][0, 0, 0]), i["label"].item(), i["patient_index"], i["slice_index"]) for i in dataset]
    assert found == [(10, 0, 0, 0), (11, 0, 0, 1), (12, 0, 0, 2), (20, 1, 1, 0), (30, 0, 2, 0), (31, 0, 2, 1)]
    assert dataset.patient_ids == ["p0", "p1", "p2"]


def test_slice_is_float32_with_a_channel_whatever_is_kept():
    item = SliceDataset(ITEMS, Compose([LOAD]))[0]
    assert item["image"].shape == (1, 4, 4) and item["image"].dtype == torch.float32
    assert item["label"].shape == (1,) and item["label"].dtype == torch.float32


def test_each_series_is_read_once():
    calls = []
    dataset = SliceDataset(ITEMS, Compose([Lambdad(keys="image", func=lambda i: calls.append(i) or read(i)), SCALE]))
    for epoch in (1, 2):
        for index in range(len(dataset)):
            dataset[epoch, index]
    assert sorted(calls) == [0, 1, 2]


def test_memory_that_slices_take_is_told(caplog):
    volumes = Lambdad(keys="image", func=lambda i: torch.zeros(i + 1, 512, 512))
    with caplog.at_level("INFO"):
        SliceDataset(ITEMS, Compose([volumes]))
    assert caplog.messages == ["6 slices of 3 series are kept in memory, 6 MiB"]


def test_augmentation_is_that_of_a_transform_seeded_by_hand():
    dataset = SliceDataset(ITEMS, Compose([LOAD, SCALE]), seed=7)
    seed = int(np.random.SeedSequence([7, 2, 4]).generate_state(1)[0])
    by_hand = Compose([SCALE]).set_random_state(seed=seed)({"image": torch.full((1, 4, 4), 30.0)})
    torch.testing.assert_close(dataset[2, 4]["image"], by_hand["image"].as_tensor())


def test_augmentation_changes_with_the_epoch_but_not_with_the_order_of_access():
    dataset = SliceDataset(ITEMS, Compose([LOAD, SCALE]), seed=7)
    first = dataset[1, 0]["image"].clone()
    assert not torch.equal(first, dataset[2, 0]["image"])
    _ = dataset[1, 3]
    assert torch.equal(first, dataset[1, 0]["image"])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_with_and_without_worker_processes(workers):
    dataset = SliceDataset(ITEMS, Compose([LOAD, SCALE]), seed=7)
    loaded = DataLoader(dataset, batch_sampler=EpochBatches(dataset, 2, seed=1), num_workers=workers)
    drawn = torch.cat([batch["image"] for batch in loaded])
    expected = torch.stack([dataset[key]["image"] for batch in EpochBatches(dataset, 2, seed=1) for key in batch])
    assert torch.equal(drawn, expected)


def test_every_series_that_cannot_be_read_is_named():
    def broken(index):
        if index != 1:
            raise CohortError(f"patient p{index}: broken")
        return read(index)

    with pytest.raises(SlicesError, match="patient p0: broken\npatient p2: broken"):
        SliceDataset(ITEMS, Compose([Lambdad(keys="image", func=broken)]))


def test_series_slices_are_those_of_the_series_without_augmentation():
    dataset = SliceDataset(ITEMS, Compose([LOAD, SCALE]), seed=7)
    assert dataset.slice_counts == [3, 1, 2]
    for series_index, volume in enumerate(VOLUMES):
        slices = dataset.series_slices(series_index)
        assert slices.dtype == torch.float32
        np.testing.assert_array_equal(slices.numpy(), volume[:, None])
