"""How far what imaging adds to clinical columns can be believed: ``python benchmarks/imaging_adds.py``.

Rows and seeds are fixed here before it runs: 2000 and on are reported; 0 to 99, and those of an earlier rule, 1000 to
1199, are for tuning. Half of the patients are methylated; the first clinical column is a number with a true AUC of
0.65, the others are numbers and two categories that tell nothing. The truth of a row is the mean of its draws'
differences: cross-fitting has no bias for models of 4/5 of the patients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
from scipy.stats import norm

from mgmt_monai.evaluation.imaging_adds import imaging_adds

FIRST_SEED = 2000
CLINICAL_AUC = 0.65


class Row(NamedTuple):
    """One kind of draw.

    Args:
        n: Patients.
        n_columns: Clinical ones.
        image: True AUC of what the image model tells beyond the first column; 0.5 for nothing.
        copies: Correlation of the image model with the first column among patients of one label.
    """

    n: int
    n_columns: int
    image: float = 0.5
    copies: float = 0.0


ROWS = (
    *(
        Row(n, n_columns, image, copies)
        for image, copies in ((0.5, 0.0), (0.5, 0.8), (0.65, 0.0), (0.75, 0.0))
        for n in (150, 200, 582)
        for n_columns in (2, 5)
    ),
    Row(150, 40),
    Row(200, 40),
    Row(200, 40, 0.75),
)
"""Forty columns stand for radiomics."""


def draw(row: Row, seed: int) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Label, scores of the image model, and clinical columns.

    Args:
        row: The kind.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed)
    label = random.permutation(np.arange(row.n) % 2)
    first, own = (
        random.standard_normal(row.n) + label * math.sqrt(2) * norm.ppf(auc) for auc in (CLINICAL_AUC, row.image)
    )
    columns = {"age": first, "sex": random.choice(["F", "M"], row.n)}
    for number in range(2, row.n_columns):
        columns[f"feature {number}"] = random.standard_normal(row.n)
    return label, row.copies * first + math.sqrt(1 - row.copies**2) * own, pd.DataFrame(columns)


def line(row: Row, seeds: range) -> str:
    """A row of the table.

    Args:
        row: The kind of draw.
        seeds: One for each draw.
    """
    found = [imaging_adds(*draw(row, seed), seed=seed) or {} for seed in seeds]
    cells = []
    for part in ([each["difference"] for each in found], [each["net_benefit"]["difference"] for each in found]):
        value, low, high = (np.array([each[name] for each in part]) for name in ("value", "low", "high"))
        held = ((low <= value.mean()) & (value.mean() <= high)).mean()
        cells += [f"{value.mean():+.3f}", f"{100 * held:.1f} %", f"{100 * (low > 0).mean():.1f} %"]
    ratio = np.mean([each["likelihood_ratio"]["p"] <= 0.05 for each in found])
    told = f"AUC {row.image:.2f}" if row.image > 0.5 else "a copy of the age" if row.copies else "nothing"
    return f"| {told} | {row.n} | {row.n_columns} | {' | '.join(cells)} | {100 * ratio:.1f} % |"


def table(n_studies: int, first_seed: int = FIRST_SEED) -> Iterator[str]:
    """The table as Markdown, line by line.

    Args:
        n_studies: Of each row.
        first_seed: The seeds are this one and those that follow.
    """
    names = ("the image tells", "patients", "columns", "AUC added", "interval holds it", "lies above 0")
    names += ("net benefit added", "interval holds it", "lies above 0", "likelihood ratio p at most 0.05")
    yield f"| {' | '.join(names)} |"
    yield "|---" * len(names) + "|"
    for row in ROWS:
        yield line(row, range(first_seed, first_seed + n_studies))


@click.command()
@click.option("--draws", default=200, show_default=True, help="Of each row.")
@click.option("--first-seed", default=FIRST_SEED, show_default=True)
def main(draws: int, first_seed: int) -> None:
    """Print how often the interval of what imaging adds holds the truth, and how often it says more than is there."""
    for found in table(draws, first_seed):
        click.echo(found)


if __name__ == "__main__":
    main()
