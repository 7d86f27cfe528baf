"""Jobs side by side: over this machine's cores, or over a Ray cluster. The results are the same."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path

import torch

from mgmt_monai.comparison.process import NOT_RUN, Job, run_job
from mgmt_monai.own_process import processors
from mgmt_monai.ray_cluster import RayCluster, RayClusterError


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


def run_on_ray(jobs: Sequence[Job], address: str) -> Iterator[tuple[Job, int]]:
    """Run jobs on a Ray cluster, a core each, and a GPU where the cluster has any.

    The address is as `RayCluster` takes it.

    Yields:
        Each job with its exit code, as it ends.

    Raises:
        RayClusterError: Ray is not installed, or the cluster cannot be reached.
    """
    with RayCluster(address, gpu=True) as cluster:
        waiting = {cluster.submit(run_job, job): job for job in jobs}
        for future in as_completed(waiting):
            yield waiting[future], _outcome(future, waiting[future])


def _outcome(future: Future[int], job: Job) -> int:
    """The exit code; `NOT_RUN` where the worker that ran the job was lost."""
    try:
        return future.result()
    except RayClusterError as error:
        with Path(job.log).open("a", encoding="utf-8") as log:
            log.write(f"Error: {error}\n")
        return NOT_RUN
