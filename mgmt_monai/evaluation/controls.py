"""Negative controls: predictions for the same patients made without the tumour, held against a model's."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import gammaln, logit

from mgmt_monai.evaluation.added_value import added_value, association, correlation
from mgmt_monai.evaluation.comparison import PairedComparison, compare_paired, holm
from mgmt_monai.evaluation.delong import auc_estimate
from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.folds import widened
from mgmt_monai.evaluation.intervals import Estimate, wider_level
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.pooling import pool

ALPHA_MODEL = 0.025
"""One-sided level at which the model is above chance, and adds to a control: that of the lower end of a 95 % interval.
"""

ALPHA_CONTROLS = 0.05
"""Family-wise level (Holm) at which a control is above chance, and one-sided level at which it goes with the model."""

NO_SHORTCUT_CONTROLS = re.compile(r"(?<![a-z])(blank|permuted[ _-]labels)(?![a-z])", re.IGNORECASE)
"""In the names of controls that find mistakes of procedure and see no shortcut: they alone do not make a signal
believable."""

LEAST_TOLD_APART = 0.1
"""Of all pairs of patients, the share to which a control gives different values, from which on it is informative: one
that is constant but for a few patients could see no shortcut."""

MOST_ALIKE = 0.9
"""Correlation with the model among patients of one label, from which on a control leaves it too little of its own: that
control may be a shaken copy of it."""

LEAST_LEVELS = 10
"""Different probabilities of a model that can be told from another's: two that part the labels have the same two."""

COPY_P = 0.0001
"""A control orders patients as the model does by chance no more often than this: then it is a copy."""

WIDEST_CUT = 5
"""Times the usual step between a model's neighbours: where steps between a control's values lie at wider ones, the
patients are groups, such as two scanners', which both may see."""

CONTROL_DIGITS = 5
"""Decimal places of a control's probabilities: far coarser than rounding errors, far finer than any finding."""


@dataclass(frozen=True)
class Control:
    """A negative control beside the model.

    Args:
        name: Such as ``header_tags``.
        auc: Its AUC over the same patients.
        p_value: One-sided, of its AUC against chance, within sites where these are known.
        p_holm: The same, corrected for the number of controls that vary.
        difference: The model minus the control, paired.
        informative: It varies on these patients (`LEAST_TOLD_APART`) and is no copy.
        copied: It is the model's own predictions (`copies`).
        p_added: One-sided, of what the model tells beyond it.
        alike: It goes with the model as a shaken copy would (`MOST_ALIKE`).
        explains: It is above chance, goes with the model among patients of one label, and leaves the model nothing.
    """

    name: str
    auc: Estimate
    p_value: float
    p_holm: float
    difference: PairedComparison
    informative: bool
    copied: bool
    p_added: float
    alike: bool
    explains: bool

    @property
    def beyond(self) -> bool:
        """Whether the model tells more, and something of its own."""
        return self.p_added <= ALPHA_MODEL and not self.alike


def control_scores(table: pd.DataFrame) -> pd.Series:
    """A control's probability by test patient.

    Rounded: of blank images every slice gets the same probability but for the last digits, which depend on how many
    slices are averaged, and would then be told apart by the number of slices. One that is constant in each model is
    constant: folds' models differ by the labels that they were trained on, which is no news of a patient.

    Args:
        table: As `pool` takes it.

    Returns:
        By ``patient_id``.

    Raises:
        EvaluationError: As `pool`.
    """
    found = pool(table, 0.0).set_index("patient_id")["probability"].round(CONTROL_DIGITS)
    test = table[table["split"] == "test"].assign(probability=lambda rows: rows["probability"].round(CONTROL_DIGITS))
    of_model = test.groupby(["fold", "seed"])["probability"].agg(["size", "nunique"])
    several = of_model[of_model["size"] > 1]  # of one patient nobody knows
    constant = len(several) > 0 and bool((several["nunique"] == 1).all())
    return pd.Series(float(found.iloc[0]), index=found.index) if constant else found


def held_against(
    controls: Mapping[str, ArrayLike], label: np.ndarray, probability: ArrayLike, scores: np.ndarray, level: float,
    n_permutations: int, seed: int, code: np.ndarray | None, widen: float, above: bool,
) -> list[Control]:  # fmt: skip
    """Each control beside the model.

    Args:
        controls: By name, each of shape ``(n,)``.
        label: Shape ``(n,)``, 0 or 1.
        probability: Shape ``(n,)``, the model's.
        scores: The same, comparable over folds.
        level: Of the intervals.
        n_permutations: Of the labels, for each p-value.
        seed: Of the permutations.
        code: Shape ``(n,)``, the site, from 0; None without one.
        widen: How many times as large standard errors are taken.
        above: Whether the model is above chance: else nothing is there to explain.

    Raises:
        EvaluationError: A control is not finite, or of another shape.
    """
    given = {name: checked_arrays(label, values)[1] for name, values in controls.items()}
    own = np.asarray(probability, dtype=float)
    copied = {name: copies(own, values) or copies(scores, values) for name, values in given.items()}
    varies = {name: told_apart(values) >= LEAST_TOLD_APART and not copied[name] for name, values in given.items()}
    p_values = {
        name: widened(permutation_test(label, values, n_permutations, seed + 1 + number, code).p_value, widen)
        for number, (name, values) in enumerate(given.items())
    }
    of_varying = [name for name in given if varies[name]]
    corrected = dict(zip(of_varying, holm([p_values[name] for name in of_varying]), strict=True))
    found = []
    for name, values in given.items():
        p_holm = float(corrected.get(name, 1.0))
        p_added = widened(added_value(label, scores, values, code), widen) if varies[name] else math.nan
        explains = above and p_holm <= ALPHA_CONTROLS and p_added > ALPHA_MODEL
        found.append(
            Control(
                name=name,
                auc=auc_estimate(label, values, wider_level(level, widen)),
                p_value=p_values[name],
                p_holm=p_holm,
                difference=compare_paired(label, probability, values, level, widen),
                informative=varies[name],
                copied=copied[name],
                p_added=p_added,
                alike=any(abs(correlation(model, values, label)) >= MOST_ALIKE for model in (own, scores)),
                explains=bool(explains and association(label, scores, values, code) <= ALPHA_CONTROLS),
            )
        )
    return found


def copies(model: np.ndarray, control: np.ndarray) -> bool:
    """Whether a control is a model's own predictions: rounded, rescaled, turned round, or dealt to other patients.

    Args:
        model: Shape ``(n,)``.
        control: Shape ``(n,)``.

    Example:
        >>> model = np.arange(40) ** 2 / 1600
        >>> copies(model, (1 - model).round(1)), copies(model, np.arange(40) % 7)
        (True, False)
    """
    if len(np.unique(model)) < LEAST_LEVELS:
        return False
    if np.array_equal(np.sort(model.round(CONTROL_DIGITS)), np.sort(control.round(CONTROL_DIGITS))):
        return True
    sizes = np.unique(control, return_counts=True)[1]
    if gammaln(len(control) + 1) - gammaln(sizes + 1).sum() < math.log(2 / COPY_P):  # orders that chance has
        return False
    inside = model.min() >= 0 and model.max() <= 1
    # On the logits' scale: probabilities crowd near 0 and 1.
    steps = np.diff(np.sort(logit(np.clip(model, 1e-9, 1 - 1e-9)) if inside else model))
    usual = WIDEST_CUT * np.median(steps[steps > 0])
    for turned in (control, -control):
        rises = np.diff(turned[np.lexsort((turned, model))])
        if (rises >= 0).all() and np.median(steps[rises > 0]) <= usual:
            return True
    return False


def told_apart(values: np.ndarray) -> float:
    """The share of all pairs of patients that have different values.

    Args:
        values: Shape ``(n,)``.

    Example:
        >>> told_apart(np.array([1, 1, 1, 2])), told_apart(np.array([5.0]))
        (0.5, 0.0)
    """
    sizes = np.unique(values, return_counts=True)[1]
    pairs = int(sizes.sum()) * (int(sizes.sum()) - 1)
    return (pairs - int((sizes * (sizes - 1)).sum())) / max(1, pairs)
