"""Many series examined side by side, each where it can harm nothing but itself."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.examination.examine import examine_series, lost_series
from mgmt_monai.cohort.examination.readers import MEMORY_LIMIT, ReaderDiedError, Readers
from mgmt_monai.cohort.examination.scan_cache import ScanCache, state_of
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.machine import MachineError, scratch
from mgmt_monai.own_process import processors

logger = logging.getLogger(__name__)

#: A series that takes longer hangs. The slowest real file known takes 5 s, a series of 20 such 100 s.
TIMEOUT_S = 300.0

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

    A worker that hangs, dies or runs out of memory says nothing of its series yet. When no other series is being
    read, a made one is read under the same limits, and then the series by itself: where the made one fails, the
    machine is at fault; where the series alone fails again, that becomes a finding.

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

    Raises:
        MachineError: The machine does not give a file or the processes; what was read before is in the cache.
    """
    n_workers = min(workers or processors(), max(1, len(found)))
    readers = Readers(n_workers)
    pending: deque[tuple[FoundSeries, str, SeriesExam | Future[SeriesExam]]] = deque()
    progress = tqdm(total=len(found), desc=description, unit="series", disable=not progress_bar)

    def read(series: FoundSeries) -> Future[SeriesExam]:
        return readers.submit(examine_series, series, data_dir, pixels, identity, timeout_s=timeout_s)

    def first() -> SeriesExam:
        series, state, exam = pending.popleft()
        if isinstance(exam, SeriesExam):
            return exam
        try:
            try:
                done = exam.result()
            except (ReaderDiedError, TimeoutError, MemoryError) as error:
                wait([one for *_, one in pending if isinstance(one, Future)])
                _check_sound(readers, timeout_s, _reason(error, timeout_s))
                done = read(series).result()
        except MachineError:
            raise
        except ImportError as error:
            raise MachineError(f"a library cannot be loaded ({error}): look at the installation") from error
        except Exception as error:
            return lost_series(series, data_dir, _reason(error, timeout_s))
        if cache is not None and state and identity:
            cache.put(series, pixels, state, done)
        return done

    def exams() -> Iterator[SeriesExam]:
        for series in found:
            state = state_of(series) if cache is not None else ""
            kept = cache.get(series, pixels, state) if cache is not None and state else None
            pending.append((series, state, kept or read(series)))
            while len(pending) > n_workers * _AHEAD:
                yield first()
        while pending:
            yield first()

    try:
        for exam in exams():
            progress.update()
            yield exam
    finally:
        progress.close()
        readers.close()


def read_probe() -> bool:
    """Whether a series that is sound can be read here, pixels included: one is made for it."""
    import nibabel

    with scratch(TemporaryDirectory) as folder:
        path = Path(folder) / "sound.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.arange(4096, dtype=np.int16).reshape(16, 16, 16), np.eye(4)), path)
        exam = examine_series(FoundSeries("sound", "T1w", path.parent, (path.name,), "made"), path.parent, True)
        return exam.content is not None


def _check_sound(readers: Readers, timeout_s: float, reason: str) -> None:
    try:
        if readers.submit(read_probe, timeout_s=timeout_s).result():
            return
        fault = "it is called damaged"
    except MachineError:
        raise
    except Exception as error:
        fault = _reason(error, timeout_s)
    raise MachineError(
        f"a series could not be read ({reason}), nor a made one that is sound ({fault}); the machine is at fault, not "
        "the file: look at its memory, its limits (ulimit -a) and TMPDIR, and run again"
    )


def _reason(error: Exception, timeout_s: float) -> str:
    """Why a worker did not return an exam, in words."""
    if isinstance(error, TimeoutError):
        return f"reading it took more than {timeout_s:g} s"
    if isinstance(error, ReaderDiedError):
        return f"reading it ended the process (exit code {error.exitcode})"
    if isinstance(error, MemoryError):
        return f"reading it took more than {MEMORY_LIMIT / 2**30:.0f} GiB of memory"
    logger.debug("a series could not be examined", exc_info=error)
    return f"reading it failed in a way nobody foresaw ({type(error).__name__}: {error})"
