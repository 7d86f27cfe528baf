"""From many models to one row a patient: the models that tested a patient are averaged."""

import math

import pandas as pd

from mgmt_monai.evaluation.discrimination import CLASS_NAMES
from mgmt_monai.evaluation.operating_point import youden_threshold
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, EvaluationError, checked_table

DIGITS = 12
"""Decimal places of a pooled probability: the last digits of a mean depend on how many numbers went into it, and would
tell apart patients of equal probability. A network's own float32 has seven."""

POOLED_COLUMNS = ("patient_id", "label", "probability", "threshold", "n_models", "fold")


def pool(table: pd.DataFrame, threshold: float | None = None) -> pd.DataFrame:
    """One row a test patient, over the models (fold and seed) that tested it.

    The threshold comes from validation patients only. Where folds are pooled, a patient tested by one model may have
    been a validation patient of another; each patient therefore has its own threshold, from the models that tested
    it, none of which has seen it.

    Args:
        table: The columns of :data:`~mgmt_monai.evaluation.predictions.PATIENT_COLUMNS`, one modality and one stage,
            any number of folds and seeds. Rows of split ``train`` are left out.
        threshold: Called methylated when ``probability >= threshold``, in [0, 1]. None: for each model the one of
            :func:`~mgmt_monai.evaluation.operating_point.youden_threshold` on its validation patients.

    Returns:
        The columns :data:`POOLED_COLUMNS`, sorted by ``patient_id``: ``label`` (int64); ``probability`` and
        ``threshold`` (float64), means over the models that tested the patient; ``n_models`` (int64), how many;
        ``fold`` (int64), the first of them, by seed.

    Raises:
        EvaluationError: The table breaks the schema, holds more than one modality or stage, or no test patient;
            ``threshold`` is not in [0, 1]; or it is None and a model has no validation patients of both classes.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise EvaluationError(f"evaluation: expected a threshold from 0 to 1, found {threshold}")
    checked = checked_table(table, PATIENT_COLUMNS)
    for column in ("modality", "stage"):
        found = sorted(checked[column].unique())
        if len(found) > 1:
            raise EvaluationError(
                f"predictions, column {column}: expected one {column} to pool, found {', '.join(found)}; "
                "select one first"
            )
    test = checked[checked["split"] == "test"]
    if not len(test):
        splits = ", ".join(sorted(checked["split"].unique())) or "no row"
        raise EvaluationError(
            f"predictions, column split: expected rows of split test to judge, found {splits}; "
            "add the predictions for the test patients"
        )
    if threshold is None:
        chosen = _thresholds(checked[checked["split"] == "validation"], test)
        test = test.assign(threshold=[chosen[model] for model in _models(test)])
    else:
        test = test.assign(threshold=float(threshold))
    pooled = (
        test.sort_values(["seed", "fold"])
        .groupby("patient_id", sort=True)
        .agg(
            label=("label", "first"),
            probability=("probability", _mean),
            threshold=("threshold", _mean),
            n_models=("label", "size"),
            fold=("fold", "first"),
        )
    )
    pooled["probability"] = pooled["probability"].round(DIGITS)
    return pooled.reset_index()[list(POOLED_COLUMNS)].astype({"label": "int64", "n_models": "int64", "fold": "int64"})


def _thresholds(validation: pd.DataFrame, test: pd.DataFrame) -> dict[tuple[int, int], float]:
    """Each testing model's threshold, by fold and seed."""
    of_model = dict(list(validation.groupby(["fold", "seed"])))
    chosen = {}
    for fold, seed in sorted(set(_models(test))):
        seen = of_model.get((fold, seed), validation.iloc[:0])
        value = youden_threshold(seen["label"], seen["probability"]) if len(seen) else math.nan
        if math.isnan(value):
            found = f"{len(seen)}, all {CLASS_NAMES[seen['label'].iloc[0]]}" if len(seen) else "none"
            raise EvaluationError(
                f"predictions, fold {fold}, seed {seed}: expected validation patients of both classes to choose a "
                f"threshold on, found {found}; add them as rows of split validation, or give a threshold"
            )
        chosen[(fold, seed)] = value
    return chosen


def _models(table: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(table["fold"].tolist(), table["seed"].tolist(), strict=True))


def _mean(values: pd.Series) -> float:
    # fsum: a rounded sum must not push the mean of models that all say 1.0 above 1.
    return math.fsum(values) / len(values)
