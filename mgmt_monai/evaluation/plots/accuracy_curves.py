"""Training and validation accuracy of one stage, a panel a modality: the paper's figures 4 and 5."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mgmt_monai.evaluation.plots.learning_curves import checked_curves, plot_split
from mgmt_monai.evaluation.plots.style import GREY, METRIC_LABELS, SPLIT_STYLES, WIDTH, plain, stage_title, tidy
from mgmt_monai.evaluation.predictions import EvaluationError

_TRAINING = ["fold", "seed"]
"""The columns that tell a modality's trainings apart."""

_THIN: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.45}


def accuracy_curves_figure(curves_by_modality: Mapping[str, pd.DataFrame], stage: str) -> Figure:
    """Training and validation accuracy over the epochs of a stage, one panel a modality.

    Args:
        curves_by_modality: For each modality, in the order in which they are shown, one row a value with the columns
            ``stage``, ``epoch``, ``split`` (``train`` or ``validation``), ``metric`` and ``value``; with several
            trainings also ``fold`` and ``seed``. Metrics other than ``accuracy`` (a share in [0, 1]) and other stages
            are left out.
        stage: ``transfer`` (the paper's figure 4) or ``fine_tune`` (its figure 5).

    Returns:
        8 inches wide, two panels a row, all on the same axis of accuracy. Of several trainings each is a thin line. A
        thick one is the mean of those that came so far, as long as they are half of all: the mean of the last few
        would jump. The panel of a modality that has no such stage says so.

    Raises:
        EvaluationError: A table breaks :func:`mgmt_monai.evaluation.plots.learning_curves.checked_curves`, has two
            values for an epoch of one training, or none has the accuracy of this stage.

    Source:
        Spoorthy KR et al. Deep learning approach for radiogenomic classification of brain tumor, figures 4 and 5.
    """
    wanted = {modality: _accuracy(modality, curves, stage) for modality, curves in curves_by_modality.items()}
    if all(table.empty for table in wanted.values()):
        raise EvaluationError(
            f"accuracy curves: expected rows with metric accuracy and stage {stage} in at least one modality, "
            f"found none in {', '.join(wanted) or 'no modality'}; name a stage that was trained"
        )
    n_columns = min(2, len(wanted))
    n_rows = -(-len(wanted) // n_columns)
    figure = Figure(figsize=(WIDTH, 0.9 + (3.2 if n_columns == 1 else 2.6) * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).flatten()
    for panel in panels[len(wanted) :]:
        panel.remove()
    for position, (axes, (modality, table)) in enumerate(zip(panels, wanted.items(), strict=False)):
        _draw(axes, table)
        axes.set_title(plain(modality), fontsize=11)
        if position + n_columns >= len(wanted) and not table.empty:
            axes.set_xlabel("Epoch")
        if position % n_columns == 0:
            axes.set_ylabel(METRIC_LABELS["accuracy"])
    panels[0].margins(y=0.12)
    handles, labels = panels[0].get_legend_handles_labels()
    if any(table["training"].nunique() > 1 for table in wanted.values()):
        handles, labels = [*handles, Line2D([], [], color=GREY, **_THIN)], [*labels, "Each training (thick: mean)"]
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=len(labels),
        frameon=False,
        fontsize=9,
        title=stage_title(stage),
        title_fontsize=11,
    )
    return figure


def _accuracy(modality: str, curves: pd.DataFrame, stage: str) -> pd.DataFrame:
    """The rows of the stage's accuracy by epoch, with a column ``training`` that numbers the trainings."""
    checked = checked_curves(curves)
    known = [column for column in _TRAINING if column in curves.columns]
    training = curves.groupby(known).ngroup() if known else 0
    checked = checked.assign(training=training)
    of_stage = checked[(checked["stage"] == stage) & (checked["metric"] == "accuracy")]
    twice = of_stage.duplicated(["training", "epoch", "split"])
    if twice.any():
        row = of_stage[twice].iloc[0]
        raise EvaluationError(
            f"accuracy curves, {modality}: expected one {row['split']} accuracy for epoch {row['epoch']} of {stage} "
            "and each training, found several; tell trainings apart by the columns fold and seed"
        )
    return of_stage.sort_values("epoch", kind="stable")


def _draw(axes: Axes, table: pd.DataFrame) -> None:
    for split, (colour, line, _) in SPLIT_STYLES.items():
        of_split = table[table["split"] == split]
        if table["training"].nunique() > 1:
            for _, of_training in of_split.groupby("training"):
                axes.plot(of_training["epoch"], of_training["value"], color=colour, linestyle=line, **_THIN)
        by_epoch = of_split.groupby("epoch", as_index=False).agg(value=("value", "mean"), n=("value", "size"))
        of_half = by_epoch[by_epoch["n"] >= of_split["training"].nunique() / 2]
        plot_split(axes, of_half, split, label=split.capitalize())
    tidy(axes)
    if table.empty:
        axes.text(0.5, 0.5, "No such stage", transform=axes.transAxes, ha="center", va="center", fontsize=10)
        axes.set_xticks([])
        return
    # From half an epoch before the first: also a stage that stopped after one epoch has a width.
    axes.set_xlim(table["epoch"].min() - 0.5, table["epoch"].max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
