"""What is known of patients beside a picture: which columns are clinical, which are codes, which explain a model."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, mannwhitneyu

from mgmt_monai.evaluation.added_value import added_value
from mgmt_monai.evaluation.controls import ALPHA_MODEL
from mgmt_monai.evaluation.folds import widened
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.within_site import NO_SITE, SITE_NAMES, site_codes

CLINICAL_WORDS = ("age", "sex", "gender")
"""A column whose first word is one of these is clinical, unless others are named."""

MOST_VALUES = 8
"""Of a column, each shown apart; rarer ones are joined, for many small groups hide what matters and invite chance."""

QUARTERS = 4
"""Parts of a column of many numbers, with as many patients each."""

COLUMN_P = 0.01
"""A column goes with the label by chance no more often than this, over all columns together."""

MOST_ODD = 0.1
"""Of a column's values, those that may be no numbers in a column of numbers."""

_NUMBER = r"^\s*[<>~\u2264\u2265]?=?\s*(-?\d+(?:[.,]\d+)?(?:e[+-]?\d+)?)\s*(?:\+|y|yrs?|years?)?\s*$"

_OF_LABEL = re.compile("mgmt|methyl|label", re.IGNORECASE)


def clinical_columns(columns: pd.DataFrame, named: Sequence[str] = ()) -> list[str]:
    """The columns that a clinician knows without a picture.

    Args:
        columns: What is known of the patients.
        named: Those that were asked for; empty for those whose first word is one of `CLINICAL_WORDS`.

    Raises:
        EvaluationError: One that was asked for is not there.
    """
    missing = [name for name in named if name not in columns.columns]
    if missing:
        there = ", ".join(map(str, columns.columns)) or "none"
        raise EvaluationError(f"clinical: expected the column {missing[0]!r} in the tables of columns, found {there}")
    words = {str(name): "".join(c if c.isalpha() else " " for c in str(name).casefold()).split() for name in columns}
    return list(named) or [name for name, of in words.items() if of and of[0] in CLINICAL_WORDS]


def columns_tell(columns: pd.DataFrame, label: np.ndarray, scores: np.ndarray, widen: float = 1.0) -> list[str]:
    """Columns that go with the label and leave a model above chance nothing: it may see what they say, and no tumour.

    A column of the labels themselves, as its name tells, is passed over.

    Args:
        columns: One row a patient, text; without the site, and without what is known of patients clinically.
        label: Shape ``(n,)``, 0 or 1, of these patients.
        scores: Shape ``(n,)``, the model's, comparable over folds.
        widen: How many times as large the model's standard error is taken.

    Returns:
        Their names.

    Example:
        >>> label, scanner = np.repeat([0, 1], 20), pd.DataFrame({"scanner": [*"A" * 16, *"B" * 20, *"A" * 4]})
        >>> columns_tell(scanner, label, (scanner["scanner"] == "B").to_numpy() + np.tile([0, 0.1], 20))
        ['scanner']
    """
    found = []
    named = [name for name in columns if not _OF_LABEL.search(str(name))]
    for name in named if 0 < label.sum() < len(label) else []:
        text = columns[name].fillna("").astype(str).str.strip()
        text = text.mask(text.str.lower().isin(NO_SITE), "").reset_index(drop=True)
        if text.nunique() < 2:
            continue
        cut = quarters(text)
        measured, of, seen = np.empty(0), label, scores
        if cut.equals(text):
            goes = chi2_contingency(pd.crosstab(text, label), correction=False).pvalue
        else:
            known = (cut != "").to_numpy()
            measured, of, seen = numbers(text)[known].to_numpy(), label[known], scores[known]
            goes = mannwhitneyu(measured[of == 1], measured[of == 0]).pvalue if 0 < of.sum() < len(of) else 1.0
        if goes > COLUMN_P / len(named):
            continue
        left = [permutation_test(label, scores, stratum=site_codes(cut, len(cut))).p_value]
        left += [added_value(of, seen, measured)] if len(measured) else []
        # Of a column that parts the labels altogether nothing is left.
        if not all(widened(p, widen) <= ALPHA_MODEL for p in left):
            found.append(str(name))
    return found if found and permutation_test(label, scores).p_value <= 2 * ALPHA_MODEL else []


def quarters(values: pd.Series) -> pd.Series:
    """A column of measured numbers, such as the age, in four parts with as many patients each; any other as it is.

    Numbers that are codes, such as a hospital's, are categories: those with leading zeros, and those of which a few
    are so frequent that no four parts of about equal size can be made.

    Args:
        values: Text, "" where there is none. A column of a name in
            :data:`~mgmt_monai.evaluation.within_site.SITE_NAMES` (as a word of it) is never cut.

    Returns:
        Text: the range of the part, such as ``52 to 61``, "" of what is no number; the values themselves where more
        than `MOST_ODD` are none or they are no more than :data:`MOST_VALUES` different ones.
    """
    if set(re.split(r"[^a-z]+", str(values.name).casefold())) & set(SITE_NAMES):
        return values
    measured = numbers(values)
    if measured.nunique() <= MOST_VALUES:
        return values
    part = pd.qcut(measured, QUARTERS, labels=False, duplicates="drop")
    if part.nunique() < QUARTERS or values.str.fullmatch("0[0-9]+").any():
        return values
    ranges = measured.groupby(part).agg(["min", "max"])
    names = {number: f"{row['min']:.12g} to {row['max']:.12g}" for number, row in ranges.iterrows()}
    return part.map(names).fillna("").astype(object)


def numbers(values: pd.Series) -> pd.Series:
    """A column's numbers, however they are written: ``61``, ``>89``, ``90+``, ``061Y``, ``61,5``.

    Args:
        values: Text, "" where there is none.

    Returns:
        Floats, ``nan`` of what is no number; ``nan`` alone where that are more than `MOST_ODD` of the values.

    Example:
        >>> numbers(pd.Series(["61", ">89", "061Y", "61,5", ""])).tolist()
        [61.0, 89.0, 61.0, 61.5, nan]
        >>> numbers(pd.Series(["SIEMENS", "GE", "3"])).tolist()
        [nan, nan, nan]
    """
    text = values.astype(str)
    found = text.str.extract(_NUMBER, flags=re.IGNORECASE)[0].str.replace(",", ".").astype(float)
    found = found.where(np.isfinite(found))
    known = int((text != "").sum())
    return found if known - found.notna().sum() <= MOST_ODD * known else found * np.nan
