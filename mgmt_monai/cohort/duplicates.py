"""Pairs of series that show the same images: slices that are equal, or series that look alike though altered."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.examination.signature import read_signature
from mgmt_monai.cohort.records import CONSTANT_DIGEST, slice_digests
from mgmt_monai.own_process import processors

#: Signatures more alike than this are of one series. Half way (of Fisher's z) between the most alike series of
#: different patients and the most altered copy that were measured: docs/explanation/duplicates.md.
SIMILARITY_LIMIT = 0.94

#: A slice that more series share than this is paired with the first of them only: enough to tell, and to keep them all
#: together, where every pair of a thousand copies would be half a million.
_SHARERS_LIMIT = 64

#: Series compared at once with as many others: the products of one slice each stay in the cache.
_BLOCK = 96

#: Blocks that a block is compared with before the progress moves on: half a second.
_BLOCKS_A_TASK = 256

#: Axes that are kept. Of pairs of different heads, 0.003 % (real) to 0.4 % (phantom) are then compared in full.
_AXES = 23

#: Series that the axes are taken from; which axes they are changes the time alone.
_SAMPLE = 1000

_ROUNDING = 1e-5  # of sums of 162 products of float32, with room to spare
_QUIET_S = 2.0  # nothing is shown of what takes less


@dataclass(frozen=True, order=True)
class Duplicate:
    """Two series that show the same images.

    Args:
        patient_a: Whose the one is.
        modality_a: Which one.
        patient_b: Whose the other is; the same patient where one series is filed under two modalities.
        modality_b: Which one.
        kind: ``exact`` where slices are equal, pixel by pixel; ``near`` where the series look alike.
        n_shared: How many slices are equal; 0 for ``near``.
        similarity: Of the signatures, -1 to 1; 0 where one has none.
    """

    patient_a: str
    modality_a: str
    patient_b: str
    modality_b: str
    kind: str
    n_shared: int
    similarity: float


def find_duplicates(items: Iterable[tuple[str, str, str, str]]) -> list[Duplicate]:
    """The pairs among the series of a cohort that show the same images.

    Series of different patients are compared by digest and by signature, whatever their modality; those of one patient
    by digest alone, for the modalities of one head do look alike.

    Args:
        items: For each series (patient_id, modality, digests, signature), the last two as `SeriesContent` has them; ""
            where there is none.

    Returns:
        Sorted; each pair once, as ``exact`` if it is both.

    Raises:
        CohortError: A signature that is none, or was made by another version.
    """
    series = sorted(items)
    found = []
    shared = _shared_slices([digests for _, _, digests, _ in series])
    for (a, b), n_shared in shared.items():
        found.append(
            _duplicate(series[a], series[b], "exact", n_shared, similarity(_rows(series[a]), _rows(series[b])))
        )
    for a, b, alike in _near(series):
        if (a, b) not in shared:
            found.append(_duplicate(series[a], series[b], "near", 0, alike))
    return sorted(found)


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """How alike two series look: at least half of the slices of one have a slice in the other that correlates so well.

    The order of slices does not matter, nor that one series has slices more.

    Args:
        a: ``(slices, numbers)``, as `read_signature` returns it.
        b: The same of the other series.

    Returns:
        -1 to 1; 0 where one has no slice.

    Example:
        >>> one, other = np.eye(2), np.array([[0.0, 1.0]])
        >>> similarity(one, other)
        1.0
    """
    if not len(a) or not len(b):
        return 0.0
    products = a @ b.T
    best = (np.sort(products.max(axis=axis))[::-1] for axis in (1, 0))
    return float(max(values[math.ceil(len(values) / 2) - 1] for values in best))


def _rows(series: tuple[str, str, str, str]) -> np.ndarray:
    patient_id, modality, _, signature = series
    try:
        return read_signature(signature)
    except ValueError as error:
        text = f"patient {patient_id}, {modality}: {error}; read the pixels of the cohort again"
        raise CohortError(text) from error


def _shared_slices(digests: list[str]) -> dict[tuple[int, int], int]:
    """How many slices each pair of series has in common; pairs (a, b), a < b, that have any."""
    counts = [Counter(slice_digests(text)) for text in digests]
    holders: dict[str, list[int]] = defaultdict(list)
    for index, count in enumerate(counts):
        for value in count:
            if value != CONSTANT_DIGEST:
                holders[value].append(index)
    shared: Counter[tuple[int, int]] = Counter()
    for value, indices in holders.items():
        many = len(indices) > _SHARERS_LIMIT
        for a, b in product(indices[:1], indices[1:]) if many else combinations(indices, 2):
            shared[a, b] += min(counts[a][value], counts[b][value])
    return dict(shared)


def _near(series: Sequence[tuple[str, str, str, str]]) -> list[tuple[int, int, float]]:
    """Pairs (a, b, similarity), a < b, of different patients above the limit.

    All pairs are compared, in few numbers: along the principal axes of these slices, where the product of two slices
    is at most that of what the axes keep plus that of the lengths of the rest (Cauchy and Schwarz). Where too few
    slices can be alike the pair is done with; the others are compared in full.
    """
    # Series with the same number of slices side by side: a block is as wide as its longest.
    kept = sorted((index for index, (*_, signature) in enumerate(series) if signature), key=lambda i: len(series[i][3]))
    if not kept:
        return []
    some = np.concatenate([_rows(series[index]) for index in kept[:: max(1, len(kept) // _SAMPLE)]])
    axes = np.ascontiguousarray(np.linalg.eigh(some.T @ some)[1][:, ::-1])
    person = np.unique([patient_id for patient_id, *_ in series], return_inverse=True)[1]
    starts = range(0, len(kept), _BLOCK)
    blocks = [
        _block([(i, _rows(series[i])) for i in kept[start : start + _BLOCK]], axes)
        for start in tqdm(starts, desc="Preparing the comparison", unit="block", delay=_QUIET_S)
    ]

    def compared(place: int, others: range) -> list[tuple[int, int, float]]:
        found = []
        for other in others:
            for one, two in _candidates(blocks[place], blocks[other]):
                a, b = min(one, two), max(one, two)
                if one != two and person[a] != person[b] and (place < other or one < two):
                    alike = similarity(_rows(series[a]), _rows(series[b]))
                    if alike > SIMILARITY_LIMIT:
                        found.append((a, b, alike))
        return found

    tasks = [
        (place, range(first, min(first + _BLOCKS_A_TASK, len(blocks))))
        for place in range(len(blocks))
        for first in range(place, len(blocks), _BLOCKS_A_TASK)
    ]
    found = []
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(processors()) as pool:
        try:
            done = as_completed([pool.submit(compared, *task) for task in tasks])
            for task in tqdm(done, total=len(tasks), desc="Comparing series", unit="step", delay=_QUIET_S):
                found += task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


@dataclass(frozen=True)
class _Block:
    """Some series: their places, their slices ``(slices, series, numbers)`` along the axes, half of their slices."""

    places: list[int]
    lowered: np.ndarray
    half: np.ndarray


def _block(series: list[tuple[int, np.ndarray]], axes: np.ndarray) -> _Block:
    longest = max(len(rows) for _, rows in series)
    lowered = np.zeros((longest, len(series), _AXES + 1), np.float32)  # a slice of zeros is like no other
    for place, (_, rows) in enumerate(series):
        turned = rows @ axes
        lowered[: len(rows), place, :_AXES] = turned[:, :_AXES]
        lowered[: len(rows), place, _AXES] = np.linalg.norm(turned[:, _AXES:], axis=1)
    return _Block([place for place, _ in series], lowered, np.array([math.ceil(len(rows) / 2) for _, rows in series]))


def _candidates(one: _Block, other: _Block) -> Iterator[tuple[int, int]]:
    """The pairs of a series of each block that may be above the limit, by what is kept of their slices."""
    n_one, (longest, n_other, width) = len(one.places), other.lowered.shape
    columns = other.lowered.reshape(-1, width).T
    products = np.empty((n_one, longest * n_other), np.float32)
    alike = np.empty(products.shape, bool)
    of_other = np.zeros(products.shape, bool)
    of_one = np.zeros((n_one, n_other), np.uint8)
    for slices in one.lowered:
        np.matmul(slices, columns, out=products)
        np.greater(products, SIMILARITY_LIMIT - _ROUNDING, out=alike)
        of_one += np.logical_or.reduce(alike.reshape(n_one, longest, n_other), axis=1)
        np.logical_or(of_other, alike, out=of_other)
    enough = of_one >= one.half[:, None]
    enough |= of_other.reshape(n_one, longest, n_other).sum(axis=1) >= other.half
    return ((one.places[a], other.places[b]) for a, b in np.argwhere(enough))


def _duplicate(
    a: tuple[str, str, str, str], b: tuple[str, str, str, str], kind: str, n_shared: int, alike: float
) -> Duplicate:
    return Duplicate(a[0], a[1], b[0], b[1], kind, n_shared, round(alike, 4))
