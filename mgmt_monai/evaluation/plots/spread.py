"""How far the figures of one candidate lie apart over folds, seeds and repeats."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mgmt_monai.evaluation.plots.style import BLUE, CHANCE_LINE, ORANGE, WIDTH, chance_handle, spread, tidy
from mgmt_monai.evaluation.predictions import EvaluationError

_COLUMNS = ("candidate", "repeat", "fold", "seed", "auc")


def spread_figure(frame: pd.DataFrame) -> Figure:
    """The test AUC of each model as a point, a row a candidate, with the candidate's mean.

    Args:
        frame: One row a model, columns ``candidate`` (text), ``repeat``, ``fold``, ``seed`` and ``auc`` (in [0, 1], or
            ``nan``).

    Returns:
        8 inches wide and as high as the candidates need.

    Raises:
        EvaluationError: A column is missing, or there is no row.
    """
    missing = [column for column in _COLUMNS if column not in frame.columns]
    if missing or not len(frame):
        found = f"none named {', '.join(missing)}" if missing else "no row"
        raise EvaluationError(f"spread: expected rows with the columns {', '.join(_COLUMNS)}, found {found}")
    candidates = list(dict.fromkeys(frame["candidate"]))
    figure = Figure(figsize=(WIDTH, 1.4 + 0.5 * len(candidates)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0.5, zorder=1, **CHANCE_LINE)
    for row, candidate in enumerate(candidates):
        values = frame.loc[frame["candidate"] == candidate, "auc"].dropna().to_numpy()
        axes.scatter(values, row + spread(values), s=18, color=BLUE, alpha=0.7, linewidths=0, gid="models")
        if len(values):
            axes.plot([values.mean()], [row], "D", color=ORANGE, markersize=7, gid="mean")
    axes.set(xlim=(-0.02, 1.02), ylim=(len(candidates) - 0.4, -0.6), yticks=range(len(candidates)))
    axes.set_yticklabels(candidates)
    axes.set_xlabel("AUC (patients)")
    tidy(axes)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=BLUE, label="One model (fold, seed)"),
        Line2D([], [], linestyle="", marker="D", color=ORANGE, label="Mean"),
        chance_handle(),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
