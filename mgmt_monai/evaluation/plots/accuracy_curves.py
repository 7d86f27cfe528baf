"""Training and validation accuracy of one stage, a panel a modality: the paper's figures 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgmt_monai.evaluation.plots.learning_curves import checked_curves, plot_split
from mgmt_monai.evaluation.plots.style import METRIC_LABELS, SPLIT_STYLES, WIDTH, plain, stage_title, tidy
from mgmt_monai.evaluation.predictions import EvaluationError

_COLUMNS = 2


def accuracy_curves_figure(curves_by_modality: Mapping[str, pd.DataFrame], stage: str) -> Figure:
    """Training and validation accuracy over the epochs of a stage, one panel a modality.

    Args:
        curves_by_modality: For each modality, in the order in which they are shown, one row a value with the columns
            ``stage``, ``epoch``, ``split`` (``train`` or ``validation``), ``metric`` and ``value``. Metrics other
            than ``accuracy`` (a share in [0, 1]) and other stages are left out.
        stage: ``transfer`` (the paper's figure 4) or ``fine_tune`` (its figure 5).

    Returns:
        8 inches wide, two panels a row, all on the same axis of accuracy. The panel of a modality that has no such
        stage says so.

    Raises:
        EvaluationError: A table breaks :func:`mgmt_monai.evaluation.plots.learning_curves.checked_curves`, or none has
            the accuracy of this stage.

    Source:
        Spoorthy KR et al. Deep learning approach for radiogenomic classification of brain tumor, figures 4 and 5.
    """
    wanted = {}
    for modality, curves in curves_by_modality.items():
        checked = checked_curves(curves)
        of_stage = checked[(checked["stage"] == stage) & (checked["metric"] == "accuracy")]
        wanted[modality] = of_stage.sort_values("epoch", kind="stable")
    if all(table.empty for table in wanted.values()):
        raise EvaluationError(
            f"accuracy curves: expected rows with metric accuracy and stage {stage} in at least one modality, "
            f"found none in {', '.join(wanted) or 'no modality'}; name a stage that was trained"
        )
    n_columns = min(_COLUMNS, len(wanted))
    n_rows = -(-len(wanted) // n_columns)
    figure = Figure(figsize=(WIDTH, 0.9 + (3.2 if n_columns == 1 else 2.6) * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).flatten()
    for panel in panels[len(wanted) :]:
        panel.remove()
    for position, (axes, (modality, table)) in enumerate(zip(panels, wanted.items(), strict=False)):
        for split in SPLIT_STYLES:
            plot_split(axes, table[table["split"] == split], split, label=split.capitalize())
        axes.set_title(plain(modality), fontsize=11)
        tidy(axes)
        if table.empty:
            axes.text(0.5, 0.5, "No such stage", transform=axes.transAxes, ha="center", va="center", fontsize=10)
            axes.set_xticks([])
        else:
            # Whole epochs from half an epoch before the first: also a stage that stopped after one epoch has a width.
            axes.set_xlim(table["epoch"].min() - 0.5, table["epoch"].max() + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if position + n_columns >= len(wanted):
            axes.set_xlabel("Epoch")
        if position % n_columns == 0:
            axes.set_ylabel(METRIC_LABELS["accuracy"])
    panels[0].margins(y=0.12)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=len(labels),
        frameon=False,
        fontsize=9,
        title=f"{stage_title(stage)} stage",
        title_fontsize=10,
    )
    return figure
