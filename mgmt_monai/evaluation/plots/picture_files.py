"""A picture as files: PNG for documents, SVG for pages."""

from pathlib import Path
from threading import Lock

import matplotlib
from matplotlib.figure import Figure

from mgmt_monai.atomic import atomic_file

_DPI = 120
_SVG = {"svg.hashsalt": "mgmt_monai", "svg.fonttype": "none"}
"""Identifiers that do not change from run to run, and text that stays text."""

_SETTINGS = Lock()
"""matplotlib takes these settings from the whole process: one figure at a time, so that none outlives its figure."""


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure, each file whole or not at all; the same figure gives the same bytes.

    Args:
        figure: What to write.
        folder: An existing folder.
        name: Of the files, without ending.

    Returns:
        ``NAME.png`` (120 dpi) and ``NAME.svg`` (its text is text, in the first of the named fonts that the reader has).

    Raises:
        OSError: The folder cannot be written to.
    """
    paths = [Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg"]
    with _SETTINGS, matplotlib.rc_context(_SVG):
        for path in paths:
            kind = path.suffix.removeprefix(".")
            with atomic_file(path) as beside:
                figure.savefig(beside, format=kind, dpi=_DPI, metadata={"Date": None} if kind == "svg" else None)
    return paths
