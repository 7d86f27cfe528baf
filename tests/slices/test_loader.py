import pytest
import torch
from monai.transforms import Compose, Lambdad, RandScaleIntensityd
from torch.utils.data import DataLoader

from mgmt_monai.slices import EpochBatches, SliceDataset
from mgmt_monai.slices.loader import SliceLoader
from mgmt_monai.slices.shares import ShareLoader

ITEMS = [{"image": i, "label": i % 2, "patient_id": f"p{i}"} for i in range(3)]


@pytest.fixture
def dataset() -> SliceDataset:
    """Three series of four slices; a slice's value tells series and place."""
    load = Lambdad(keys="image", func=lambda i: torch.arange(4.0).view(4, 1, 1).expand(4, 2, 2) + 10 * i)
    return SliceDataset(ITEMS, Compose([load]))


@pytest.mark.parametrize("kind", [SliceLoader, ShareLoader])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_every_epoch_are_those_of_torchs_loader(kind, workers, dataset):
    ours, theirs = (EpochBatches(dataset, 5, seed=1) for _ in range(2))
    loader = kind(dataset, batch_sampler=ours, device="cpu", num_workers=workers)
    assert len(loader) == 3
    for epoch in (1, 2):  # the second time from the same worker processes
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        for found, expected in zip(loader, DataLoader(dataset, batch_sampler=theirs), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("random", [[], [RandScaleIntensityd("image", factors=0.5, prob=1.0)]], ids=["plain", "random"])
def test_batch_of_none_has_the_shapes_and_types_of_any(random, dataset):
    dataset = SliceDataset(ITEMS, Compose([*dataset.transform.transforms, *random]))
    none, two = dataset.batch([]), dataset.batch([(1, 3), (1, 9)])
    assert {name: (0, *values.shape[1:]) for name, values in two.items()} == {
        name: tuple(values.shape) for name, values in none.items()
    }
    assert all(none[name].dtype == two[name].dtype for name in two)
    assert two["patient_index"].tolist() == [0, 2] and two["index"].tolist() == [3, 9]


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_takes_none_of_the_global_random_numbers(workers, dataset):
    loader = SliceLoader(dataset, num_workers=workers, batch_size=4)
    for _ in range(2):
        torch.manual_seed(3)
        list(loader)
        assert torch.equal(torch.rand(4), torch.rand(4, generator=torch.Generator().manual_seed(3)))


def test_batches_for_evaluation_come_in_order(dataset):
    drawn = torch.cat([batch["image"][:, 0, 0, 0] for batch in SliceLoader(dataset, batch_size=5, sampler=range(3, 9))])
    assert drawn.tolist() == [3, 10, 11, 12, 13, 20]


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda:0", True), (torch.device("cuda"), True)])
@pytest.mark.parametrize("workers", [0, 2])
def test_loader_is_set_for_its_device(device, pinned, workers, dataset):
    for keeps in (False, True):
        loader = SliceLoader(dataset, device, workers, keeps, batch_size=2)
        assert (loader.pin_memory, loader.persistent_workers) == (pinned, keeps and workers > 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_for_a_gpu_are_pinned(dataset):
    (batch,) = SliceLoader(dataset, "cuda", 1, batch_size=12)
    assert batch["image"].is_pinned()
