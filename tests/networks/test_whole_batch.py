"""Three processes that share a batch make the step of one process that has it, to double precision."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from whole_batch_steps import CASES, step

from mgmt_monai.networks.whole_batch import WholeBatchNetwork

N_RANKS = 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> list[list[dict]]:
    """By rank, the results of every case."""
    folder = tmp_path_factory.mktemp("steps")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={N_RANKS}"]
    words += [str(Path(__file__).parents[1] / "whole_batch_steps.py"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(N_RANKS)]


@pytest.mark.parametrize("index", range(len(CASES)), ids=[" ".join(map(str, case)) for case in CASES])
@pytest.mark.slow
def test_step_of_shared_batch_is_that_of_one_process(index, shared):
    expected = step(*CASES[index], together=False)
    ranks = [results[index] for results in shared]
    torch.testing.assert_close(torch.cat([result.pop("logits") for result in ranks]), expected.pop("logits"))
    torch.testing.assert_close(sum(result.pop("loss") for result in ranks) / N_RANKS, expected.pop("loss"))
    assert any(name.startswith("grad") for name in expected)
    for result in ranks:
        assert list(result) == list(expected)
        torch.testing.assert_close(result, expected, rtol=1e-7, atol=1e-10)


class Noisy(nn.Module):
    """Draws a number a slice; keeps how many interceptors (torch function modes) stood around it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        self.modes = torch._C._len_torch_function_stack()
        return self.scale * torch.rand([len(images), 1])


def test_one_process_intercepts_nothing() -> None:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        network = Noisy()
        trained = WholeBatchNetwork(network)
        torch.manual_seed(3)
        drawn = trained(torch.zeros(4, 1, 8, 8))
    finally:
        distributed.destroy_process_group()
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4, 1))
    assert network.modes == 0
