"""The ROC curves of one training: patients beside slices, before and after fine-tuning."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from mgmt_monai.evaluation.bootstrap import slice_intervals
from mgmt_monai.evaluation.delong import auc_interval
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.evaluation.intervals import with_interval
from mgmt_monai.evaluation.plots.style import WIDTH, percent, roc_axes, stage_styles, stage_title, stages_of
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, SLICE_COLUMNS, checked_table


def roc_figure(
    patient_table: pd.DataFrame,
    slice_table: pd.DataFrame,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Figure:
    """ROC curves, patients on the left and slices on the right, one curve for each stage.

    Args:
        patient_table: The patient table of one modality, split, fold and seed; one or more stages.
        slice_table: The slice table of the same.
        level: Of the AUC's interval in the legend, between 0 and 1.
        n_resamples: How often patients are resampled for the slices' interval.
        seed: Of the resampling.

    Returns:
        8 x 5.2 inches.

    Raises:
        EvaluationError: A table breaks the schema.
    """
    patients = checked_table(patient_table, PATIENT_COLUMNS)
    slices = checked_table(slice_table, SLICE_COLUMNS)
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, table, unit in ((left, patients, "patients"), (right, slices, "slices")):
        roc_axes(axes)
        stages = stages_of(table)
        for (stage, of_stage), (colour, line) in zip(stages, stage_styles(len(stages)), strict=True):
            label = of_stage["label"].to_numpy()
            probability = of_stage["probability"].to_numpy()
            if unit == "patients":
                interval = auc_interval(label, probability, level)
            else:
                ids = of_stage["patient_id"].to_numpy()
                interval = slice_intervals(label, probability, ids, level, n_resamples=n_resamples, seed=seed)["auc"]
            name = f"{stage_title(stage)}: {with_interval(auc(label, probability), *interval)}"
            _plot_roc(axes, label, probability, name, colour, line)
        axes.set_anchor("N")
        axes.set_title(f"By {unit[:-1]} ({_how_many(table, unit)})", fontsize=11)
        # Below the axes, for a curve of any shape would run under a legend within.
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
            frameon=False,
            fontsize=9,
            title=f"AUC with {percent(level)} interval",
            title_fontsize=9,
        )
    left.set_ylabel("True positive rate (sensitivity)")
    return figure


def _plot_roc(axes: Axes, label: np.ndarray, probability: np.ndarray, name: str, colour: str, line: str) -> None:
    if label.min() == label.max():
        # The legend still says that this stage was there and has no curve.
        axes.plot([], [], color=colour, linestyle=line, label=name)
        return
    false_positive_rate, true_positive_rate, _ = roc_curve(label, probability, drop_intermediate=False)
    axes.plot(false_positive_rate, true_positive_rate, color=colour, linestyle=line, linewidth=1.8, label=name)


def _how_many(table: pd.DataFrame, unit: str) -> str:
    of_first = stages_of(table)[0][1]
    patients = of_first["patient_id"].nunique()
    return f"{patients} patients" if unit == "patients" else f"{len(of_first)} slices of {patients} patients"
