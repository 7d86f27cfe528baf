"""The study's pictures as matplotlib figures; the caller saves them.

No global state: each function makes its own :class:`matplotlib.figure.Figure`, so that they work in threads and
without a display. Colours are Okabe and Ito's, told apart with every common colour vision, and every difference
in colour is one in line or marker too. All are 8 inches wide: 800 pixels at 100 dpi.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import roc_curve

from mgmt_monai.evaluation.bootstrap import slice_intervals
from mgmt_monai.evaluation.discrimination import CLASS_NAMES, auc
from mgmt_monai.evaluation.intervals import Interval, newcombe_interval
from mgmt_monai.evaluation.predictions import (
    PATIENT_COLUMNS,
    SLICE_COLUMNS,
    EvaluationError,
    checked_table,
)

STAGE_TITLES = {"transfer": "Transfer", "fine_tune": "Fine-tuned"}
METRIC_LABELS = {
    "loss": "Loss (cross-entropy, nats)",
    "accuracy": "Accuracy (slices)",
    "auc": "AUC (slices)",
    "patient_auc": "AUC (patients)",
}

_BLUE, _ORANGE, _GREEN, _PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_GREY = "#666666"
_STAGE_STYLES = [(_BLUE, "-"), (_ORANGE, "--"), (_GREEN, "-."), (_PURPLE, ":")]
_CLASS_STYLES = [(_BLUE, "o"), (_ORANGE, "^")]
_SPLIT_STYLES = {"train": (_BLUE, "-", "o"), "validation": (_ORANGE, "--", "s")}
_CHANCE = {"auc": 0.5, "patient_auc": 0.5}
_WIDTH = 8.0
_BINS = 20


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
    figure = Figure(figsize=(_WIDTH, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, table, unit in ((left, patients, "patients"), (right, slices, "slices")):
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=(0, (1, 2)), label="Chance: 0.50")
        for (stage, of_stage), (colour, line) in zip(_stages(table), _cycled(_STAGE_STYLES), strict=False):
            label = of_stage["label"].to_numpy()
            probability = of_stage["probability"].to_numpy()
            if unit == "patients":
                positive = int(label.sum())
                interval = newcombe_interval(auc(label, probability), positive, len(label) - positive, level)
            else:
                ids = of_stage["patient_id"].to_numpy()
                interval = slice_intervals(label, probability, ids, level, n_resamples=n_resamples, seed=seed)["auc"]
            name = f"{_title(stage)}: {_with_interval(auc(label, probability), interval)}"
            _plot_roc(axes, label, probability, name, colour, line)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), box_aspect=1)
        axes.set_anchor("N")
        axes.set_xlabel("False positive rate (1 - specificity)")
        axes.set_title(f"By {unit[:-1]} ({_how_many(table, unit)})", fontsize=11)
        _tidy(axes)
        # Below the axes, for a curve of any shape would run under a legend within.
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
            frameon=False,
            fontsize=9,
            title=f"AUC with {100 * level:g} % interval",
            title_fontsize=9,
        )
    left.set_ylabel("True positive rate (sensitivity)")
    return figure


def learning_curves_figure(curves: pd.DataFrame) -> Figure:
    """Each metric over the epochs of both stages, training and validation, with a line between the stages.

    Args:
        curves: One row a value, columns ``stage``, ``epoch`` (from 1, within its stage or running on),
            ``split`` (``train`` or ``validation``), ``metric`` (``loss``, ``accuracy``, ``auc``,
            ``patient_auc`` or another) and ``value``; stages in the order in which they ran. A stage that
            counts its epochs from 1 again is put behind the one before it.

    Returns:
        8 inches wide, one row a metric. A ring marks each stage's lowest validation loss, whose checkpoint is
        kept.

    Raises:
        EvaluationError: A column is missing, there is no row, or a split has another name.
    """
    curves = _checked_curves(curves)
    placed, starts = _one_epoch_axis(curves)
    metrics = sorted(placed["metric"].unique(), key=lambda name: ([*METRIC_LABELS, name].index(name), name))
    figure = Figure(figsize=(_WIDTH, 1.0 + 2.1 * len(metrics)), layout="constrained")
    rows: list[Axes] = list(figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0])
    chance = None
    for axes, metric in zip(rows, metrics, strict=True):
        of_metric = placed[placed["metric"] == metric]
        if metric in _CHANCE:
            chance = axes.axhline(_CHANCE[metric], color=_GREY, linewidth=1, linestyle=(0, (1, 2)))
        for split, (colour, line, marker) in _SPLIT_STYLES.items():
            for number, (_, of_stage) in enumerate(_stages(of_metric[of_metric["split"] == split])):
                axes.plot(
                    of_stage["epoch"],
                    of_stage["value"],
                    color=colour,
                    linestyle=line,
                    marker=marker,
                    markersize=3.5,
                    linewidth=1.6,
                    label=split.capitalize() if number == 0 else None,
                )
        for start in list(starts.values())[1:]:
            axes.axvline(start - 0.5, color="black", linewidth=1)
        axes.set_ylabel(METRIC_LABELS.get(metric, metric))
        axes.margins(y=0.12)
        _tidy(axes)
    _mark_kept(rows, metrics, placed)
    last = placed["epoch"].max()
    ends = [*list(starts.values())[1:], last + 1]
    for (stage, start), end in zip(starts.items(), ends, strict=True):
        rows[0].text(
            (start + end - 1) / 2,
            1.03,
            _title(stage),
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
    stages = _stages(table)
    figure = Figure(figsize=(_WIDTH, 4.8), layout="constrained")
    grid = figure.subplots(2, len(stages), sharex=True, sharey="row", squeeze=False, height_ratios=[2.2, 1])
    edges = np.linspace(0, 1, _BINS + 1)
    for column, (stage, of_stage) in enumerate(stages):
        above, below = grid[:, column]
        for value, (colour, marker) in enumerate(_CLASS_STYLES):
            found = of_stage.loc[of_stage["label"] == value, "probability"].to_numpy()
            name = f"{CLASS_NAMES[value].capitalize()} (n = {len(found)})"
            style = {"color": colour, "linewidth": 1.6, "linestyle": "-" if value == 0 else "--"}
            above.hist(found, bins=edges, histtype="stepfilled", color=colour, alpha=0.2)
            above.hist(found, bins=edges, histtype="step", label=name, **style)
            below.scatter(found, value + _spread(found), s=16, marker=marker, color=colour, alpha=0.7, linewidths=0)
        for axes in (above, below):
            axes.axvline(threshold, color="black", linewidth=1, linestyle=(0, (4, 2)))
            _tidy(axes)
        above.yaxis.set_major_locator(MaxNLocator(integer=True))
        above.set_title(_title(stage), fontsize=11)
        below.set(xlim=(-0.02, 1.02), ylim=(-0.6, 1.6), yticks=[0, 1])
        below.set_yticklabels([name.capitalize() for name in CLASS_NAMES])
        below.set_xlabel("Probability of methylation")
    grid[0, 0].set_ylabel("Patients")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def _plot_roc(axes: Axes, label: np.ndarray, probability: np.ndarray, name: str, colour: str, line: str) -> None:
    if label.min() == label.max():
        # The legend still says that this stage was there and has no curve.
        axes.plot([], [], color=colour, linestyle=line, label=name)
        return
    false_positive_rate, true_positive_rate, _ = roc_curve(label, probability, drop_intermediate=False)
    axes.plot(false_positive_rate, true_positive_rate, color=colour, linestyle=line, linewidth=1.8, label=name)


def _stages(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each stage's rows: transfer and fine_tune first, others in order of appearance."""
    known = [stage for stage in STAGE_TITLES if (table["stage"] == stage).any()]
    others = [stage for stage in table["stage"].unique() if stage not in STAGE_TITLES]
    return [(stage, table[table["stage"] == stage]) for stage in [*known, *others]]


def _title(stage: str) -> str:
    return STAGE_TITLES.get(stage, stage)


def _cycled(styles: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(styles) * 8


def _how_many(table: pd.DataFrame, unit: str) -> str:
    of_first = _stages(table)[0][1]
    patients = of_first["patient_id"].nunique()
    return f"{patients} patients" if unit == "patients" else f"{len(of_first)} slices of {patients} patients"


def _with_interval(value: float, interval: Interval) -> str:
    if np.isnan(value):
        return "undefined (one class only)"
    ends = "no interval" if np.isnan(interval.low) else f"{interval.low:.2f}-{interval.high:.2f}"
    return f"{value:.2f} ({ends})"


def _checked_curves(curves: pd.DataFrame) -> pd.DataFrame:
    needed = ["stage", "epoch", "split", "metric", "value"]
    missing = [column for column in needed if column not in curves.columns]
    if missing or not len(curves):
        raise EvaluationError(
            f"learning curves: expected rows with the columns {', '.join(needed)}, "
            f"found {'none named ' + ', '.join(missing) if missing else 'no row'}"
        )
    others = sorted({str(split) for split in curves["split"]} - set(_SPLIT_STYLES))
    if others:
        raise EvaluationError(
            f"learning curves, column split: expected {' or '.join(_SPLIT_STYLES)}, found {', '.join(others)}"
        )
    return curves[needed]


def _one_epoch_axis(curves: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The curves with stages end to end, and the epoch at which each starts."""
    parts, starts, last = [], {}, 0
    for stage, rows in _stages(curves):
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
    for number, (_, of_stage) in enumerate(_stages(losses)):
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


def _spread(values: np.ndarray) -> np.ndarray:
    """Offsets in [-0.35, 0.35] that keep patients of nearly the same probability apart, without chance."""
    offsets = np.zeros(len(values))
    order = np.argsort(values, kind="stable")
    bins = np.floor(values[order] * 60)
    for bin_ in np.unique(bins):
        members = order[bins == bin_]
        step = min(0.14, 0.7 / max(len(members), 1))
        offsets[members] = (np.arange(len(members)) - (len(members) - 1) / 2) * step
    return offsets


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
