from collections import Counter

import pytest

from mgmt_monai.slices import EpochBatches
from mgmt_monai.slices.errors import SlicesError


def epoch(batches: EpochBatches, number: int) -> list[list[tuple[int, int]]]:
    batches.set_epoch(number)
    return list(batches)


@pytest.mark.parametrize(
    ("n_slices", "batch_size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (8, 4, [4, 4]), (3, 8, [3]), (5, 2, [2, 3])],
    ids=["rest", "rest of one joined", "even", "one batch", "small batches"],
)
def test_batches_cover_every_slice_once_and_none_has_one_slice(n_slices, batch_size, sizes):
    batches = EpochBatches(range(n_slices), batch_size, seed=0)
    drawn = epoch(batches, 1)
    assert [len(batch) for batch in drawn] == sizes
    assert len(batches) == len(sizes)
    assert Counter(index for batch in drawn for _, index in batch) == Counter(range(n_slices))


@pytest.mark.parametrize(
    ("n_slices", "batch_size", "expected"),
    [
        (135, 128, (19, 8, True)),
        (456, 128, (64, 8, True)),
        (898, 128, (128, 8, False)),
        (897, 128, (127, 8, True)),
        (40, 128, (8, 5, True)),
        (40, 6, (6, 7, False)),
        (16, 64, (8, 2, True)),
    ],
    ids=["30 patients", "100 patients", "enough", "but for one", "no smaller than 8", "smaller already", "two batches"],
)
def test_few_slices_give_smaller_batches(n_slices, batch_size, expected):
    batches = EpochBatches(range(n_slices), batch_size, seed=0, least_steps=8)
    assert (batches.batch_size, len(batches), batches.is_smaller) == expected
    assert sorted(index for batch in epoch(batches, 1) for _, index in batch) == list(range(n_slices))
    assert [batches.first_counted(epochs) for epochs in (20, 3, 1)] == ([10, 1, 1] if expected[2] else [1, 1, 1])


def test_without_least_steps_batches_stay_as_large():
    batches = EpochBatches(range(135), 128, seed=0)
    assert (batches.batch_size, len(batches), batches.is_smaller, batches.first_counted(20)) == (128, 2, False, 1)


def test_indices_carry_their_epoch():
    assert {number for batch in epoch(EpochBatches(range(6), 2, seed=0), 5) for number, _ in batch} == {5}


def test_order_depends_on_seed_and_epoch_alone():
    def order(seed, number):
        return [index for batch in epoch(EpochBatches(range(50), 8, seed), number) for _, index in batch]

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


@pytest.mark.parametrize(("n_slices", "batch_size"), [(10, 1), (1, 4)], ids=["batch of one", "one slice"])
def test_what_batchnorm_cannot_train_on_is_refused(n_slices, batch_size):
    with pytest.raises(SlicesError, match="found 1"):
        EpochBatches(range(n_slices), batch_size, seed=0)
