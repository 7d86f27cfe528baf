"""The decision curve: whether treating by the model does more good than treating all or none."""

import numpy as np
from matplotlib.figure import Figure

from mgmt_monai.evaluation.decision_curve import DecisionCurve
from mgmt_monai.evaluation.plots.style import BLUE, GREY, ORANGE, WIDTH, tidy
from mgmt_monai.evaluation.predictions import EvaluationError

_LEAST_BELOW, _MOST_BELOW = 0.15, 0.5
"""How far below 0 the picture reaches, as shares of how far it reaches above."""


def decision_curve_figure(curve: DecisionCurve) -> Figure:
    """Net benefit of treating by the model, of treating all and of treating none.

    Args:
        curve: Of the patients; ``nan`` or infinite where undefined.

    Returns:
        8 x 4.6 inches. Treating all falls without end towards a threshold of 1, so what lies far below 0 is cut off:
        at half of how far the curves reach above it.

    Raises:
        EvaluationError: The curve has no finite value.

    Source:
        Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating prediction models. Med Decis
        Making 2006;26:565-574.
    """
    threshold, model, everyone = (
        np.where(np.isfinite(values), values, np.nan)
        for values in (np.asarray(part, dtype=np.float64) for part in (curve.threshold, curve.model, curve.all))
    )
    if np.isnan(model).all():
        raise EvaluationError(
            f"decision curve: expected a finite net benefit at one threshold or more, found none at {len(model)}; "
            "give thresholds between 0 and 1"
        )
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=GREY, linewidth=1.4, linestyle=":", label="Treat none")
    axes.plot(threshold, everyone, color=ORANGE, linewidth=1.6, linestyle="--", label="Treat all as methylated")
    axes.plot(threshold, model, color=BLUE, linewidth=2, label="Treat by the model")
    top = max(float(np.nanmax(model)), float(np.nanmax(everyone, initial=0.0)), 0.02)
    below = np.clip(-float(np.nanmin(model)) * 1.1, _LEAST_BELOW * top, _MOST_BELOW * top)
    axes.set_ylim(-below, 1.08 * top)
    axes.set_xlim(float(np.nanmin(threshold)), float(np.nanmax(threshold)))
    axes.set_xlabel("Threshold probability of methylation")
    axes.set_ylabel("Net benefit")
    tidy(axes)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
