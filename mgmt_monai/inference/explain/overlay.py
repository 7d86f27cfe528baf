"""A map laid on the anatomy as a picture: grey slices, what raises the logit in orange, what lowers it in purple."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.explain.view import View

COLOURS = "PuOr_r"
"""Purple to orange through white: told apart with every kind of colour vision."""

OPACITY = 0.75
"""Of the strongest colour, so that the anatomy is seen through it."""

_DPI = 100

#: Where the letters of a view stand: above, right, below, left.
_EDGES = ((0.5, 0.97), (0.97, 0.5), (0.5, 0.03), (0.03, 0.5))

_LONGEST_SIDE_IN = 5.0


def overlay(anatomy: np.ndarray, values: np.ndarray, view: View, limit: float, title: str) -> np.ndarray:
    """One slice ``(R, C)`` in [0, 1] with its map on the same pixels: RGB, ``(height, width, 3)`` uint8.

    ``limit`` is the map's value of the strongest colour; 0 for a map that is zero everywhere, which is said.
    """
    figure = Figure(figsize=_size(anatomy.shape, view.pixel_mm), dpi=_DPI, facecolor="black", layout="constrained")
    axis = figure.subplots()
    _draw(axis, anatomy, values, view, limit)
    axis.set_title(title, color="white", fontsize=10)
    _legend(figure, axis, limit)
    return _pixels(figure)


def contact_sheet(
    anatomies: np.ndarray, maps: np.ndarray, view: View, limit: float, titles: list[str], heading: str
) -> np.ndarray:
    """All slices ``(K, R, C)`` of a series with their maps on one page, as `overlay`; a title a slice."""
    n_columns = min(4, len(maps))
    n_rows = math.ceil(len(maps) / n_columns)
    width, height = _size(anatomies.shape[1:], view.pixel_mm)
    scale = 0.55
    size = (max(6.0, scale * width * n_columns + 0.8), scale * height * n_rows + 0.9)
    figure = Figure(figsize=size, dpi=_DPI, facecolor="black", layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, anatomy, values, title in zip(axes.flat, anatomies, maps, titles, strict=False):
        _draw(axis, anatomy, values, view, limit)
        axis.set_title(title, color="white", fontsize=8)
    figure.suptitle(heading, color="white", fontsize=10)
    _legend(figure, axes, limit)
    return _pixels(figure)


def _size(shape: tuple[int, ...], pixel_mm: tuple[float, float]) -> tuple[float, float]:
    """Width and height in inches of a picture with a slice as it is in the patient, and room for its legend."""
    height_mm, width_mm = shape[0] * pixel_mm[0], shape[1] * pixel_mm[1]
    longest = max(height_mm, width_mm) or 1.0
    return (
        max(2.5, _LONGEST_SIDE_IN * width_mm / longest) + 1.2,
        max(2.0, _LONGEST_SIDE_IN * height_mm / longest) + 0.8,
    )


def _draw(axis: Axes, anatomy: np.ndarray, values: np.ndarray, view: View, limit: float) -> None:
    rows_mm, columns_mm = view.pixel_mm
    aspect = rows_mm / columns_mm if columns_mm > 0 else 1.0
    axis.imshow(anatomy, cmap="gray", vmin=0, vmax=1, aspect=aspect)
    axis.axis("off")
    for letter, (x, y) in zip(view.letters, _EDGES, strict=False):
        axis.text(x, y, letter, color="white", fontsize=8, ha="center", va="center", transform=axis.transAxes)
    if limit > 0:
        share = np.clip(values / limit, -1, 1)
        colours = colormaps[COLOURS]((share + 1) / 2)
        colours[..., 3] = OPACITY * np.abs(share)
        axis.imshow(colours, aspect=aspect, interpolation="nearest")
    else:
        words = "the map is zero everywhere"
        axis.text(0.5, 0.12, words, color="white", fontsize=8, ha="center", transform=axis.transAxes)


def _legend(figure: Figure, axes: Any, limit: float) -> None:
    if limit > 0:
        scale = ScalarMappable(Normalize(-limit, limit), COLOURS)
        bar = figure.colorbar(scale, ax=axes, fraction=0.05, ticks=[-limit, 0, limit], shrink=0.8)
        bar.set_ticklabels([f"lowers the logit\n{-limit:.2g}", "0", f"raises the logit\n{limit:.2g}"])
        bar.ax.tick_params(colors="white", labelsize=8)
        bar.outline.set_edgecolor("white")
    figure.supxlabel(NOTICE, color="white", fontsize=8)


def _pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
