"""The reliability diagram and the predictions below it."""

import numpy as np
import pytest

from mgmt_monai.evaluation.calibration import ReliabilityCurve, reliability_curve
from mgmt_monai.evaluation.plots.calibration_plot import calibration_figure


@pytest.fixture(params=[(116, 0.5), (20, 40.0), (5, 0.3)], ids=["weak", "perfect", "five patients"])
def patients(request, cohort):
    return cohort(*request.param)


def test_points_and_intervals_are_the_curve_s(patients, faults):
    label, probability = patients
    curve = reliability_curve(label, probability)
    figure = calibration_figure(curve, probability, label)
    above = figure.axes[0]
    diagonal, *intervals, points = above.get_lines()
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert np.column_stack(points.get_data()) == pytest.approx(np.column_stack([curve.probability, curve.observed]))
    drawn = [(*line.get_xdata(), *line.get_ydata()) for line in intervals]
    assert drawn == list(zip(curve.probability, curve.probability, curve.low, curve.high, strict=True))
    assert faults(figure) == []


def test_predictions_are_counted_methylated_up_unmethylated_down(patients):
    label, probability = patients
    _, below = calibration_figure(reliability_curve(label, probability), probability, label).axes
    assert len(below.patches) == 40
    for bar, edge in zip(below.patches[:20], np.arange(20) / 20, strict=True):
        end = edge + 0.05
        within = (probability >= edge - 1e-12) & ((probability < end - 1e-12) | ((end > 0.99) & (probability <= 1)))
        assert bar.get_x() == pytest.approx(edge)
        assert bar.get_height() == (within & (label == 1)).sum()
    assert sum(bar.get_height() for bar in below.patches[20:]) == -(label == 0).sum()
    assert below.patches[0].get_hatch() != below.patches[20].get_hatch()


@pytest.mark.parametrize(
    ("n", "words"),
    [([11, 12, 11], "Groups of 11 to 12 patients"), ([1, 1, 1], "Groups of 1 patient"), ([4, 4, 4], "Groups of 4")],
    ids=["range", "singular", "one size"],
)
def test_legend_says_how_large_the_groups_are(n, words):
    some = np.array([0.2, 0.5, 0.8])
    curve = ReliabilityCurve(some, some, some - 0.1, some + 0.1, np.array(n))
    legend = calibration_figure(curve, [0.2, 0.8], [0, 1], level=0.9).axes[0].get_legend()
    said = legend.get_texts()[1].get_text()
    assert said.startswith(words)
    assert said.endswith("90 % intervals")


def test_group_without_a_figure_has_no_point():
    some = np.array([0.2, np.nan, 0.8])
    curve = ReliabilityCurve(some, some, some - 0.1, some + 0.1, np.array([5, 0, 5]))
    lines = calibration_figure(curve, [0.2, 0.8], [0, 1]).axes[0].get_lines()
    assert list(lines[-1].get_xdata()) == [0.2, 0.8]
    assert len(lines) == 4
