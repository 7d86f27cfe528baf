"""Many series examined side by side, each where it can harm nothing but itself."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as ExpiredTimeError
from multiprocessing import get_context
from pathlib import Path

from pebble import ProcessExpired, ProcessFuture, ProcessPool
from tqdm import tqdm

from mgmt_monai.cohort.exam import SeriesExam
from mgmt_monai.cohort.examine import examine_series, lost_series
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.scan_cache import ScanCache, state_of

#: A series that takes longer hangs. The slowest real file known takes 5 s, a series of 20 such 100 s.
TIMEOUT_S = 300.0

#: What a worker may take beyond what it has at its start, in bytes; slices pass through it one by one.
MEMORY_LIMIT = 4 * 2**30

#: Series on their way for each worker: enough to keep it busy, few enough to keep memory flat.
_AHEAD = 16


def scan(
    found: Sequence[FoundSeries],
    data_dir: Path,
    *,
    pixels: bool,
    cache: ScanCache | None = None,
    workers: int | None = None,
    description: str = "Reading series",
    timeout_s: float = TIMEOUT_S,
) -> Iterator[SeriesExam]:
    """Examine series in worker processes; no file ends the scan, whatever is in it.

    A worker that hangs, dies or runs out of memory takes one series with it, which becomes a finding.

    Args:
        found: The series.
        data_dir: What paths are told relative to.
        pixels: Whether pixels are read too.
        cache: What was read before; what is read now goes into it.
        workers: Processes; None for one a core.
        description: Of the progress bar.
        timeout_s: What one series may take, in seconds.

    Yields:
        The exam of each series, in the order of ``found``.
    """
    n_workers = workers or len(os.sched_getaffinity(0))
    pending: deque[tuple[FoundSeries, str, SeriesExam | ProcessFuture]] = deque()
    pool: ProcessPool | None = None
    progress = tqdm(total=len(found), desc=description, unit="series")
    try:
        for series in found:
            state = state_of(series) if cache is not None else ""
            kept = cache.get(series, pixels, state) if cache is not None and state else None
            if kept is None and pool is None:
                pool = _pool(n_workers)
            if kept is None and pool is not None:
                task = pool.schedule(examine_series, args=[series, data_dir, pixels], timeout=timeout_s)
                pending.append((series, state, task))
            elif kept is not None:
                pending.append((series, state, kept))
            while len(pending) > n_workers * _AHEAD:
                yield _result(pending, data_dir, pixels, cache, progress, timeout_s)
        while pending:
            yield _result(pending, data_dir, pixels, cache, progress, timeout_s)
    finally:
        progress.close()
        if pool is not None:
            pool.stop()
            pool.join()


def _pool(n_workers: int) -> ProcessPool:
    # Not forks of this process, which may hold threads and locks (torch, MLflow): those could hang.
    context = get_context("forkserver")
    context.set_forkserver_preload(["mgmt_monai.cohort.examine"])
    return ProcessPool(max_workers=n_workers, context=context, initializer=_prepare_worker)


def _prepare_worker() -> None:
    # Decoders print their complaints from C, past Python; what matters of them comes back as a finding.
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    _limit_memory()


def _limit_memory() -> None:
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError, ValueError):
        return  # no Linux: claimed sizes are still held against their limits


def _result(
    pending: deque[tuple[FoundSeries, str, SeriesExam | ProcessFuture]],
    data_dir: Path,
    pixels: bool,
    cache: ScanCache | None,
    progress: tqdm,
    timeout_s: float,
) -> SeriesExam:
    series, state, exam = pending.popleft()
    progress.update()
    if isinstance(exam, SeriesExam):
        return exam
    try:
        done: SeriesExam = exam.result()
    except ExpiredTimeError:
        return lost_series(series, data_dir, f"reading it took more than {timeout_s:.0f} s")
    except ProcessExpired as error:
        return lost_series(series, data_dir, f"reading it ended the process (exit code {error.exitcode})")
    except MemoryError:
        return lost_series(series, data_dir, f"reading it took more than {MEMORY_LIMIT / 2**30:.0f} GiB of memory")
    if cache is not None and state:
        cache.put(series, pixels, state, done)
    return done
