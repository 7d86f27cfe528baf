"""How far the figures of one candidate lie apart over folds, seeds and repeats."""

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.interval_rows import MAIN, OTHER, IntervalRow, interval_rows
from mgmt_monai.evaluation.plots.style import chance_handle, spread
from mgmt_monai.evaluation.predictions import EvaluationError

_COLUMNS = ("candidate", "repeat", "fold", "seed", "auc")
_GAP = 0.22
"""Wider than in the other tables: points of nearly the same AUC lie above each other."""

_POINTS_HEIGHT = 0.26
"""Of a row's points, in inches."""


def spread_figure(frame: pd.DataFrame) -> Figure:
    """The test AUC of each model as a point, a row a candidate, with the candidate's mean.

    Args:
        frame: One row a model, columns ``candidate`` (text), ``repeat``, ``fold``, ``seed`` and ``auc`` (in [0, 1], or
            ``nan`` where the model's patients are of one class).

    Returns:
        8 inches wide and as high as the candidates need; at the right the mean over the models that have an AUC, and
        how many these are.

    Raises:
        EvaluationError: A column is missing, or there is no row.
    """
    missing = [column for column in _COLUMNS if column not in frame.columns]
    if missing or not len(frame):
        found = f"none named {', '.join(missing)}" if missing else "no row"
        raise EvaluationError(f"spread: expected rows with the columns {', '.join(_COLUMNS)}, found {found}")
    candidates = list(dict.fromkeys(frame["candidate"]))
    found_aucs = [frame.loc[frame["candidate"] == candidate, "auc"].dropna().to_numpy() for candidate in candidates]
    rows = []
    for candidate, aucs in zip(candidates, found_aucs, strict=True):
        mean = float(aucs.mean()) if len(aucs) else math.nan
        estimate = Estimate(mean, math.nan, math.nan, len(aucs))
        rows.append(IntervalRow(str(candidate), estimate, str(len(aucs)), MAIN, text=f"{mean:.2f}"))
    figure, axes, heights = interval_rows(rows, "Mean AUC", "Models", "AUC (patients)", gap=_GAP)
    for y, aucs in zip(heights, found_aucs, strict=True):
        offsets = spread(aucs, width=_POINTS_HEIGHT, step=0.06)
        axes.scatter(
            aucs, y + offsets, s=18, marker=OTHER.marker, color=OTHER.colour, alpha=0.7, linewidths=0, gid="models"
        )
    handles = [
        Line2D([], [], linestyle="", marker=OTHER.marker, color=OTHER.colour, label="One model (repeat, fold, seed)"),
        Line2D([], [], linestyle="", marker=MAIN.marker, color=MAIN.colour, label="Mean"),
        chance_handle(),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
