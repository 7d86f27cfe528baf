"""The models in predictions tables: each modality and stage of one file name, its folds and seeds together.

What the trainings beside the tables say, and one row a test patient.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mgmt_monai.evaluation.batch_table import is_batch, read_batch
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.evaluation.folds import seeds_as_folds
from mgmt_monai.evaluation.pooling import pool
from mgmt_monai.evaluation.predictions import (
    PATIENT_COLUMNS,
    EvaluationError,
    checked_table,
    read_patients,
)
from mgmt_monai.evaluation.referee import hold
from mgmt_monai.json_file import JsonFileError, read_json

logger = logging.getLogger(__name__)

DEFAULT_THRESHOLD = 0.5
"""Where a table has no validation patients to choose one on."""


def read_rows(
    paths: Sequence[Path], labels: Mapping[str, int] | None = None
) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The rows of each model in predictions tables.

    Args:
        paths: Patient tables, or tables of ``predict --batch``.
        labels: By patient, for the latter; the former's own are held against them.

    Returns:
        The columns of a predictions table (and ``threshold``, of ``predict --batch``; as `seeds_as_folds` has them), by
        name: modality and stage, behind the file's name where there are several. Files of one name are the folds and
        seeds of one plan, as an array of jobs leaves them. How many predictions were left out, by reason.

    Raises:
        EvaluationError: A table cannot be read or breaks the schema, a model has no test patients, files of one name
            hold a fold and seed twice or are of unlike trainings, or labels are not those given.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    left_out: Counter[str] = Counter()
    for path in paths:
        if labels is not None and is_batch(path):
            table, without = read_batch(path, labels)
            left_out.update(without)
        else:
            table = read_patients(path)
            if labels is not None:
                hold(table, str(path), labels, {}, "label table")
        tables.setdefault(path.stem, []).append(table.assign(file=str(path)))
    models: dict[str, pd.DataFrame] = {}
    for stem, of in tables.items():
        for (modality, stage), rows in _one_plan(of).groupby(["modality", "stage"], sort=False):
            name = " ".join([*([stem] if len(tables) > 1 else []), str(modality), str(stage)])
            if not (rows["split"] == "test").any():
                raise EvaluationError(
                    f"{rows['file'].iloc[0]}, {name}: expected rows of split test to judge, found "
                    f"{', '.join(rows['split'].unique())}; add the predictions for the test patients"
                )
            models[name] = seeds_as_folds(rows.drop(columns="file").reset_index(drop=True))
    return models, {what: n for what, n in left_out.items() if n}


def _one_plan(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Files of one name as one table: each with folds or seeds of its own, of one network and one manifest."""
    paths = [str(of["file"].iloc[0]) for of in tables]
    parts: dict[tuple[str, str, int, int], int] = {}
    for number, of in enumerate(tables):
        for modality, stage, fold, seed in of[["modality", "stage", "fold", "seed"]].drop_duplicates().to_numpy():
            if (other := parts.setdefault((modality, stage, fold, seed), number)) != number:
                raise EvaluationError(
                    f"{paths[number]}: expected different file names, or other folds or seeds, found {modality} "
                    f"{stage}, fold {fold}, seed {seed} in {paths[other]} too; rename one if they are two models"
                )
    table = pd.concat(tables, ignore_index=True)
    if len(tables) == 1:
        return table
    beside = {path: _beside(Path(path), "run.json") for path in paths}
    for key in ("weights", "manifest_hash"):
        found = {path: of[key] for path, of in beside.items() if of.get(key) is not None}
        for path in found:
            if found[path] != next(iter(found.values())):
                raise EvaluationError(
                    f"{path}: expected the same {key} as beside {next(iter(found))}: files of one name are folds of "
                    "one training, found another; rename one if they are two models"
                )
    checked_table(table, PATIENT_COLUMNS, f"{paths[0]} and {len(paths) - 1} more of its name")
    return table


def not_learnt(paths: Sequence[Path], names: Collection[str]) -> dict[str, str]:
    """What trainings say of their stages that have not learnt, where their ``metrics.json`` lies beside the table.

    Args:
        paths: Of the tables.
        names: Of the models in them, as `read_rows` makes them.

    Returns:
        The sentence by model; another program's file of that name says nothing.
    """
    found: dict[str, list[str]] = {}
    one = len({path.stem for path in paths}) == 1
    for path in paths:
        stages = {stage: of for stage, of in _beside(path, "metrics.json").items() if isinstance(of, dict)}
        told = {stage: of["learning"]["sentence"] for stage, of in stages.items() if "learning" in of}
        modalities = pd.read_csv(path, usecols=["modality"], dtype=str)["modality"].unique() if told else []
        for (stage, sentence), modality in product(told.items(), modalities):
            name = f"{modality} {stage}" if one else f"{path.stem} {modality} {stage}"
            if name in names:
                found.setdefault(name, []).append(sentence)
    said = {name: [sentence for sentence in each if sentence] for name, each in found.items()}
    return {
        name: of[0] + (f"; so say {len(of)} of its {n} trainings" if (n := len(found[name])) > 1 else "")
        for name, of in said.items()
        if of
    }


def trained_on(paths: Iterable[Path]) -> list[str]:
    """What the trainings beside the tables say of their patients: whether these are of a made cohort, which, how many.

    Returns:
        A sentence each, none twice; another program's ``run.json`` says nothing.
    """
    found: dict[str, None] = {}
    for path in paths:
        if text := (_beside(path, "run.json").get("origin") or {}).get("text"):
            found[text] = None
    return list(found)


def _beside(table: Path, name: str) -> dict[str, Any]:
    """A training's file beside its table; empty without one. What is none of a training is told."""
    path = table.parent / name
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = read_json(path, "mgmt_monai.training", "run.schema.json")
    except JsonFileError as error:
        logger.warning(f"{path}: expected a training's file, found another: it is not asked ({error})")
        return {}
    return content


def pool_models(rows: Mapping[str, pd.DataFrame], threshold: float | None = None) -> dict[str, pd.DataFrame]:
    """Models as one row a test patient.

    Args:
        rows: Of each model, as `read_rows` returns them.
        threshold: Called methylated from this probability on. None: for each model its own column's; else Youden's on
            its validation patients, or `DEFAULT_THRESHOLD` where the table has none.

    Returns:
        As :func:`mgmt_monai.evaluation.pooling.pool` returns them, by name.

    Raises:
        EvaluationError: A model's threshold cannot be chosen.
    """
    models = {}
    for name, of_model in rows.items():
        try:
            models[name] = pool(of_model, _threshold(of_model, threshold)[0])
        except EvaluationError as error:
            raise EvaluationError(f"{name}: {error}") from error
    return models


def threshold_rule(rows: pd.DataFrame, threshold: float | None = None) -> str:
    """By which rule `pool_models` calls patients methylated, in words.

    Args:
        rows: Of one model, as `read_rows` returns them.
        threshold: As `pool_models` takes it.
    """
    return _threshold(rows, threshold)[1]


def seed_spread(rows: pd.DataFrame) -> dict[str, float | int] | None:
    """The AUCs of a model's seeds, each apart, beside which the AUC of their average is another, an ensemble's.

    Args:
        rows: Of one model, as `read_rows` returns them.

    Returns:
        ``n`` seeds with a defined AUC, their ``mean``, ``sd``, ``low`` and ``high``; None with one seed.
    """
    test = rows[rows["split"] == "test"]
    each = [test[test["seed"] == seed] for seed in sorted(test["seed"].unique())]
    # The mean over the folds of a seed: models of different folds have levels of their own.
    aucs = [
        np.nanmean([auc(fold["label"], fold["probability"]) for _, fold in of_seed.groupby("fold")])
        for of_seed in each
        if any(fold["label"].nunique() == 2 for _, fold in of_seed.groupby("fold"))
    ]
    if len(each) < 2 or not aucs:
        return None
    spread = {"mean": np.mean(aucs), "low": min(aucs), "high": max(aucs)}
    sd = float(np.std(aucs, ddof=1)) if len(aucs) > 1 else 0.0
    return {"n": len(aucs), **{name: float(value) for name, value in spread.items()}, "sd": sd}


def seeds_text(spread: Mapping[str, float | int] | None) -> str:
    """What `seed_spread` returns in words; "" of one seed.

    Example:
        >>> seeds_text({"n": 2, "mean": 0.6, "sd": 0.0354, "low": 0.575, "high": 0.625})
        '2 seeds have a mean AUC of 0.60 (sd 0.04, 0.57 to 0.62)'
    """
    return "" if spread is None else (
        "{n} seeds have a mean AUC of {mean:.2f} (sd {sd:.2f}, {low:.2f} to {high:.2f})".format(**spread)
    )  # fmt: skip


def _threshold(rows: pd.DataFrame, threshold: float | None) -> tuple[float | None, str]:
    """The threshold, or None for Youden's, and the rule in words."""
    if threshold is not None:
        return threshold, "as asked for"
    if "threshold" in rows and rows["threshold"].notna().all():
        return float(rows["threshold"].iloc[0]), "the model's own"
    seen = rows[rows["split"] == "validation"]
    if not len(seen):
        return DEFAULT_THRESHOLD, "the table has no validation patients to choose another on"
    n = seen["patient_id"].nunique()
    patients = f"{n} validation patient{'' if n == 1 else 's'}"
    return None, f"Youden's, chosen on {patients}; a training's own figures: --threshold {DEFAULT_THRESHOLD:g}"
