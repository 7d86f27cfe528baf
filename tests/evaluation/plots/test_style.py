"""Words and offsets that the pictures share."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from mgmt_monai.evaluation.intervals import with_interval
from mgmt_monai.evaluation.plots.style import percent, plain, spread, stage_styles


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ((0.625, 0.514, 0.726), "0.62 (0.51-0.73)"),
        ((1.0, 0.789, 1.0), "1.00 (0.79-1.00)"),
        ((0.5, math.nan, math.nan), "0.50 (no interval)"),
        ((0.5, 0.2, math.nan), "0.50 (no interval)"),
        ((math.nan, math.nan, math.nan), "undefined (one class only)"),
    ],
    ids=["plain", "one", "no interval", "half an interval", "undefined"],
)
def test_with_interval_in_words(figure, words):
    assert with_interval(*figure) == words


@pytest.mark.parametrize(("level", "words"), [(0.95, "95 %"), (0.9, "90 %"), (0.995, "99.5 %")])
def test_percent_of_a_level(level, words):
    assert percent(level) == words


@pytest.mark.parametrize("name", ["plain", "$x$", "costs $5", "$\\frac{$", "a_b^c"])
def test_plain_name_is_drawn_letter_by_letter(name):
    text = Figure().text(0, 0, plain(name))
    assert text._preprocess_math(text.get_text()) == (name, False)


def test_spread_parts_neighbours_and_leaves_the_lonely_alone():
    values = np.array([0.1, 0.5, 0.5, 0.5, 0.9])
    assert spread(values, width=0.7, step=0.1) == pytest.approx([0, -0.1, 0, 0.1, 0])


def test_spread_of_many_stays_within_its_width():
    offsets = spread(np.full(200, 0.4), width=0.6)
    assert np.abs(offsets).max() <= 0.3
    assert len(np.unique(offsets)) == 200


def test_stage_styles_differ_in_line_too():
    assert len({line for _, line in stage_styles(4)}) == 4
    assert stage_styles(5)[4] == stage_styles(1)[0]
