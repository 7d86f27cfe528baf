"""Every network and modality beside the best by chance."""

import math

import numpy as np
import pytest

from mgmt_monai.evaluation.best_of import BestOf
from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.candidates import candidates_figure
from mgmt_monai.evaluation.predictions import EvaluationError

NETWORKS = ("efficientnet_b0", "alexnet", "mobilenet_v2", "resnet50", "densenet121", "a_network_with_a_long_name_v2_xl")
NAMES = [f"{network}, {modality}" for network in NETWORKS for modality in ("T1w", "T1wCE", "T2w", "FLAIR")]
ESTIMATES = [Estimate(0.4 + 0.01 * i, 0.3 + 0.01 * i, 0.5 + 0.01 * i, 53) for i in range(24)]
CHANCE = BestOf(24, 0.65, 0.73, np.array([0.6, 0.7]))


def test_dots_and_intervals_are_the_estimates(by_gid, faults):
    figure = candidates_figure(NAMES, ESTIMATES, CHANCE, 7)
    axes = figure.axes[0]
    assert [line.get_xdata()[0] for line in by_gid(axes, "value")] == [estimate.value for estimate in ESTIMATES]
    assert [tuple(line.get_xdata()) for line in by_gid(axes, "interval")] == [(e.low, e.high) for e in ESTIMATES]
    assert faults(figure) == []


def test_names_come_through_whole():
    axes = candidates_figure(NAMES, ESTIMATES, CHANCE, 7).axes[0]
    drawn = [label.get_text().replace("\n", "").replace(" ", "") for label in axes.get_yticklabels()]
    assert drawn[1:] == [name.replace(" ", "") for name in NAMES]


def test_chosen_one_alone_has_another_marker_and_bold_name(by_gid):
    axes = candidates_figure(NAMES, ESTIMATES, CHANCE, 7).axes[0]
    markers = [line.get_marker() for line in by_gid(axes, "value")]
    assert markers == ["o"] * 7 + ["D"] + ["o"] * 16
    weights = [label.get_fontweight() for label in axes.get_yticklabels()][1:]
    assert [position for position, weight in enumerate(weights) if weight == "bold"] == [7]


def test_ground_is_shaded_up_to_the_95th_percentile(by_gid):
    figure = candidates_figure(NAMES, ESTIMATES, CHANCE, 7)
    axes = figure.axes[0]
    (shade,) = axes.patches
    box = shade.get_extents().transformed(axes.transData.inverted())
    assert (box.x0, box.x1) == pytest.approx((axes.get_xlim()[0], 0.73))
    for gid, at in (("expected", 0.65), ("percentile_95", 0.73)):
        (line,) = by_gid(axes, gid)
        assert list(line.get_xdata()) == [at, at]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "Best of 24 by chance: 0.65 on average" in words
    assert "Best of 24 by chance: 0.73 at the 95th percentile" in words


@pytest.mark.parametrize(
    ("n", "chance"),
    [
        (1, BestOf(1, 0.5, 0.63, np.array([0.5]))),
        (2, BestOf(2, 0.54, 0.65, np.array([0.5]))),
        (2, BestOf(2, math.nan, math.nan, np.array([]))),
        (1, BestOf(1, math.nan, math.nan, np.array([]))),
    ],
    ids=["one", "two", "two without chance", "one without chance"],
)
def test_few_candidates_are_drawn_too(n, chance, faults):
    figure = candidates_figure(["efficientnet_b0, $T1w$", "x"][:n], ESTIMATES[:n], chance, n - 1)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"Chosen", "Chance: 0.50"} <= set(words)
    assert ("Other candidate" in words) == (n == 2)
    assert faults(figure) == []


@pytest.mark.parametrize(
    ("n_names", "n_estimates", "chosen"),
    [(0, 0, 0), (2, 1, 0), (2, 2, 2), (2, 2, -1)],
    ids=["none", "one short", "beyond", "negative"],
)
def test_what_does_not_fit_together_is_refused(n_names, n_estimates, chosen):
    with pytest.raises(EvaluationError, match=f"found {n_names} names, {n_estimates} estimates, chosen {chosen}"):
        candidates_figure(NAMES[:n_names], ESTIMATES[:n_estimates], CHANCE, chosen)
