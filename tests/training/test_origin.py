"""What a run says of the heads it was trained on."""

import pytest

from mgmt_monai.training.origin import skull_state


@pytest.mark.parametrize(
    ("series", "stripped", "with_skull", "expected"),
    [
        (4, 4, 0, (True, "Skull-stripped.")),
        (4, 0, 4, (False, "Heads with skull.")),
        (4, 3, 1, (None, "3 of 4 series skull-stripped, 1 not.")),
        (4, 2, 0, (True, "Skull-stripped.")),
        (4, 1, 0, (None, "Whether skull-stripped: not known.")),
        (4, 0, 1, (None, "Whether skull-stripped: not known.")),
    ],
)
def test_the_heads_are_known_where_they_agree_and_half_can_tell(series, stripped, with_skull, expected):
    assert skull_state({"series": series, "skull_stripped": stripped, "with_skull": with_skull}) == expected


def test_a_manifest_of_an_earlier_version_does_not_know():
    assert skull_state({}) == (None, "Whether skull-stripped: not known.")
