"""What a picture's text looks like on paper, measured by the renderer that draws it."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

DPI = 100
SLACK = 1.0
"""Boxes of text may touch by so many pixels: they have room around the letters."""


class Recorder(RendererAgg):
    """Draws as ever and keeps every text that it is given."""

    def __init__(self, figure: Figure) -> None:
        width, height = figure.get_size_inches() * DPI
        super().__init__(width, height, DPI)
        self.texts: list[Text] = []

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        if mtext is not None and s.strip() and mtext not in self.texts:
            self.texts.append(mtext)
        super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)


@pytest.fixture
def faults() -> Callable[[Figure], list[str]]:
    """What is wrong with the text of a figure: overlapping, over the edge, too small; nothing, for a good one."""

    def find(figure: Figure) -> list[str]:
        figure.set_dpi(DPI)
        recorder = Recorder(figure)
        figure.draw(recorder)
        assert recorder.texts
        boxes = {text: text.get_window_extent(recorder) for text in recorder.texts}
        found = [f"{text.get_text()!r} is too small" for text in boxes if text.get_fontsize() < 9]
        width, height = figure.get_size_inches() * DPI
        for text, box in boxes.items():
            if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK:
                found.append(f"{text.get_text()!r} runs over the edge")
        for (one, a), (other, b) in combinations(boxes.items(), 2):
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            down = min(a.y1, b.y1) - max(a.y0, b.y0)
            if across > SLACK and down > SLACK:
                found.append(f"{one.get_text()!r} overlaps {other.get_text()!r}")
        for axes in figure.axes:
            frame = axes.get_window_extent(recorder)
            for label in axes.get_yticklabels():
                box = boxes.get(label)
                if box is not None and min(box.x1, frame.x1) - max(box.x0, frame.x0) > SLACK:
                    found.append(f"{label.get_text()!r} lies on the plot")
        return found

    return find


@pytest.fixture
def cohort() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Labels and probabilities of made patients: ``cohort(n, effect)``; both classes are there."""

    def make(n: int, effect: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        label = (random.random(n) < 0.5).astype(int)
        label[:2] = 0, 1
        return label, 1 / (1 + np.exp(-(effect * (label - 0.5) + 0.8 * random.normal(size=n))))

    return make


@pytest.fixture
def by_gid() -> Callable[..., list]:
    """The lines or point clouds of axes that carry a name."""
    return lambda axes, gid: [artist for artist in axes.get_children() if artist.get_gid() == gid]
