"""The cohort's AUC and its subgroups'."""

import math

import pytest

from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.forest import ForestRow, forest_figure
from mgmt_monai.evaluation.predictions import EvaluationError

UNDEFINED = Estimate(math.nan, math.nan, math.nan, 3)
ROWS = [
    ForestRow("", "All patients", Estimate(0.62, 0.51, 0.72, 116), 60),
    ForestRow("Sex", "female", Estimate(0.58, 0.4, 0.74, 50), 24),
    ForestRow("Sex", "male", Estimate(0.66, 0.5, 0.79, 66), 36),
    ForestRow("Manufacturer", "SIEMENS", Estimate(0.6, 0.5, 0.7, 110), 57),
    ForestRow("Manufacturer", "Philips Medical Systems DMC GmbH, Hamburg works", Estimate(1.0, 0.44, 1.0, 3), 2),
    ForestRow("Manufacturer", "GE", UNDEFINED, 0),
]


def texts(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_dots_and_intervals_are_the_estimates(by_gid, faults):
    figure = forest_figure(ROWS)
    axes = figure.axes[0]
    dots = [tuple(line.get_xdata()) for line in by_gid(axes, "value")]
    intervals = [tuple(line.get_xdata()) for line in by_gid(axes, "interval")]
    defined = [row.estimate for row in ROWS if row.estimate is not UNDEFINED]
    assert dots == [(estimate.value,) for estimate in defined]
    assert intervals == [(estimate.low, estimate.high) for estimate in defined]
    assert faults(figure) == []


def test_names_stand_under_their_group_s_heading():
    names = [name.replace("\n", " ").split() for name in texts(forest_figure(ROWS).axes[0])]
    assert [" ".join(words) for words in names] == [
        "",
        "All patients",
        "Sex",
        "female",
        "male",
        "Manufacturer",
        "SIEMENS",
        "Philips Medical Systems DMC GmbH, Hamburg works",
        "GE",
    ]


def test_figures_stand_in_their_row():
    names, values, counts = forest_figure(ROWS, level=0.9).axes
    assert texts(values) == [
        "AUC (90 % interval)",
        "0.62 (0.51-0.72)",
        "",
        "0.58 (0.40-0.74)",
        "0.66 (0.50-0.79)",
        "",
        "0.60 (0.50-0.70)",
        "1.00 (0.44-1.00)",
        "too few",
    ]
    assert texts(counts) == ["n (methylated)", "116 (60)", "", "50 (24)", "66 (36)", "", "110 (57)", "3 (2)", "3 (0)"]
    assert list(names.get_yticks()) == list(values.get_yticks()) == list(counts.get_yticks())
    assert names.get_ylim() == values.get_ylim() == counts.get_ylim()


def test_dots_lie_beside_their_name(by_gid):
    axes = forest_figure(ROWS).axes[0]
    where = dict(zip((text.strip() for text in texts(axes)), axes.get_yticks(), strict=True))
    assert [line.get_ydata()[0] for line in by_gid(axes, "value")][:3] == pytest.approx(
        [where["All patients"], where["female"], where["male"]]
    )


def test_names_are_indented_also_where_svg_drops_blanks():
    indented = [name for name in texts(forest_figure(ROWS).axes[0]) if name.strip(" ") != name.strip()]
    assert [name.split()[0] for name in indented] == ["female", "male", "SIEMENS", "Philips", "GE"]


def test_lines_through_the_cohort_and_through_chance(by_gid):
    axes = forest_figure(ROWS).axes[0]
    (whole,) = by_gid(axes, "whole")
    assert list(whole.get_xdata()) == [0.62, 0.62]
    assert [0.5, 0.5] in [list(line.get_xdata()) for line in axes.get_lines()]


@pytest.mark.parametrize(
    "rows",
    [ROWS[:1], [ForestRow("", "All patients", UNDEFINED, 3)], [ROWS[0], ForestRow("", "$5 a$", UNDEFINED, 0)]],
    ids=["cohort alone", "undefined", "without a group"],
)
def test_few_rows_are_drawn_too(rows, faults):
    assert faults(forest_figure(rows)) == []


def test_no_row_is_refused():
    with pytest.raises(EvaluationError, match="found no row"):
        forest_figure([])
