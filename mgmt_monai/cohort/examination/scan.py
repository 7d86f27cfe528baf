"""Many series examined side by side, each where it can harm nothing but itself."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import TimeoutError as ExpiredTimeError
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

from joblib import cpu_count
from pebble import ProcessExpired, ProcessFuture, ProcessPool
from tqdm import tqdm

from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.examination.examine import examine_series, lost_series
from mgmt_monai.cohort.examination.scan_cache import ScanCache, state_of
from mgmt_monai.cohort.layouts.found import FoundSeries

logger = logging.getLogger(__name__)

#: A series that takes longer hangs. The slowest real file known takes 5 s, a series of 20 such 100 s.
TIMEOUT_S = 300.0

#: What a worker may take beyond what it has at its start, in bytes; slices pass through it one by one.
MEMORY_LIMIT = 4 * 2**30

#: What workers need, imported once and not by each of them: the last two where they are first used.
_PRELOADED = ["mgmt_monai.cohort.examination.examine", "PIL.JpegImagePlugin", "scipy.ndimage"]

#: Series on their way for each worker: enough to keep it busy, few enough to keep memory flat.
_AHEAD = 16


def scan(
    found: Sequence[FoundSeries],
    data_dir: Path,
    *,
    pixels: bool,
    identity: bool = True,
    cache: ScanCache | None = None,
    workers: int | None = None,
    description: str = "Reading series",
    timeout_s: float = TIMEOUT_S,
    progress_bar: bool = True,
) -> Iterator[SeriesExam]:
    """Examine series in worker processes; no file ends the scan, whatever is in it.

    A worker that hangs, dies or runs out of memory takes one series with it, which becomes a finding. A series whose
    worker died is tried a second time: the damage may have been done by the series before it, or from outside.

    Args:
        found: The series.
        data_dir: What paths are told relative to.
        pixels: Whether pixels are read too.
        identity: Whether what the same images are found by is made of them: for cohorts, not for a single study. What
            is read without goes into no cache.
        cache: What was read before; what is read now goes into it.
        workers: Processes; None for one a core.
        description: Of the progress bar.
        timeout_s: What one series may take, in seconds.
        progress_bar: Whether there is one: not where the scan is a step of something that has its own.

    Yields:
        The exam of each series, in the order of ``found``.
    """
    n_workers = workers or cpu_count()
    progress = tqdm(total=len(found), desc=description, unit="series", disable=not progress_bar)
    n_done, broken_at = 0, -1
    try:
        while n_done < len(found):
            try:
                with closing(_scan(found[n_done:], data_dir, pixels, identity, cache, n_workers, timeout_s)) as exams:
                    for exam in exams:
                        n_done += 1
                        progress.update()
                        yield exam
            except BrokenProcessPool:  # all workers are gone at once: go on with others
                if broken_at == n_done:
                    yield lost_series(found[n_done], data_dir, "reading it ended every process")
                    n_done += 1
                broken_at = n_done
    finally:
        progress.close()


def _scan(
    found: Sequence[FoundSeries],
    data_dir: Path,
    pixels: bool,
    identity: bool,
    cache: ScanCache | None,
    n_workers: int,
    timeout_s: float,
) -> Generator[SeriesExam, None, None]:
    """The exams of series in their order, from the cache or from one pool of workers."""
    pending: deque[tuple[FoundSeries, str, SeriesExam | ProcessFuture]] = deque()
    pool: ProcessPool | None = None

    def start(series: FoundSeries) -> ProcessFuture:
        nonlocal pool
        pool = pool or _pool(n_workers)
        try:
            return pool.schedule(examine_series, args=[series, data_dir, pixels, identity], timeout=timeout_s)
        except RuntimeError as error:  # how pebble says that it has no workers left
            raise BrokenProcessPool from error

    def first() -> SeriesExam:
        series, state, exam = pending.popleft()
        if isinstance(exam, SeriesExam):
            return exam
        try:
            try:
                done: SeriesExam = exam.result()
            except ProcessExpired:
                done = start(series).result()
        except BrokenProcessPool:
            raise
        except Exception as error:
            return lost_series(series, data_dir, _reason(error, timeout_s))
        if cache is not None and state and identity:
            cache.put(series, pixels, state, done)
        return done

    try:
        for series in found:
            state = state_of(series) if cache is not None else ""
            kept = cache.get(series, pixels, state) if cache is not None and state else None
            pending.append((series, state, kept or start(series)))
            while len(pending) > n_workers * _AHEAD:
                yield first()
        while pending:
            yield first()
    finally:
        if pool is not None:
            pool.stop()
            pool.join()


def _reason(error: Exception, timeout_s: float) -> str:
    """Why a worker did not return an exam, in words."""
    if isinstance(error, ExpiredTimeError):
        return f"reading it took more than {timeout_s:g} s"
    if isinstance(error, ProcessExpired):
        return f"reading it ended the process (exit code {error.exitcode})"
    if isinstance(error, MemoryError):
        return f"reading it took more than {MEMORY_LIMIT / 2**30:.0f} GiB of memory"
    logger.debug("a series could not be examined", exc_info=error)
    return f"reading it failed in a way nobody foresaw ({type(error).__name__}: {error})"


def _pool(n_workers: int) -> ProcessPool:
    # Not forks of this process, which may hold threads and locks (torch, MLflow): those could hang.
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
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
