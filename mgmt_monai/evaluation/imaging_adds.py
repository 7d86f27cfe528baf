"""What an image model tells beyond what is known of the patients without any picture: age, sex, site, radiomics."""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit
from scipy.stats import chi2
from scipy.stats import t as student

from mgmt_monai.evaluation.added_value import logistic, normal_scores
from mgmt_monai.evaluation.columns import numbers
from mgmt_monai.evaluation.decision_curve import gains
from mgmt_monai.evaluation.delong import Placements, mean_variance
from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.intervals import (
    UNDEFINED,
    Estimate,
    Interval,
    as_json,
    logit_interval,
    normal_quantile,
    number_or_none,
)
from mgmt_monai.evaluation.permutation import dealt_folds
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.within_site import NO_SITE

N_FOLDS, N_REPEATS = 5, 20
"""Of the cross-fitting: the models are fitted on the other folds' patients, and a patient's figures are the mean."""

TRAINING = 90.0
"""The variance is that of models which do not depend on their patients, ``1 + TRAINING / m`` times: with ``m`` patients
in the smaller class, models of other patients would be others. By simulation (``benchmarks/imaging_adds.py``)."""

LEAST_ERROR = 0.5
"""Over the number of patients it is the least standard error of a difference: in some studies a term that tells nothing
is fitted as next to nothing, and both models hardly differ on any patient; in others they do."""

LEAST_FOR_INTERVAL = 75
"""Patients of each label, from which on there are intervals; of 50 they held the truth in 90 of 100 studies."""

LEAST_IN_CLASS = 10
"""Patients of each label, from which on anything is fitted: two in each fold."""

PENALTY = 1.0
"""Of the ridge regression on standardised columns: fixed beforehand, not tuned."""

MOST_CATEGORIES = 8
"""Of a column of text, each a column of its own; rarer ones are the reference."""

TERMS_PER_PATIENT = 0.1
"""Most columns of the likelihood ratio's model, as a share of the smaller class (Peduzzi's ten events a variable); with
more, the ratio is taken beside the out-of-fold score of the columns."""


def imaging_adds(
    label: ArrayLike,
    image: ArrayLike,
    columns: pd.DataFrame,
    threshold: float = 0.5,
    level: float = 0.95,
    seed: int = 0,
    widen: float = 1.0,
) -> dict[str, Any] | None:
    """The image model, a model of the columns, and both together, on patients that none of them was fitted on.

    A ridge logistic regression is fitted on the columns, and on the columns and the image model's ranks, in `N_REPEATS`
    times `N_FOLDS` folds. Both models of a fold meet the same unseen patients, so that a column that tells nothing does
    not make the larger one better, as it does in-sample, where DeLong's test of nested models is not valid.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        image: Shape ``(n,)``, the image model's scores for patients it has not seen; ranks alone count.
        columns: One row a patient in their order, text or numbers; missing values are a category, or the mean.
        threshold: Probability from which one would act, for the net benefit; taken into 0.01 to 0.99.
        level: Of the intervals.
        seed: Of the folds.
        widen: How many times as large standard errors are taken, where the image model's folds are not independent.

    Returns:
        ``columns``, ``n``; ``clinical``, ``image``, ``both`` (AUCs) and ``difference`` (both minus clinical), as
        ``{"value", "low", "high", "n"}``; ``likelihood_ratio`` (``chi2``, ``p``; one degree of freedom);
        ``net_benefit`` (``threshold``, ``clinical``, ``both``, ``difference``). No intervals with fewer than
        `LEAST_FOR_INTERVAL` patients of a label; None with fewer than `LEAST_IN_CLASS`, or no column that varies.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a score is not finite.

    Source:
        Demler OV, Pencina MJ, D'Agostino RB. Stat Med 2012;31:2577-2587 (DeLong's test in nested models); Pepe MS
        et al. Stat Med 2013;32:1467-1482 (the likelihood ratio is the test); Williamson BD et al. J Am Stat Assoc
        2023;118:1645-1658 (cross-fitting); Nadeau C, Bengio Y. Mach Learn
        2003;52:239-281 (the variance of training); Vickers AJ et al. Diagn Progn Res 2019;3:18 (net benefit).
    """
    y, scores = checked_arrays(label, image)
    if len(columns) != len(y):
        raise EvaluationError(f"clinical columns: expected a row for each of {len(y)} patients, found {len(columns)}")
    design = _design(columns)
    if min(y.sum(), len(y) - y.sum()) < LEAST_IN_CLASS or not design.shape[1]:
        return None
    threshold = min(0.99, max(0.01, threshold))
    own = normal_scores(scores)
    larger = np.column_stack([design, own])
    random = np.random.default_rng(seed)
    met: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"clinical": [], "both": [], "image": []}
    gain: dict[str, list[np.ndarray]] = {"clinical": [], "both": []}
    out_of_fold = np.zeros(len(y))
    for _ in range(N_REPEATS):
        fold = dealt_folds(y, N_FOLDS, random)
        found = {name: _cross_fitted(terms, y, fold) for name, terms in (("clinical", design), ("both", larger))}
        out_of_fold += found["clinical"] / N_REPEATS
        for name, values in {**found, "image": own}.items():
            met[name].append(_placements(y, values, fold))
        for name, values in found.items():
            gain[name].append(gains(y, values >= threshold, threshold))
    mean = {name: Placements(*(np.mean(part, axis=0) for part in zip(*of, strict=True))) for name, of in met.items()}
    benefits = {name: np.mean(of, axis=0) for name, of in gain.items()}
    added = Placements(*(both - alone for both, alone in zip(mean["both"], mean["clinical"], strict=True)))
    fewer = int(min(y.sum(), len(y) - y.sum()))
    wide = widen * float(student.isf((1 - level) / 2, fewer - 1)) if fewer >= LEAST_FOR_INTERVAL else math.nan
    benefit = benefits["both"] - benefits["clinical"]

    def difference(values: np.ndarray, variance: float) -> dict[str, float | int | None]:
        value, least = float(values.mean()), LEAST_ERROR / len(y)
        half = wide * math.hypot(math.sqrt(variance * (1 + TRAINING / fewer)), least)
        return as_json(Estimate(value, value - half, value + half, len(y)))

    few = design.shape[1] <= TERMS_PER_PATIENT * min(y.sum(), len(y) - y.sum())
    terms = design if few else normal_scores(out_of_fold)[:, None]
    ratio = 2 * (_log_likelihood(np.column_stack([terms, own]), y) - _log_likelihood(terms, y)) / widen**2
    return {
        "columns": [str(name) for name in columns.columns],
        "n": len(y),
        **{
            name: as_json(_estimate(mean[name], wide, fewer, name != "image")) for name in ("clinical", "image", "both")
        },
        "difference": difference(added.methylated, mean_variance(added)),
        "likelihood_ratio": {"chi2": max(0.0, ratio), "p": float(chi2.sf(max(0.0, ratio), 1))},
        "net_benefit": {
            "threshold": threshold,
            **{name: number_or_none(float(of.mean())) for name, of in benefits.items()},
            "difference": difference(benefit, float(benefit.var(ddof=1)) / len(y)),
        },
    }


def _design(columns: pd.DataFrame) -> np.ndarray:
    """Standardised numbers, and categories as columns of 0 and 1; constant ones are left out."""
    parts = []
    for name in columns:
        text = columns[name].fillna("").astype(str).str.strip()
        text = text.mask(text.str.lower().isin(NO_SITE), "")
        measured = numbers(text)
        if measured.nunique() > 2:
            scaled = measured / max(measured.abs().max(), 1e-300)  # squares of large numbers are infinite
            filled = scaled.fillna(scaled.mean()).to_numpy()
            parts.append((filled - filled.mean()) / filled.std())
            if measured.isna().any():
                parts.append(measured.isna().to_numpy(dtype=float))
            continue
        for value in text.value_counts().index[1 : MOST_CATEGORIES + 1]:
            parts.append((text == value).to_numpy(dtype=float))
    return np.column_stack(parts) if parts else np.empty((len(columns), 0))


def _cross_fitted(design: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    terms, found = _with_intercept(design), np.empty(len(label))
    for number in range(N_FOLDS):
        seen = fold != number
        found[~seen] = expit(terms[~seen] @ logistic(terms[seen], label[seen], _penalty(design, PENALTY)))
    return found


def _log_likelihood(design: np.ndarray, label: np.ndarray) -> float:
    terms = _with_intercept(design)
    logits = terms @ logistic(terms, label, _penalty(design, 1e-6))
    return float(log_expit(np.where(label == 1, logits, -logits)).sum())


def _with_intercept(design: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(design)), design])


def _penalty(design: np.ndarray, of_terms: float) -> np.ndarray:
    return np.repeat([1e-8, of_terms], [1, design.shape[1]])


def _placements(label: np.ndarray, values: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each patient among those of the same fold: models of different folds have levels of their own."""
    methylated, unmethylated = np.empty(int(label.sum())), np.empty(int((1 - label).sum()))
    for number in range(N_FOLDS):
        of = fold == number
        first, second = values[of & (label == 1)][:, None], values[of & (label == 0)]
        above = (first > second) + 0.5 * (first == second)
        methylated[of[label == 1]], unmethylated[of[label == 0]] = above.mean(axis=1), above.mean(axis=0)
    return methylated, unmethylated


def _estimate(mean: Placements, wide: float, fewer: int, fitted: bool) -> Estimate:
    value, variance = float(mean.methylated.mean()), mean_variance(mean)
    error = wide * math.sqrt(variance * (1 + TRAINING / fewer)) / normal_quantile(0.95)
    ends = logit_interval(value, error) if 0 < value < 1 and error > 0 else UNDEFINED
    if fitted:  # what was fitted here to the labels is below 0.5 by chance alone
        ends = Interval(ends[0], max(ends[1], 0.5))
    return Estimate(value, *ends, len(mean.methylated) + len(mean.unmethylated))
