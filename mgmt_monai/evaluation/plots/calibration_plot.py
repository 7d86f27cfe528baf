"""The reliability diagram: whether of the patients given 60 %, 60 % are methylated."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from mgmt_monai.evaluation.calibration import ReliabilityCurve
from mgmt_monai.evaluation.discrimination import CLASS_NAMES, checked_arrays
from mgmt_monai.evaluation.plots.style import BLUE, CHANCE_LINE, CLASS_STYLES, WIDTH, percent, tidy

_BINS = 20


def calibration_figure(
    curve: ReliabilityCurve, probability: ArrayLike, label: ArrayLike, level: float = 0.95
) -> Figure:
    """The observed share of methylated patients against the predicted one, over a histogram of the predictions.

    Args:
        curve: Of the patients below.
        probability: Shape ``(n,)``, in [0, 1], a patient each.
        label: Shape ``(n,)``, 0 or 1.
        level: Of the curve's intervals, for the legend; between 0 and 1.

    Returns:
        8 x 6.4 inches: above a point with its interval for each group of the curve (a group without a patient has
        none), below the patients' predictions, methylated upwards and unmethylated downwards.

    Raises:
        EvaluationError: Shapes differ or a value is not allowed.
    """
    label_, probability_ = checked_arrays(label, probability)
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_curve(above, curve, level)
    _draw_predictions(below, label_, probability_)
    for axes in (above, below):
        tidy(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, labelspacing=0.8)
    return figure


def _draw_curve(axes: Axes, curve: ReliabilityCurve, level: float) -> None:
    predicted, observed, n = (np.asarray(values) for values in (curve.probability, curve.observed, curve.n))
    there = np.isfinite(predicted) & np.isfinite(observed)
    axes.plot([0, 1], [0, 1], label="As predicted", **CHANCE_LINE)
    for x, low, high in zip(predicted[there], np.asarray(curve.low)[there], np.asarray(curve.high)[there], strict=True):
        axes.plot([x, x], [low, high], color=BLUE, linewidth=1.6, marker="_", markersize=8)
    axes.plot(
        predicted[there],
        observed[there],
        color=BLUE,
        linewidth=1,
        marker="o",
        markersize=6,
        label=f"{_sizes(n[there])},\nwith {percent(level)} intervals",
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_ylabel("Observed share methylated")


def _sizes(n: np.ndarray) -> str:
    if not len(n):
        return "No group of patients"
    least, most = int(n.min()), int(n.max())
    size = f"{least}" if least == most else f"{least} to {most}"
    return f"Groups of {size} patient{'' if most == 1 else 's'}"


def _draw_predictions(axes: Axes, label: np.ndarray, probability: np.ndarray) -> None:
    edges = np.linspace(0, 1, _BINS + 1)
    highest = 1
    for value, direction, hatch in ((1, 1, "//"), (0, -1, None)):
        counts, _ = np.histogram(probability[label == value], edges)
        axes.bar(
            edges[:-1],
            direction * counts,
            width=np.diff(edges),
            align="edge",
            facecolor=to_rgba(CLASS_STYLES[value][0], 0.35),
            edgecolor=CLASS_STYLES[value][0],
            hatch=hatch,
            linewidth=1,
            label=f"{CLASS_NAMES[value].capitalize()}\n(n = {int((label == value).sum())})",
        )
        highest = max(highest, int(counts.max()))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylim(-1.1 * highest, 1.1 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, symmetric=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{abs(count):.0f}"))
    axes.set_ylabel("Patients")
    axes.set_xlabel("Predicted probability of methylation")
