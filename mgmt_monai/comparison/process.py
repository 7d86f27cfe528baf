"""One training in a process of its own: ``python -m mgmt_monai.comparison.process``, the job as JSON on its input.

The process ends when the one that started it ends, however that ends: a killed comparison leaves no training behind
that a second start would find still running.
"""

import contextlib
import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
"""Of Linux' prctl(2): the signal that this process gets when its parent ends."""

NOT_RUN = -1
"""The exit code of a job that was not started, or whose machine was lost."""

THREADS = 1
"""For the computations of one training. The last digits depend on it, so it is the same however many run at once."""

_LOOK_S = 0.5
"""Between two looks at whether to stop: unnoticed by a training of minutes, soon enough for a person."""

_PATIENCE_S = 120
"""For a training that was asked to end: an MLflow server that does not answer is given up well before."""


@dataclass(frozen=True)
class Job:
    """A training to be run: its run's name, the bundle config (absolute), overrides by key, and the log, added to.

    ``tracking_uri``, MLflow's, may hold a password: the training gets it by its environment, where neither the list of
    processes nor a file shows it.
    """

    name: str
    config_file: str
    settings: dict[str, Any]
    log: str
    tracking_uri: str


def run_job(job: Job, stop: threading.Event | None = None) -> int:
    """Run a job to its end.

    When ``stop`` is set, the training is asked to close its run and to end; it can be gone on with.

    Returns:
        The process's exit code; negative where a signal ended it, or where it was not started any more.
    """
    if stop is not None and stop.is_set():
        return NOT_RUN
    Path(job.log).parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": job.tracking_uri,
        "OMP_NUM_THREADS": str(THREADS),
        "MKL_NUM_THREADS": str(THREADS),
    }
    with Path(job.log).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", __name__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the comparison, which then asks its trainings to end, once
        )
        with contextlib.suppress(BrokenPipeError), child.stdin as pipe:  # type: ignore[union-attr]
            pipe.write(json.dumps({**asdict(job), "tracking_uri": ""}).encode())
        return _end_of(child, stop)


def _end_of(child: subprocess.Popen[bytes], stop: threading.Event | None) -> int:
    """The exit code, at its end or some time after it was asked to end."""
    asked = math.inf
    while True:
        try:
            return child.wait(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set() and math.isinf(asked):
                asked = time.monotonic()
                child.terminate()  # once: the training closes its run, and a second signal would cut that short
            if time.monotonic() - asked > _PATIENCE_S:
                child.kill()


def main() -> None:
    """Run the job on the input, for the parent process whose number is the first word."""
    from mgmt_monai.own_process import prepare

    prepare()
    _end_with(int(sys.argv[1]))
    job = Job(**json.loads(sys.stdin.read()))
    import monai.bundle
    import torch

    from mgmt_monai.training.typed import for_monai

    torch.set_num_threads(THREADS)
    monai.bundle.run(run_id="training", config_file=job.config_file, **for_monai(job.settings))


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be asked for
        sys.exit(128 + signal.SIGKILL)


if __name__ == "__main__":
    main()
