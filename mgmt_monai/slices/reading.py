"""Series become slices: each is read once, in threads, one after the other in the order of the data."""

import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from monai.transforms import Compose
from monai.utils import convert_to_tensor
from torch import Tensor
from tqdm import tqdm

from mgmt_monai.errors import one_line
from mgmt_monai.own_process import processors
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.transforms.load import itk_warnings_off

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


def read_series(
    data: Sequence[dict[str, Any]], chain: Compose, description: str
) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """The slices of every series, as the chain leaves them; few of them are in memory at a time.

    Args:
        data: Items ``{"image": Series, ...}``, one a series.
        chain: Deterministic; turns a series into a volume ``(K, H, W)`` whose channels are the slices.
        description: Of the progress bar.

    Yields:
        Each item with its volume, in the order of ``data``, contiguous, of whatever type the chain ends in.

    Raises:
        SlicesError: In the end, with one line for each series that cannot be read; those are not yielded.
    """

    def read(item: dict[str, Any]) -> Tensor | str:
        try:
            volume = chain(item, threading=True)["image"]
        except Exception as error:
            message = one_line(error)  # MONAI wraps what a transform raises
            if message is None:
                raise
            return message
        return convert_to_tensor(volume, track_meta=False).contiguous()

    faults: list[str] = []
    n_threads = processors()
    # Readers switch warnings off and on again for the whole process: held off here, their threads cannot interfere.
    with itk_warnings_off(), warnings.catch_warnings(), ThreadPoolExecutor(n_threads) as pool:
        results = _in_order(pool, read, data, ahead=2 * n_threads)
        silent = not logger.isEnabledFor(logging.WARNING)  # one process of several that is not the main one
        bar = tqdm(results, total=len(data), desc=description, unit="series", disable=silent)
        for item, result in zip(data, bar, strict=True):
            if isinstance(result, str):
                faults.append(result)
            else:
                yield item, result
    if faults:
        raise SlicesError("\n".join(faults))


def _in_order(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """``pool.map`` that begins no more than ``ahead`` results before they are taken."""
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # some are left only where something went wrong
        for future in pending:
            future.cancel()
