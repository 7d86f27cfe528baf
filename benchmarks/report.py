"""The figures as a table and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator
from measurement import Ratio, ratios

from mgmt_monai.atomic import write_text
from mgmt_monai.evaluation.plots.picture_files import save_figure
from mgmt_monai.evaluation.plots.style import BLUE, GREY, ORANGE, WIDTH, plain, tidy

PICTURE = "performance"
ROW_INCHES = 0.27
QUICK = (
    "**Made with `--quick`: tiny sizes, not those of the notes, which show that everything runs. No figure here is "
    "worth anything.**"
)
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)


def write_report(results: Mapping[str, Any], table: Path, images: Path) -> None:
    """Write the table, and the picture where there is anything to compare.

    Args:
        results: As ``run.py`` writes them.
        table: A Markdown file.
        images: Folder of the picture; made if absent.
    """
    write_text(table, markdown(results))
    found = compared(results)
    if found:
        images.mkdir(parents=True, exist_ok=True)
        titles = {one["measure"]["name"]: one["measure"]["title"] for one in results["measures"]}
        save_figure(ratio_figure(found, titles), images, PICTURE)


def compared(results: Mapping[str, Any]) -> list[Ratio]:
    """All ratios of all measures, in their order."""
    return [ratio for one in results["measures"] for ratio in ratios(one["measure"], one["figures"])]


def markdown(results: Mapping[str, Any]) -> str:
    """The tables: ratios, then every way's figures, then the machine.

    Args:
        results: As ``run.py`` writes them.

    Returns:
        Markdown without headings, so that any page can include it.
    """
    lines = []
    if results["size"] != "full":
        lines += [QUICK, ""]
    lines += ["| measure | ours | beside | ratio (range) | must | reached |", "|---|---|---|---|---|---|"]
    for one in results["measures"]:
        lines += _ratio_rows(one)
    lines += ["", "Each way's figures, the median and each round:", ""]
    lines += ["| measure | way | median | unit | rounds |", "|---|---|---|---|---|"]
    for one in results["measures"]:
        about = one["measure"]
        for way, figures in one["figures"].items():
            each, median = ", ".join(map(number, figures)), number(statistics.median(figures))
            lines.append(f"| {about['title']} | {way} | {median} | {about['unit']} | {each} |")
    lines += ["", *(f"- {one['measure']['title']}: {one['measure']['note']}." for one in results["measures"])]
    return "\n".join([*lines, "", f"Measured on {results['made']}: {machine_line(results['machine'])}", ""])


def machine_line(machine: Mapping[str, Any]) -> str:
    """The machine in one line."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    environment = ", ".join(f"{name}={value}" for name, value in machine["environment"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB, GPU: {machine['gpu']}; "
        f"{machine['system']}; Python {machine['python']}, {packages}; {machine['threads']['torch']} threads"
        + (f"; {environment}" if environment else "")
        + "."
    )


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3}f}"


def ratio_figure(found: Sequence[Ratio], titles: Mapping[str, str]) -> Figure:
    """The ratios on a logarithmic axis, each with its range over the rounds and with what is asked.

    Args:
        found: In their order.
        titles: By name of the measure, in their order.

    Returns:
        8 inches wide and as high as the rows need.
    """
    rows = [row for name in titles for row in _rows(name, titles[name], found)]
    figure = Figure(figsize=(WIDTH, 1.4 + ROW_INCHES * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (_, ratio) in enumerate(rows):
        if ratio is not None:
            _draw(axes, place, ratio)
    axes.axvline(1.0, color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xscale("log")
    values = [value for ratio in found for value in (ratio.low, ratio.high, ratio.bound or ratio.value)]
    low, high = min(0.8, min(values) * 0.85), max(2.0, max(values) * 1.25)
    axes.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xticks([tick for tick in TICKS if low <= tick <= high])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.set_yticks(range(len(rows)), [plain(label) for label, _ in rows])
    figure.supxlabel("Ours against each: times better (at most: times as large)", fontsize=10)
    tidy(axes)
    axes.tick_params(axis="y", length=0)
    for label, (_, ratio) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("normal" if ratio else "bold")
    axes.grid(visible=False, axis="y")
    handles = [
        Line2D([], [], color=BLUE, marker="o", linewidth=1.8, label="Measured: median, range over rounds"),
        Line2D([], [], marker=">", label="Asked: at least", **_BOUND),
        Line2D([], [], marker="<", label="Asked: at most", **_BOUND),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _ratio_rows(one: Mapping[str, Any]) -> list[str]:
    about = one["measure"]
    rows = []
    for ratio in ratios(about, one["figures"]):
        spread = f"{number(ratio.value)} ({number(ratio.low)}-{number(ratio.high)})"
        must = "-" if ratio.bound is None else f"{'at most' if ratio.upper else 'at least'} {ratio.bound:g}"
        reached = {True: "yes", False: "**no**", None: "-"}[ratio.reached]
        rows.append(f"| {about['title']} | {ratio.ours} | {ratio.other} | {spread} | {must} | {reached} |")
    for other, asked in {**about["must"], **about["at_most"]}.items():
        if other not in one["figures"]:
            ours = about["beside"].get(other, about["ours"])
            reason = cell(one.get("error", "not installed here"))
            bound = f"{'at least' if other in about['must'] else 'at most'} {asked:g}"
            rows.append(f"| {about['title']} | {ours} | {other} | not measured: {reason} | {bound} | - |")
    return rows


def cell(text: str) -> str:
    """A text that fits into a cell of a table."""
    return " ".join(text.replace("|", "/").split())[:200]


def _rows(name: str, title: str, found: Sequence[Ratio]) -> list[tuple[str, Ratio | None]]:
    """A measure's rows of the picture: its title, then what ours is held against."""
    own = [(ratio.other, ratio) for ratio in found if ratio.measure == name]
    return [(title, None), *own] if own else []


def _draw(axes: Axes, place: float, ratio: Ratio) -> None:
    axes.plot([ratio.low, ratio.high], [place, place], color=BLUE, linewidth=1.8, zorder=3, gid="range")
    axes.plot([ratio.value], [place], linestyle="", marker="o", color=BLUE, zorder=4, gid="ratio")
    if ratio.bound is not None:
        axes.plot([ratio.bound], [place], gid="bound", zorder=5, **_BOUND, marker="<" if ratio.upper else ">")


_BOUND: dict[str, Any] = {"color": ORANGE, "linestyle": "", "fillstyle": "none", "markersize": 8}
