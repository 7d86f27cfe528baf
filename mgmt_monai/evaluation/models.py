"""The models of predictions tables, judged: every figure of each, its verdict, and how they compare."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mgmt_monai.evaluation.assessment import assess, number_or_none
from mgmt_monai.evaluation.best_of import best_of, best_of_p_values
from mgmt_monai.evaluation.columns import clinical_columns, columns_tell
from mgmt_monai.evaluation.comparison import compare_paired, holm
from mgmt_monai.evaluation.controls import control_scores
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.evaluation.folds import across_folds, fold_widen, widened
from mgmt_monai.evaluation.imaging_adds import imaging_adds
from mgmt_monai.evaluation.model_rows import pool_models, read_rows, seed_spread, seeds_text
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.referee import doubts
from mgmt_monai.evaluation.verdict import BOUND, judge
from mgmt_monai.evaluation.within_site import other_sites, site_codes, site_column

PRIMARY_STAGE, OTHER_STAGES = "fine_tune", {"transfer", "plain"}
"""What a training's config names as its result before anything is trained: judged alone, its other stages beside it."""


def evaluate(
    *predictions: str | Path,
    threshold: float | None = None,
    level: float = 0.95,
    seed: int = 0,
    columns: pd.DataFrame | None = None,
    site: str = "",
    controls: Sequence[str] = (),
    bound: float = BOUND,
    primary: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Judge predictions tables, whoever made them; nothing is written.

    Args:
        predictions: Patient tables (docs/reference/predictions.md).
        threshold: As `pool_models` takes it.
        level: Of every interval.
        seed: Of resampling and permutation.
        columns: As `judged` takes it.
        site: As `judged` takes it.
        controls: As `judged` takes it.
        bound: As `judged` takes it.
        primary: As `judged` takes it.

    Returns:
        For each model, by modality and stage, what `judged` returns, ``verdict``, ``auc``, ``accuracy``,
        ``permutation_p``, ...

    Raises:
        EvaluationError: As `read_rows`, `pool_models` and `judged`.

    Example:
        >>> import mgmt_monai as mgmt
        >>> figures = mgmt.evaluate(run / "predictions.csv")  # doctest: +SKIP
        >>> figures["T1w fine_tune"]["auc"]["n"]  # doctest: +SKIP
        2
    """
    rows, _ = read_rows([Path(path) for path in predictions])
    return judged(rows, pool_models(rows, threshold), columns, site, controls, bound, level, seed, (), primary)


def judged(
    rows: Mapping[str, pd.DataFrame], models: Mapping[str, pd.DataFrame], columns: pd.DataFrame | None = None,
    site: str = "", controls: Sequence[str] = (), bound: float = BOUND, level: float = 0.95, seed: int = 0,
    notes: Sequence[str] = (), primary: Sequence[str] = (), clinical: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Every figure of each model, and its verdict.

    Of several models that are no controls, each gets the p-value of the best of all: whichever of them is shown was
    perhaps chosen by these figures. Those that were named beforehand are the best of their own number only.

    Args:
        rows: By name, as `read_rows` returns them.
        models: The same, as `pool_models` returns them.
        columns: Text by patient (the index) and column.
        site: Which column tells the site; "" for one that is called so.
        controls: Names of models that were made without the tumour.
        bound: The smallest AUC that would matter.
        level: Of every interval.
        seed: Of resampling and permutation.
        notes: Reasons that stand beside each verdict's own.
        primary: Names of the models that were meant before these patients were looked at; empty for those of the stage
            `PRIMARY_STAGE`.
        clinical: As :func:`mgmt_monai.evaluation.columns.clinical_columns` takes them.

    Returns:
        By name: what :func:`mgmt_monai.evaluation.assessment.assess` returns, with ``verdict``, ``within_site`` (None
        without a site, and of controls), ``imaging_adds`` (None without clinical columns, and of controls), and
        ``seeds`` (as `seed_spread`), and ``columns_tell`` (as
        :func:`mgmt_monai.evaluation.columns.columns_tell`).

    Raises:
        EvaluationError: A control, a primary model, the site's or a clinical column is not there, two columns could be
            the site, a control has not tested a model's patients, or a patient has another label in another model.
    """
    for what, names in (("control", controls), ("primary model", primary)):
        for name in names:
            if name not in models or (what != "control" and name in controls):
                known = ", ".join(model for model in models if what == "control" or model not in controls)
                raise EvaluationError(f"{what} {name!r}: expected one of the models {known or 'none'}; name one")
    _check_labels(models)
    column = "" if columns is None else site_column(columns, site)
    others = [] if columns is None else other_sites(columns, site)
    if not site and others:
        raise EvaluationError(
            f"site: expected one column that tells it, found {column!r} and {others[0]!r}, which differ; "
            "name one (--site)"
        )
    if site and not column:
        raise EvaluationError(f"site: expected the column {site!r}, found no table of columns; give one")
    if clinical and columns is None:
        raise EvaluationError("clinical: expected a table of columns, found none; give one")
    beside = [] if columns is None else clinical_columns(columns, clinical)
    candidates = [name for name in models if name not in controls]
    if controls and not candidates:
        raise EvaluationError(
            f"control {controls[0]!r}: expected a model beside it to judge, found none; give its table"
        )
    sites = (
        {}
        if not column or columns is None
        else {name: columns[column].reindex(models[name]["patient_id"]).fillna("").to_numpy() for name in candidates}
    )
    of_control = {control: control_scores(rows[control]) for control in controls}
    meant = primary_models(rows, candidates, primary)
    of_candidates = {name: rows[name] for name in candidates}
    best = _best_p(models, candidates, sites, seed) | _best_p(models, meant, sites, seed)
    found: dict[str, dict[str, Any]] = {}
    every = len({patient for pooled in models.values() for patient in pooled["patient_id"]})
    for name, pooled in models.items():
        figures = {**assess(pooled, level, seed=seed), "seeds": seed_spread(rows[name])}
        if name in controls:
            found[name] = {**figures, "verdict": None, "within_site": None, "imaging_adds": None, "columns_tell": []}
            continue
        scores, widen = across_folds(pooled["probability"], pooled["fold"], pooled["label"])
        of_patients = pd.DataFrame() if columns is None else columns.reindex(pooled["patient_id"])
        rest = of_patients.drop(columns=[*beside, *([column] if column else [])], errors="ignore")
        telling = columns_tell(rest, pooled["label"].to_numpy(), scores, widen)
        verdict = judge(
            pooled["label"],
            pooled["probability"],
            {control: _of_patients(of, control, pooled) for control, of in of_control.items()},
            level,
            seed=seed,
            p_value=None if meant == [name] else best.get(name),
            site=sites.get(name),
            fold=pooled["fold"],
            bound=bound,
            seeds=seeds_text(figures["seeds"]),
            notes=[
                *notes,
                *(["seeds_as_folds"] if "seeds_as_folds" in rows[name] else []),
                *doubts(name, of_candidates, [*of_control.values()], pooled, figures["permutation_p"]),
                *(["column_tells"] if telling else []),
                *(["other_site_column"] if others else []),
                *(["primary"] if name in primary and len(candidates) > len(primary) else []),
                *(["other_patients"] if len(pooled) < every else []),
                *(["best_of_several"] if len(candidates) > 1 and meant != [name] else []),
            ],
        )
        within = None if verdict.site is None else verdict.site.as_json(column)
        adds = None
        if beside:
            adds = imaging_adds(pooled["label"], scores, of_patients[beside], figures["threshold"], level, seed, widen)
        found[name] = {**figures, "verdict": verdict.as_json(), "within_site": within, "imaging_adds": adds,
                       "columns_tell": telling}  # fmt: skip
    return found


def primary_models(rows: Mapping[str, pd.DataFrame], candidates: Sequence[str], named: Sequence[str] = ()) -> list[str]:
    """The models that were meant before the patients were looked at.

    Args:
        rows: By name, as `read_rows` returns them.
        candidates: The models that are no controls.
        named: As `judged` takes ``primary``.

    Returns:
        Those named; else those of the stage `PRIMARY_STAGE` where every model has one and the others are a training's
        too, as its own table has; else none.
    """
    of_stage = {name: str(rows[name]["stage"].iloc[0]) for name in candidates}
    trained = {name.removesuffix(f" {PRIMARY_STAGE}") for name, stage in of_stage.items() if stage == PRIMARY_STAGE}
    every = {name.removesuffix(f" {stage}") for name, stage in of_stage.items()}
    if named or trained != every or not {*of_stage.values()} <= {PRIMARY_STAGE, *OTHER_STAGES}:
        return list(named)
    return [name for name, stage in of_stage.items() if stage == PRIMARY_STAGE]


def best_of_models(models: Mapping[str, pd.DataFrame], seed: int = 0) -> dict[str, Any] | None:
    """What the best of several models reaches if none of them knows anything, beside what the best of these reaches.

    Args:
        models: By name, as `pool_models` returns them; of folds, ranks within each are compared.
        seed: Of the permutations.

    Returns:
        ``n_models``, ``expected`` and ``percentile_95`` of the best AUC under permuted labels, ``best`` (the name) and
        ``auc`` (its own); None of fewer than two models, of models that tested different patients, and of one class.
    """
    if len(models) < 2:
        return None
    tables = list(models.values())
    label = tables[0]["label"]
    if label.nunique() < 2 or not all(_same_patients(tables[0], table) for table in tables):
        return None
    scores, widen = _across_folds(models)
    null = best_of(label, np.stack(list(scores.values())), seed=seed, widen=widen)
    own = {name: auc(label, values) for name, values in scores.items()}
    best = max(own, key=lambda name: own[name])
    return {"n_models": len(models), "expected": null.expected, "percentile_95": null.percentile_95, "best": best,
            "auc": own[best]}  # fmt: skip


def comparisons(models: Mapping[str, pd.DataFrame], level: float = 0.95) -> list[dict[str, Any]]:
    """Every two models that tested the same patients, compared on these: paired DeLong test, Holm's correction.

    Args:
        models: By name, as `pool_models` returns them.
        level: Of the intervals.

    Returns:
        One row a pair: ``first``, ``second``, ``n`` (shared patients), ``auc_first``, ``auc_second``, ``difference``
        (first minus second), ``low``, ``high``, ``p``, ``p_holm``; ``None`` where undefined. Pairs without a shared
        patient are left out.

    Raises:
        EvaluationError: A patient has another label in another model.
    """
    _check_labels(models)
    rows, p_values = [], []
    for first, second in combinations(models, 2):
        both = models[first].merge(models[second], on="patient_id", suffixes=("", "_second"))
        if not len(both):
            continue
        widen = max(fold_widen(both["fold"]), fold_widen(both["fold_second"]))
        found = compare_paired(both["label"], both["probability"], both["probability_second"], level, widen)
        p_values.append(found.p_value)
        figures = {"auc_first": found.auc_a, "auc_second": found.auc_b, "difference": found.difference,
                   "low": found.low, "high": found.high, "p": found.p_value}  # fmt: skip
        named = {figure: number_or_none(value) for figure, value in figures.items()}
        rows.append({"first": first, "second": second, "n": len(both), **named})
    adjusted = holm(p_values).tolist() if rows else []
    return [{**row, "p_holm": number_or_none(p)} for row, p in zip(rows, adjusted, strict=True)]


def _check_labels(models: Mapping[str, pd.DataFrame]) -> None:
    seen: dict[str, tuple[int, str]] = {}
    for name, pooled in models.items():
        for patient, label in zip(pooled["patient_id"], pooled["label"], strict=True):
            known, first = seen.setdefault(patient, (label, name))
            if known != label:
                raise EvaluationError(
                    f"patient {patient}: expected one label, found {known} in {first!r} and {label} in {name!r}; "
                    "mend the tables"
                )


def _best_p(
    models: Mapping[str, pd.DataFrame],
    candidates: Sequence[str],
    sites: Mapping[str, np.ndarray],
    seed: int,
) -> dict[str, float]:
    """Each candidate's p-value as the best of all; none of a single one."""
    if len(candidates) < 2:
        return {}
    strata = {name: site_codes(site, len(site)) for name, site in sites.items()}
    first = candidates[0]
    scores, widen = _across_folds({name: models[name] for name in candidates})
    if all(_same_patients(models[first], models[other]) for other in candidates):
        stack = np.stack(list(scores.values()))
        found = best_of_p_values(models[first]["label"], stack, 10_000, seed, strata.get(first), widen)
        return dict(zip(candidates, found.tolist(), strict=True))
    alone = {
        name: permutation_test(models[name]["label"], scores[name], seed=seed, stratum=strata.get(name)).p_value
        for name in candidates
    }
    return {name: min(1.0, len(candidates) * widened(p, widen)) for name, p in alone.items()}


def _across_folds(models: Mapping[str, pd.DataFrame]) -> tuple[dict[str, np.ndarray], float]:
    """Each model's scores, comparable over its folds, and the largest of their wideners."""
    found = {name: across_folds(of["probability"], of["fold"], of["label"]) for name, of in models.items()}
    return {name: scores for name, (scores, _) in found.items()}, max(widen for _, widen in found.values())


def _same_patients(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    return first["patient_id"].tolist() == second["patient_id"].tolist() and bool(
        (first["label"].to_numpy() == second["label"].to_numpy()).all()
    )


def _of_patients(control: pd.Series, name: str, pooled: pd.DataFrame) -> np.ndarray:
    found = control.reindex(pooled["patient_id"])
    if found.isna().any():
        missing = found.index[found.isna()]
        raise EvaluationError(
            f"control {name!r}: expected a prediction for every patient of the models, found none for "
            f"{len(missing)}, the first {missing[0]}; add them"
        )
    return found.to_numpy()
