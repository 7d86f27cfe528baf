import pytest
import torch
from monai.transforms import Compose, Lambdad
from torch.utils.data import DataLoader

from mgmt_monai.slices import EpochBatches, SliceDataset
from mgmt_monai.training import PrepareBatch
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.transforms import RandBrightnessd, RandSliceAffined

ITEMS = [{"image": n, "label": n % 2, "patient_id": str(n)} for n in (3, 1, 4)]
READ = Lambdad("image", lambda n: torch.rand(n, 20, 20, generator=torch.Generator().manual_seed(n)))


def random_transforms() -> list:
    return [
        RandSliceAffined("image", zoom_min=0.8, zoom_max=1.2, rotation_deg=15, shift=0.1, flip_prob=0.5),
        RandBrightnessd("image", brightness_min=0.8, brightness_max=1.2),
    ]


def drawn(dataset: SliceDataset, prepare: PrepareBatch, batch_size: int, **options) -> dict[tuple[int, int], tuple]:
    """Image and label by epoch and index, of two epochs."""
    batches = EpochBatches(dataset, batch_size, seed=1)
    found = {}
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        for batch in DataLoader(dataset, batch_sampler=batches, **options):
            images, labels = prepare(batch, torch.device("cpu"), False)
            places = zip(batch["epoch"].tolist(), batch["index"].tolist(), strict=True)
            found |= dict(zip(places, zip(images, labels, strict=True), strict=True))
    return found


def test_batches_augmented_as_a_whole_are_those_of_the_loader_whatever_their_size_and_the_workers():
    seed = 7
    reference = drawn(
        SliceDataset(ITEMS, Compose([READ, *random_transforms()]), seed=seed), PrepareBatch([], seed), batch_size=2
    )
    plain = SliceDataset(ITEMS, Compose([READ]), seed=seed)
    assert len(reference) == 16
    for batch_size, workers in ((2, 0), (3, 2), (8, 1)):
        ours = drawn(plain, PrepareBatch(random_transforms(), seed), batch_size, num_workers=workers)
        torch.testing.assert_close(dict(sorted(ours.items())), dict(sorted(reference.items())), rtol=0, atol=1e-6)


def test_slices_that_do_not_tell_which_they_are_are_refused_and_features_pass():
    prepare = PrepareBatch(random_transforms(), seed=7)
    with pytest.raises(TrainingError, match=r"'epoch' and 'index'.*--augment_on loader"):
        prepare({"image": torch.rand(2, 1, 20, 20), "label": torch.zeros(2, 1)}, "cpu")
    features = torch.rand(2, 9)
    assert torch.equal(prepare({"image": features, "label": torch.zeros(2, 1)}, "cpu")[0], features)
