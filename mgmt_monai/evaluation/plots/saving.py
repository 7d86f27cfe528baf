"""A picture as files: PNG for documents, SVG for pages."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mgmt_monai.atomic import atomic_file

_DPI = 120
_SVG = {"svg.hashsalt": "mgmt_monai", "svg.fonttype": "none"}
"""Identifiers that do not change from run to run, and text that stays text."""


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure, each file whole or not at all; the same figure gives the same bytes.

    Args:
        figure: What to write.
        folder: An existing folder.
        name: Of the files, without ending.

    Returns:
        ``NAME.png`` and ``NAME.svg``.
    """
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with matplotlib.rc_context(_SVG):
        for path in paths:
            with atomic_file(path) as beside:
                kind = path.suffix.removeprefix(".")
                figure.savefig(beside, format=kind, dpi=_DPI, metadata={"Date": None} if kind == "svg" else None)
    return paths
