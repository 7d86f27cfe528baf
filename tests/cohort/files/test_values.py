import pytest

from mgmt_monai.cohort.files.values import finite


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5", 1.5),
        ("-2e3 ", -2000.0),
        (7, 7.0),
        ("", None),
        ("high", None),
        ("1\\2", None),
        ("nan", None),
        ("inf", None),
        ("-Infinity", None),
        ("1e400", None),
    ],
)
def test_finite(text, expected):
    assert finite(text) == expected
