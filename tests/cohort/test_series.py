from pathlib import Path

import pytest

from mgmt_monai.cohort.series import Series, is_inside

SERIES = Series("7", "T1w", tuple(Path(f"{i}.dcm") for i in range(10)), range(10))


def test_part_of_a_part_counts_within_the_part():
    part = SERIES[2:8][1:3]
    assert (list(part.slices), part.n_slices, part.files) == ([3, 4], 2, SERIES.files)
    assert SERIES.n_slices == 10


@pytest.mark.parametrize(
    ("name", "expected"), [("a.nii", True), ("a.nii.gz", True), ("a.dcm", False), ("nii", False)], ids=lambda v: str(v)
)
def test_is_nifti(name, expected):
    assert Series("7", "T1w", (Path(name),), range(1)).is_nifti is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.dcm", True),
        (".", True),
        ("a..b", True),
        ("../a", False),
        ("a/../../b", False),
        ("a/..", False),
        ("/a", False),
        ("a\0b", False),
    ],
    ids=repr,
)
def test_is_inside(path, expected):
    assert is_inside(path) is expected
