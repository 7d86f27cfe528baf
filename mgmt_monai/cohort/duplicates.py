"""Pairs of series that show the same images: slices that are equal, or series that look alike though altered."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
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

#: Series compared at once with as many: the products of one slice each stay in the cache.
_BLOCK = 96

#: Axes that are kept: 0.003 % (series made from real heads) to 0.4 % (phantom) of the pairs are then compared in full.
_AXES = 23

#: Series that the axes are taken from; it changes the time alone.
_SAMPLE = 1000

_Block = tuple[list[int], np.ndarray, np.ndarray]
_ROUNDING = 1e-5  # of sums of 162 products of float32, with room to spare


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

    All pairs are compared in few numbers, along the principal axes: a product is at most that of what they keep plus
    that of the lengths of the rest (Cauchy and Schwarz). Where enough slices may be alike, all is compared.
    """
    # Series with as many slices side by side: a block is as wide as its longest.
    kept = sorted((index for index, (*_, signature) in enumerate(series) if signature), key=lambda i: len(series[i][3]))
    if not kept:
        return []
    some = np.concatenate([_rows(series[index]) for index in kept[:: max(1, len(kept) // _SAMPLE)]])
    axes = np.linalg.eigh(some.T @ some)[1][:, ::-1]
    person = np.unique([patient_id for patient_id, *_ in series], return_inverse=True)[1]
    bar = partial(tqdm, unit="block", delay=2)  # nothing is shown of what takes less
    starts = bar(range(0, len(kept), _BLOCK), desc="Preparing the comparison")
    blocks = [_block([(i, _rows(series[i])) for i in kept[start : start + _BLOCK]], axes) for start in starts]

    def compared(place: int) -> list[tuple[int, int, float]]:
        pairs = {pair for other in blocks[place:] for pair in _candidates(blocks[place], other)}
        alike = [(a, b, similarity(_rows(series[a]), _rows(series[b]))) for a, b in pairs if person[a] != person[b]]
        return [pair for pair in alike if pair[2] > SIMILARITY_LIMIT]

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(processors()) as pool:
        try:
            done = as_completed([pool.submit(compared, place) for place in range(len(blocks))])
            return [pair for one in bar(done, total=len(blocks), desc="Comparing series") for pair in one.result()]
        finally:
            pool.shutdown(cancel_futures=True)


def _block(series: list[tuple[int, np.ndarray]], axes: np.ndarray) -> _Block:
    """Places of some series, slices ``(slices, series, numbers)`` along the axes, half of their slices."""
    longest = max(len(rows) for _, rows in series)
    lowered = np.zeros((longest, len(series), _AXES + 1), np.float32)  # a slice of zeros is like no other
    for place, (_, rows) in enumerate(series):
        turned = rows @ axes
        lowered[: len(rows), place, :_AXES] = turned[:, :_AXES]
        lowered[: len(rows), place, _AXES] = np.linalg.norm(turned[:, _AXES:], axis=1)
    return [place for place, _ in series], lowered, np.array([math.ceil(len(rows) / 2) for _, rows in series])


def _candidates(one: _Block, other: _Block) -> Iterator[tuple[int, int]]:
    """The pairs of a series of each block that may be above the limit."""
    (places, lowered, half), (other_places, others, other_half) = one, other
    shape = len(places), len(others), len(other_places)
    columns = others.reshape(-1, _AXES + 1).T
    products = np.empty((len(places), columns.shape[1]), np.float32)
    alike, of_other = np.empty(shape, bool), np.zeros(shape, bool)
    of_one = np.zeros((len(places), len(other_places)), np.uint8)
    for slices in lowered:
        np.matmul(slices, columns, out=products)
        np.greater(products.reshape(shape), SIMILARITY_LIMIT - _ROUNDING, out=alike)
        of_one += alike.any(axis=1)
        of_other |= alike
    for a, b in np.argwhere((of_one >= half[:, None]) | (of_other.sum(axis=1) >= other_half)):
        yield min(places[a], other_places[b]), max(places[a], other_places[b])


def _duplicate(
    a: tuple[str, str, str, str], b: tuple[str, str, str, str], kind: str, n_shared: int, alike: float
) -> Duplicate:
    return Duplicate(a[0], a[1], b[0], b[1], kind, n_shared, round(alike, 4))
