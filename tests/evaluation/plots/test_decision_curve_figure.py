"""Net benefit over thresholds."""

import numpy as np
import pytest

from mgmt_monai.evaluation.decision_curve import DecisionCurve, decision_curve
from mgmt_monai.evaluation.plots.decision_curve_plot import decision_curve_figure
from mgmt_monai.evaluation.predictions import EvaluationError


@pytest.mark.parametrize(("n", "effect"), [(116, 0.5), (20, 40.0), (5, 0.3)], ids=["weak", "perfect", "five patients"])
def test_three_lines_are_the_curve_s(cohort, faults, n, effect):
    curve = decision_curve(*cohort(n, effect))
    figure = decision_curve_figure(curve)
    none, everyone, model = figure.axes[0].get_lines()
    assert list(none.get_ydata()) == [0, 0]
    assert (everyone.get_ydata() == curve.all).all()
    assert (model.get_ydata() == curve.model).all()
    assert (model.get_xdata() == curve.threshold).all()
    assert [line.get_linestyle() for line in (none, everyone, model)] == [":", "--", "-"]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["Treat by the model", "Treat all as methylated", "Treat none"]
    assert faults(figure) == []


def test_picture_does_not_follow_treating_all_down(cohort):
    label, probability = cohort(116)
    curve = decision_curve(label, probability)
    assert curve.all.min() < -40  # towards a threshold of 1 it falls without end
    low, high = decision_curve_figure(curve).axes[0].get_ylim()
    assert -0.5 * high <= low < 0
    assert high >= curve.model.max()


def test_model_that_does_harm_is_seen_to():
    curve = DecisionCurve(np.array([0.2, 0.5, 0.8]), np.array([0.4, 0.1, -0.12]), np.array([0.35, 0.0, -1.5]))
    low, _ = decision_curve_figure(curve).axes[0].get_ylim()
    assert low < -0.12


def test_infinite_values_are_left_out(faults):
    curve = DecisionCurve(np.array([0.5, 0.9, 1.0]), np.array([0.1, 0.0, np.nan]), np.array([0.0, -4.0, -np.inf]))
    figure = decision_curve_figure(curve)
    assert np.isfinite(figure.axes[0].get_ylim()).all()
    assert faults(figure) == []


def test_curve_without_a_value_is_refused():
    nothing = np.array([np.nan])
    with pytest.raises(EvaluationError, match="found none at 1"):
        decision_curve_figure(DecisionCurve(nothing, nothing, nothing))
