"""Pairs of series that show the same images: slices that are equal, or series that look alike though altered."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.examination.signature import N_SLICES, read_signature
from mgmt_monai.cohort.records import CONSTANT_DIGEST, slice_digests

#: Signatures more alike than this are of one series. Half way (of Fisher's z) between the most alike series of
#: different patients and the most altered copy that were measured: docs/explanation/duplicates.md.
SIMILARITY_LIMIT = 0.94

#: A slice that more series share than this is paired with the first of them only: enough to tell, and to keep them all
#: together, where every pair of a thousand copies would be half a million.
_SHARERS_LIMIT = 64

_BLOCK = 32  # series compared at once with all others: 512 rows of slices, some 80 MB of products for 2340 series


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
    rows = [_rows(patient_id, modality, signature) for patient_id, modality, _, signature in series]
    found = []
    shared = _shared_slices([digests for _, _, digests, _ in series])
    for (a, b), n_shared in shared.items():
        found.append(_duplicate(series[a], series[b], "exact", n_shared, similarity(rows[a], rows[b])))
    for a, b, alike in _near(rows, [patient_id for patient_id, *_ in series]):
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


def _rows(patient_id: str, modality: str, signature: str) -> np.ndarray:
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


def _near(rows: list[np.ndarray], patients: list[str]) -> list[tuple[int, int, float]]:
    """Pairs (a, b, similarity), a < b, of different patients above the limit; in blocks, so that memory is bounded."""
    kept = [index for index, row in enumerate(rows) if len(row)]
    if not kept:
        return []
    width = rows[0].shape[1]
    padded = np.zeros((len(kept), N_SLICES, width), np.float32)  # a row of zeros correlates with nothing
    for place, index in enumerate(kept):
        padded[place, : len(rows[index])] = rows[index]
    half = np.array([math.ceil(len(rows[index]) / 2) for index in kept])
    person = np.unique([patients[index] for index in kept], return_inverse=True)[1]
    found = []
    for start in range(0, len(kept), _BLOCK):
        block, others = padded[start : start + _BLOCK], padded[start:]
        products = block.reshape(-1, width) @ others.reshape(-1, width).T
        alike = products.reshape(len(block), N_SLICES, len(others), N_SLICES) > SIMILARITY_LIMIT
        of_a, of_b = alike.any(axis=3).sum(axis=1), alike.any(axis=1).sum(axis=2)
        near = (of_a >= half[start : start + len(block), None]) | (of_b >= half[None, start:])
        near &= person[start : start + len(block), None] != person[None, start:]
        for a, b in np.argwhere(near):
            if a < b:  # both count from the start of the block
                one, other = kept[start + a], kept[start + b]
                found.append((one, other, similarity(rows[one], rows[other])))
    return found


def _duplicate(
    a: tuple[str, str, str, str], b: tuple[str, str, str, str], kind: str, n_shared: int, alike: float
) -> Duplicate:
    return Duplicate(a[0], a[1], b[0], b[1], kind, n_shared, round(alike, 4))
