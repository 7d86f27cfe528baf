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
