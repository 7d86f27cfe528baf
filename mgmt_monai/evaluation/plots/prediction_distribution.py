"""Where one model's probabilities lie, by class, before and after fine-tuning: the paper's figure 6."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgmt_monai.evaluation.discrimination import CLASS_NAMES
from mgmt_monai.evaluation.plots.style import CLASS_STYLES, WIDTH, spread, stage_title, stages_of, tidy
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, checked_table

_BINS = 20


def prediction_distribution_figure(patient_table: pd.DataFrame, threshold: float = 0.5) -> Figure:
    """Where the patients' probabilities lie, by class, before and after fine-tuning.

    Args:
        patient_table: The patient table of one modality, split, fold and seed; one or more stages.
        threshold: Drawn as a line.

    Returns:
        8 x 4.8 inches, one column a stage: above a histogram of each class, below each patient as a point.

    Raises:
        EvaluationError: The table breaks the schema.
    """
    table = checked_table(patient_table, PATIENT_COLUMNS)
    stages = stages_of(table)
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    grid = figure.subplots(2, len(stages), sharex=True, sharey="row", squeeze=False, height_ratios=[2.2, 1])
    edges = np.linspace(0, 1, _BINS + 1)
    for column, (stage, of_stage) in enumerate(stages):
        above, below = grid[:, column]
        for value, (colour, marker, line) in enumerate(CLASS_STYLES):
            found = of_stage.loc[of_stage["label"] == value, "probability"].to_numpy()
            name = f"{CLASS_NAMES[value].capitalize()} (n = {len(found)})"
            above.hist(found, bins=edges, histtype="stepfilled", color=colour, alpha=0.2)
            above.hist(found, bins=edges, histtype="step", label=name, color=colour, linewidth=1.6, linestyle=line)
            below.scatter(found, value + spread(found), s=16, marker=marker, color=colour, alpha=0.7, linewidths=0)
        for axes in (above, below):
            axes.axvline(threshold, color="black", linewidth=1, linestyle=(0, (4, 2)))
            tidy(axes)
        above.yaxis.set_major_locator(MaxNLocator(integer=True))
        above.set_title(stage_title(stage), fontsize=11)
        below.set(xlim=(-0.02, 1.02), ylim=(-0.6, 1.6), yticks=[0, 1])
        below.set_yticklabels([name.capitalize() for name in CLASS_NAMES])
        below.set_xlabel("Probability of methylation")
    grid[0, 0].set_ylabel("Patients")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure
