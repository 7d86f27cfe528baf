"""From a comparison's record to what its report says: ``report.schema.json`` in words of plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mgmt_monai import __version__
from mgmt_monai.comparison.candidate_choice import all_candidates, validation_figures
from mgmt_monai.comparison.feature_controls import STAGE as FOREST_STAGE
from mgmt_monai.comparison.kept_results import ComparisonRecord
from mgmt_monai.comparison.plan import LAST_STAGE, Candidate, ComparisonPlan
from mgmt_monai.evaluation.assessment import as_json, assess, number_or_none
from mgmt_monai.evaluation.best_of import best_of, best_of_p_values
from mgmt_monai.evaluation.bootstrap import slice_intervals
from mgmt_monai.evaluation.columns import clinical_columns, columns_tell
from mgmt_monai.evaluation.comparison import PairedComparison, compare_paired, holm
from mgmt_monai.evaluation.controls import control_scores
from mgmt_monai.evaluation.discrimination import accuracy, auc, counts
from mgmt_monai.evaluation.folds import FOLDS_WIDEN, across_folds
from mgmt_monai.evaluation.imaging_adds import imaging_adds
from mgmt_monai.evaluation.intervals import Estimate, wider_level
from mgmt_monai.evaluation.model_rows import seed_spread, seeds_text
from mgmt_monai.evaluation.pooling import pool
from mgmt_monai.evaluation.subgroups import Subgroup, interactions, subgroups
from mgmt_monai.evaluation.summary import patient_figures
from mgmt_monai.evaluation.verdict import BOUND, Verdict, judge
from mgmt_monai.evaluation.within_site import other_sites, site_codes, site_column

SCHEMA = "mgmt-monai/comparison-report/1"
"""Name and version of a report; `mgmt_monai/comparison/report/data/report.schema.json` says what is in it."""

N_PERMUTATIONS = 10_000
"""Of the labels, for p-values and the noise floor: the smallest p-value is a hundredth of the level asked for."""

PAPER_THRESHOLD = 0.5
"""At which the paper's accuracies, and so those of Tables I and II, are taken."""

CONTROLS: dict[str, tuple[str, str]] = {
    "header_tags": ("Header tags only", "a random forest on the series' tags; no pixel is read"),
    "presence": ("Which series are there", "a logistic regression on which series are missing; no pixel is read"),
    "geometry": ("Slice count and spacing only", "a random forest on the number, size and spacing of the slices"),
    "background": ("Background only", "the same network and training on images whose head is masked out"),
    "blank": ("Blank images", "the same network and training on images of zeros"),
    "permuted_labels": ("Permuted training labels", "the same network and training on labels dealt out at random"),
}
"""Title and making of each negative control, in the order of the report."""

SHOWN_FIGURES = ("accuracy", "precision", "recall", "f1", "auc")
"""Of the paper's Table I, and the AUC."""


@dataclass(frozen=True)
class Findings:
    """What the report and its pictures are drawn from.

    ``pooled`` has one row a test patient of the candidate chosen, ``groups`` are of these. ``common_labels`` are of the
    patients that all candidates tested, ``common`` their probabilities by candidate (rows, in the plan's order).
    """

    report: dict[str, Any]
    pooled: pd.DataFrame
    verdict: Verdict
    groups: list[Subgroup]
    common_labels: np.ndarray
    common: np.ndarray


def findings(record: ComparisonRecord) -> Findings:
    """Everything that a comparison's record says. The same record gives the same.

    The record's settings tell the level of every interval and how often patients are resampled.

    Raises:
        EvaluationError: A table of the record cannot be judged.
    """
    about = record.about
    level, n_resamples = interval_settings(record)
    plan = about["plan"]
    of_plan = ComparisonPlan(**plan)
    # Those of older records, which do not tell the stage, were not chosen among plain models.
    candidates = all_candidates(record.predictions, of_plan) if "stage" in about["chosen"] else of_plan.candidates
    chosen = Candidate(*(about["chosen"].get(key, LAST_STAGE) for key in ("network", "modality", "stage")))
    last = {each: _pooled(record, each, None) for each in candidates}
    pooled = last[chosen]
    controls = {name: _control(record, name, chosen, pooled) for name in CONTROLS if name in record.controls}
    patients, labels, common = _common(last, candidates)
    site = site_column(record.columns, plan.get("site", ""))
    sites = record.columns[site] if site else None
    p_value = None
    if plan["folds"] is not None and len(candidates) > 1 and len(labels):
        # Validation patients of one fold are test patients of another: the choice has seen them.
        stratum = None if sites is None else site_codes(sites.reindex(patients), len(patients))
        fold = pooled.set_index("patient_id").loc[patients, "fold"]
        ranks = np.stack([across_folds(scores, fold, labels)[0] for scores in common])
        p_values = best_of_p_values(labels, ranks, N_PERMUTATIONS, 0, stratum, FOLDS_WIDEN)
        p_value = float(p_values[candidates.index(chosen)])
    ranks_of_chosen, widen = across_folds(pooled["probability"], pooled["fold"], pooled["label"])
    wide = wider_level(level, widen)
    named = clinical_columns(record.columns, plan.get("clinical", ()))
    clinical = [*dict.fromkeys([*named, *([site] if site else [])])]
    of_patients = record.columns.reindex(pooled["patient_id"])
    telling = columns_tell(of_patients.drop(columns=clinical), pooled["label"].to_numpy(), ranks_of_chosen, widen)
    verdict = judge(
        pooled["label"],
        pooled["probability"],
        controls,
        level,
        N_PERMUTATIONS,
        p_value=p_value,
        site=None if sites is None else sites.reindex(pooled["patient_id"]),
        fold=pooled["fold"],
        bound=plan.get("bound", BOUND),
        notes=[
            *([] if p_value is None else ["best_of_several"]),
            *(["other_site_column"] if other_sites(record.columns, plan.get("site", "")) else []),
            *(["column_tells"] if telling else []),
        ],
        seeds=seeds_text(seed_spread(_of_stage(record, chosen))),
    )
    groups = subgroups(pooled, record.columns, level, site)
    adds = imaging_adds(
        pooled["label"], ranks_of_chosen, of_patients[clinical], float(pooled["threshold"].mean()), level, 0, widen
    )
    said = verdict.as_json()
    columns_checked = [
        {
            "name": f"The model tells something among patients of one value of the column '{name}'",
            "passed": False,
            "text": "The column goes with the label: name it with --site, or with --clinical if it is known without a "
            "picture",
        }
        for name in telling
    ]
    report = {
        "schema": SCHEMA,
        "comparison": _comparison(about),
        "cohort": {"made": False, **about["cohort"]},  # older records do not say it
        "verdict": {**said, "checks": [*said["checks"], *columns_checked]},
        "within_site": None if verdict.site is None else verdict.site.as_json(site),
        "imaging_adds": adds,
        "chosen": {**about["chosen"], "stage": chosen.stage},
        "figures": {
            **assess(pooled, level, n_resamples, N_PERMUTATIONS),
            **_slice_figures(record.slices, wide, n_resamples),
        },
        "table_1": [
            {
                "network": network,
                "pretrained": all(row["pretrained"] for row in about["trainings"] if row["network"] == network),
                "stage": LAST_STAGE,
                "figures": _at_papers_threshold(record, Candidate(network, plan["reference_modality"]), wide),
            }
            for network in plan["networks"]
        ],
        "table_2": [
            {
                "modality": modality,
                **{
                    stage: _at_papers_threshold(
                        record, Candidate(plan["reference_network"], modality, stage), wide, ("accuracy", "auc")
                    )
                    for stage in ("transfer", LAST_STAGE)
                },
            }
            for modality in plan["modalities"]
        ],
        **({"fusions": about["fusions"]} if "fusions" in about else {}),
        "candidates": _compared(record, last, chosen, level, widen),
        "noise": _noise(labels, common, widen),
        "controls": [
            {
                "name": control.name,
                "title": CONTROLS[control.name][0],
                "what": CONTROLS[control.name][1],
                "auc": as_json(control.auc),
                "p": number_or_none(control.p_value),
                "p_holm": number_or_none(control.p_holm),
                "p_added": number_or_none(control.p_added),
                "informative": control.informative,
                "difference": _difference(control.difference),
            }
            for control in verdict.controls
        ],
        "spread": [_spread(record, each) for each in candidates],
        "subgroups": [group.as_json() for group in groups],
        "interactions": interactions(groups, level),
    }
    return Findings(report, pooled, verdict, groups, labels, common)


def model_aucs(record: ComparisonRecord, candidate: Candidate) -> pd.DataFrame:
    """The test AUC of each model of a candidate: one row a fold and seed.

    Returns:
        Columns ``fold``, ``seed``, ``auc`` (``nan`` where a fold's test lacks a class).
    """
    table = _of_stage(record, candidate)
    rows = [
        {"fold": fold, "seed": seed, "auc": auc(model["label"], model["probability"])}
        for (fold, seed), model in table[table["split"] == "test"].groupby(["fold", "seed"])
    ]
    return pd.DataFrame(rows)


def interval_settings(record: ComparisonRecord) -> tuple[float, int]:
    """The level of every interval, and how often patients are resampled, as the trainings' settings say."""
    settings = record.about["settings"]
    return float(settings["confidence_level"]), int(settings["bootstrap_resamples"])


def candidate_table(record: ComparisonRecord, candidate: Candidate) -> pd.DataFrame:
    """A candidate's predictions of every stage."""
    table = record.predictions[candidate.network]
    return table[table["modality"] == candidate.modality]


def _comparison(about: Mapping[str, Any]) -> dict[str, Any]:
    plan = about["plan"]
    kept = ("networks", "modalities", "reference_network", "reference_modality", "folds", "repeats")
    return {
        **{
            key: about[key]
            for key in ("name", "created", "commit", "manifest_hash", "command", "settings", "config_hash")
        },
        **{key: about[key] for key in ("plan_hash", "n_judged") if key in about},  # older records have none
        "mgmt_monai": __version__,
        "versions": about["versions"],
        "mlflow": {"experiment": about["experiment"], "run_id": about["run_id"]},
        "plan": {**{key: plan[key] for key in kept}, "seeds": list(range(plan["seeds"]))},
        "trainings": about["trainings"],
    }


def _pooled(record: ComparisonRecord, candidate: Candidate, threshold: float | None) -> pd.DataFrame:
    """One row a test patient, in an order without pseudonyms: what is resampled does not depend on them."""
    pooled = pool(_of_stage(record, candidate), threshold)
    return pooled.sort_values(["probability", "threshold", "label"], ignore_index=True)


def _of_stage(record: ComparisonRecord, candidate: Candidate) -> pd.DataFrame:
    table = candidate_table(record, candidate)
    return table[table["stage"] == candidate.stage]


def _control(record: ComparisonRecord, name: str, chosen: Candidate, pooled: pd.DataFrame) -> np.ndarray:
    """A control's probabilities, of the model's patients in their order."""
    table = record.controls[name]
    found = control_scores(table[table["stage"].isin((chosen.stage, FOREST_STAGE))])
    return found.loc[pooled["patient_id"]].to_numpy()


def _at_papers_threshold(
    record: ComparisonRecord, candidate: Candidate, level: float, figures: Sequence[str] = SHOWN_FIGURES
) -> dict[str, Any]:
    pooled = _pooled(record, candidate, PAPER_THRESHOLD)
    found = patient_figures(pooled["label"], pooled["probability"], level, PAPER_THRESHOLD)
    return {figure: found[figure] for figure in figures}


def _slice_figures(slices: pd.DataFrame, level: float, n_resamples: int) -> dict[str, Any]:
    mean = slices.groupby(["patient_id", "slice_index"], sort=True).agg({"label": "first", "probability": "mean"})
    mean = mean.reset_index()
    # Patients are numbered by what is known of them, so that resampling them does not depend on their pseudonyms.
    known = mean.groupby("patient_id").agg(mean=("probability", "mean"), label=("label", "first"), n=("label", "size"))
    number = {patient: n for n, patient in enumerate(known.sort_values(["mean", "label", "n"]).index)}
    mean["patient_id"] = mean["patient_id"].map(number)
    mean = mean.sort_values(["patient_id", "slice_index"], ignore_index=True)
    label, probability = mean["label"].to_numpy(), mean["probability"].to_numpy()
    intervals = slice_intervals(
        label, probability, mean["patient_id"].to_numpy(), level, PAPER_THRESHOLD, n_resamples=n_resamples
    )
    values = {"auc": auc(label, probability), "accuracy": accuracy(counts(label, probability, PAPER_THRESHOLD))}
    return {
        f"slice_{figure}": as_json(Estimate(value, *intervals[figure], len(label))) for figure, value in values.items()
    }


def _compared(
    record: ComparisonRecord, models: Mapping[Candidate, pd.DataFrame], chosen: Candidate, level: float, widen: float
) -> list[dict[str, Any]]:
    """A row for each candidate."""
    best = models[chosen].set_index("patient_id")
    differences: dict[Candidate, PairedComparison] = {}
    for model, table in models.items():
        if model != chosen:
            both = best.join(table.set_index("patient_id"), how="inner", rsuffix="_other")
            if len(both):
                paired = compare_paired(both["label"], both["probability_other"], both["probability"], level, widen)
                differences[model] = paired
    p_values = [found.p_value for found in differences.values()]
    adjusted = dict(zip(differences, holm(p_values), strict=True)) if differences else {}
    rows = []
    for candidate, table in models.items():
        wide = wider_level(level, widen)
        figures = patient_figures(table["label"], table["probability"] - table["threshold"], wide, 0.0)
        difference = differences.get(candidate)
        rows.append(
            {
                **asdict(candidate),
                "validation_auc": number_or_none(validation_figures(record.predictions, candidate)[0]),
                "auc": patient_figures(table["label"], table["probability"], wide)["auc"],
                "accuracy": figures["accuracy"],
                "auc_difference": None
                if difference is None
                else {**_difference(difference), "p_holm": number_or_none(adjusted[candidate])},
                "chosen": candidate == chosen,
            }
        )
    return rows


def _common(
    last: Mapping[Candidate, pd.DataFrame], candidates: Sequence[Candidate]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The patients that every candidate tested, their labels, and their probabilities by candidate."""
    indexed = [last[candidate].set_index("patient_id") for candidate in candidates]
    shared = set.intersection(*(set(table.index) for table in indexed))
    patients = [patient for patient in indexed[0].index if patient in shared]
    labels = indexed[0].loc[patients, "label"].to_numpy()
    return patients, labels, np.stack([table.loc[patients, "probability"].to_numpy() for table in indexed])


def _noise(labels: np.ndarray, common: np.ndarray, widen: float) -> dict[str, Any]:
    """What the best of the candidates reaches by chance, and what it has reached, on the patients that all tested."""
    found: dict[str, Any] = {"n_candidates": len(common)}
    if not 0 < labels.sum() < len(labels):
        return {**found, **dict.fromkeys(("auc", "accuracy"), dict.fromkeys(("expected", "percentile_95", "best")))}
    reached: dict[Literal["auc", "accuracy"], list[float]] = {
        "auc": [auc(labels, scores) for scores in common],
        "accuracy": [accuracy(counts(labels, scores, PAPER_THRESHOLD)) for scores in common],
    }
    for figure, values in reached.items():
        null = best_of(labels, common, figure, PAPER_THRESHOLD, N_PERMUTATIONS, widen=widen)
        found[figure] = {"expected": null.expected, "percentile_95": null.percentile_95, "best": max(values)}
    return found


def _spread(record: ComparisonRecord, candidate: Candidate) -> dict[str, Any]:
    values = model_aucs(record, candidate)["auc"].dropna()
    return {
        **asdict(candidate),
        "n_models": len(values),
        "mean": number_or_none(values.mean()),
        "sd": number_or_none(values.std(ddof=1)),
        "low": number_or_none(values.min()),
        "high": number_or_none(values.max()),
    }


def _difference(found: PairedComparison) -> dict[str, float | None]:
    named = {"value": found.difference, "low": found.low, "high": found.high, "p": found.p_value}
    return {name: number_or_none(figure) for name, figure in named.items()}
