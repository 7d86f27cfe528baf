"""What a process knows of the others when it is alone; test_distributed.py has real ones."""

import json
import subprocess
import sys

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


@pytest.mark.skipif(
    subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode != 0, reason="needs a network namespace"
)
def test_machine_without_any_network_interface_is_told():
    code = "from mgmt_monai.training.ranks import join_ranks; join_ranks('cpu')"
    ran = subprocess.run(["unshare", "-n", sys.executable, "-c", code], capture_output=True, text=True)
    assert "TrainingError: multi_gpu_train: expected a network interface for gloo, found none" in ran.stderr


def test_config_for_one_process_is_refused_to_several(monkeypatch):
    ranks.check_joined()
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(TrainingError, match=r"started as 4 processes.*Add multi_gpu_train"):
        ranks.check_joined()


@pytest.mark.parametrize(
    "message",
    [
        "[gloo/transport/tcp/pair.cc:555] Connection closed by peer",
        "[enforce fail at /pytorch/third_party/gloo/gloo/cuda.cu:3] broken",
    ],
)
def test_lost_process_is_told_in_one_line(message, monkeypatch):
    monkeypatch.setattr(ranks, "n_ranks", lambda: 2)
    with pytest.raises(TrainingError, match="another process of this training has ended"), ranks.lost_ranks_told():
        raise RuntimeError(message)


@pytest.mark.parametrize("message", ["out of memory", "Parent directory /home/igloo/gloo does not exist.", "NCCL"])
def test_other_errors_of_several_processes_stay_as_they_are(message, monkeypatch):
    monkeypatch.setattr(ranks, "n_ranks", lambda: 2)
    with pytest.raises(RuntimeError, match=message), ranks.lost_ranks_told():
        raise RuntimeError(message)


def test_process_that_is_alone_has_lost_no_other():
    with pytest.raises(RuntimeError, match="gloo"), ranks.lost_ranks_told():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:555] Connection closed by peer")


@pytest.mark.parametrize(("local_rank", "n_gpus"), [("0", 1), (None, 2), ("1", 2), ("3", 4)])
def test_each_process_of_a_machine_has_a_gpu_of_its_own(local_rank, n_gpus, monkeypatch):
    _machine_with_gpus(n_gpus, local_rank, monkeypatch)
    assert ranks.rank_device() == torch.device("cuda", int(local_rank or 0))


@pytest.mark.parametrize(("local_rank", "n_gpus"), [("1", 1), ("2", 2), ("7", 4)])
def test_more_processes_than_gpus_are_refused(local_rank, n_gpus, monkeypatch):
    _machine_with_gpus(n_gpus, local_rank, monkeypatch)
    with pytest.raises(TrainingError, match=f"found {n_gpus} for {int(local_rank) + 1} processes or more. Start fewer"):
        ranks.rank_device()


def _machine_with_gpus(n_gpus, local_rank, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)  # as torchrun sets it


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", "gloo"), ("cuda:1", "cpu:gloo,cuda:nccl"), (torch.device("cuda"), "cpu:gloo,cuda:nccl")],
)
@pytest.mark.parametrize("world", [None, "2"])
def test_gpus_talk_by_nccl_and_processors_by_gloo(device, expected, world, monkeypatch):
    joined, chosen = [], []
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world is not None:
        monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(str(device)))
    monkeypatch.setattr(distributed, "init_process_group", lambda backend, **_: joined.append(backend))
    ranks.join_ranks(device)
    assert joined == [expected]
    assert chosen == ([] if str(device) == "cpu" else [str(device)])


@pytest.mark.skipif(not torch.cuda.is_available() or torch.version.hip is not None, reason="needs an NVIDIA GPU")
def test_group_on_a_gpu_adds_up_there_and_on_the_cpu(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks.join_ranks("cuda:0")
    try:
        for device in ("cpu", "cuda:0"):
            value = torch.full((1,), 3.0, device=device)
            distributed.all_reduce(value)
            assert value.item() == 3
    finally:
        ranks.leave_ranks()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU")
def test_device_without_a_gpu_is_the_cpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.rank_device() == torch.device("cpu")
