"""Whether a tag, a plane or a size goes with the label: what a model could read instead of the tumour."""

import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mgmt_monai.cohort.files.values import finite
from mgmt_monai.cohort.findings import Finding

#: Family-wise error rate over all facts of a cohort: of twenty cohorts in which nothing goes with the label, one is
#: given a false alarm. The usual level; a confounder strong enough to mislead a model lies far below it.
ALPHA = 0.05

#: Tables drawn for one permutation test. The smallest p-value is then 1 / 20 000, so that a fact can still pass
#: Holm's correction at `ALPHA` among 1000 facts.
N_RESAMPLES = 19_999

#: A label with fewer patients says nothing about a difference.
MIN_PATIENTS_PER_LABEL = 2

#: Stands for a tag that a patient's files do not have: its absence may go with the site, and so with the label.
ABSENT = "(absent)"

#: How the two tests are named in the report.
PERMUTATION_CHI2, MANN_WHITNEY = "permutation chi-square", "Mann-Whitney U"

_SHOWN_VALUES = 2


@dataclass(frozen=True)
class Fact:
    """Something known of many patients that has nothing to do with the tumour.

    Args:
        name: A tag's keyword or a few words: ``Manufacturer``, ``number of slices``.
        modality: Of which series, or "" for a fact of the patient.
        values: Text by patient; text of a number where ``numeric``.
        numeric: Whether the values have an order and a distance, so that ranks are compared rather than counts.
    """

    name: str
    modality: str
    values: Mapping[str, str]
    numeric: bool = False


@dataclass(frozen=True)
class Count:
    """How many patients of each label have one value of a category."""

    value: str
    unmethylated: int
    methylated: int


@dataclass(frozen=True)
class Spread:
    """Where the values of one label lie: how many there are, and their five-number summary."""

    n: int
    low: float
    q1: float
    median: float
    q3: float
    high: float


@dataclass(frozen=True)
class Confounder:
    """One fact against the label.

    Args:
        fact: Its name.
        modality: Of which series, or "".
        test: `PERMUTATION_CHI2` or `MANN_WHITNEY`.
        statistic: Pearson's chi-square, or U of the methylated patients.
        effect: 0 (nothing) to 1 (the label can be read from it): Cramer's V, or ``|2 AUC - 1|`` of the value as a
            score.
        p: Of the test alone.
        p_corrected: Holm-corrected over all facts tested in the cohort.
        counts: For a category: values by label, most frequent first; () for a number.
        spreads: For a number: of the unmethylated and of the methylated; None for a category.
    """

    fact: str
    modality: str
    test: str
    statistic: float
    effect: float
    p: float
    p_corrected: float
    counts: tuple[Count, ...]
    spreads: tuple[Spread, Spread] | None

    @property
    def suspicious(self) -> bool:
        """Whether it goes with the label at level `ALPHA`, all facts taken together."""
        return self.p_corrected < ALPHA


def permutation_chi2(
    table: NDArray[np.int64], rng: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> tuple[float, float]:
    """Pearson's chi-square of a table of counts, with the p-value that holds however sparse it is.

    Shuffling the labels over the patients leaves both margins as they are, so the first column of a shuffled table
    is multivariate hypergeometric; it is drawn directly.

    Args:
        table: ``(n_values, 2)`` counts: patients with each value, by label. No empty row or column.
        rng: Where the tables come from.
        n_resamples: How many are drawn.

    Returns:
        The statistic (without Yates' correction) and ``(1 + tables at least as extreme) / (1 + n_resamples)``.

    Source:
        Phipson B, Smyth GK. Permutation p-values should never be zero. Stat Appl Genet Mol Biol 2010;9:39.
    """
    rows = table.sum(axis=1)
    n_first, n = int(table[:, 0].sum()), int(table.sum())
    expected = rows * (n_first / n)
    # With both margins fixed the two columns deviate alike, so one column gives the whole statistic.
    scale = n / (n - n_first)

    def statistic(first: NDArray[np.int64]) -> NDArray[np.float64]:
        return ((first - expected) ** 2 / expected).sum(axis=-1) * scale

    observed = float(statistic(table[:, 0]))
    drawn = statistic(rng.multivariate_hypergeometric(rows, n_first, size=n_resamples, method="marginals"))
    # Equal tables may differ in the last bits of their sums.
    extreme = int(np.count_nonzero(drawn >= observed * (1 - 1e-9)))
    return observed, (1 + extreme) / (1 + n_resamples)


def find_confounders(
    facts: Iterable[Fact], labels: Mapping[str, int], *, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> list[Confounder]:
    """Test each fact against the label.

    Categories are tested by a permutation chi-square, in which a patient without the value counts as `ABSENT`;
    numbers by Mann-Whitney on the patients that have them. p-values are Holm-corrected over all facts tested.

    Args:
        facts: Each fact's patients; those without a label are passed over.
        labels: 0 or 1 by patient.
        seed: Of the permutations. A fact's own p-value does not depend on which other facts there are.
        n_resamples: Tables drawn for each permutation test.

    Returns:
        One row a fact, smallest p first. Not tested, because they cannot tell the labels apart or would tell each
        patient from every other: constant facts, categories with a value of its own for each patient, facts with
        fewer than `MIN_PATIENTS_PER_LABEL` patients in a label.

    """
    tested = []
    for fact in facts:
        values = {patient: value for patient, value in fact.values.items() if patient in labels}
        rng = np.random.default_rng([seed, zlib.crc32(f"{fact.modality}/{fact.name}".encode())])
        row = (
            _compare_numbers(fact, values, labels)
            if fact.numeric
            else _compare_categories(fact, values, labels, rng, n_resamples)
        )
        if row is not None:
            tested.append(row)
    tested.sort(key=lambda row: (row.p, -row.effect, row.fact, row.modality))
    corrected = holm([row.p for row in tested])
    return [replace(row, p_corrected=p) for row, p in zip(tested, corrected, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are, so that the family-wise error rate holds under any dependence.

    Args:
        p_values: Sorted, smallest first.

    Example:
        >>> holm([0.01, 0.04, 0.03 + 0.02])
        [0.03, 0.08, 0.08]

    Source:
        Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.
    """
    n = len(p_values)
    largest = itertools.accumulate((p * (n - rank) for rank, p in enumerate(p_values)), max)
    return [min(1.0, p) for p in largest]


def confounder_findings(rows: Iterable[Confounder]) -> list[Finding]:
    """D043 for each fact that goes with the label.

    Args:
        rows: From `find_confounders`.
    """
    return [
        Finding(
            "D043",
            "",
            row.modality,
            "",
            f"expected {row.fact} alike in both labels, found {_difference(row)} "
            f"({row.test}, p {p_text(row.p)}, corrected {p_text(row.p_corrected)})",
        )
        for row in rows
        if row.suspicious
    ]


def p_text(p: float) -> str:
    """A p-value as it is told, with its sign.

    Args:
        p: 0 to 1.

    Example:
        >>> p_text(0.21), p_text(0.0021), p_text(0.00002)
        ('= 0.21', '= 0.0021', '< 0.0001')
    """
    return "< 0.0001" if p < 0.0001 else f"= {p:.4f}" if p < 0.01 else f"= {p:.2f}"


def _compare_categories(
    fact: Fact, values: Mapping[str, str], labels: Mapping[str, int], rng: np.random.Generator, n_resamples: int
) -> Confounder | None:
    counts: dict[str, list[int]] = {}
    for patient, value in values.items():
        counts.setdefault(value or ABSENT, [0, 0])[labels[patient]] += 1
    table = np.array(list(counts.values()), dtype=np.int64).reshape(-1, 2)
    if len(counts) < 2 or len(counts) == len(values) or table.sum(axis=0).min() < MIN_PATIENTS_PER_LABEL:
        return None
    statistic, p = permutation_chi2(table, rng, n_resamples)
    return Confounder(
        fact=fact.name,
        modality=fact.modality,
        test=PERMUTATION_CHI2,
        statistic=statistic,
        effect=float(np.sqrt(statistic / table.sum())),  # Cramer's V of a table with two columns
        p=p,
        p_corrected=p,
        counts=tuple(
            Count(value, *pair) for value, pair in sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
        ),
        spreads=None,
    )


def _compare_numbers(fact: Fact, values: Mapping[str, str], labels: Mapping[str, int]) -> Confounder | None:
    by_label: tuple[list[float], list[float]] = ([], [])
    for patient, value in values.items():
        number = finite(value)
        if number is not None:
            by_label[labels[patient]].append(number)
    if min(len(group) for group in by_label) < MIN_PATIENTS_PER_LABEL or len({*by_label[0], *by_label[1]}) < 2:
        return None
    from scipy.stats import mannwhitneyu

    result = mannwhitneyu(by_label[1], by_label[0], alternative="two-sided")
    auc = float(result.statistic) / (len(by_label[0]) * len(by_label[1]))
    return Confounder(
        fact=fact.name,
        modality=fact.modality,
        test=MANN_WHITNEY,
        statistic=float(result.statistic),
        effect=abs(2 * auc - 1),
        p=float(result.pvalue),
        p_corrected=float(result.pvalue),
        counts=(),
        spreads=(_spread(by_label[0]), _spread(by_label[1])),
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(len(values), *(float(value) for value in np.quantile(values, [0, 0.25, 0.5, 0.75, 1])))


def _difference(row: Confounder) -> str:
    """Where the labels differ most, in words."""
    if row.spreads is not None:
        unmethylated, methylated = row.spreads
        return (
            f"a median of {methylated.median:g} in {methylated.n} methylated and of {unmethylated.median:g} in "
            f"{unmethylated.n} unmethylated patients"
        )
    n_0, n_1 = sum(count.unmethylated for count in row.counts), sum(count.methylated for count in row.counts)
    apart = sorted(row.counts, key=lambda count: -abs(count.unmethylated / n_0 - count.methylated / n_1))
    return ", ".join(
        f"{count.value} in {count.methylated} of {n_1} methylated and {count.unmethylated} of {n_0} unmethylated"
        for count in apart[:_SHOWN_VALUES]
    )
