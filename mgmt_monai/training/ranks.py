"""One training in several processes: who leads, what is agreed on, and what is put together.

Every process (``torchrun`` counts them in ranks) goes the same way through the config and holds the same network. The
main one, rank 0, alone decides what needs a file, and alone writes and tells. Without a process group, as in a
training by one process, each function here does nothing, or gives back what it was given.
"""

import gc
import logging
import os
import re
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch

# Before a group is joined: its functions' default arguments would hold that group, and its threads, until Python ends.
import torch.distributed.nn.functional
from monai.transforms import Compose
from torch import distributed, nn

from mgmt_monai.cohort.examination.readers import end_kept
from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.cohort.open_cohort import open_cohort
from mgmt_monai.own_process import is_own_process
from mgmt_monai.slices.slice_store import SliceStore
from mgmt_monai.slices.stored_series import StoredSeries
from mgmt_monai.training.errors import TrainingError

T = TypeVar("T")

#: As long as the main process may take to read a large cohort, for which the others wait. A process that has ended is
#: noticed at once all the same.
_LONGEST_WAIT = timedelta(hours=12)


def rank_device() -> torch.device:
    """The GPU of this process: the one that ``torchrun`` counts it to; the CPU where there is none.

    Raises:
        TrainingError: More processes than GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank, n_gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local_rank >= n_gpus:
        raise TrainingError(
            f"expected a GPU for each process, found {n_gpus} for {local_rank + 1} processes or more. Start fewer "
            "(--nproc_per_node), or set --device cpu."
        )
    return torch.device("cuda", local_rank)


def join_ranks(device: torch.device | str) -> None:
    """Make this process one of those that ``torchrun`` started; every other than the main one falls silent.

    Started without ``torchrun``, it is a group by itself. A process that is not ours (`is_own_process`) goes on saying
    what it says.

    Raises:
        TrainingError: No network interface is up, which gloo needs even for one process.
    """
    if not distributed.is_initialized():
        on_gpu = torch.device(device).type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        if "WORLD_SIZE" in os.environ:
            distributed.init_process_group(backend, timeout=_LONGEST_WAIT)
        elif on_gpu or _has_interface():
            distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
        else:
            raise TrainingError(
                "multi_gpu_train: expected a network interface for gloo, found none that is up, not even the loopback "
                "one. Bring it up (ip link set lo up), or leave multi_gpu_train out: this is one process."
            )
    if not is_main_rank() and is_own_process():
        logging.disable(logging.WARNING)  # progress bars go with it
        warnings.simplefilter("ignore")


def _has_interface() -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        try:
            own.connect(("127.0.0.1", 9))  # nothing is sent
        except OSError:
            return False
    return True


def leave_ranks() -> None:
    """Leave the group, whose threads end here: one that outlives Python aborts the process."""
    if distributed.is_initialized():
        gc.collect()  # what was trained in parallel holds the group too
        distributed.destroy_process_group()


def check_joined() -> None:
    """Refuse to go on as one of several processes that do not know of each other.

    Raises:
        TrainingError: Started by ``torchrun`` with a config for one process.
    """
    n_started = os.environ.get("WORLD_SIZE", "1")
    if n_started != "1" and not distributed.is_initialized():
        raise TrainingError(
            f"started as {n_started} processes, but the config is for one: each would train for itself. Add "
            'multi_gpu_train (--config_file "$(mgmt-monai config t1w multi_gpu_train)"), or start without torchrun.'
        )


@contextmanager
def lost_ranks_told() -> Iterator[None]:
    """Inside, an error that comes of another process having ended says so.

    Raises:
        TrainingError: Instead of what gloo or NCCL raised.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo has no kind of error of its own, but begins with the place in its source; NCCL's are a DistError.
        is_gloo = re.match(r"\[(enforce fail at )?\S*\bgloo/\S+:\d+\]", str(error))
        if n_ranks() == 1 or not (is_gloo or isinstance(error, distributed.DistError)):
            raise
        raise TrainingError(
            "another process of this training has ended, and this one ends with it. Mend the reason, where one is "
            "told, and go on with the same command and --resume true."
        ) from error


def n_ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main_rank() -> bool:
    """Whether this is the process that decides, writes and tells."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if n_ranks() > 1:
        with lost_ranks_told():
            distributed.all_reduce(torch.zeros(1))  # on the CPU: a barrier on a GPU would need to know which


def from_main_rank(action: Callable[[], T]) -> T:
    """What the main process finds, in every process.

    Args:
        action: Done by the main process alone, while the others wait. Where it fails, the main process ends, and
            ``torchrun`` with it the others.
    """
    if n_ranks() == 1:
        return action()
    result: list[Any] = [action() if is_main_rank() else None]
    with lost_ranks_told():
        distributed.broadcast_object_list(result, src=0)
    return result[0]


def from_all_ranks(own: T) -> list[T]:
    """What every process has, by rank, in every process.

    Args:
        own: What this process has, on the CPU.

    Returns:
        One of each.
    """
    if n_ranks() == 1:
        return [own]
    parts: list[Any] = [None] * n_ranks()
    distributed.all_gather_object(parts, own)
    return parts


def share_state(network: nn.Module) -> None:
    """Give every process the main one's network."""
    if n_ranks() > 1:
        state = from_main_rank(lambda: {name: value.cpu() for name, value in network.state_dict().items()})
        network.load_state_dict(state)


def shared_cohort(**settings: Any) -> ModalityCohort:
    """The cohort as the main process reads it, or builds it where there is no manifest.

    Args:
        settings: Those of `open_cohort`.
    """
    try:
        return from_main_rank(lambda: open_cohort(**settings))
    finally:
        end_kept()  # a training takes hours, and scans no more


class LedSliceStore(SliceStore):
    """A slice store of several processes: the main one comes first, so that it is the one that builds and tells."""

    def series(self, chain: Compose) -> dict[str, StoredSeries]:
        """As `SliceStore.series`; every process asks."""
        if is_main_rank():
            super().series(chain)
        wait_for_all()
        return super().series(chain)
