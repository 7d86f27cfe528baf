"""A batch as a whole against MONAI's dictionary transforms, one slice at a time."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from monai.transforms import Compose, RandFlipd

from mgmt_monai.transforms import RandBrightnessd, RandSliceAffined
from mgmt_monai.transforms.batch import BatchAugmentation, augmentation_seed
from mgmt_monai.transforms.errors import TransformError


def transforms() -> list:
    return [
        RandSliceAffined("image", zoom_min=0.8, zoom_max=1.2, rotation_deg=15, shift=0.1, flip_prob=0.5),
        RandBrightnessd("image", brightness_min=0.8, brightness_max=1.2),
    ]


def pictures(n: int, height: int = 40, width: int = 33) -> torch.Tensor:
    noise = np.random.default_rng(1).random((n, 1, height, width))
    return torch.from_numpy(scipy.ndimage.gaussian_filter(noise, (0, 0, 1, 1)).astype(np.float32))


def one_at_a_time(slices: torch.Tensor, seeds: list[int], steps: list) -> torch.Tensor:
    chain = Compose(steps)
    return torch.stack(
        [chain.set_random_state(seed=s)({"image": i})["image"] for i, s in zip(slices, seeds, strict=True)]
    )


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [0], [1], [0, 1, 0]], ids=str)
def test_pictures_are_those_of_the_dictionary_transforms(order):
    slices, seeds = pictures(37), [augmentation_seed(5, 2, index) for index in range(37)]
    steps = [transforms()[place] for place in order]
    augmented = BatchAugmentation(steps)(slices, seeds)
    torch.testing.assert_close(augmented, one_at_a_time(slices, seeds, steps), rtol=0, atol=1e-6)
    assert (augmented - slices).abs().amax(dim=(1, 2, 3)).min() > 0.001  # every slice has changed


@pytest.mark.parametrize("cuts", [[1] * 20, [20], [16, 4], [7, 13]], ids=str)
def test_pictures_do_not_depend_on_the_batch(cuts):
    slices, seeds = pictures(20), list(range(20))
    augment = BatchAugmentation(transforms())
    whole = augment(slices, seeds)
    places = torch.arange(20).split(cuts)
    parts = [BatchAugmentation(transforms())(slices[own], [seeds[i] for i in own]) for own in places]
    assert torch.equal(torch.cat(parts), whole)


def test_half_precision_is_augmented_in_single():
    slices = pictures(3).half()
    augmented = BatchAugmentation(transforms())(slices, [1, 2, 3])
    assert augmented.dtype == torch.float32
    assert torch.equal(augmented, BatchAugmentation(transforms())(slices.float(), [1, 2, 3]))


def test_slices_given_are_not_changed_and_none_is_a_batch_too():
    slices = pictures(2)
    before = slices.clone()
    augment = BatchAugmentation(transforms())
    augment(slices, [0, 1])
    assert torch.equal(slices, before)
    assert augment(slices[:0], []).shape == (0, 1, 40, 33)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pictures_on_a_gpu_are_those_of_the_cpu():
    slices, seeds = pictures(37), list(range(37))
    augment = BatchAugmentation(transforms())
    torch.testing.assert_close(augment(slices.cuda(), seeds).cpu(), augment(slices, seeds), rtol=0, atol=1e-3)


def test_transform_of_single_slices_is_refused():
    with pytest.raises(TransformError, match=r"found RandFlipd.*--augment_on loader"):
        BatchAugmentation([*transforms(), RandFlipd("image")])


def test_seed_tells_seed_epoch_and_index_apart():
    places = [(s, e, i) for s in range(3) for e in range(3) for i in range(3)]
    assert len({augmentation_seed(*place) for place in places}) == len(places)
