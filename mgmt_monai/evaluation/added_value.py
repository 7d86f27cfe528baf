"""Whether a model tells anything of the label that another prediction does not, and whether the two go together."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from mgmt_monai.evaluation.discrimination import checked_arrays

RIDGE = 0.01
"""On the terms of the control: keeps the fit finite where the control parts the classes, and moves no other."""

MOST_STEPS = 50
"""Of Newton's method, which takes five to ten."""

_NOTHING_LEFT = 1e-6
"""Variance of the score, in patients, below which the control has explained every label."""


def added_value(
    label: ArrayLike, probability: ArrayLike, control: ArrayLike, stratum: np.ndarray | None = None
) -> float:
    """The one-sided p-value of: given the control, the model tells nothing more of the label.

    A score test in the logistic model of the label on the control (its normal scores and their squares; an intercept
    for each stratum): the model's normal scores, cleared of the same terms, against what the control leaves of the
    label. It is the test of a likelihood ratio without fitting the larger model, which in small samples parts the
    classes. Its variance is multiplied by ``n / (n - terms)``, as that of permutations is.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, the model's.
        control: Shape ``(n,)``, the control's for the same patients; ranks alone count.
        stratum: Shape ``(n,)``, whole numbers from 0; those with one class only tell nothing and are left out.

    Returns:
        In [0, 1]; 1 where nothing is left to explain, ``nan`` when no stratum has both classes.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, or a probability is not finite.

    Source:
        Rao CR. Math Proc Camb Philos Soc 1948;44:50-57; Pepe MS, Kerr KF, Longton G, Wang Z. Testing for improvement
        in prediction model performance. Stat Med 2013;32:1467-1482 (why not a difference of AUCs); Demler OV, Pencina
        MJ, D'Agostino RB. Stat Med 2012;31:2577-2587. Normal scores: van der Waerden BL, 1952.

    Example:
        >>> label, control = [0, 1] * 20, [0.3, 0.3, 0.7, 0.7] * 10
        >>> added_value(label, [0.1, 0.9] * 20, control) < 0.001
        True
    """
    label_, _ = checked_arrays(label, probability)
    checked_arrays(label, control)
    base = _intercepts(label_, stratum)
    used = base.any(axis=1)
    if not used.any():
        return math.nan
    y = label_[used].astype(float)
    score = normal_scores(np.asarray(control)[used])
    design = np.column_stack([base[used], score, score**2])
    fitted = expit(design @ logistic(design, y, np.repeat([1e-8, RIDGE], [base.shape[1], 2])))
    weight = fitted * (1 - fitted)
    if weight.sum() < _NOTHING_LEFT:
        return 1.0
    model = normal_scores(np.asarray(probability)[used])
    root = np.sqrt(weight)
    own = model - design @ np.linalg.lstsq(design * root[:, None], model * root, rcond=None)[0]
    variance = float(weight @ own**2)
    n_terms = int(np.linalg.matrix_rank(design))
    if variance < _NOTHING_LEFT or len(y) <= n_terms:
        return 1.0
    return float(norm.sf((y - fitted) @ own / math.sqrt(variance * len(y) / (len(y) - n_terms))))


def association(
    label: ArrayLike, probability: ArrayLike, control: ArrayLike, stratum: np.ndarray | None = None
) -> float:
    """The one-sided p-value of: among patients of one label (and stratum), model and control do not rise together.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, the model's.
        control: Shape ``(n,)``, the control's.
        stratum: Shape ``(n,)``, whole numbers from 0.

    Returns:
        In [0, 1], of the correlation of normal scores that are centred in each group; 1 where one does not vary in
        any, 0 where neither does: both part the labels, and so are one ranking.

    """
    group = np.asarray(label) if stratum is None else 2 * np.asarray(stratum) + np.asarray(label)
    code = np.unique(group, return_inverse=True)[1]
    first, second = (_centred(values, code) for values in (probability, control))
    if first @ first < _NOTHING_LEFT and second @ second < _NOTHING_LEFT and code.max() > 0:
        return 0.0
    r, free = correlation(probability, control, group), len(code) - code.max() - 2
    if math.isnan(r) or free < 1:
        return 1.0
    return float(student.sf(r * math.sqrt(free / max(1 - r * r, 1e-12)), free))


def correlation(first: ArrayLike, second: ArrayLike, group: ArrayLike) -> float:
    """The correlation of normal scores that are centred in each group.

    Args:
        first: Shape ``(n,)``.
        second: Shape ``(n,)``.
        group: Shape ``(n,)``, such as the label.

    Returns:
        In [-1, 1]; ``nan`` where one does not vary in any group.
    """
    code = np.unique(group, return_inverse=True)[1]
    a, b = _centred(first, code), _centred(second, code)
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return math.nan if spread < _NOTHING_LEFT else min(1.0, max(-1.0, float(a @ b) / spread))


def _centred(values: ArrayLike, code: np.ndarray) -> np.ndarray:
    scores = normal_scores(values)
    return scores - (np.bincount(code, scores) / np.bincount(code))[code]


def logistic(design: np.ndarray, label: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """The coefficients of a ridge logistic regression, by Newton's method.

    Args:
        design: Shape ``(n, terms)``, the intercept among them.
        label: Shape ``(n,)``, 0 or 1.
        penalty: Shape ``(terms,)``, above 0: half of it times the squared coefficient is added to the log-loss.

    Returns:
        Shape ``(terms,)``, after `MOST_STEPS` at most.
    """
    beta = np.zeros(design.shape[1])
    for _ in range(MOST_STEPS):
        fitted = expit(design @ beta)
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, design.T @ (label - fitted) - penalty * beta)
        beta += np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-8:
            break
    return beta


def _intercepts(label: np.ndarray, stratum: np.ndarray | None) -> np.ndarray:
    """One column for each stratum with both classes, shape ``(n, strata)``."""
    code = np.zeros(len(label), dtype=int) if stratum is None else np.asarray(stratum)
    mixed = [each for each in range(int(code.max()) + 1) if 0 < label[code == each].sum() < (code == each).sum()]
    return (code[:, None] == np.array(mixed, dtype=int)[None, :]).astype(float)


def normal_scores(values: ArrayLike) -> np.ndarray:
    """Ranks as a normal distribution has them.

    Args:
        values: Shape ``(n,)``, any real score.
    """
    values = np.asarray(values, dtype=float)
    return norm.ppf(rankdata(values) / (len(values) + 1))
