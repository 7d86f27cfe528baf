from contextlib import nullcontext

import pytest
import torch

from mgmt_monai.training import default_device, hardware, loader_workers
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.hardware import check_device, training_dtype


@pytest.mark.parametrize(("there", "expected"), [(True, "cuda:0"), (False, "cpu")])
def test_default_device_is_a_gpu_only_where_there_is_one(there, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert str(default_device()) == expected


@pytest.mark.parametrize("device", ["cpu", "mps", torch.device("cpu")])
def test_no_loader_process_where_the_network_can_use_every_core(device):
    assert loader_workers(device) == 0


@pytest.mark.parametrize(
    ("cores", "processes", "expected"),
    [(16, None, 4), (5, "1", 4), (4, "1", 3), (1, "1", 0), (16, "4", 3), (2, "4", 0)],
)
def test_loader_processes_for_a_gpu_leave_a_core_to_each_process(cores, processes, expected, monkeypatch):
    monkeypatch.setattr(hardware, "processors", lambda: cores)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)  # as torchrun sets it
    assert loader_workers("cuda:0") == expected


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "mps", torch.float32),
        ("float32", "cuda", torch.float32),
        ("bfloat16", torch.device("cpu"), torch.bfloat16),
        ("bfloat16", "cuda:0", torch.bfloat16),
        ("float16", "cuda:0", torch.float16),
    ],
)
def test_precision_as_it_is_asked_for(precision, device, expected):
    assert training_dtype(precision, device) == expected


@pytest.mark.parametrize(("has_it", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_bfloat16_where_the_gpu_computes_in_it(has_it, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext(asked.append(str(device))))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it and not including_emulation)
    assert training_dtype("auto", "cuda:1") == expected
    assert asked == ["cuda:1"]


@pytest.mark.skipif(not torch.cuda.is_available() or torch.version.hip is not None, reason="needs an NVIDIA GPU")
def test_auto_takes_bfloat16_from_ampere_on():
    ampere = torch.cuda.get_device_capability() >= (8, 0)
    assert training_dtype("auto", "cuda") == (torch.bfloat16 if ampere else torch.float32)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_float16_without_scaled_gradients_is_refused(device):
    with pytest.raises(TrainingError, match=f"precision: float16 is for CUDA GPUs, found the device {device}"):
        training_dtype("float16", device)


def test_unknown_precision_is_refused():
    with pytest.raises(TrainingError, match="one of auto, float32, bfloat16, float16, found 'half'"):
        training_dtype("half", "cpu")


def test_device_without_numbers_is_refused():
    check_device("cpu")
    with pytest.raises(TrainingError, match=r"^device: expected one that torch finds on this machine, found 'meta'"):
        check_device("meta")
