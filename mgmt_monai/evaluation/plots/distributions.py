"""Where the probabilities of several modalities lie, before and after fine-tuning: the paper's figure 6, for all."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mgmt_monai.evaluation.discrimination import CLASS_NAMES
from mgmt_monai.evaluation.plots.style import CLASS_STYLES, STAGE_TITLES, WIDTH, plain, stage_title, tidy
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, EvaluationError, checked_table

_BINS = 20
_RUG = (-0.16, -0.07)
"""Heights of the two classes' points under the histogram, as shares of its highest bar."""

_THRESHOLD_LINE: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": (0, (4, 2))}


def distributions_figure(tables: Mapping[str, pd.DataFrame], threshold: float = 0.5) -> Figure:
    """Where the patients' probabilities lie, by class: one row a modality, one column a stage.

    Args:
        tables: For each modality, in the order in which they are shown, its patient table: one split, one or more
            stages. A patient with several models (folds, seeds) of a stage is shown once, with their mean.
        threshold: Drawn as a line.

    Returns:
        8 inches wide. In each panel a histogram of each class with its patients as points below it; the panel of a
        modality without that stage says so.

    Raises:
        EvaluationError: There is no table, or one breaks the schema or has no row.

    Source:
        Spoorthy KR et al. Deep learning approach for radiogenomic classification of brain tumor, figure 6.
    """
    empty = ", ".join(str(modality) for modality, table in tables.items() if not len(table))
    if not tables or empty:
        raise EvaluationError(
            "distributions: expected the patient table of at least one modality, each with a row, "
            f"found {f'no row for {empty}' if empty else 'no table'}; leave out what was not predicted"
        )
    checked = {modality: _by_patient(checked_table(table, PATIENT_COLUMNS)) for modality, table in tables.items()}
    found = list(dict.fromkeys(stage for table in checked.values() for stage in table["stage"]))
    stages = [*(stage for stage in STAGE_TITLES if stage in found), *(s for s in found if s not in STAGE_TITLES)]
    height = 1.0 + (2.8 if len(checked) == 1 else 1.75) * len(checked)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(len(checked), len(stages), sharex=True, sharey="row", squeeze=False)
    for row, (modality, table) in zip(grid, checked.items(), strict=True):
        highest = max(_counts(table[table["stage"] == stage]).max() for stage in stages)
        for axes, stage in zip(row, stages, strict=True):
            _draw(axes, table[table["stage"] == stage], highest, threshold)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.24 * highest, 1.06 * highest))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.06 * highest])
            tidy(axes)
        row[0].set_ylabel(f"{plain(modality)}\npatients")
    for axes, stage in zip(grid[0], stages, strict=True):
        axes.set_title(stage_title(stage), fontsize=11)
    for axes in grid[-1]:
        axes.set_xlabel("Probability of methylation")
    handles = [
        Line2D([], [], color=colour, linestyle=line, marker=marker, markersize=5, label=name.capitalize())
        for name, (colour, marker, line) in zip(CLASS_NAMES, CLASS_STYLES, strict=True)
    ]
    handles.append(Line2D([], [], label=f"Threshold: {threshold:.3g}", **_THRESHOLD_LINE))
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _by_patient(table: pd.DataFrame) -> pd.DataFrame:
    """One row a stage and patient, in the stages' order of appearance."""
    grouped = table.groupby(["stage", "patient_id"], sort=False)
    found = grouped.agg(label=("label", "first"), probability=("probability", "mean")).reset_index()
    # A rounded sum must not push the mean of ones above 1, out of the last bar.
    return found.assign(probability=found["probability"].clip(0, 1))


def _edges() -> np.ndarray:
    return np.linspace(0, 1, _BINS + 1)


def _counts(rows: pd.DataFrame) -> np.ndarray:
    """How many of each class in each bin: shape ``(2, bins)``."""
    return np.array([np.histogram(rows.loc[rows["label"] == value, "probability"], _edges())[0] for value in (0, 1)])


def _draw(axes: Axes, rows: pd.DataFrame, highest: int, threshold: float) -> None:
    if rows.empty:
        axes.text(0.5, 0.5, "No such stage", transform=axes.transAxes, ha="center", va="center", fontsize=10)
        return
    for value, (colour, marker, line) in enumerate(CLASS_STYLES):
        probability = rows.loc[rows["label"] == value, "probability"].to_numpy()
        axes.hist(probability, bins=_edges().tolist(), histtype="stepfilled", color=colour, alpha=0.2)
        axes.hist(probability, bins=_edges().tolist(), histtype="step", color=colour, linewidth=1.6, linestyle=line)
        height = np.full(len(probability), _RUG[value] * highest)
        axes.scatter(probability, height, s=14, marker=marker, color=colour, alpha=0.6, linewidths=0)
    axes.axvline(threshold, **_THRESHOLD_LINE)
