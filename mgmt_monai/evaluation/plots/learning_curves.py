"""The learning curves of one training: each metric over the epochs of its stages."""

from collections.abc import Collection, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgmt_monai.evaluation.plots.style import (
    CHANCE_LINE,
    METRIC_LABELS,
    SPLIT_STYLES,
    WIDTH,
    plain,
    stage_title,
    stages_of,
    tidy,
)
from mgmt_monai.evaluation.predictions import EvaluationError

_COLUMNS = ["stage", "epoch", "split", "metric", "value"]
_CHANCE = {"auc": 0.5, "patient_auc": 0.5}


def learning_curves_figure(curves: pd.DataFrame, kept_start: Collection[str] = ()) -> Figure:
    """Each metric over the epochs of both stages, training and validation, with a line between the stages.

    Args:
        curves: One row a value, columns ``stage``, ``epoch`` (from 1, within its stage or running on),
            ``split`` (``train`` or ``validation``), ``metric`` (``loss``, ``accuracy``, ``auc``,
            ``patient_auc`` or another) and ``value``; stages in the order in which they ran. A stage that
            counts its epochs from 1 again is put behind the one before it.
        kept_start: Stages of which no epoch was kept, but the network that they began with.

    Returns:
        8 inches wide, one row a metric. A ring marks each stage's lowest validation loss, whose checkpoint is
        kept.

    Raises:
        EvaluationError: A column is missing, there is no row, or a split has another name.
    """
    curves = checked_curves(curves)
    placed, starts = _one_epoch_axis(curves)
    metrics = sorted(placed["metric"].unique(), key=lambda name: ([*METRIC_LABELS, name].index(name), name))
    figure = Figure(figsize=(WIDTH, 1.0 + 2.1 * len(metrics)), layout="constrained")
    rows: list[Axes] = list(figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0])
    chance = None
    for axes, metric in zip(rows, metrics, strict=True):
        of_metric = placed[placed["metric"] == metric]
        if metric in _CHANCE:
            chance = axes.axhline(_CHANCE[metric], **CHANCE_LINE)
        for split in SPLIT_STYLES:
            for number, (_, of_stage) in enumerate(stages_of(of_metric[of_metric["split"] == split])):
                plot_split(axes, of_stage, split, label=split.capitalize() if number == 0 else None)
        for start in list(starts.values())[1:]:
            axes.axvline(start - 0.5, color="black", linewidth=1)
        axes.set_ylabel(METRIC_LABELS.get(metric, plain(metric)))
        axes.margins(y=0.12)
        tidy(axes)
    _mark_kept(rows, metrics, placed[~placed["stage"].isin(kept_start)])
    last = placed["epoch"].max()
    ends = [*list(starts.values())[1:], last + 1]
    for (stage, start), end in zip(starts.items(), ends, strict=True):
        rows[0].text(
            (start + end - 1) / 2,
            1.03,
            stage_title(stage),
            transform=rows[0].get_xaxis_transform(),
            ha="center",
            fontsize=10,
        )
    rows[-1].set_xlabel("Epoch")
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    rows[-1].set_xlim(min(starts.values()) - 0.5, last + 0.5)
    handles, labels = rows[0].get_legend_handles_labels()
    if chance is not None:
        handles, labels = [*handles, chance], [*labels, "Chance (AUC)"]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def plot_split(axes: Axes, rows: pd.DataFrame, split: str, label: str | None) -> None:
    """Draw one metric of one split over its epochs.

    Args:
        axes: Where.
        rows: One row an epoch, columns ``epoch`` and ``value``.
        split: ``train`` or ``validation``; gives colour, line and marker.
        label: The legend's; None for no entry.
    """
    colour, line, marker = SPLIT_STYLES[split]
    axes.plot(
        rows["epoch"],
        rows["value"],
        color=colour,
        linestyle=line,
        marker=marker,
        markersize=3.5,
        linewidth=1.6,
        label=label,
    )


def checked_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """The table of curves without other columns.

    Args:
        curves: One row a value, columns ``stage``, ``epoch``, ``split``, ``metric`` and ``value``.

    Raises:
        EvaluationError: A column is missing, there is no row, or a split has another name.
    """
    missing = [column for column in _COLUMNS if column not in curves.columns]
    if missing or not len(curves):
        raise EvaluationError(
            f"learning curves: expected rows with the columns {', '.join(_COLUMNS)}, "
            f"found {'none named ' + ', '.join(missing) if missing else 'no row'}"
        )
    others = sorted({str(split) for split in curves["split"]} - set(SPLIT_STYLES))
    if others:
        raise EvaluationError(
            f"learning curves, column split: expected {' or '.join(SPLIT_STYLES)}, found {', '.join(others)}"
        )
    return curves[_COLUMNS]


def _one_epoch_axis(curves: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The curves with stages end to end, and the epoch at which each starts."""
    parts, starts, last = [], {}, 0
    for stage, rows in stages_of(curves):
        first = int(rows["epoch"].min())
        shift = max(0, last + 1 - first)
        parts.append(rows.assign(epoch=rows["epoch"] + shift).sort_values("epoch"))
        starts[stage] = first + shift
        last = int(rows["epoch"].max()) + shift
    return pd.concat(parts), starts


def _mark_kept(rows: Sequence[Axes], metrics: Sequence[str], placed: pd.DataFrame) -> None:
    if "loss" not in metrics:
        return
    axes = rows[list(metrics).index("loss")]
    losses = placed[(placed["metric"] == "loss") & (placed["split"] == "validation")].dropna(subset=["value"])
    for number, (_, of_stage) in enumerate(stages_of(losses)):
        best = of_stage.loc[of_stage["value"].to_numpy() == of_stage["value"].min()].iloc[0]
        axes.plot(
            best["epoch"],
            best["value"],
            "o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor="black",
            label="Lowest validation loss (kept)" if number == 0 else None,
        )
