"""What a process knows of the others when it is alone; test_distributed.py has real ones."""

import json

import pytest
import torch
from torch import distributed, nn

from mgmt_monai.training import ranks
from mgmt_monai.training.errors import TrainingError


def test_process_without_a_group_is_the_main_one_of_one():
    assert ranks.n_ranks() == 1 and ranks.is_main_rank()
    assert ranks.from_main_rank(lambda: 7) == 7
    assert ranks.from_all_ranks("own") == ["own"]


def test_process_without_torchrun_is_a_group_by_itself(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks.join_ranks("cpu")
    try:
        assert distributed.is_initialized() and ranks.n_ranks() == 1
        ranks.check_joined()
        network = nn.Linear(1, 1)
        before = json.dumps(network.weight.tolist())
        ranks.share_state(network)
        assert json.dumps(network.weight.tolist()) == before
    finally:
        ranks.leave_ranks()
    assert not distributed.is_initialized()


def test_config_for_one_process_is_refused_to_several(monkeypatch):
    ranks.check_joined()
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(TrainingError, match=r"started as 4 processes.*multi_gpu_train\.json"):
        ranks.check_joined()


@pytest.mark.parametrize("message", ["[gloo/transport/tcp/pair.cc:555] Connection closed by peer", "NCCL error"])
def test_lost_process_is_told_in_one_line(message):
    with pytest.raises(TrainingError, match="another process of this training has ended"), ranks.lost_ranks_told():
        raise RuntimeError(message)


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="out of memory"), ranks.lost_ranks_told():
        raise RuntimeError("out of memory")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU")
def test_device_without_a_gpu_is_the_cpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.rank_device() == torch.device("cpu")
