from itertools import chain

import pytest

from mgmt_monai.slices import EpochBatches
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.slices.shares import BatchShares, share


@pytest.mark.parametrize("n_slices", [3, 7, 12, 100])
def test_shares_are_the_data_set_in_order_without_padding(n_slices):
    shares = [list(share(n_slices, rank, 3)) for rank in range(3)]
    assert list(chain.from_iterable(shares)) == list(range(n_slices))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_fewer_slices_than_processes_are_refused():
    with pytest.raises(SlicesError, match="2 slices cannot be shared by 3 processes"):
        share(2, 0, 3)


@pytest.mark.parametrize(("n_slices", "sizes"), [(14, [4, 4, 4, 2]), (13, [4, 4, 5]), (2, [2])])
def test_shares_of_each_batch_are_the_batch_of_one_process(n_slices, sizes):
    batches = EpochBatches(range(n_slices), 4, seed=1)
    batches.set_epoch(2)
    shares = [BatchShares(batches, rank, 3) for rank in range(3)]
    dealt = list(zip(*shares, strict=True))
    assert [list(chain.from_iterable(parts)) for parts in dealt] == list(batches)
    assert [sum(map(len, parts)) for parts in dealt] == sizes
    assert all(len(own) == len(sizes) for own in shares)
    assert max(len(a) - len(b) for parts in dealt for a in parts for b in parts) <= 1
