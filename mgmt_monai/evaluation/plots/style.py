"""What the pictures share: colours, lines, markers, the order of stages, and how a figure is written.

Colours are Okabe and Ito's, told apart with every common colour vision; whoever takes one takes its line or marker
too, so that a picture printed in grey says the same.

Source:
    Okabe M, Ito K. Color universal design: how to make figures and presentations that are friendly to colorblind
    people. 2008. https://jfly.uni-koeln.de/color/
"""

from itertools import cycle, islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

WIDTH = 8.0
"""Of every picture, in inches: 800 pixels at 100 dpi."""

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY = "#666666"
PALE = "#eeeeee"
"""Of shaded areas that everything else lies on."""

CHANCE_LINE: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": (0, (1, 2))}
"""How chance is drawn everywhere: grey dots."""

CLASS_STYLES = ((BLUE, "o", "-"), (ORANGE, "^", "--"))
"""Colour, marker and line of labels 0 and 1."""

SPLIT_STYLES = {"train": (BLUE, "-", "o"), "validation": (ORANGE, "--", "s")}
"""Colour, line and marker of a split."""

STAGE_TITLES = {"transfer": "Transfer", "fine_tune": "Fine-tuned"}
"""The stages in the order in which they run, as pictures name them."""

METRIC_LABELS = {
    "loss": "Loss (cross-entropy, nats)",
    "accuracy": "Accuracy (slices)",
    "auc": "AUC (slices)",
    "patient_auc": "AUC (patients)",
}
"""The metrics of training in the order in which they are shown."""

_SPREAD_BINS = 60
"""Values in the same of so many bins are taken for nearly the same."""

_STAGE_STYLES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"))


def stage_styles(n_stages: int) -> list[tuple[str, str]]:
    """Colour and line of each of so many stages; the fifth is as the first."""
    return list(islice(cycle(_STAGE_STYLES), n_stages))


def stages_of(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each stage.

    Args:
        table: With a column ``stage``.

    Returns:
        Name and rows: ``transfer`` and ``fine_tune`` first, others in order of appearance.
    """
    known = [stage for stage in STAGE_TITLES if (table["stage"] == stage).any()]
    others = [stage for stage in table["stage"].unique() if stage not in STAGE_TITLES]
    return [(stage, table[table["stage"] == stage]) for stage in [*known, *others]]


def stage_title(stage: str) -> str:
    """A stage's name as pictures show it; of an unknown stage, its own."""
    return STAGE_TITLES.get(stage, plain(stage))


def plain(text: object) -> str:
    """A name that someone else chose, so that matplotlib takes no dollar sign in it for the start of a formula."""
    return str(text).replace("$", r"\$")


def percent(level: float) -> str:
    """A level in words: 0.95 is ``95 %``."""
    return f"{100 * level:g} %"


def spread(values: np.ndarray, width: float = 0.7, step: float = 0.14) -> np.ndarray:
    """Offsets that keep points of nearly the same value apart, without chance.

    Args:
        values: Shape ``(n,)``, finite, in [0, 1].
        width: All offsets lie within ``width / 2`` of 0.
        step: Between two neighbours at most.

    Returns:
        Shape ``(n,)``; 0 for a value that is alone.
    """
    offsets = np.zeros(len(values))
    order = np.argsort(values, kind="stable")
    bins = np.floor(values[order] * _SPREAD_BINS)
    for bin_ in np.unique(bins):
        members = order[bins == bin_]
        between = min(step, width / max(len(members), 1))
        offsets[members] = (np.arange(len(members)) - (len(members) - 1) / 2) * between
    return offsets


def chance_handle() -> Line2D:
    """The legend's entry for the line of chance."""
    return Line2D([], [], label="Chance: 0.50", **CHANCE_LINE)


def roc_axes(axes: Axes) -> None:
    """Make axes those of an ROC curve, with the line of chance."""
    axes.plot([0, 1], [0, 1], label="Chance: 0.50", **CHANCE_LINE)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), box_aspect=1)
    axes.set_xlabel("False positive rate (1 - specificity)")
    tidy(axes)


def tidy(axes: Axes) -> None:
    """Leave out the frame's upper and right side, and put a pale grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
