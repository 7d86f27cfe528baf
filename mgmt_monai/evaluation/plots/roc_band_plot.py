"""The ROC curve of the patients with its band: what the main figure, the AUC, is the area of."""

from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve

from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.intervals import Estimate, with_interval
from mgmt_monai.evaluation.plots.style import BLUE, WIDTH, percent, roc_axes
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.roc_band import RocBand


def roc_band_figure(
    label: ArrayLike, probability: ArrayLike, band: RocBand, auc: Estimate, level: float = 0.95
) -> Figure:
    """The patients' ROC curve, its pointwise band, and the AUC with its interval.

    Args:
        label: Shape ``(n,)``, 0 or 1, a patient each; both are there.
        probability: Shape ``(n,)``, in [0, 1].
        band: Of the same patients.
        auc: Of the same patients.
        level: Of the band and the interval, for the legend; between 0 and 1.

    Returns:
        8 x 5 inches.

    Raises:
        EvaluationError: Shapes differ, a value is not allowed, or all patients are of one class.
    """
    label_, probability_ = checked_arrays(label, probability)
    n_methylated = int(label_.sum())
    if n_methylated in (0, len(label_)):
        raise EvaluationError(
            f"ROC curve: expected methylated and unmethylated patients, found {n_methylated} methylated of "
            f"{len(label_)}; leave out the picture"
        )
    false_positive_rate, sensitivity, _ = roc_curve(label_, probability_, drop_intermediate=False)
    figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(
        band.false_positive_rate,
        band.low,
        band.high,
        facecolor=BLUE,
        alpha=0.15,
        linewidth=0,
        label=f"{percent(level)} band of the sensitivity\nat each false positive rate",
    )
    # Its edges as lines too: a pale area is lost on some printers.
    for edge in (band.low, band.high):
        axes.plot(band.false_positive_rate, edge, color=BLUE, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.plot(
        false_positive_rate,
        sensitivity,
        color=BLUE,
        linewidth=2,
        label=f"AUC {with_interval(*auc[:3])},\n{percent(level)} interval",
    )
    roc_axes(axes)
    axes.set_ylabel("True positive rate (sensitivity)")
    handles, names = axes.get_legend_handles_labels()
    order = [1, 0, 2]
    # Beside the axes, for a curve of any shape would run under a legend within.
    axes.legend(
        [handles[position] for position in order],
        [names[position] for position in order],
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        frameon=False,
        fontsize=9,
        labelspacing=1,
        title=f"{len(label_)} patients\n{n_methylated} methylated, {len(label_) - n_methylated} unmethylated",
        title_fontsize=9,
        alignment="left",
    )
    return figure
