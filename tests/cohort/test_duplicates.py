import base64
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.ndimage import gaussian_filter, rotate

from mgmt_monai.cohort import duplicates
from mgmt_monai.cohort.duplicates import SIMILARITY_LIMIT, Duplicate, find_duplicates, similarity
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.examination.content import read_content
from mgmt_monai.cohort.examination.signature import make_signature, read_signature, thumbnail
from mgmt_monai.cohort.files.pixels import read_slices

LENGTH = 162
ZEROS = "0" * 12


def digests(*names: str) -> str:
    """Made digests: a letter for each slice, ``0`` for a constant one."""
    return "".join(ZEROS if name == "0" else f"{ord(name):012x}" for name in names)


def signature(rows: np.ndarray) -> str:
    scaled = np.round(127 * rows / np.abs(rows).max(axis=1, keepdims=True)).astype(np.int8)
    return "1:" + base64.b64encode(scaled.tobytes()).decode()


def made(seed: int, n_slices: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_slices, LENGTH))


def test_equal_slices_of_two_patients_are_counted() -> None:
    items = [("B", "T1w", digests(*"bcdx"), ""), ("A", "T1w", digests(*"abcd"), ""), ("C", "T1w", digests(*"yz"), "")]
    assert find_duplicates(items) == [Duplicate("A", "T1w", "B", "T1w", "exact", 3, 0.0)]


def test_one_equal_slice_is_enough() -> None:
    found = find_duplicates([("A", "T1w", digests(*"abcd"), ""), ("B", "FLAIR", digests(*"dxyz"), "")])
    assert found == [Duplicate("A", "T1w", "B", "FLAIR", "exact", 1, 0.0)]


def test_constant_slices_are_no_evidence() -> None:
    assert find_duplicates([("A", "T1w", digests(*"00a"), ""), ("B", "T1w", digests(*"00b"), "")]) == []


def test_a_slice_that_repeats_counts_as_often_as_both_have_it() -> None:
    (found,) = find_duplicates([("A", "T1w", digests(*"aaab"), ""), ("B", "T1w", digests(*"aac"), "")])
    assert found.n_shared == 2


def test_copy_within_one_patient_is_told_with_that_patient_twice() -> None:
    found = find_duplicates([("A", "T1wCE", digests(*"ab"), ""), ("A", "T1w", digests(*"ab"), "")])
    assert found == [Duplicate("A", "T1w", "A", "T1wCE", "exact", 2, 0.0)]


def test_alike_series_of_two_patients_are_near() -> None:
    rows = made(0)
    (found,) = find_duplicates([("A", "T1w", "", signature(rows)), ("B", "T2w", "", signature(rows + 0.1 * made(1)))])
    assert (found.patient_a, found.patient_b, found.kind, found.n_shared) == ("A", "B", "near", 0)
    assert found.similarity > 0.97


def test_alike_series_of_one_patient_are_not_told() -> None:
    rows = made(0)
    assert find_duplicates([("A", "T1w", "", signature(rows)), ("A", "T1wCE", "", signature(rows))]) == []


def test_pair_that_is_exact_and_near_is_told_once_as_exact() -> None:
    own = signature(made(0))
    (found,) = find_duplicates([("A", "T1w", digests("a"), own), ("B", "T1w", digests("a"), own)])
    assert (found.kind, found.n_shared, found.similarity) == ("exact", 1, 1.0)


@pytest.mark.parametrize(
    ("kept", "near"), [(range(16), True), (range(15, -1, -1), True), (range(5, 11), True), (range(9), True)]
)
def test_order_and_number_of_slices_do_not_matter(kept: range, near: bool) -> None:
    rows = made(0)
    found = find_duplicates([("A", "T1w", "", signature(rows)), ("B", "T1w", "", signature(rows[list(kept)]))])
    assert bool(found) is near


def test_less_than_half_of_the_slices_alike_is_not_near() -> None:
    a, b = made(0), made(1)
    b[:7] = a[:7]
    assert find_duplicates([("A", "T1w", "", signature(a)), ("B", "T1w", "", signature(b))]) == []
    b[7] = a[7]
    assert len(find_duplicates([("A", "T1w", "", signature(a)), ("B", "T1w", "", signature(b))])) == 1


def test_pairs_across_blocks_equal_the_plain_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", 4)
    random = np.random.default_rng(3)
    series = [made(seed % 7, 1 + seed % 16) + random.normal(0, 0.22, (1 + seed % 16, LENGTH)) for seed in range(23)]
    items = [(f"{i // 2:02d}", f"{i % 2}", "", signature(rows)) for i, rows in enumerate(series)]
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in series]
    expected = set()
    for a, b in itertools.combinations(range(23), 2):
        products = units[a] @ units[b].T
        # the least of the better half of one's best matches, by hand
        best = [sorted(products.max(axis=axis), reverse=True) for axis in (0, 1)]
        value = max(values[(len(values) + 1) // 2 - 1] for values in best)
        assert abs(value - SIMILARITY_LIMIT) > 1e-3  # none so near that rounding to 8 bits would decide
        if value > SIMILARITY_LIMIT and a // 2 != b // 2:
            expected.add((items[a][:2], items[b][:2]))
    found = {((d.patient_a, d.modality_a), (d.patient_b, d.modality_b)) for d in find_duplicates(items)}
    assert expected
    assert found == expected


def all_pairs(items: list[tuple[str, str, str, str]]) -> list[Duplicate]:
    """What `find_duplicates` finds by signature, each pair compared in full."""
    rows = [(patient_id, modality, read_signature(text)) for patient_id, modality, _, text in sorted(items)]
    alike = [(a, b, similarity(a[2], b[2])) for a, b in itertools.combinations(rows, 2) if a[0] != b[0]]
    return [Duplicate(*a[:2], *b[:2], "near", 0, round(value, 4)) for a, b, value in alike if value > SIMILARITY_LIMIT]


@pytest.mark.parametrize("axes", [1, 23, 161])
def test_few_numbers_miss_no_pair_however_near_the_limit(axes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", 16)
    monkeypatch.setattr(duplicates, "_AXES", axes)
    random = np.random.default_rng(5)
    # Families of one head each; half of the slices of a pair, or one less, are alike, most at 0.93 to 0.95.
    heads = 0.3 * random.normal(size=(1, 1, 8)) @ random.normal(size=(8, LENGTH)) + random.normal(size=(30, 16, LENGTH))
    series = []
    for number in range(300):
        rows = heads[number % 30] + random.uniform(0.2, 0.3) * heads.std() * random.normal(size=(16, LENGTH))
        if number % 3 == 0:
            rows[random.permutation(16)[: 7 + number % 2]] = random.normal(size=(7 + number % 2, LENGTH))
        series.append(rows[random.permutation(16)[: 16 if number % 5 else 1 + number % 16]])
    items = [(f"{i // 2:03d}", f"{i % 2}", "", signature(rows)) for i, rows in enumerate(series)]
    expected = all_pairs(items)
    assert 100 < len(expected) < 2000
    assert find_duplicates(items) == expected


def test_few_numbers_miss_no_pair_of_real_heads_and_altered_copies(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", 8)
    items = []
    for folder in sorted((shared_data / "rsna_t1wce_slices/train").glob("*/T1wCE"))[::4]:
        slices = [s.values.astype(np.float32) for s in read_slices(sorted(folder.glob("*.dcm")), None)]
        noise = np.random.default_rng(0).normal(size=slices[0].shape)
        copies = {
            "itself": slices,
            "blurred": [gaussian_filter(s, 2) for s in slices][::-1],
            "noisy": [s + 0.1 * s.max() * noise for s in slices],
            "turned": [rotate(s, 2, reshape=False, order=1) for s in slices[1:]],
            "turned more": [rotate(s, 4, reshape=False, order=1) for s in slices],
        }
        for name, changed in copies.items():
            if changed:
                text = make_signature(np.stack([thumbnail(s) for s in changed]))
                items.append((f"{folder.parent.name} {name}", "T1wCE", "", text))
    expected = all_pairs(items)
    assert len(expected) > 100
    assert find_duplicates(items) == expected


def test_slice_of_very_many_series_keeps_all_together() -> None:
    items = [(f"{i:03d}", "T1w", digests("a"), "") for i in range(200)]
    found = find_duplicates(items)
    assert {d.patient_b for d in found} == {f"{i:03d}" for i in range(1, 200)}
    assert len(found) == 199


def test_empty_cohort_has_no_pairs() -> None:
    assert find_duplicates([]) == []
    assert find_duplicates([("A", "T1w", "", ""), ("B", "T1w", "", "")]) == []


def test_signature_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(CohortError, match=r"patient A, T1w: .*version 1.*read the pixels"):
        find_duplicates([("A", "T1w", "", "9:AAAA")])


def test_similarity_to_nothing_is_zero() -> None:
    assert similarity(np.empty((0, 3)), np.eye(3)) == 0


def test_patients_of_the_phantom_are_told_apart_and_an_altered_copy_is_found(
    tmp_path: Path, phantom_dir: Path, make_dicom: Callable[..., Path]
) -> None:
    items, volumes = [], {}
    for folder in sorted((phantom_dir / "train").glob("*/T2w")):
        files = sorted(folder.glob("*.dcm"), key=lambda path: int(path.stem.split("-")[1]))
        content = read_content(files, None)
        items.append((folder.parent.name, "T2w", content.digests, content.signature))
        volumes[folder.parent.name] = files
    assert find_duplicates(items) == []
    patient_id, files = next(iter(volumes.items()))
    copies = []
    for number, file in enumerate(files[2:]):
        pixels = pydicom.dcmread(file).pixel_array
        half = pixels[: pixels.shape[0] // 2 * 2 : 2, ::2] // 5
        copies.append(make_dicom(tmp_path / f"{number}.dcm", np.ascontiguousarray(half.astype(np.uint8))))
        header = pydicom.dcmread(copies[-1])
        header.ImageOrientationPatient = pydicom.dcmread(file).ImageOrientationPatient
        header.save_as(copies[-1])
    content = read_content(copies, None)
    (found,) = find_duplicates([*items, ("copy", "T1w", content.digests, content.signature)])
    assert (found.patient_a, found.patient_b, found.kind) == (patient_id, "copy", "near")
