"""The pictures of a comparison's report, by the name that its page knows them under."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mgmt_monai.comparison.kept_results import ComparisonRecord
from mgmt_monai.comparison.plan import LAST_STAGE, NO_CONTROL, Candidate, ComparisonPlan
from mgmt_monai.comparison.report.facts import N_PERMUTATIONS, Findings, candidate_table, interval_settings, model_aucs
from mgmt_monai.evaluation.best_of import best_of
from mgmt_monai.evaluation.folds import fold_widen
from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.model_pictures import model_pictures
from mgmt_monai.evaluation.plots.accuracy_curves import accuracy_curves_figure
from mgmt_monai.evaluation.plots.candidates import candidates_figure
from mgmt_monai.evaluation.plots.controls import ControlRow, controls_figure
from mgmt_monai.evaluation.plots.distributions import distributions_figure
from mgmt_monai.evaluation.plots.spread import spread_figure
from mgmt_monai.training.plain_model import PLAIN


def pictures(record: ComparisonRecord, found: Findings) -> Iterator[tuple[str, Figure]]:
    """Every picture that the comparison has data for: name and figure."""
    report, pooled = found.report, found.pooled
    level, n_resamples = interval_settings(record)
    yield from model_pictures(pooled, found.groups, level, n_resamples, within=report["within_site"])
    yield "controls", controls_figure(_control_rows(found), level)
    labels, rows = found.common_labels, report["candidates"]
    if 0 < labels.sum() < len(labels):
        null = best_of(labels, found.common, n_permutations=N_PERMUTATIONS, widen=fold_widen(pooled["fold"]))
        names = [f"{row['network']}, {row['modality']}{_beside(row['stage'])}" for row in rows]
        chosen = next(number for number, row in enumerate(rows) if row["chosen"])
        yield "candidates", candidates_figure(names, [_estimate(row["auc"]) for row in rows], null, chosen, level)
    plan = record.about["plan"]
    curves = record.curves[
        (record.curves["control"] == NO_CONTROL) & (record.curves["network"] == plan["reference_network"])
    ]
    by_modality = {name: curves[curves["modality"] == name] for name in ComparisonPlan(**plan).trained}
    for stage in ("transfer", LAST_STAGE):
        yield f"accuracy_{stage}", accuracy_curves_figure(by_modality, stage)
    tables = {name: candidate_table(record, Candidate(plan["reference_network"], name)) for name in plan["modalities"]}
    of_test = {name: table[(table["split"] == "test") & (table["stage"] != PLAIN)] for name, table in tables.items()}
    yield "distributions", distributions_figure(of_test)
    if any(row["n_models"] > 1 for row in report["spread"]):
        yield "spread", spread_figure(_spread_frame(record, found))


def _beside(stage: str) -> str:
    return ", plain model" if stage == PLAIN else ""


def _control_rows(found: Findings) -> list[ControlRow]:
    chosen = found.report["chosen"]
    name = f"The model: {chosen['network']}, {chosen['modality']}{_beside(chosen['stage'])}"
    model = ControlRow(name, _estimate(found.report["figures"]["auc"]), True)
    return [model, *(ControlRow(row["title"], _estimate(row["auc"]), False) for row in found.report["controls"])]


def _spread_frame(record: ComparisonRecord, found: Findings) -> pd.DataFrame:
    folds = record.about["plan"]["folds"] or 1
    parts = []
    for row in found.report["spread"]:
        aucs = model_aucs(record, Candidate(row["network"], row["modality"], row["stage"]))
        candidate = f"{row['network']}, {row['modality']}{_beside(row['stage'])}"
        parts.append(aucs.assign(candidate=candidate, repeat=aucs["fold"] // folds, fold=aucs["fold"] % folds))
    return pd.concat(parts, ignore_index=True)[["candidate", "repeat", "fold", "seed", "auc"]]


def _estimate(found: Mapping[str, Any]) -> Estimate:
    """An estimate as it was before it became JSON."""
    value, low, high = (math.nan if found[name] is None else found[name] for name in ("value", "low", "high"))
    return Estimate(value, low, high, found["n"])
