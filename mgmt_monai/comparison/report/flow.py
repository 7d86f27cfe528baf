"""The flow of patients into a comparison as a diagram: found, left out and why, in which part."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

WIDTH = 640
"""Of the diagram, in its own units, which are CSS pixels where the page is wide enough."""

_PAD, _LINE, _GAP = 12, 19, 26
_MAIN_X, _MAIN_WIDTH = 1, 270
_SIDE_X = 325
_SIDE_WIDTH = WIDTH - _SIDE_X - 1
_CHARACTER = 7.4  # width of an average character at 14 px, on the safe side
_MAX_LINES = 3  # of one reason: the table below the diagram has it whole
_INK, _EDGE, _GROUND = "#1a2530", "#66727a", "#ffffff"


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    lines: Sequence[str]

    @property
    def height(self) -> float:
        return 2 * _PAD + _LINE * len(self.lines) - 5

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


def n_found(cohort: Mapping[str, Any]) -> int:
    """How many patients there were before any was left out, by the report's ``cohort``."""
    return cohort["n_patients"] + sum(row["n"] for row in [*cohort["excluded"], *cohort["left_out"]])


def cohort_flow(cohort: Mapping[str, Any]) -> Markup:
    """The flow of patients as an ``<svg>`` element for a page: no script, no style, nothing that is fetched.

    ``cohort`` is as ``data/report.schema.json`` has it. Reasons may hold anything: they stay text.
    """
    top = _Box(_MAIN_X, 1, _MAIN_WIDTH, ["Patients found", f"n = {n_found(cohort)}"])
    sides, y = [], top.bottom + _GAP / 2
    for title, rows in (("Excluded on purpose", cohort["excluded"]), ("Left out", cohort["left_out"])):
        if rows:
            sides.append(_Box(_SIDE_X, y, _SIDE_WIDTH, list(_reasons(title, rows))))
            y = sides[-1].bottom + _GAP / 2
    n, n_methylated = cohort["n_patients"], cohort["n_methylated"]
    y = y + _GAP / 2 if sides else top.bottom + _GAP
    lines = ["In the comparison", f"n = {n}", f"{n_methylated} methylated", f"{n - n_methylated} unmethylated"]
    comparison = _Box(_MAIN_X, y, _MAIN_WIDTH, lines)
    parts = list(_parts(cohort, comparison.bottom + 1.5 * _GAP))
    pieces = [_arrow(top.middle, top.bottom, comparison.middle, comparison.y)]
    pieces += [_arrow(top.middle, side.y + side.height / 2, side.x, side.y + side.height / 2) for side in sides]
    pieces += _fan(comparison, parts)
    pieces += [_drawn(box) for box in [top, *sides, comparison, *parts]]
    height = max(box.bottom for box in [comparison, *parts]) + 1
    opening = Markup(
        '<svg class="flow" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{}" width="{}" height="{:g}" '
        'viewBox="0 0 {} {:g}" font-size="14">'
    ).format(_in_words(cohort), WIDTH, height, WIDTH, height)
    return opening + Markup("").join(pieces) + Markup("</svg>")


def _in_words(cohort: Mapping[str, Any]) -> str:
    """What a reader who does not see the diagram is told; the reasons stand in the table below it."""
    left = sum(row["n"] for row in cohort["excluded"]), sum(row["n"] for row in cohort["left_out"])
    return (
        f"Flow of patients: {n_found(cohort)} found, {left[0]} excluded on purpose, {left[1]} left out, "
        f"{cohort['n_patients']} compared, of whom {cohort['n_methylated']} methylated."
    )


def _reasons(title: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"{title}, n = {sum(row['n'] for row in rows)}"
    for row in rows:
        columns = int((_SIDE_WIDTH - 2 * _PAD) / _CHARACTER)
        text = " ".join(f"{row['n']}: {row['reason']}".split())
        yield from textwrap.wrap(text, columns, max_lines=_MAX_LINES, placeholder=" …")


def _parts(cohort: Mapping[str, Any], y: float) -> Iterator[_Box]:
    """The boxes at the bottom: the parts of the hold-out, or the folds."""
    if cohort["folds"] is not None:
        n_folds, n_repeats = cohort["folds"]["n_folds"], cohort["folds"]["n_repeats"]
        often = "once" if n_repeats == 1 else f"once in each of {n_repeats} repeats"
        yield _Box(_MAIN_X, y, WIDTH - 2, [f"{n_folds} folds", f"every patient is a test patient {often}"])
        return
    width = (WIDTH - 2 - 2 * 16) / 3
    for number, (name, title) in enumerate((("train", "Training"), ("validation", "Validation"), ("test", "Test"))):
        part = cohort["splits"][name]
        lines = [
            title,
            f"n = {part['unmethylated'] + part['methylated']}",
            f"{part['methylated']} methylated",
            f"{part['unmethylated']} unmethylated",
        ]
        yield _Box(_MAIN_X + number * (width + 16), y, width, lines)


def _fan(comparison: _Box, parts: Sequence[_Box]) -> Iterator[Markup]:
    """The lines from the comparison to its parts: down, across, and down to each."""
    middle = comparison.bottom + 0.7 * _GAP
    ends = [comparison.middle] if len(parts) == 1 else [part.middle for part in parts]
    yield _line(comparison.middle, comparison.bottom, comparison.middle, middle)
    yield _line(min(*ends, comparison.middle), middle, max(*ends, comparison.middle), middle)
    for part, end in zip(parts, ends, strict=True):
        yield _arrow(end, middle, end, part.y)


def _drawn(box: _Box) -> Markup:
    frame = Markup('<rect x="{:g}" y="{:g}" width="{:g}" height="{:g}" rx="4" fill="{}" stroke="{}"/>')
    drawn = frame.format(box.x, box.y, box.width, box.height, _GROUND, _EDGE)
    for number, line in enumerate(box.lines):
        weight = Markup(' font-weight="600"') if number == 0 else ""
        text = Markup('<text x="{:g}" y="{:g}" fill="{}"{}>{}</text>')
        drawn += text.format(box.x + _PAD, box.y + _PAD + 11 + number * _LINE, _INK, weight, line)
    return drawn


def _line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<path d="M{:g} {:g}L{:g} {:g}" stroke="{}" fill="none"/>').format(x1, y1, x2, y2, _EDGE)


def _arrow(x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A line with a head at its end; it runs down or to the right."""
    down = x1 == x2
    head = [(x2, y2), (x2 - 4, y2 - 8), (x2 + 4, y2 - 8)] if down else [(x2, y2), (x2 - 8, y2 - 4), (x2 - 8, y2 + 4)]
    points = " ".join(f"{x:g},{y:g}" for x, y in head)
    return _line(x1, y1, x2, y2) + Markup('<polygon points="{}" fill="{}"/>').format(points, _EDGE)
