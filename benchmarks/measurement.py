"""What a benchmark is: ways of doing the same work, measured in turns, each compared with ours."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Size:
    """How large the measured work is.

    Args:
        name: ``full`` or ``quick``.
        series_slices: Files of a series of the study.
        series_pixels: Rows and columns of each.
        image_size: What slices are resized to.
        patients: Of the cohort that is trained on.
        fine_tune_patients: Of the cohort for fine-tuning beside the stock way, which takes longest.
        transfer_batch: Slices a batch.
        fine_tune_batch: Slices a batch; half the bundle's, for each way keeps its activations, and all wait at once.
        augmented: Slices that are augmented in one go.
        few_patients: Of the smaller cohort whose memory is measured.
        many_patients: Of the larger one.
        data: Folder for what is made.
    """

    name: str
    series_slices: int
    series_pixels: int
    image_size: int
    patients: int
    fine_tune_patients: int
    transfer_batch: int
    fine_tune_batch: int
    augmented: int
    few_patients: int
    many_patients: int
    data: Path = Path()

    @classmethod
    def of(cls, name: str, data: Path) -> Size:
        """The size of a name, with its data in a folder."""
        return replace(SIZES[name], data=Path(data))

    def as_json(self) -> str:
        """For another process."""
        return json.dumps({**asdict(self), "data": str(self.data)})

    @classmethod
    def from_json(cls, text: str) -> Size:
        """What `as_json` wrote."""
        content = json.loads(text)
        return cls(**{**content, "data": Path(content["data"])})


SIZES = {
    "full": Size("full", 190, 512, 300, 40, 28, 128, 32, 128, 60, 600),
    "quick": Size("quick", 20, 64, 48, 20, 20, 16, 16, 8, 6, 60),
}


@dataclass(frozen=True)
class Way:
    """One way of doing the measured work.

    Args:
        name: As tables show it.
        run: Does it once and returns its figure, so that what is set up is not in it.
        warm: Whether it has been run before, so that no warm-up is due.
    """

    name: str
    run: Callable[[], float]
    warm: bool = False


@dataclass(frozen=True)
class Measure:
    """What is measured, and what ours must reach.

    Args:
        name: Of its module.
        title: As tables show it.
        unit: Of the figures.
        higher_is_better: Whether a larger figure is the better one.
        ours: Which way is ours.
        must: By the other way's name: how many times better ours must be, at least.
        at_most: By the other way's name: how many times its figure ours may be, at most.
        beside: By the other way's name: which way it is compared with where that is not ``ours``, or where nothing is
            asked.
        note: What the reader of a table has to know, one line.
        rounds: At most so many, where one round is long and figures hardly differ; 0 for as many as asked.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    ours: str
    must: Mapping[str, float] = field(default_factory=dict)
    at_most: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    rounds: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As results hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Ratio:
    """One way held against another.

    Args:
        measure: Name of the measure.
        ours: The one.
        other: The other.
        value: How many times better the one is, or, where there is an upper bound, how many times as large its figure.
        low: The smallest over the rounds.
        high: The largest over the rounds.
        bound: What is asked; None where nothing is.
        upper: Whether the bound is an upper one.
    """

    measure: str
    ours: str
    other: str
    value: float
    low: float
    high: float
    bound: float | None
    upper: bool

    @property
    def reached(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if self.bound is None:
            return None
        return self.value <= self.bound if self.upper else self.value >= self.bound


def measure(ways: Sequence[Way], rounds: int) -> dict[str, list[float]]:
    """Every way's figures: round by round each way once, beginning with another one in each round.

    Args:
        ways: What is measured; one that is not warm is run once more before, unmeasured.
        rounds: How often each is measured.

    Returns:
        By name, one figure a round.
    """
    for way in ways:
        if not way.warm:
            way.run()
    figures: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(rounds):
        first = number % len(ways)
        for way in (*ways[first:], *ways[:first]):
            figures[way.name].append(way.run())
    return figures


def ratios(about: Mapping[str, Any], figures: Mapping[str, Sequence[float]]) -> list[Ratio]:
    """What the figures of a measure say.

    Args:
        about: A `Measure` as a dictionary.
        figures: By way; a way that could not be measured is not in it.

    Returns:
        One for each way named in ``must``, ``at_most`` or ``beside`` that was measured: the ratio of the medians, and
        the range of the rounds' own ratios.
    """
    found = []
    for other in dict.fromkeys([*about["must"], *about["at_most"], *about["beside"]]):
        ours = about["beside"].get(other, about["ours"])
        if other not in figures or ours not in figures:
            continue
        bound = about["must"].get(other, about["at_most"].get(other))
        upper = other in about["at_most"] or (bool(about["at_most"]) and not about["must"])
        as_large = upper or about["higher_is_better"]
        pairs = [*zip(figures[ours], figures[other], strict=True)]
        each = [one / another if as_large else another / one for one, another in pairs]
        one, another = statistics.median(figures[ours]), statistics.median(figures[other])
        value = one / another if as_large else another / one
        found.append(Ratio(about["name"], ours, other, value, min(each), max(each), bound, upper))
    return found


def drop_from_cache(files: Sequence[Path]) -> None:
    """Let the next read of these files come from the disk (where the system heeds the advice; Linux does).

    Args:
        files: Written to the disk already: what is not stays in memory.
    """
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
