"""One training in a process of its own: ``python -m mgmt_monai.study.process JOB.json``.

The process ends when the one that started it ends, however that ends: a killed study leaves no training behind that
a second start would find still running.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
"""Of Linux' prctl(2): the signal that this process gets when its parent ends."""

NOT_RUN = -1
"""The exit code of a job that was not started, or whose machine was lost."""

_PATIENCE_S = 0.5
"""Between two looks at whether to stop: unnoticed by a training of minutes, soon enough for a person."""


@dataclass(frozen=True)
class Job:
    """A training to be run.

    Args:
        name: Of its run.
        config_file: The bundle config, absolute.
        settings: Overrides by key.
        log: What it prints goes here, added to what is there.
        threads: For the computations of one process. The result depends on it in the last digits, so that it is the
            same however many trainings run beside each other.
    """

    name: str
    config_file: str
    settings: dict[str, Any]
    log: str
    threads: int = 1


def run_job(job: Job, stop: threading.Event | None = None) -> int:
    """Run a job to its end.

    Args:
        job: What to run.
        stop: When it is set, the training is asked to close its run and to end; it can be gone on with.

    Returns:
        The process's exit code; negative where a signal ended it, or where it was not started any more.
    """
    if stop is not None and stop.is_set():
        return NOT_RUN
    Path(job.log).parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **{name: str(job.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}}
    with Path(job.log).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(asdict(job)), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        while True:
            try:
                return child.wait(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                if stop is not None and stop.is_set():
                    child.terminate()


def main() -> None:
    """Run the job whose JSON is the first word, for the parent process whose number is the second."""
    job = Job(**json.loads(sys.argv[1]))
    _end_with(int(sys.argv[2]))
    import monai.bundle
    import torch

    torch.set_num_threads(job.threads)
    monai.bundle.run(run_id="training", config_file=job.config_file, **job.settings)


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be asked for
        sys.exit(128 + signal.SIGKILL)


if __name__ == "__main__":
    main()
