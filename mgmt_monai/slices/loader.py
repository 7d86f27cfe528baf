"""Batches of slices for a device."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mgmt_monai.slices.dataset import SliceDataset
from mgmt_monai.slices.errors import SlicesError

logger = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
"""Through which processes hand out slices."""

#: Batches that a process has ready, torch's default.
_AHEAD = 2

#: Seconds at most until the system tells of a process that it died; that ends the wait.
_TOLD = 5.0

#: Seconds after which a wait is told, and how many of them there are at most; a suspended job has none.
_WAIT, _WAITS = 30, 120


class SliceLoader(DataLoader):
    """torch's loader, set for the device that its batches go to; they are those of `SliceDataset.batch`.

    For a GPU of CUDA they lie in pinned memory, from which they can be copied while it computes. It draws nothing from
    torch's global random numbers, so that these do not depend on the number of workers.

    Args:
        dataset: Of slices.
        device: Where the network is.
        num_workers: Processes that hand out slices, fewer where /dev/shm has no room for their batches; 0: this one.
        keep_workers: Whether they live as long as the loader, as befits one that hands out epoch after epoch.
        arguments: Of torch's loader: ``batch_sampler``, or ``batch_size`` and ``sampler``.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
        keep_workers: bool = False,
        **arguments: Any,
    ) -> None:
        if num_workers:
            sampler = arguments.get("batch_sampler")
            slice_bytes = dataset.batch([0])["image"].nbytes if len(dataset) else 0
            n_slices = getattr(sampler, "batch_size", 0) or arguments.get("batch_size") or len(dataset)
            num_workers = fitting_workers(num_workers, slice_bytes * n_slices)
        super().__init__(
            _Batches(dataset),
            num_workers=num_workers,
            pin_memory=torch.device(device).type == "cuda",
            persistent_workers=keep_workers and num_workers > 0,
            generator=torch.Generator(),
            collate_fn=as_it_is,
            **arguments,
        )
        self.slices = dataset

    def __iter__(self) -> Iterator[dict[str, Tensor]]:  # type: ignore[override]
        """Batches.

        Raises:
            SlicesError: A process that hands out slices was killed, or none of them does for an hour.
            RuntimeError: The same, or the shared memory is full, in torch's words, which `one_line` knows.
        """
        batches: Iterator[dict[str, Tensor]] = super().__iter__()
        return self._held(_watched(batches)) if self.num_workers else batches

    @staticmethod
    def _held(batches: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        try:
            yield from batches
        except (EOFError, ConnectionError) as error:  # it died while it was spoken to
            _hear_of_it()
            raise SlicesError(
                "a process that hands out slices was killed: start fewer with --num_workers, or none with 0, or allow "
                "more memory."
            ) from error


def _watched(batches: Any) -> Iterator[dict[str, Tensor]]:
    """Torch's batches; a thread tells of waits, for torch's own limit does not hold where a process was stopped."""
    waits, ended = [-1], Event()  # -1: nobody waits

    def watch() -> None:
        while not ended.wait(_WAIT):
            for worker in batches._workers:  # torch tells its processes nowhere else
                if _state(worker.pid) == "T":
                    logger.warning(f"process {worker.pid}, which hands out slices, was stopped; it is told to go on")
                    os.kill(worker.pid, signal.SIGCONT)
                if waits[0] == _WAITS:
                    worker.kill()  # which ends the wait
            waits[0] += waits[0] >= 0
            if waits[0] > 0 and not waits[0] & (waits[0] - 1):
                logger.warning(f"no slices for {waits[0] * _WAIT} seconds: still waiting for them")

    Thread(target=watch, daemon=True).start()
    try:
        while True:
            waits[0] = 0
            batch = next(batches, None)
            waits[0] = -1
            if batch is None:
                return
            yield batch
    except (RuntimeError, EOFError, ConnectionError) as error:
        if waits[0] < _WAITS:
            raise
        _hear_of_it()
        raise SlicesError(f"no slices for {_WAIT * _WAITS} seconds: have the storage looked at.") from error
    finally:
        ended.set()


def _hear_of_it() -> None:
    """Wait for torch's own error of a process that died: it is raised wherever the main thread is at that time."""
    with contextlib.suppress(RuntimeError):
        time.sleep(_TOLD)


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):  # gone, or no Linux
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2][1]
    return ""


class _Batches(Dataset):
    """What torch's loader takes whole batches from."""

    def __init__(self, slices: SliceDataset) -> None:
        self.slices = slices

    def __len__(self) -> int:
        return len(self.slices)

    def __getitems__(self, places: Sequence[int | tuple[int, int]]) -> dict[str, Tensor]:
        batch = self.slices.batch(places)
        if get_worker_info() is not None:
            # Here an error is told to who waits for the batch; where torch does it, in a thread, the batch is lost.
            batch = {name: values.share_memory_() for name, values in batch.items()}
        return batch


def fitting_workers(n: int, batch_bytes: int, shared_memory: Path = SHARED_MEMORY) -> int:
    """How many of ``n`` processes can hand out batches through the shared memory.

    Each has `_AHEAD` batches ready, the process itself holds one, and a second loader may do the same beside it.

    Returns:
        At most ``n``; fewer are told in a warning.
    """
    try:
        state = os.statvfs(shared_memory)
    except OSError:
        if sys.platform != "linux":
            return n
        free, fit = 0, 0
    else:
        free = 0 if state.f_flag & os.ST_RDONLY else state.f_bavail * state.f_frsize
        fit = max(0, min(n, (free // 2 // max(1, batch_bytes) - 1) // _AHEAD)) if free else 0
    if fit < n:
        logger.warning(
            f"{shared_memory} has room for the batches of {fit} of {n} loader processes ({free / 2**20:.0f} MiB free, "
            f"{batch_bytes / 2**20:.1f} MiB a batch): {fit} are started. A container gets more with --shm-size"
        )
    return fit


def as_it_is(batch: Any) -> Any:
    """For a loader whose data set hands out whole batches: the batch."""
    return batch
