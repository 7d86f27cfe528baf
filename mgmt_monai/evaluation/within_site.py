"""What is left of an AUC among patients of one hospital, and what the hospital alone would reach.

Patients of two hospitals differ in scanner, protocol and case mix, so a model that only knows the hospital has an AUC
above 0.5 where hospitals differ in prevalence. Pairs of patients of *one* hospital cannot be told apart that way.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from mgmt_monai.evaluation.delong import SMALL_CLASS, auc_and_variance, auc_estimate
from mgmt_monai.evaluation.discrimination import auc, checked_arrays
from mgmt_monai.evaluation.intervals import (
    LEAST_IN_CLASS,
    UNDEFINED,
    Estimate,
    as_json,
    ends,
    logit_interval,
    newcombe_interval,
    number_or_none,
    wider_level,
)
from mgmt_monai.evaluation.over_sites import LEAST_AT_SITE, OverSites, SiteAuc, over_sites
from mgmt_monai.evaluation.permutation import dealt_folds, permutation_test
from mgmt_monai.evaluation.predictions import EvaluationError

SITE_NAMES = ("site", "centre", "center", "hospital", "institution")
"""A column of such a name tells the hospital, unless another is named."""

SITE_WORDS = frozenset({*SITE_NAMES, "clinic", "institute", *(f"{name}s" for name in SITE_NAMES)})
"""A column with one of them among the words of its name tells it, too, where none is called so alone."""

NOT_SITE_WORDS = frozenset(
    {"tumor", "tumour", "lesion", "primary", "biopsy", "resection", "surgical", "anatomic", "date", "visit"}
)
"""Beside them it is a place in the body, or a day."""

NO_SITE = frozenset({"", "-", "?", "n/a", "na", "nan", "none", "not available", "null", "unknown"})
"""How tables say in lower case that they do not know it: :data:`mgmt_monai.cohort.tables.table.NO_VALUE`."""

N_FOLDS, N_REPEATS = 5, 20
"""How often the hospital alone is scored out of fold."""

SHRINKAGE = 2
"""Patients of the overall prevalence that are added to each site: one patient does not make a site's prevalence 0 or 1.
"""


@dataclass(frozen=True)
class WithinSite:
    """An AUC over the pairs of patients of one site.

    Args:
        auc: Pair-weighted mean of the sites' AUCs; ``nan`` where no site has both classes.
        p_value: One-sided, of labels permuted within each site.
        p_low: The same of the other side: how often such labels give an AUC as low.
        n_sites: How many sites there are; a patient without one counts as one.
        n_mixed: How many of them have both classes.
        pooled: The AUC over all pairs.
        between: What labels permuted within each site give on average over all pairs: all that the sites explain.
        share: ``(between - 0.5) / (pooled - 0.5)``, at most 1 and at least 0; ``nan`` where the pooled AUC is not
            above 0.5, and where a patient has no site or one alone: the signal in that patient would be the site's.
        site_alone: AUC of the prevalence at the patient's site among other patients, mean over `N_REPEATS` times
            `N_FOLDS` folds.
        sites: Each known site, the largest first.
        over: What those with an AUC say of another site; None where they are too few.
        unseen: Whether each site was tested by models that had not seen it.
    """

    auc: Estimate
    p_value: float
    p_low: float
    n_sites: int
    n_mixed: int
    pooled: float
    between: float
    share: float
    site_alone: float
    sites: tuple[SiteAuc, ...]
    over: OverSites | None
    unseen: bool

    def as_json(self, column: str) -> dict[str, Any]:
        """As ``within_site`` in ``evaluation.json``."""
        figures = {"p": self.p_value, "between": self.between, "share": self.share, "site_alone": self.site_alone}
        counts = {"n_sites": self.n_sites, "n_mixed": self.n_mixed, "unseen": self.unseen}
        sites = [{**each._asdict(), "auc": as_json(each.auc)} for each in self.sites]
        over = self.over and {**self.over._asdict(), "mean": as_json(self.over.mean)}
        named = {name: number_or_none(figure) for name, figure in figures.items()}
        return {"column": column, "auc": number_or_none(self.auc.value), "interval": ends(self.auc), **named, **counts,
                "sites": sites, "over_sites": over}  # fmt: skip


def within_site(
    label: ArrayLike,
    probability: ArrayLike,
    site: ArrayLike,
    level: float = 0.95,
    n_permutations: int = 10_000,
    seed: int = 0,
    fold: ArrayLike | None = None,
    widen: float = 1.0,
) -> WithinSite:
    """The AUC within sites, beside what the sites alone explain.

    ``auc = sum(m_s k_s auc_s) / sum(m_s k_s)``, with ``m_s`` methylated and ``k_s`` unmethylated patients at site s:
    the covariate-adjusted AUC for a categorical covariate, each pair of one site counted once. Sites are independent,
    so its variance is the sum of DeLong's variances with the squared weights; at a site with one patient in a class,
    where there is none, it is that of a rank sum under chance. The interval is symmetric on the logit scale; with few
    patients its ends are the outer ones of this and of Newcombe's for `equal_classes`, which alone is taken where the
    variance is 0 (as :func:`~mgmt_monai.evaluation.delong.auc_interval`).

    Args:
        label: Shape ``(n,)``, 0 or 1, of independent patients.
        probability: Shape ``(n,)``, any real score.
        site: Shape ``(n,)``, text or numbers; equal values are one site, however they are written (``01`` and ``1.0``).
        level: Of the interval, between 0 and 1.
        n_permutations: Of the labels within each site.
        seed: Of the permutations and of the folds.
        fold: Shape ``(n,)``, of a cross-validation.
        widen: How many times as large standard errors are taken.

    Returns:
        The figures; ``nan`` where undefined.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not finite, or ``level`` is not
            between 0 and 1.

    Source:
        Janes H, Pepe MS. Adjusting for covariates in studies of diagnostic, screening, or prognostic markers. Am J
        Epidemiol 2008;168:89-97; Biometrika 2009;96:371-382 (covariate-adjusted ROC). Zou KH, Carlsson MO, Yu CR.
        Biom J 2012;54:249-263 (weights of strata). van Oirbeek R, Lesaffre E. Stat Med 2010;29:3160-3171 (within and
        between clusters). Debray TPA et al. TRIPOD-Cluster. BMJ 2023;380:e071018.

    Example:
        >>> found = within_site([0, 0, 1, 1, 1, 0], [0.1, 0.2, 0.3, 0.8, 0.9, 0.7], [*"AAABBB"])
        >>> found.auc.value, found.n_mixed
        (1.0, 2)
    """
    label_, probability_ = checked_arrays(label, probability)
    code = site_codes(site, len(label_))
    wide = wider_level(level, widen)
    n_sites = int(code.max()) + 1
    tested = permutation_test(label_, probability_, n_permutations, seed, code)
    pooled = auc(label_, probability_)
    between = expected_auc(label_, probability_, code)
    share = (between - 0.5) / (pooled - 0.5) if pooled > 0.5 and np.bincount(code).min() > 1 else math.nan
    n_mixed = sum(1 for _ in _mixed(label_, code))
    sites = _sites(label_, probability_, np.asarray(site, dtype=object), code, wide)
    return WithinSite(
        auc=stratified_auc(label_, probability_, code, wide),
        p_value=tested.p_value,
        p_low=tested.p_low,
        n_sites=n_sites,
        n_mixed=n_mixed,
        pooled=pooled,
        between=between,
        share=min(1.0, max(0.0, share)) if not math.isnan(share) else share,
        site_alone=site_alone(label_, code, seed=seed),
        sites=sites,
        over=over_sites([each.auc for each in sites], level),
        unseen=fold is not None and n_mixed > 0 and _one_fold_each(code, np.asarray(fold)),
    )


def stratified_auc(label: np.ndarray, probability: np.ndarray, code: np.ndarray, level: float = 0.95) -> Estimate:
    """The pair-weighted mean of the AUCs within strata with its interval, as :func:`within_site` says.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.
        code: Shape ``(n,)``, the stratum, from 0.
        level: Of the interval.

    Returns:
        The estimate; ``nan`` where no stratum has both classes, and no interval where these have fewer than
        `LEAST_IN_CLASS` patients of a label.
    """
    total, pairs, spread = 0.0, 0.0, 0.0
    classes = np.zeros(2, dtype=int)
    for of, m, k in _mixed(label, code):
        value, variance = auc_and_variance(label[of], probability[of])
        classes += (m, k)
        total, pairs = total + m * k * value, pairs + m * k
        spread += (m * k) ** 2 * ((m + k + 1) / (12 * m * k) if math.isnan(variance) else variance)
    if not pairs:
        return Estimate(math.nan, *UNDEFINED, len(label))
    value, variance = total / pairs, spread / pairs**2
    if min(classes) < LEAST_IN_CLASS:
        return Estimate(value, *UNDEFINED, len(label))
    each = equal_classes(label, code)
    other = newcombe_interval(value, each, each, level)
    if not (0 < value < 1 and variance > 0):
        return Estimate(value, *other, len(label))
    low, high = logit_interval(value, math.sqrt(variance), level)
    if min(each, *classes) < SMALL_CLASS:
        low, high = min(low, other.low), max(high, other.high)
    return Estimate(value, low, high, len(label))


def equal_classes(label: np.ndarray, code: np.ndarray) -> int:
    """As many patients a class as one site would need for the variance that the AUC within sites has under chance.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        code: Shape ``(n,)``, the stratum, from 0.

    Returns:
        From 1 on; 0 where no stratum has both classes.

    Example:
        >>> equal_classes(np.array([0, 1] * 20), np.zeros(40, dtype=int))
        20
    """
    sizes = [(m, k) for _, m, k in _mixed(label, code)]
    if not sizes:
        return 0
    # Of a rank sum under chance: (m + k + 1) / (12 m k), and for c a class (2 c + 1) / (12 c^2).
    variance = sum(m * k * (m + k + 1) / 12 for m, k in sizes) / sum(m * k for m, k in sizes) ** 2
    return max(1, round((1 + math.sqrt(1 + 12 * variance)) / (12 * variance)))


def expected_auc(label: np.ndarray, probability: np.ndarray, code: np.ndarray) -> float:
    """The pooled AUC that labels permuted within strata give on average: exact, for rank sums are linear in the labels.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``.
        code: Shape ``(n,)``, the stratum, from 0.

    Returns:
        In [0, 1]; ``nan`` when a class is absent.
    """
    m = int(label.sum())
    k = len(label) - m
    if not m or not k:
        return math.nan
    prevalence = np.bincount(code, label) / np.bincount(code)
    return float((rankdata(probability) @ prevalence[code] - m * (m + 1) / 2) / (m * k))


def site_alone(label: np.ndarray, code: np.ndarray, seed: int = 0) -> float:
    """What the site alone reaches on patients it was not learnt from: the prevalence at the site as the prediction.

    The mean of the folds' AUCs, not the AUC of all folds together: a fold with more methylated patients leaves fewer of
    them to learn from, so that predictions of different folds are ordered against the labels.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        code: Shape ``(n,)``, the site, from 0. `SHRINKAGE` patients are added to each.
        seed: Of the `N_REPEATS` times `N_FOLDS` folds, stratified by label.

    Returns:
        In [0, 1]; ``nan`` with fewer than `N_FOLDS` patients in a class.
    """
    if min(label.sum(), len(label) - label.sum()) < N_FOLDS:
        return math.nan
    random = np.random.default_rng(seed)
    found = []
    for _ in range(N_REPEATS):
        fold = dealt_folds(label, N_FOLDS, random)
        for number in range(N_FOLDS):
            test, train = fold == number, fold != number
            patients = np.bincount(code[train], minlength=code.max() + 1)
            methylated = np.bincount(code[train], label[train], minlength=code.max() + 1)
            overall = label[train].mean()
            known = (methylated + SHRINKAGE * overall) / (patients + SHRINKAGE)
            found.append(auc(label[test], known[code[test]]))
    return float(np.mean(found))


def site_codes(site: ArrayLike, n: int) -> np.ndarray:
    """Sites as whole numbers from 0, in the order of their first patient.

    Args:
        site: Shape ``(n,)``; a patient without one (missing, or one of `NO_SITE`) is a site alone, and so in no pair.
        n: How many patients there are.

    Raises:
        EvaluationError: Another number of them, or no patient.
    """
    values = pd.Series(np.asarray(site, dtype=object))
    if len(values) != n or not n:
        raise EvaluationError(f"site: expected one value a patient, found {len(values)} for {n} patients")
    unknown = ~values.index.isin(known_sites(values).index)
    code = np.full(n, -1)
    first, written = pd.factorize(values[~unknown].astype(str))
    code[~unknown] = pd.factorize(np.array([_written(each) for each in written], dtype=object))[0][first]
    code[unknown] = code.max() + 1 + np.arange(unknown.sum())
    return code


def _written(site: object) -> str:
    """A site's name as all of its writings have it: ``01``, ``1`` and ``1.0``; ``Köln`` in either Unicode form."""
    text = " ".join(unicodedata.normalize("NFKC", str(site)).casefold().split())
    number = re.fullmatch(r"0*(\d+)(\.0+)?", text)
    return number[1] if number else text


def known_sites(site: pd.Series) -> pd.Series:
    """Those of the values that name a site.

    Args:
        site: Of any patients; missing values and `NO_SITE` are left out.
    """
    return site[~(site.isna() | site.astype(str).str.strip().str.lower().isin(NO_SITE))]


def site_column(columns: pd.DataFrame, named: str = "") -> str:
    """The column that tells the site.

    Args:
        columns: What is known of the patients.
        named: The one that was asked for; "" for the first of `SITE_NAMES`, in upper or lower case, also as ``Site No``
            or ``site_id (...)``, else with one of `SITE_WORDS` in its name; what headers tell, a name that ends with
            ``(DICOM)``, only where no other does.

    Returns:
        Its name; "" where none is that has a value.

    Raises:
        EvaluationError: The one named is not there, or names no patient's site.
    """
    if named:
        if named not in columns.columns:
            there = ", ".join(map(str, columns.columns)) or "none"
            raise EvaluationError(f"site: expected the column {named!r} in the tables of columns, found {there}")
        if len(columns) and not len(known_sites(columns[named])):
            raise EvaluationError(f"site: expected values in the column {named!r}, found none; name another")
        return named
    return next(iter(_called_sites(columns)), "")


def other_sites(columns: pd.DataFrame, named: str = "") -> list[str]:
    """Columns that are called a site and part the patients in another way than the one that `site_column` takes.

    Args:
        columns: What is known of the patients; what headers tell counts only where no other column does.
        named: As `site_column` takes it.
    """
    first, *others = [*([named] if named in columns else []), *_called_sites(columns)] or [""]
    if not first or first.endswith("(DICOM)") or not len(columns):
        return []
    codes = {name: site_codes(columns[name], len(columns)) for name in (first, *others)}
    return [
        name for name in others
        if not name.endswith("(DICOM)") and (codes[name] != codes[first]).any()
    ]  # fmt: skip


def _called_sites(columns: pd.DataFrame) -> list[str]:
    """Those that are called a site and have a value, in the order of `SITE_NAMES`, headers' last of each.

    Without any, those with one of `SITE_WORDS` in their name, such as ``Study Site``, but no `NOT_SITE_WORDS`.
    """
    called: dict[str, list[str]] = {name: [] for name in (*SITE_NAMES, "")}
    for name in sorted(columns.columns, key=lambda name: str(name).endswith("(DICOM)")):
        if len(columns) and not len(known_sites(columns[name])):
            continue
        own = str(name).partition("(")[0].strip()
        word = re.sub(r"[ _-]?(no|number|id|code|name)$", "", own.casefold())
        words = set(re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", own).casefold()))
        if word in called and word:
            called[word].append(str(name))
        elif words & SITE_WORDS and not words & NOT_SITE_WORDS:
            called[""].append(str(name))
    by_word = called.pop("")
    return [name for of in called.values() for name in of] or by_word


def _sites(
    label: np.ndarray, probability: np.ndarray, site: np.ndarray, code: np.ndarray, level: float
) -> tuple[SiteAuc, ...]:
    found = []
    for number in range(int(code.max()) + 1):
        of = code == number
        n, m = int(of.sum()), int(label[of].sum())
        name = str(site[of][0])
        if n == 1 and name.strip().casefold() in NO_SITE:
            continue
        enough = min(m, n - m) >= LEAST_AT_SITE
        auc_ = auc_estimate(label[of], probability[of], level) if enough else Estimate(math.nan, *UNDEFINED, n)
        found.append(SiteAuc(name, m, auc_))
    return tuple(sorted(found, key=lambda each: (-each.auc.n, each.site)))


def _one_fold_each(code: np.ndarray, fold: np.ndarray) -> bool:
    """Whether no site's patients are in two folds, of which there are several."""
    pairs = set(zip(code.tolist(), fold.tolist(), strict=True))
    return len(pairs) == len(set(code.tolist())) and len(set(fold.tolist())) > 1


def _mixed(label: np.ndarray, code: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """Who is in it, how many methylated and how many not: of each stratum with both."""
    for stratum in range(int(code.max()) + 1):
        of = code == stratum
        m = int(label[of].sum())
        k = int(of.sum()) - m
        if m and k:
            yield of, m, k
