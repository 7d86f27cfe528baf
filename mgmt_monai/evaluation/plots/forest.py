"""Forest plots: the AUC of the whole cohort and of the patients of each age, sex, scanner; and of each hospital."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.interval_rows import CONTROL, MAIN, OTHER, IntervalRow, interval_rows
from mgmt_monai.evaluation.plots.style import chance_handle, percent
from mgmt_monai.evaluation.predictions import EvaluationError

_WHOLE_LINE: dict[str, Any] = {"color": MAIN.colour, "linewidth": 1.2, "linestyle": (0, (5, 3))}


@dataclass(frozen=True)
class ForestRow:
    """The AUC of some of the patients.

    Args:
        group: What the patients are parted by, such as ``Sex``; the heading over rows that follow each other and have
            the same. Not shown of the first row, the whole cohort.
        name: Which of them these are, such as ``female``.
        estimate: Their AUC and how many they are; ``nan`` when they are too few for one.
        n_methylated: How many of them are methylated.
    """

    group: str
    name: str
    estimate: Estimate
    n_methylated: int


def forest_figure(rows: Sequence[ForestRow], level: float = 0.95) -> Figure:
    """The AUC of the whole cohort and of its subgroups, each with its interval and in figures.

    Args:
        rows: The first is the whole cohort, the others are its subgroups, those of one group one after the other.
        level: Of the intervals, for the heading; between 0 and 1.

    Returns:
        8 inches wide and as high as the rows need, with a line through the whole cohort's AUC and one at 0.5.
        A subgroup whose AUC is undefined has no dot and says ``too few``.

    Raises:
        EvaluationError: There is no row.
    """
    if not rows:
        raise EvaluationError("forest plot: expected the whole cohort and then its subgroups, found no row")
    whole = rows[0]
    shown = [IntervalRow(whole.name, whole.estimate, _count(whole), MAIN, undefined="too few", bold=True)]
    for before, row in pairwise(rows):
        if row.group and (row.group != before.group or before is whole):
            shown.append(IntervalRow(row.group, None, bold=True))
        shown.append(
            IntervalRow(row.name, row.estimate, _count(row), OTHER, undefined="too few", indent=bool(row.group))
        )
    figure, axes, _ = interval_rows(shown, f"AUC ({percent(level)} interval)", "n (methylated)", "AUC (patients)")
    whole_line = []
    if not math.isnan(whole.estimate.value):
        axes.axvline(whole.estimate.value, zorder=1, gid="whole", **_WHOLE_LINE)
        whole_line = [Line2D([], [], label="AUC of the whole cohort", **_WHOLE_LINE)]
    handles = [MAIN.handle("Whole cohort"), *([OTHER.handle("Subgroup")] if len(rows) > 1 else []), *whole_line]
    handles.append(chance_handle())
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


MOST_SITES = 24
"""In the picture, the largest first."""


def sites_figure(within: Mapping[str, Any], level: float = 0.95) -> Figure:
    """The AUC of each hospital, of all within hospitals, and where another hospital's is expected.

    Args:
        within: As :meth:`mgmt_monai.evaluation.within_site.WithinSite.as_json` returns it.
        level: Of the intervals, for the heading; between 0 and 1.

    Returns:
        8 inches wide. A site whose AUC is undefined says ``too few``.
    """
    low, high = within["interval"] or (math.nan, math.nan)
    value = math.nan if within["auc"] is None else within["auc"]
    n, m = sum(of["auc"]["n"] for of in within["sites"]), sum(of["n_methylated"] for of in within["sites"])
    shown = [IntervalRow("Within sites", Estimate(value, low, high, n), f"{n} ({m})", MAIN, bold=True)]
    for of in within["sites"][:MOST_SITES]:
        value, low, high = (math.nan if of["auc"][end] is None else of["auc"][end] for end in ("value", "low", "high"))
        count = f"{of['auc']['n']} ({of['n_methylated']})"
        estimate = Estimate(value, low, high, of["auc"]["n"])
        shown.append(IntervalRow(of["site"], estimate, count, OTHER, undefined="too few", indent=True))
    over = within["over_sites"]
    if over:
        new = Estimate(over["mean"]["value"], over["new_low"], over["new_high"], over["mean"]["n"])
        shown.append(IntervalRow("Another site (prediction)", new, f"{over['n_sites']} sites", CONTROL, bold=True))
    figure, _, _ = interval_rows(shown, f"AUC ({percent(level)} interval)", "n (methylated)", "AUC (patients)")
    handles = [MAIN.handle("Within sites"), OTHER.handle("Site")]
    handles += [*([CONTROL.handle("Another site")] if over else []), chance_handle()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def _count(row: ForestRow) -> str:
    return f"{row.estimate.n} ({row.n_methylated})"
