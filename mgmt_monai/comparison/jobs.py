"""Jobs side by side: over this machine's cores, or over a Ray cluster. The results are the same."""

import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.process import NOT_RUN, Job, run_job
from mgmt_monai.own_process import processors

_CONNECT_S = 10
"""To open a connection to a cluster's head, in seconds: more than a network needs, less than Ray's own limit."""


def default_workers() -> int:
    """How many trainings this machine takes side by side: one a core, but one alone where there is a GPU to share."""
    return 1 if torch.cuda.is_available() else processors()


def run_local(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, int]]:
    """Run jobs on this machine, started in this order, ``workers`` (1 or more) at a time.

    Yields:
        Each job with its exit code, as it ends.
    """
    stopped = threading.Event()

    with ThreadPoolExecutor(workers) as pool:
        waiting: dict[Future[int], Job] = {pool.submit(run_job, job, stopped): job for job in jobs}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
        except BaseException:
            stopped.set()
            raise


def check_reachable(address: str) -> None:
    """Refuse an address of a cluster at which nobody listens: Ray itself would try for minutes.

    ``auto`` and ``local`` are left to Ray.

    Raises:
        ComparisonError: No connection can be opened.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ComparisonError(
            f"--ray {address}: no Ray cluster there ({error}). Start one, or name another."
        ) from error


def run_on_ray(jobs: Sequence[Job], address: str) -> Iterator[tuple[Job, int]]:
    """Run jobs on a Ray cluster, a core each, and a GPU where the cluster has any.

    Every machine of the cluster sees the data, the bundle configs and the output folder under the same paths, and has
    this package installed. The address is one such as ``auto`` or ``10.0.0.1:6379``; ``local`` starts a cluster on this
    machine.

    Yields:
        Each job with its exit code, as it ends.

    Raises:
        ComparisonError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise ComparisonError("--ray: Ray is not installed. Install it with: pip install 'mgmt_monai[ray]'.") from error
    check_reachable(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ComparisonError(
            f"--ray {address}: no Ray cluster there ({reason}). Start one, or name another."
        ) from error
    try:
        n_gpus = 1 if ray.cluster_resources().get("GPU") else 0
        remote = ray.remote(num_cpus=1, num_gpus=n_gpus, max_retries=0)(run_job)
        waiting = {remote.remote(job): job for job in jobs}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            for reference in done:
                job = waiting.pop(reference)
                yield job, _outcome(ray, reference, job)
    finally:
        ray.shutdown()


def _outcome(ray: Any, reference: object, job: Job) -> int:
    """The exit code; `NOT_RUN` where the worker that ran the job was lost."""
    try:
        return int(ray.get(reference))
    except ray.exceptions.RayError as error:
        with Path(job.log).open("a", encoding="utf-8") as log:
            log.write(f"Error: lost on the Ray cluster: {' '.join(str(error).split())[:500]}\n")
        return NOT_RUN
