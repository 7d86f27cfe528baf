"""The model beside its negative controls: whatever is found where nothing is to be found is not the tumour."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.interval_rows import CONTROL, MAIN, IntervalRow, interval_rows
from mgmt_monai.evaluation.plots.style import chance_handle, percent
from mgmt_monai.evaluation.predictions import EvaluationError


@dataclass(frozen=True)
class ControlRow:
    """The AUC of the model or of a control.

    Args:
        name: Such as ``shuffled labels``.
        estimate: Its AUC and of how many patients.
        is_model: Whether it is the model, not a control.
    """

    name: str
    estimate: Estimate
    is_model: bool


def controls_figure(rows: Sequence[ControlRow], level: float = 0.95) -> Figure:
    """The AUC of the model and of each negative control, each with its interval and in figures.

    Args:
        rows: From top to bottom.
        level: Of the intervals, for the heading; between 0 and 1.

    Returns:
        8 inches wide and as high as the rows need, with a line at 0.5.

    Raises:
        EvaluationError: There is no row.
    """
    if not rows:
        raise EvaluationError("negative controls: expected the model and its controls, found no row")
    shown = [
        IntervalRow(row.name, row.estimate, str(row.estimate.n), MAIN if row.is_model else CONTROL, bold=row.is_model)
        for row in rows
    ]
    figure, _, _ = interval_rows(shown, f"AUC ({percent(level)} interval)", "n", "AUC (patients)")
    looks = [MAIN.handle("Model")] if any(row.is_model for row in rows) else []
    looks += [] if all(row.is_model for row in rows) else [CONTROL.handle("Negative control")]
    handles = [*looks, chance_handle()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
    return figure
