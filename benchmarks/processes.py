"""Do two processes on the machine's cores train as fast as one process on the same cores?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from measurement import Measure, Size, Way
from remote import remote

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
STAGES = {"transfer": "stage 1", "fine_tune": "fine-tuning"}
THREADS = max(1, CORES // 2)

MEASURE = Measure(
    name="processes",
    title="Two processes (gloo) against one",
    unit="slices/s",
    higher_is_better=True,
    ours="stage 1, 2 processes",
    must={f"{title}, 1 process": 0.9 for title in STAGES.values()},
    beside={f"{title}, 1 process": f"{title}, 2 processes" for title in STAGES.values()},
    note=f"on the CPU, torchrun and multi_gpu_train.json: 2 x {THREADS} threads; t1w.json alone: 1 x {2 * THREADS}; "
    "batches half as large as elsewhere",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Of both stages, by two processes and by one."""
    with ExitStack() as stack:
        found = []
        for stage, title in STAGES.items():
            work = {"stage": stage, "n_patients": size.patients, "device": "cpu"}
            # Half a batch, for all of them wait at once, with the memory that they need.
            work |= {f"{stage}_batch_size": getattr(size, f"{stage}_batch") // 2}
            for n_processes, name in ((2, "2 processes"), (1, "1 process")):
                threads = THREADS * 2 // n_processes
                way = remote(
                    f"{title}, {name}",
                    "ours.epochs",
                    size,
                    warm=True,
                    n_processes=n_processes,
                    environment={"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""},
                    files=["t1w", "multi_gpu_train"] if n_processes > 1 else ["t1w"],
                    **work,
                )
                found.append(stack.enter_context(way))
        yield found
