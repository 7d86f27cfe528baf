"""Every network and modality that was compared, held against the best of as many guessers."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mgmt_monai.evaluation.best_of import BestOf
from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.interval_rows import MAIN, OTHER, IntervalRow, interval_rows
from mgmt_monai.evaluation.plots.style import PALE, chance_handle, percent
from mgmt_monai.evaluation.predictions import EvaluationError

_EXPECTED_LINE: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": (0, (6, 2, 1, 2))}
_PERCENTILE_LINE: dict[str, Any] = {"color": "black", "linewidth": 1.4, "linestyle": "-"}


def candidates_figure(
    names: Sequence[str], estimates: Sequence[Estimate], best_of: BestOf, chosen: int, level: float = 0.95
) -> Figure:
    """The AUC of each candidate, and how far the best of as many would come by chance.

    Args:
        names: Of the candidates, such as network and modality, from top to bottom.
        estimates: The AUC of each and of how many patients.
        best_of: The best AUC of as many candidates under permuted labels.
        chosen: Which candidate was chosen, from 0.
        level: Of the intervals, for the heading; between 0 and 1.

    Returns:
        8 inches wide and as high as the rows need. Up to the 95th percentile of the best by chance, where that ends in
        a line, the ground is shaded: a best candidate on it is no better than the best of guessers may well be.

    Raises:
        EvaluationError: There is no candidate, names and estimates differ in number, or the chosen one is not there.
    """
    if not names or len(names) != len(estimates) or not 0 <= chosen < len(names):
        raise EvaluationError(
            "candidates: expected as many names as estimates, at least one, and the chosen one from 0 to one less, "
            f"found {len(names)} names, {len(estimates)} estimates, chosen {chosen}"
        )
    shown = [
        IntervalRow(name, estimate, str(estimate.n), MAIN if position == chosen else OTHER, bold=position == chosen)
        for position, (name, estimate) in enumerate(zip(names, estimates, strict=True))
    ]
    figure, axes, _ = interval_rows(shown, f"AUC ({percent(level)} interval)", "n", "AUC (patients)")
    by_chance: list[tuple[Any, str]] = []
    best = "By chance" if best_of.n_candidates == 1 else f"Best of {best_of.n_candidates} by chance"
    if not math.isnan(best_of.expected):
        axes.axvline(best_of.expected, zorder=1, gid="expected", **_EXPECTED_LINE)
        by_chance.append((Line2D([], [], **_EXPECTED_LINE), f"{best}: {best_of.expected:.2f} on average"))
    if not math.isnan(best_of.percentile_95):
        axes.axvspan(axes.get_xlim()[0], best_of.percentile_95, facecolor=PALE, zorder=0, linewidth=0)
        axes.axvline(best_of.percentile_95, zorder=1, gid="percentile_95", **_PERCENTILE_LINE)
        shade = (Patch(facecolor=PALE), Line2D([], [], **_PERCENTILE_LINE))
        by_chance.append((shade, f"{best}: {best_of.percentile_95:.2f} at the 95th percentile"))
    looks = [(MAIN.handle(""), "Chosen"), (OTHER.handle(""), "Other candidate")][: len(names)]
    chance = chance_handle()
    # Column by column, as a legend is filled: the candidates, what chance does with them, and 0.5 where there is room.
    entries = [*looks, *by_chance]
    entries.insert(len(entries) if len(looks) == 2 else 1, (chance, str(chance.get_label())))
    figure.legend(
        [handle for handle, _ in entries],
        [name for _, name in entries],
        loc="outside upper center",
        ncols=(len(entries) + 1) // 2,
        frameon=False,
        fontsize=9,
    )
    return figure
