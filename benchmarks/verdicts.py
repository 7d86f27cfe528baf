"""How often each verdict is given to simulated draws whose truth is known: ``python benchmarks/verdicts.py``.

Rows, seeds and the rule are fixed here before it runs: 1000 and on are reported, 0 to 99 are for tuning
(docs/explanation/verdict.md). Scores are normal; a true AUC of a shifts those of methylated patients by sqrt(2) z(a).
With folds a ridge regression is trained on 40 features of each patient, some of which may go with the label, so that
folds depend on each other as trainings do: labels are dealt before anything is trained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
from scipy.stats import norm

from mgmt_monai.evaluation.best_of import best_of_p_values
from mgmt_monai.evaluation.columns import columns_tell
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.evaluation.folds import FOLDS_WIDEN, across_folds, fold_ranks
from mgmt_monai.evaluation.verdict import judge

FIRST_SEED = 1000
N_PERMUTATIONS = 400
N_FEATURES, RIDGE = 40, 20.0
STATES = ("supported", "too_small_to_matter", "cannot_tell", "below_chance", "contaminated")


class Draw(NamedTuple):
    """What `judge` takes: label, probability, controls, and its other arguments."""

    label: np.ndarray
    probability: np.ndarray
    controls: dict[str, np.ndarray]
    others: dict[str, Any]


def scored(
    random: np.random.Generator, n: int = 59, model: float = 0.5, header: float = 0.5, shared: float = 0.0,
    flipped: float = 0.0,
) -> Draw:  # fmt: skip
    """Independent patients, a model and four controls.

    Args:
        random: The source of randomness.
        n: Patients, half of them methylated.
        model: True AUC of the model's own signal.
        header: True AUC of the header tags.
        shared: Correlation of the model with the header tags among patients of one label.
        flipped: Share of labels that are wrong.
    """
    label = random.permutation(np.arange(n) % 2)
    tags = random.standard_normal(n) + label * math.sqrt(2) * norm.ppf(header)
    own = random.standard_normal(n) + label * math.sqrt(2) * norm.ppf(model)
    noise = {name: random.standard_normal(n) for name in ("geometry", "background", "permuted_labels")}
    given = np.where(random.random(n) < flipped, 1 - label, label)
    return Draw(given, shared * tags + math.sqrt(1 - shared**2) * own, {"header_tags": tags, **noise}, {})


def of_site(random: np.random.Generator, n: int = 200, known: bool = True, model: float = 0.5) -> Draw:
    """Two hospitals with 62 and 43 % methylated, of which the model sees one inside the head."""
    site = random.permutation(np.arange(n) % 2)
    label = (random.random(n) < np.where(site == 1, 0.62, 0.43)).astype(int)
    score = random.standard_normal(n) + 2.0 * site + label * math.sqrt(2) * norm.ppf(model)
    return Draw(label, score, {"header_tags": random.standard_normal(n)}, {"site": site} if known else {})


def with_columns(random: np.random.Generator, n: int = 200, n_columns: int = 5, folds: bool = False) -> Draw:
    """A model of AUC 0.70, or in folds a ridge regression, beside columns that tell nothing, half of them numbers."""
    drawn = cross_validated(random, n, strength=2.5) if folds else scored(random, n, model=0.7)
    columns = pd.DataFrame({
        f"column {number}": random.standard_normal(n) if number % 2 else random.choice([*"abc"], n)
        for number in range(n_columns)
    }).astype(str)  # fmt: skip
    scores, widen = across_folds(drawn.probability, drawn.others.get("fold", np.zeros(n)), drawn.label)
    told = ["column_tells"] if columns_tell(columns, drawn.label, scores, widen) else []
    return drawn._replace(others={**drawn.others, "notes": told})


def ridge_in_folds(features: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Each patient's score by a ridge regression on the patients of the other folds."""
    found = np.empty(len(label))
    for number in np.unique(fold):
        seen = fold != number
        x, y = features[seen], label[seen] - label[seen].mean()
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(features.shape[1]), x.T @ y)
        found[~seen] = features[~seen] @ weights + label[seen].mean()
    return found


def cross_validated(
    random: np.random.Generator, n: int = 200, n_candidates: int = 1, strength: float = 0.0, n_folds: int = 5,
    controls: bool = False,
) -> Draw:  # fmt: skip
    """A ridge regression in folds; of several candidates the one with the best AUC is judged.

    Its control is independent, or two that are trained in the same folds on other features.
    """
    label = random.permutation(np.arange(n) % 2)
    fold = random.permutation(np.arange(n) % n_folds)
    shared = random.standard_normal((n, N_FEATURES)) + strength * label[:, None] / math.sqrt(N_FEATURES)
    found = np.empty((n_candidates, n))
    for candidate in range(n_candidates):
        features = (shared + random.standard_normal((n, N_FEATURES)) * (n_candidates > 1)) / math.sqrt(2)
        found[candidate] = ridge_in_folds(features, label, fold)
    chosen = int(np.argmax([auc(label, scores) for scores in found]))
    others: dict[str, Any] = {"fold": fold}
    if n_candidates > 1:
        ranks = np.stack([fold_ranks(scores, fold) for scores in found])
        others["p_value"] = float(best_of_p_values(label, ranks, N_PERMUTATIONS, widen=FOLDS_WIDEN)[chosen])
    beside = {"header_tags": random.standard_normal(n)}
    if controls:
        beside = {name: ridge_in_folds(random.standard_normal((n, N_FEATURES)), label, fold)
                  for name in ("header_tags", "background")}  # fmt: skip
    return Draw(label, found[chosen], beside, others)


ROWS: Mapping[str, tuple[Callable[[np.random.Generator], Draw], str]] = {
    "null, 59": (scored, "null"),
    "null, 20": (partial(scored, n=20), "null"),
    "null, 582": (partial(scored, n=582), "null"),
    "null, 5 folds, 60": (partial(cross_validated, n=60), "null"),
    "null, 5 folds, 200": (cross_validated, "null"),
    "null, 5 folds, 9 candidates, 200": (partial(cross_validated, n_candidates=9), "null"),
    "site, column given, 200": (of_site, "null"),
    "site, no column, 200": (partial(of_site, known=False), "unseen"),
    "site and AUC 0.80, column given, 200": (partial(of_site, model=0.8), "adds"),
    "header 0.75 alone, 59": (partial(scored, header=0.75, shared=0.9), "null"),
    "header 0.75 alone, 200": (partial(scored, n=200, header=0.75, shared=0.9), "null"),
    "AUC 0.60, 59": (partial(scored, model=0.6), "clean"),
    "AUC 0.70, 59": (partial(scored, model=0.7), "clean"),
    "AUC 0.80, 59": (partial(scored, model=0.8), "clean"),
    "AUC 0.65, 200": (partial(scored, n=200, model=0.65), "clean"),
    "AUC 0.80, 200": (partial(scored, n=200, model=0.8), "adds"),
    "AUC 0.65, 582": (partial(scored, n=582, model=0.65), "adds"),
    "AUC 0.62 beside header 0.57, 200": (partial(scored, n=200, model=0.62, header=0.57), "clean"),
    "AUC 0.70 beside header 0.57, 582": (partial(scored, n=582, model=0.7, header=0.57), "adds"),
    "AUC 0.80, a tenth of labels wrong, 200": (partial(scored, n=200, model=0.8, flipped=0.1), "adds"),
    "AUC 0.80, 20": (partial(scored, n=20, model=0.8), "clean"),
    "signal in 5 folds, 200": (partial(cross_validated, strength=2.5), "clean"),
    "signal in 5 folds, and controls in them, 200": (partial(cross_validated, strength=1.0, controls=True), "clean"),
    "AUC 0.70, 5 columns, 200": (with_columns, "adds"),
    "signal in 5 folds, 5 columns, 200": (partial(with_columns, folds=True), "adds"),
}
"""Name with the number of patients, how a draw is made, and what is asked of it: of *null* at most 2.5 % supported,
of *clean* and *adds* at most 5 % contaminated, of *adds* at least 90 % supported; *unseen* is told from no signal."""


def shares(make: Callable[[np.random.Generator], Draw], seeds: range) -> Counter[str]:
    """How often each state is given.

    Args:
        make: A draw from a source of randomness.
        seeds: One for each draw.
    """
    found: Counter[str] = Counter()
    for seed in seeds:
        label, probability, controls, others = make(np.random.default_rng(seed))
        found[judge(label, probability, controls, n_permutations=N_PERMUTATIONS, seed=seed, **others).state] += 1
    return found


def table(n_studies: int, first_seed: int = FIRST_SEED, rows: Collection[str] = ()) -> Iterator[str]:
    """The table as Markdown, line by line.

    Args:
        n_studies: Of each row.
        first_seed: The seeds are this one and those that follow.
        rows: Their names; empty for all.
    """
    yield f"| draw, patients | asked | {' | '.join(state.replace('_', ' ') for state in STATES)} |"
    yield "|---" * (2 + len(STATES)) + "|"
    for name, (make, asked) in ROWS.items():
        if rows and name not in rows:
            continue
        found = shares(make, range(first_seed, first_seed + n_studies))
        cells = " | ".join(f"{100 * found[state] / n_studies:.1f} %" for state in STATES)
        yield f"| {name} | {asked} | {cells} |"


@click.command()
@click.option("--draws", default=1000, show_default=True, help="Of each row.")
@click.option("--first-seed", default=FIRST_SEED, show_default=True)
@click.option("--row", "rows", multiple=True, type=click.Choice(list(ROWS)), help="These alone  [all]")
def main(draws: int, first_seed: int, rows: tuple[str, ...]) -> None:
    """Print the share of each verdict in simulated draws."""
    for line in table(draws, first_seed, rows):
        click.echo(line)


if __name__ == "__main__":
    main()
