"""Three processes that share a batch make the step of one process that has it, to double precision."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from whole_batch_steps import CASES, step

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
def test_step_of_shared_batch_is_that_of_one_process(index, shared):
    expected = step(*CASES[index], together=False)
    ranks = [results[index] for results in shared]
    torch.testing.assert_close(torch.cat([result.pop("logits") for result in ranks]), expected.pop("logits"))
    torch.testing.assert_close(sum(result.pop("loss") for result in ranks) / N_RANKS, expected.pop("loss"))
    assert any(name.startswith("grad") for name in expected)
    for result in ranks:
        assert list(result) == list(expected)
        torch.testing.assert_close(result, expected, rtol=1e-7, atol=1e-10)
