"""Rows of a picture that is half a table: a name, a dot with its interval, and both in figures at the right."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from mgmt_monai.evaluation.intervals import Estimate, with_interval
from mgmt_monai.evaluation.plots.style import BLUE, CHANCE_LINE, GREY, ORANGE, WIDTH, plain

FONT_SIZE = 9
"""Of names and figures, in points."""

GAP = 0.105
"""Between two rows, in inches."""

_LINE, _MARGIN = 0.165, 1.15
"""In inches: a line of text; the axis, its name and the legend together."""

_NAME_WIDTH = 34
"""Longest line of a name, in characters; a longer name goes on in the next line."""

_NO_BREAK_SPACE = "\u00a0"
"""Of indented names: SVG leaves out plain blanks at the start of a text."""

_SPACE = 12.0
"""Between two columns, in points."""


@dataclass(frozen=True)
class Look:
    """How a row's dot is drawn.

    Args:
        colour: Of dot and interval.
        marker: Of the dot.
        filled: Else only its outline.
    """

    colour: str
    marker: str
    filled: bool = True

    def handle(self, label: str) -> Line2D:
        """The legend's entry for rows that look so."""
        return Line2D([], [], linewidth=1.8, label=label, **self.style())

    def style(self) -> dict[str, Any]:
        """Keyword arguments of a line with this dot."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markersize": 7,
            "markerfacecolor": self.colour if self.filled else "white",
            "markeredgewidth": 1.4,
        }


MAIN = Look(ORANGE, "D")
"""The row that the picture is about."""

OTHER = Look(BLUE, "o")
"""What it is compared with."""

CONTROL = Look(GREY, "s", filled=False)
"""What has nothing to find."""


@dataclass(frozen=True)
class IntervalRow:
    """One row.

    Args:
        name: At the left; long ones are wrapped.
        estimate: A figure in [0, 1] with its interval; None for a heading over the rows that follow.
        count: At the right, after the figure; empty for none.
        look: Of the dot.
        text: At the right, in place of the figure and its interval where the figure is not ``nan``.
        undefined: What is written in place of a figure that is ``nan``.
        bold: Whether the name stands out.
        indent: Whether the name stands under a heading.
    """

    name: str
    estimate: Estimate | None
    count: str = ""
    look: Look = OTHER
    text: str | None = None
    undefined: str = "undefined"
    bold: bool = False
    indent: bool = False


def interval_rows(
    rows: Sequence[IntervalRow], value_heading: str, count_heading: str, axis_label: str, gap: float = GAP
) -> tuple[Figure, Axes, list[float]]:
    """A figure with its rows, 0 to 1 from left to right and a line at 0.5.

    Args:
        rows: From top to bottom.
        value_heading: Over the figures.
        count_heading: Over the counts.
        axis_label: Under the axis.
        gap: Between two rows, in inches.

    Returns:
        The figure, 8 inches wide and as high as the rows need; the axes, to which more can be added; the height of
        each row on them, in inches from the top. The legend is the caller's.
    """
    names = [_wrapped(row) for row in rows]
    # One row more, at the top, for the headings of the columns.
    heights = np.array([_LINE * (1 + name.count("\n")) + gap for name in ("", *names)])
    centres = np.cumsum(heights) - heights / 2
    total = float(heights.sum())
    figure = Figure(figsize=(WIDTH, total + _MARGIN), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0.5, zorder=1, **CHANCE_LINE)
    for y, row in zip(centres[1:], rows, strict=True):
        _draw(axes, float(y), row)
    axes.set(xlim=(-0.02, 1.02), ylim=(total, 0.0))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel(axis_label)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", labelsize=9)
    values = [value_heading, *(_in_figures(row) for row in rows)]
    counts = [count_heading if any(row.count for row in rows) else "", *(row.count for row in rows)]
    bold = [True, *(row.bold for row in rows)]
    _column(axes, centres, ["", *names], bold, pad=_SPACE / 2 + _widest(["", *names], bold))
    for texts, pad in ((values, _SPACE), (counts, 2 * _SPACE + _widest(values, bold))):
        right = axes.twinx()
        right.set_ylim(axes.get_ylim())
        right.spines[:].set_visible(False)
        _column(right, centres, texts, bold, pad)
    return figure, axes, [float(y) for y in centres[1:]]


def _draw(axes: Axes, y: float, row: IntervalRow) -> None:
    if row.estimate is None or math.isnan(row.estimate.value):
        return
    value, low, high, _ = row.estimate
    if not (math.isnan(low) or math.isnan(high)):
        axes.plot(
            [low, high],
            [y, y],
            color=row.look.colour,
            linewidth=1.8,
            marker="|",
            markersize=7,
            gid="interval",
            zorder=3,
        )
    axes.plot([value], [y], linestyle="", gid="value", zorder=4, **row.look.style())


def _in_figures(row: IntervalRow) -> str:
    if row.estimate is None:
        return ""
    if row.text is not None and not math.isnan(row.estimate.value):
        return row.text
    return with_interval(*row.estimate[:3], undefined=row.undefined)


def _wrapped(row: IntervalRow) -> str:
    lines = textwrap.wrap(" ".join(row.name.split()), _NAME_WIDTH) or [""]
    before = 3 * _NO_BREAK_SPACE if row.indent else ""
    return "\n".join(before + plain(line) for line in lines)


def _column(axes: Axes, heights: np.ndarray, texts: Sequence[str], bold: Sequence[bool], pad: float) -> None:
    """Write a column of texts beside the axes, as its tick labels: so the layout leaves room for them."""
    axes.set_yticks(heights, texts)
    axes.tick_params(axis="y", length=0, pad=pad, labelsize=FONT_SIZE)
    for label, stands_out in zip(axes.get_yticklabels(), bold, strict=True):
        label.set_horizontalalignment("left")
        label.set_fontweight("bold" if stands_out else "normal")


def _widest(texts: Sequence[str], bold: Sequence[bool]) -> float:
    """The width of the widest line of all texts, in points."""
    widths = [0.0]
    for text, stands_out in zip(texts, bold, strict=True):
        font = FontProperties(weight="bold" if stands_out else "normal")
        for line in text.split("\n"):
            # A dot at the end, for the outline of a text leaves out the blanks around it.
            widths.append(TextPath((0, 0), line + ".", size=FONT_SIZE, prop=font).get_extents().x1)
    return max(widths)
