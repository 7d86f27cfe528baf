"""The model beside its negative controls."""

import math

import pytest

from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.controls import ControlRow, controls_figure
from mgmt_monai.evaluation.predictions import EvaluationError

ROWS = [
    ControlRow("The model: efficientnet_b0, T1wCE", Estimate(0.62, 0.51, 0.72, 116), True),
    ControlRow("Shuffled labels", Estimate(0.48, 0.37, 0.59, 116), False),
    ControlRow("Slices without the brain (the border of the picture only)", Estimate(0.55, 0.44, 0.66, 116), False),
    ControlRow("Number of slices", Estimate(math.nan, math.nan, math.nan, 116), False),
]


def test_dots_and_intervals_are_the_estimates(by_gid, faults):
    figure = controls_figure(ROWS)
    axes = figure.axes[0]
    assert [line.get_xdata()[0] for line in by_gid(axes, "value")] == [0.62, 0.48, 0.55]
    assert [tuple(line.get_xdata()) for line in by_gid(axes, "interval")] == [(0.51, 0.72), (0.37, 0.59), (0.44, 0.66)]
    assert [0.5, 0.5] in [list(line.get_xdata()) for line in axes.get_lines()]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()][-1] == "undefined"
    assert faults(figure) == []


def test_model_differs_from_controls_without_colour(by_gid):
    model, *controls = by_gid(controls_figure(ROWS).axes[0], "value")
    assert {line.get_marker() for line in controls} == {"s"}
    assert model.get_marker() == "D"
    assert {line.get_markerfacecolor() for line in controls} == {"white"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROWS, ["Model", "Negative control", "Chance: 0.50"]),
        (ROWS[:1], ["Model", "Chance: 0.50"]),
        (ROWS[1:], ["Negative control", "Chance: 0.50"]),
    ],
    ids=["both", "model alone", "controls alone"],
)
def test_legend_names_what_is_there(rows, words, faults):
    figure = controls_figure(rows)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == words
    assert faults(figure) == []


def test_no_row_is_refused():
    with pytest.raises(EvaluationError, match="found no row"):
        controls_figure([])
