"""Several modalities as one patient: a logistic model on the single models' logits, whichever of them are there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from scipy.stats import rankdata

from mgmt_monai.evaluation.comparison import PairedComparison, paired
from mgmt_monai.evaluation.delong import Placements, mean_variance, placements
from mgmt_monai.evaluation.predictions import EvaluationError

PENALTY = 3.0
"""Of the squared weights of standardised logits and of missing series: fixed beforehand. By simulation on seed 0,
penalties of 1 to 30 hardly differ (``benchmarks/late_fusion.py``)."""

LEAST_IN_CLASS = 3
"""Patients of each label, from which on a fusion is fitted."""

N_PARTS = 5
"""Of the patients that a fusion is fitted on, where it is asked about these: each is answered without itself."""

LEAST = 1e-6
"""Probabilities are kept from it to 1 less it: a network that is surer is no more right, and has no finite logit."""


@dataclass(frozen=True)
class Term:
    """What one modality adds to a patient's log-odds: ``weight * (logit - centre)``, or ``missing``.

    Args:
        centre: Mean logit of the patients that it was fitted on.
        weight: 0 or more: no model counts against itself.
        missing: Where the patient has no such series, or its model abstains.
    """

    centre: float
    weight: float
    missing: float

    def of(self, probability: ArrayLike) -> np.ndarray:
        """The addends, shape ``(n,)``, of probabilities of shape ``(n,)``; ``nan`` is missing."""
        logits = logits_of(probability)
        return np.where(np.isnan(logits), self.missing, self.weight * (logits - self.centre))


@dataclass(frozen=True)
class LateFusion:
    """A sum of terms, one a modality, and an intercept, which is the log-odds of the average patient.

    A patient's log-odds less the intercept are the sum of the terms: each is the modality's exact Shapley value over
    all subsets of the others, for what a term adds to a sum does not depend on what is there beside it.
    """

    intercept: float
    terms: Mapping[str, Term]

    def addends(self, probabilities: pd.DataFrame) -> pd.DataFrame:
        """What each modality adds to each patient's log-odds.

        Args:
            probabilities: A row a patient, a column a modality, ``nan`` where it is missing; a modality of the fusion
                without a column is missing everywhere.

        Returns:
            The same rows, a column a modality of the fusion.

        Raises:
            EvaluationError: A modality that the fusion does not know.
        """
        if unknown := sorted(set(probabilities) - set(self.terms)):
            raise EvaluationError(
                f"fusion: expected probabilities of {', '.join(self.terms)}, found {', '.join(unknown)}; leave it out "
                "or fuse again with it"
            )
        there = probabilities.reindex(columns=list(self.terms)).astype(float)
        return pd.DataFrame({name: term.of(there[name]) for name, term in self.terms.items()}, index=there.index)

    def of_missing(self, probabilities: pd.DataFrame) -> pd.Series:
        """What the fusion would answer if no picture told anything: its negative control. See `addends`."""
        lacks = probabilities.reindex(columns=list(self.terms)).isna()
        score = self.intercept + sum(lacks[name] * term.missing for name, term in self.terms.items())
        return pd.Series(expit(score), index=probabilities.index)

    def probability(self, probabilities: pd.DataFrame) -> pd.Series:
        """Of methylation, a value a patient, 0 to 1; ``nan`` where no modality is there. See `addends`."""
        found = pd.Series(expit(self.intercept + self.addends(probabilities).sum(axis=1)), index=probabilities.index)
        return found.where(probabilities.notna().any(axis=1))


def logits_of(probability: ArrayLike) -> np.ndarray:
    """Finite log-odds of probabilities; ``nan`` stays."""
    return np.asarray(logit(np.clip(np.asarray(probability, dtype=float), LEAST, 1 - LEAST)))


def fit_late_fusion(probabilities: pd.DataFrame, label: ArrayLike, of: str = "") -> LateFusion:
    """A ridge logistic regression whose weights of logits are not negative.

    Args:
        probabilities: Of patients that none of the single models was trained on: a row a patient, a column a modality,
            ``nan`` where it is missing.
        label: Shape ``(n,)``, 0 or 1.
        of: The one modality whose answers count; "" for all. What is missing counts of each.

    Returns:
        The fusion. A term of a modality that nobody or everybody lacks has 0 for ``missing``.

    Raises:
        EvaluationError: Fewer than `LEAST_IN_CLASS` patients of a label, or a modality that no patient has.

    Source:
        Ting KM, Witten IH. Issues in stacked generalization. J Artif Intell Res 1999;10:271-289: stacked probabilities,
        linear, with weights that are not negative.
    """
    y = np.asarray(label)
    counts = [int((y == value).sum()) for value in (0, 1)]
    if min(counts) < LEAST_IN_CLASS:
        raise EvaluationError(
            f"fusion: expected {LEAST_IN_CLASS} validation patients or more of each label, found {counts[0]} "
            f"unmethylated and {counts[1]} methylated; train with a larger validation part, or in folds"
        )
    if empty := [name for name in probabilities if probabilities[name].isna().all()]:
        raise EvaluationError(
            f"fusion: expected validation patients with {', '.join(empty)}, found none; leave the modality out"
        )
    return _fitted(probabilities, y, of)


def cross_fitted(probabilities: pd.DataFrame, label: ArrayLike) -> pd.Series:
    """What fusions say of the patients that they are fitted on: each patient is left to one fitted on the others.

    Args:
        probabilities: As `fit_late_fusion` takes them.
        label: Shape ``(n,)``, 0 or 1, both.

    Returns:
        Of methylation, a value a patient: in `N_PARTS` parts, fewer where a class has fewer patients, each with its
        share of both labels.
    """
    y, part = np.asarray(label), np.zeros(len(probabilities), dtype=int)
    n_parts = min(N_PARTS, *(int((y == value).sum()) for value in (0, 1)))
    random = np.random.default_rng(0)
    for value in (0, 1):
        part[y == value] = random.permutation(np.arange((y == value).sum()) % n_parts)
    found = pd.Series(math.nan, index=probabilities.index)
    for number in range(n_parts):
        of = part == number
        seen = probabilities[~of].dropna(axis=1, how="all")
        model, asked = _fitted(seen, y[~of]), probabilities.loc[of, seen.columns]
        found[of] = model.probability(asked).fillna(model.of_missing(asked))
    return found


def _fitted(probabilities: pd.DataFrame, y: np.ndarray, of: str = "") -> LateFusion:
    all_logits = pd.DataFrame(logits_of(probabilities), columns=probabilities.columns)
    centre, spread = all_logits.mean(), all_logits.std(ddof=0)
    scale = spread.where(spread > 1e-9, np.inf)  # a constant tells nothing
    standard = ((all_logits - centre) / scale).fillna(0.0) * [not of or name == of for name in all_logits]
    lacks = all_logits.isna().astype(float)
    share = lacks.mean()
    varies = (share > 0) & (share < 1)
    lacks = (lacks - share) * varies
    design, k = np.column_stack([standard, lacks]), len(all_logits.columns)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = design @ weights[:-1] + weights[-1]
        penalised = np.append(weights[:-1], 0.0)
        value = -(y * log_expit(score) + (1 - y) * log_expit(-score)).sum() + PENALTY / 2 * (penalised**2).sum()
        wrong = expit(score) - y
        return float(value), np.append(design.T @ wrong, wrong.sum()) + PENALTY * penalised

    bounds = [(0.0, None)] * k + [(None, None)] * (k + 1)
    found = minimize(loss, np.zeros(2 * k + 1), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12}).x
    weights, missing, intercept = found[:k], found[k:-1], float(found[-1])
    # Back to logits as they are, and to 0 for a patient who has the series.
    terms = {
        str(name): Term(float(centre[name]), float(weights[i] / scale[name]), float(missing[i] * varies[name]))
        for i, name in enumerate(all_logits)
    }
    return LateFusion(intercept - float((missing * share * varies).sum()), terms)


def best_single(probabilities: pd.DataFrame, label: ArrayLike) -> list[tuple[str, LateFusion]]:
    """Each modality alone, fitted on the same patients, the best first: what a fusion is held against.

    What is missing counts in each as it does in the fusion, so that the fusion is not better for that.

    Args:
        probabilities: As `fit_late_fusion` takes them; modalities are ranked by their log-loss.
        label: Shape ``(n,)``, 0 or 1.

    Returns:
        Each with its name.
    """
    y = np.asarray(label)
    found = []
    for name in probabilities:
        one = fit_late_fusion(probabilities, y, str(name))
        score = one.intercept + one.addends(probabilities).sum(axis=1).to_numpy()
        found.append((float(-(y * log_expit(score) + (1 - y) * log_expit(-score)).mean()), str(name), one))
    return [(name, one) for _, name, one in sorted(found, key=lambda each: each[0])]


def first_that_answers(ranked: list[tuple[str, LateFusion]], probabilities: pd.DataFrame) -> pd.Series:
    """Each patient's probability by the best of the single modalities that the patient has; ``nan`` without any."""
    answer = pd.Series(math.nan, index=probabilities.index)
    for name, one in ranked:
        answer = answer.fillna(one.probability(probabilities).where(probabilities[name].notna()))
    return answer


def what_it_adds(test: PairedComparison, bound: float, as_good: Sequence[str] = ()) -> tuple[str, str]:
    """Whether the fusion adds to the best single modality.

    Args:
        test: Of the fusion and the best single modality, on test patients.
        bound: The smallest difference in AUC that would matter, set beforehand.
        as_good: Single modalities, than which the fusion is not surely better.

    Returns:
        ``adds``, ``does_not_add`` or ``cannot_tell``, and the sentence.
    """
    if math.isnan(test.low):
        why = "too few test patients" if math.isnan(test.p_value) else "both are the same on all pairs of test patients"
        return "cannot_tell", f"It cannot be told whether the fusion adds anything: {why}."
    if test.low == test.high and test.auc_a == 0.5:
        return "cannot_tell", "It cannot be told whether the fusion adds anything: it answers the same for everybody."
    figures = f"difference in AUC {test.difference:+.2f} ({test.low:+.2f} to {test.high:+.2f})"
    if test.low > 0 and as_good:
        alone = f"{', '.join(as_good)} alone may be as good as the fusion"
        return "cannot_tell", f"It cannot be told whether the fusion adds to the best single modality: {alone}."
    if test.low > 0:
        return "adds", f"The fusion adds to the best single modality: {figures}."
    if test.high < bound:
        return "does_not_add", f"The fusion does not add to the best single modality: {figures}, below {bound:g}."
    return "cannot_tell", f"It cannot be told whether the fusion adds to the best single modality: {figures}."


def compare_within(
    label: ArrayLike, probability_a: ArrayLike, probability_b: ArrayLike, stratum: ArrayLike, level: float = 0.95,
    widen: float = 1.0,
) -> PairedComparison:  # fmt: skip
    """Two models by the pairs of patients of one stratum, a site say: pair-weighted AUCs and their difference.

    Args:
        label: Shape ``(n,)``, 0 or 1, one a patient.
        probability_a: Shape ``(n,)``, the first model's.
        probability_b: Shape ``(n,)``, the second model's.
        stratum: Shape ``(n,)``; strata with fewer than two patients of a label are left out, for they have no variance.
        level: Of the interval, between 0 and 1.
        widen: As `compare_paired` takes it.

    Returns:
        As `compare_paired`, with strata as independent; all ``nan`` where none is left, interval and p-value ``nan``
        with fewer than `LEAST_IN_CLASS` patients of a label in all of them.

    Raises:
        EvaluationError: As `compare_paired`.

    Source:
        Janes H, Pepe MS. Biometrika 2009;96:371-382 (covariate-adjusted ROC), each stratum by DeLong's test.
    """
    code = np.asarray(stratum)
    y, a, b = np.asarray(label), np.asarray(probability_a), np.asarray(probability_b)
    pairs, classes = 0.0, np.zeros(2, dtype=int)
    totals, spread, same_order = np.zeros(2), 0.0, True
    for each in pd.unique(code):
        of = code == each
        one, other = placements(y[of], a[of]), placements(y[of], b[of])
        sizes = [len(one.unmethylated), len(one.methylated)]
        if min(sizes) < 2:
            continue
        weight = float(sizes[0] * sizes[1])
        same_order &= np.array_equal(rankdata(a[of]), rankdata(b[of]))
        differing = Placements(one.methylated - other.methylated, one.unmethylated - other.unmethylated)
        totals += weight * np.array([one.methylated.mean(), other.methylated.mean()])
        spread, pairs, classes = spread + weight**2 * mean_variance(differing), pairs + weight, classes + sizes
    if not pairs:
        return PairedComparison(*[math.nan] * 6)
    auc_a, auc_b = (float(total / pairs) for total in totals)
    return paired(auc_a, auc_b, widen**2 * spread / pairs**2, min(classes), same_order, level)
