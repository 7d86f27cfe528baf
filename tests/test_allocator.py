"""In processes of their own: what the setting does lasts as long as the process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")

#: Prints what the call returns, then the MiB that are still resident of 64 that were freed.
FREED = """
import resource
from mgmt_monai.allocator import keep_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
print({call})
before = resident()
block = b"x" * (64 << 20)
del block
print(resident() - before)
"""

#: Prints a digest of a network after two steps of fine-tuning: before and after the call.
TRAINED = """
import hashlib, torch
from mgmt_monai.allocator import keep_freed_memory
from mgmt_monai.networks import MGMTClassifier
torch.set_num_threads(1)
def digest():
    torch.manual_seed(0)
    network = MGMTClassifier("resnet-10")
    network.set_stage("fine_tune")
    optimizer = torch.optim.Adam(network.stage_parameters("fine_tune"), lr=1e-3)
    for n in (12, 5):
        network(torch.rand(n, 1, 160, 160)).square().sum().backward()
        optimizer.step()
    state = b"".join(tensor.contiguous().numpy().tobytes() for tensor in network.state_dict().values())
    return hashlib.sha256(state).hexdigest()
print(digest(), {call}, digest())
"""

#: An allocator that takes glibc's place, as jemalloc does.
OTHER_ALLOCATOR = """
#include <stddef.h>
void *__libc_malloc(size_t size);
void *malloc(size_t size) { return __libc_malloc(size); }
"""


def printed(script: str, call: str, **environment: str) -> list[str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k not in ("GLIBC_TUNABLES", "LD_PRELOAD")
    }
    done = subprocess.run(
        [sys.executable, "-c", script.format(call=call)],
        env={**kept, "OMP_NUM_THREADS": "1", **environment},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def uses_glibc() -> bool:
    try:
        return "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (ValueError, OSError):
        return False


@pytest.mark.skipif(not uses_glibc(), reason="another C library")
def test_freed_memory_stays_with_the_process_once_it_is_told_so():
    assert float(printed(FREED, "None")[1]) < 8
    *told, resident_mib = printed(FREED, "keep_freed_memory(everywhere=True), keep_freed_memory(everywhere=True)")
    assert told == ["True", "True"]
    assert float(resident_mib) > 60


@pytest.mark.parametrize(
    "environment",
    [{"MALLOC_ARENA_MAX": "2"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=100"}],
    ids=lambda e: next(iter(e)),
)
def test_what_the_user_set_stays(environment):
    told, resident_mib = printed(FREED, "keep_freed_memory(everywhere=True)", **environment)
    assert told == "False"
    assert float(resident_mib) < 8


def test_other_allocator_is_left_alone(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(OTHER_ALLOCATOR)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    assert printed(FREED, "keep_freed_memory(everywhere=True)", LD_PRELOAD=str(library))[0] == "False"


@pytest.mark.skipif(not uses_glibc(), reason="another C library")
@pytest.mark.slow
def test_training_is_the_same_to_the_last_bit():
    before, told, after = printed(TRAINED, "keep_freed_memory(everywhere=True)")
    assert told == "True"
    assert before == after
