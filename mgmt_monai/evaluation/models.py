"""The models in predictions tables: each modality and stage in each file is one, its folds and seeds together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from mgmt_monai.evaluation.assessment import assess, number_or_none
from mgmt_monai.evaluation.comparison import compare_paired, holm
from mgmt_monai.evaluation.pooling import pool
from mgmt_monai.evaluation.predictions import EvaluationError, read_patients

DEFAULT_THRESHOLD = 0.5
"""Where a table has no validation patients to choose one on."""


def read_models(paths: Sequence[Path], threshold: float | None = None) -> dict[str, pd.DataFrame]:
    """The models of predictions tables, each as one row a test patient.

    Args:
        paths: Patient tables.
        threshold: Called methylated from this probability on. None: for each model Youden's on its validation
            patients, or `DEFAULT_THRESHOLD` where the table has none.

    Returns:
        As :func:`mgmt_monai.evaluation.pooling.pool` returns them, by name: modality and stage, behind the file's name
        where there are several files.

    Raises:
        EvaluationError: A table cannot be read or breaks the schema, has no test patients, or two files have one name.
    """
    models: dict[str, pd.DataFrame] = {}
    for path in paths:
        table = read_patients(path)
        for (modality, stage), rows in table.groupby(["modality", "stage"], sort=False):
            name = " ".join([*([path.stem] if len(paths) > 1 else []), str(modality), str(stage)])
            if name in models:
                raise EvaluationError(f"{path}: expected different file names, found {path.stem!r} twice; rename one")
            chosen = DEFAULT_THRESHOLD if threshold is None and not (rows["split"] == "validation").any() else threshold
            try:
                models[name] = pool(rows, chosen)
            except EvaluationError as error:
                raise EvaluationError(f"{path}, {modality} {stage}: {error}") from error
    return models


def evaluate(
    *predictions: str | Path, threshold: float | None = None, level: float = 0.95, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Judge predictions tables, whoever made them; nothing is written.

    Args:
        predictions: Patient tables (docs/reference/predictions.md).
        threshold: As `read_models` takes it.
        level: Of every interval.
        seed: Of resampling and permutation.

    Returns:
        For each model, by modality and stage, what :func:`mgmt_monai.evaluation.assessment.assess` returns, ``auc``,
        ``accuracy``, ``calibration_slope``, ``permutation_p``, ...

    Raises:
        EvaluationError: As `read_models`.

    Example:
        >>> import mgmt_monai as mgmt
        >>> figures = mgmt.evaluate(run / "predictions.csv")  # doctest: +SKIP
        >>> figures["T1w fine_tune"]["auc"]  # doctest: +SKIP
        {'value': 0.93, 'low': 0.74, 'high': 0.98, 'n': 24}
    """
    models = read_models([Path(path) for path in predictions], threshold)
    return {name: assess(pooled, level, seed=seed) for name, pooled in models.items()}


def comparisons(models: Mapping[str, pd.DataFrame], level: float = 0.95) -> list[dict[str, Any]]:
    """Every two models that tested the same patients, compared on these: paired DeLong test, Holm's correction.

    Args:
        models: By name, as `read_models` returns them.
        level: Of the intervals.

    Returns:
        One row a pair: ``first``, ``second``, ``n`` (shared patients), ``auc_first``, ``auc_second``, ``difference``
        (first minus second), ``low``, ``high``, ``p``, ``p_holm``; ``None`` where undefined. Pairs without a shared
        patient are left out.

    Raises:
        EvaluationError: A patient has another label in another model.
    """
    rows, p_values = [], []
    for first, second in combinations(models, 2):
        both = models[first].merge(models[second], on="patient_id", suffixes=("", "_second"))
        if not len(both):
            continue
        differing = both[both["label"] != both["label_second"]]
        if len(differing):
            raise EvaluationError(
                f"patient {differing['patient_id'].iloc[0]}: expected one label, found {differing['label'].iloc[0]} in "
                f"{first!r} and {differing['label_second'].iloc[0]} in {second!r}; mend the tables"
            )
        found = compare_paired(both["label"], both["probability"], both["probability_second"], level)
        p_values.append(found.p_value)
        rows.append(
            {
                "first": first,
                "second": second,
                "n": len(both),
                "auc_first": number_or_none(found.auc_a),
                "auc_second": number_or_none(found.auc_b),
                "difference": number_or_none(found.difference),
                "low": number_or_none(found.low),
                "high": number_or_none(found.high),
                "p": number_or_none(found.p_value),
            }
        )
    adjusted = holm(p_values).tolist() if rows else []
    return [{**row, "p_holm": number_or_none(p)} for row, p in zip(rows, adjusted, strict=True)]
