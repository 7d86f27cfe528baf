"""The figures apart for each hospital, scanner or other group of patients, and whether they differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import chi2

from mgmt_monai.evaluation.calibration import in_the_large
from mgmt_monai.evaluation.columns import MOST_VALUES, quarters
from mgmt_monai.evaluation.comparison import holm
from mgmt_monai.evaluation.delong import auc_estimate
from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.folds import fold_widen
from mgmt_monai.evaluation.intervals import UNDEFINED, Estimate, as_json, normal_quantile, wider_level, wilson_interval
from mgmt_monai.evaluation.predictions import EvaluationError

ABSENT = "(absent)"
"""Stands for patients without a value."""

LEAST_IN_CLASS = 10
"""Patients of each label that a subgroup's AUC needs; of a smaller one the counts alone are shown."""

_NEEDED = ("patient_id", "label", "probability")


@dataclass(frozen=True)
class Subgroup:
    """The patients who share a value.

    Args:
        column: Such as ``manufacturer``.
        value: Such as ``SIEMENS``.
        n: How many patients.
        n_methylated: How many of them are methylated.
        auc: ``nan`` with fewer than `LEAST_IN_CLASS` patients in a class, as all that follows.
        sensitivity: At each patient's own threshold.
        specificity: The same.
        in_the_large: Calibration in the large: above 0 the probabilities are too low on average.
    """

    column: str
    value: str
    n: int
    n_methylated: int
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    in_the_large: Estimate

    def as_json(self) -> dict[str, Any]:
        """As ``subgroups`` in ``evaluation.json`` and ``report.json``."""
        return {name: as_json(of) if isinstance(of, Estimate) else of for name, of in vars(self).items()}


def interactions(groups: Sequence[Subgroup], level: float = 0.95) -> list[dict[str, Any]]:
    """Whether the AUC differs among the values of a column: Cochran's Q of the groups' AUCs on the logit scale.

    Variances are read from the intervals, which are wide on purpose in small groups: there it errs to no difference.

    Args:
        groups: As `subgroups` returns them.
        level: That their intervals were made with.

    Returns:
        A row for each column with two groups or more that have an AUC: ``column``, ``n_groups``, ``chi2``, ``p``, and
        ``p_holm``, corrected for the number of columns.

    Source:
        Cochran WG. Biometrics 1954;10:101-129. One test a column in place of one p-value a subgroup: Wang R et al. N
        Engl J Med 2007;357:2189-2194.
    """
    rows: list[dict[str, Any]] = []
    for column in dict.fromkeys(group.column for group in groups):
        aucs = [of.auc for of in groups if of.column == column and 0 < of.auc.low < of.auc.value < of.auc.high < 1]
        if len(aucs) < 2:
            continue
        value = logit([of.value for of in aucs])
        ends = logit([of.high for of in aucs]) - logit([of.low for of in aucs])
        weight = (2 * normal_quantile(level) / ends) ** 2
        q = float(weight @ (value - weight @ value / weight.sum()) ** 2)
        rows.append({"column": column, "n_groups": len(aucs), "chi2": q, "p": float(chi2.sf(q, len(aucs) - 1))})
    corrected = holm([row["p"] for row in rows]).tolist()
    return [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def subgroups(pooled: pd.DataFrame, columns: pd.DataFrame, level: float = 0.95, site: str = "") -> list[Subgroup]:
    """The AUC among the patients of each value of each column.

    Args:
        pooled: One row a patient with ``patient_id``, ``label`` and ``probability``, as
            :func:`~mgmt_monai.evaluation.pooling.pool` returns it.
        columns: One row a patient, indexed by patient id, values as text. Patients that are not in ``pooled`` are
            ignored; a patient without a row, and an empty value, counts as :data:`ABSENT`.
        level: Of the intervals, between 0 and 1.
        site: The column that tells the site: its numbers are codes.

    Returns:
        For each column in its order (many numbers first cut by :func:`~mgmt_monai.evaluation.columns.quarters`): its
        :data:`~mgmt_monai.evaluation.columns.MOST_VALUES` most frequent values, the most frequent first and equally
        frequent ones by name; the rest together as ``other (k values)``; patients without a value last.

    Raises:
        EvaluationError: A column of ``pooled`` is missing, a patient is there twice, a label is not 0 or 1, a
            probability is not finite, or ``level`` is not between 0 and 1.
    """
    level = wider_level(level, fold_widen(pooled["fold"]) if "fold" in pooled else 1.0)
    missing = [name for name in _NEEDED if name not in pooled.columns]
    if missing:
        raise EvaluationError(
            f"subgroups: expected one row a patient with {', '.join(_NEEDED)}, found none named {', '.join(missing)}; "
            "pool the predictions first"
        )
    patients = pooled["patient_id"].tolist()
    for where, ids in (("predictions", pd.Index(patients)), ("columns", columns.index)):
        if ids.has_duplicates:
            raise EvaluationError(
                f"subgroups, {where}, patient {ids[ids.duplicated()][0]}: expected one row a patient, found more; "
                "remove all but one"
            )
    label, probability = checked_arrays(pooled["label"], pooled["probability"])
    called = probability >= (pooled["threshold"].to_numpy() if "threshold" in pooled else 0.5)
    found = []
    for column in columns.columns:
        texts = pd.Series([_text(value) for value in columns[column].reindex(patients)], dtype=object, name=column)
        cut = texts if column == site else quarters(texts.where(texts != ABSENT, "")).replace("", ABSENT)
        values = cut.to_numpy(dtype=object)
        found += [
            _subgroup(str(column), name, label[members], probability[members], called[members], level)
            for name, members in _members(values)
        ]
    return found


def _members(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Each group's name and who is in it, in the order of the report."""
    present = values[values != ABSENT]
    names, how_often = np.unique(present.astype(str), return_counts=True)
    ranked = names[np.argsort(-how_often, kind="stable")].tolist()
    groups = [(name, values == name) for name in ranked[:MOST_VALUES]]
    rare = ranked[MOST_VALUES:]
    if rare:
        groups.append((f"other ({len(rare)} value{'' if len(rare) == 1 else 's'})", np.isin(values.astype(str), rare)))
    if (values == ABSENT).any():
        groups.append((ABSENT, values == ABSENT))
    return groups


def _subgroup(
    column: str, value: str, label: np.ndarray, probability: np.ndarray, called: np.ndarray, level: float
) -> Subgroup:
    n, m = len(label), int(label.sum())
    if min(m, n - m) < LEAST_IN_CLASS:
        return Subgroup(column, value, n, m, *[Estimate(math.nan, *UNDEFINED, n)] * 4)
    hit, right = int(called[label == 1].sum()), int((~called[label == 0]).sum())
    inside = bool(((probability >= 0) & (probability <= 1)).all())
    return Subgroup(
        column, value, n, m,
        auc_estimate(label, probability, level),
        Estimate(hit / m, *wilson_interval(hit, m, level), m),
        Estimate(right / (n - m), *wilson_interval(right, n - m, level), n - m),
        in_the_large(label, probability, level) if inside else Estimate(math.nan, *UNDEFINED, n),
    )  # fmt: skip


def _text(value: object) -> str:
    return ABSENT if pd.isna(value) or not str(value).strip() else str(value).strip()
