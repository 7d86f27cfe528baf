"""Finished trainings of several modalities on one cohort, fused: who is there is read, and nothing is trained again."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from mgmt_monai.atomic import check_replaceable, holds_text, write_text
from mgmt_monai.cohort.patients import LATE_FUSION
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.evaluation.comparison import PairedComparison, compare_paired
from mgmt_monai.evaluation.discrimination import auc
from mgmt_monai.evaluation.folds import across_folds
from mgmt_monai.evaluation.intervals import number_or_none
from mgmt_monai.evaluation.late_fusion import (
    LateFusion,
    best_single,
    compare_within,
    cross_fitted,
    first_that_answers,
    fit_late_fusion,
    what_it_adds,
)
from mgmt_monai.evaluation.pooling import pool
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, read_patients, write_patients
from mgmt_monai.evaluation.within_site import site_codes
from mgmt_monai.json_file import JsonFileError, read_json

SCHEMA = "mgmt-monai/fusion/1"
"""Written into every fusion; a reader refuses another."""

RESULT, TABLE, SINGLE, PRESENCE = "fusion.json", "predictions.csv", "best_single.csv", "presence.csv"
"""What a fusion's folder has: the model and what it adds; the predictions of the fusion, of the best single modality,
and of what is missing alone."""

N_DEALS = 100
"""Of one modality's answers to other patients; the mean is given."""

_KEYS = ["fold", "seed"]
"""Of a trained model of one modality and stage."""


@dataclass(frozen=True)
class Training:
    """A finished training, as far as a fusion needs it.

    Args:
        folder: Of the run.
        modality: One of the four.
        table: Its predictions of one stage, validation and test patients.
        run: ``run.json``.
        control: Which negative control it is; "none" of a model.
        part: What its settings say of its split: ``repeat``, ``fold`` and ``inner_fold``.
    """

    folder: Path
    modality: str
    table: pd.DataFrame
    run: dict[str, Any]
    control: str
    part: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Fused:
    """A fusion of trainings: one a fold and seed.

    Args:
        models: By fold and seed.
        tables: By file name: predictions of validation and test patients.
        singles: By modality, its predictions where a patient has it, else those of the best of the others.
        missing: How many patients lack each modality.
        trainings: What was fused.
    """

    models: dict[tuple[int, int], LateFusion]
    tables: dict[str, pd.DataFrame]
    singles: dict[str, pd.DataFrame]
    missing: dict[str, int]
    trainings: tuple[Training, ...]


def read_training(folder: Path, stage: str) -> Training:
    """A run's predictions of one stage.

    Raises:
        ComparisonError: No finished run, or one without that stage.
        EvaluationError: Its table breaks the schema.
    """
    try:
        run = read_json(folder / "run.json", "mgmt_monai.training", "run.schema.json")
        config = read_json(folder / "config.json")
    except JsonFileError as error:
        raise ComparisonError(
            f"{folder}: expected a run's folder, found none ({error}). Name the run's own folder."
        ) from error
    if run.get("status") != "finished":
        raise ComparisonError(
            f"{folder}: expected a finished training, found one that is {run.get('status')}. Resume it, then fuse."
        )
    if not run.get("manifest_hash"):
        raise ComparisonError(
            f"{folder / 'run.json'}: expected the hash of the manifest that it was trained on, found none. Train again."
        )
    table = read_patients(folder / TABLE)
    stages = sorted(table["stage"].unique())
    table = table[table["stage"] == stage].reset_index(drop=True)
    if not len(table):
        raise ComparisonError(
            f"{folder}: expected predictions of the stage {stage}, found {', '.join(stages)}; name one with --stage"
        )
    modality = sorted(table["modality"].unique())
    part = tuple(config.get(key) for key in ("repeat", "fold", "inner_fold"))
    return Training(folder, modality[0], table, run, str(config.get("control") or "none"), part)


def fuse(trainings: Sequence[Training]) -> Fused:
    """A fusion for each fold and seed, fitted on its validation patients, and asked about its test patients.

    What it says of a validation patient is said by one that was fitted on others. Of trainings on permuted labels it is
    fitted on permuted labels.

    Args:
        trainings: Of two modalities or more, each with the same folds and seeds, on one manifest.

    Raises:
        ComparisonError: They do not belong together.
        EvaluationError: Too few validation patients.
    """
    _check_together(trainings)
    stacked = pd.concat([training.table for training in trainings], ignore_index=True)
    modalities = sorted(stacked["modality"].unique())
    named = {TABLE: LATE_FUSION, SINGLE: "best-single", PRESENCE: "presence"} | {name: name for name in modalities}
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in named}
    models: dict[tuple[int, int], LateFusion] = {}
    for (fold, seed), rows in stacked.groupby(_KEYS):
        patients = _one_row_a_patient(rows)
        given = _given(rows, patients, modalities)
        fitted = (patients["split"] == "validation").to_numpy()
        known, label = given[fitted], patients["label"].to_numpy()[fitted]
        if trainings[0].control == "permuted_labels":  # of the fusion too, or it would be taught the true ones
            label = np.random.default_rng(int(seed)).permutation(label)
        models[int(fold), int(seed)] = model = fit_late_fusion(known, label)
        ranked = best_single(known, label)
        answers = {TABLE: model.probability(given), SINGLE: first_that_answers(ranked, given)}
        for one in ranked:
            answers[one[0]] = first_that_answers([one, *ranked], given)
        answers[TABLE] = answers[TABLE].mask(fitted, cross_fitted(known, label))
        if given.isna().to_numpy().any():
            answers[PRESENCE] = model.of_missing(given)
        for name, answer in answers.items():
            parts[name].append(patients.assign(modality=named[name], probability=answer.to_numpy()))
    tables = {
        name: pd.concat(found, ignore_index=True)[list(PATIENT_COLUMNS)] for name, found in parts.items() if found
    }
    there = stacked.groupby("modality")["patient_id"].nunique()
    n_patients = stacked["patient_id"].nunique()
    singles = {name: tables.pop(name) for name in modalities}
    missing = {name: int(n_patients - there[name]) for name in modalities}
    return Fused(models, tables, singles, missing, tuple(trainings))


def fair_test(fused: Fused, bound: float, level: float = 0.95, site: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Whether the fusion adds to the best single modality, which each fold's validation patients have chosen.

    Few of them may choose a wrong one: to add, the fusion must be better than each (an intersection-union test).

    Args:
        fused: As `fuse` returns it.
        bound: The smallest difference in AUC that would matter, set beforehand.
        level: Of the intervals.
        site: By patient; pairs of patients of one site alone are compared where it is given.

    Returns:
        ``state``, ``sentence``, ``bound``, ``n``, ``fusion`` and ``best_single`` (AUCs), ``difference``, ``low``,
        ``high``, ``p``, ``within_site``.
    """
    fusion = pool(fused.tables[TABLE], 0.5)
    label, patients = fusion["label"].to_numpy(), fusion["patient_id"]
    fold = fusion["fold"]
    one, widen = across_folds(fusion["probability"], fold, label)
    code = None if site is None else site_codes([site.get(patient, "") for patient in patients], len(label))

    def against(table: pd.DataFrame) -> PairedComparison:
        other, _ = across_folds(pool(table, 0.5)["probability"], fold, label)
        if code is None:
            return compare_paired(label, one, other, level, widen)
        return compare_within(label, one, other, code, level, widen)

    test = against(fused.tables[SINGLE])
    as_good = [name for name, table in fused.singles.items() if test.low > 0 and not against(table).low > 0]
    state, sentence = what_it_adds(test, bound, as_good)
    return {
        "state": state,
        "sentence": sentence,
        "bound": bound,
        "n": len(label),
        "within_site": site is not None,
        **_test_json(test),
    }


def shuffled(fused: Fused, seed: int = 0) -> dict[str, float | None]:
    """By how much the fusion's test AUC falls when one modality's answers are dealt to other test patients.

    Args:
        fused: As `fuse` returns it.
        seed: Of the `N_DEALS` deals within each fold and seed.

    Returns:
        By modality, a difference in AUC; None where the AUC has no value.
    """
    stacked = pd.concat([training.table for training in fused.trainings], ignore_index=True)
    random = np.random.default_rng(seed)
    falls: dict[str, list[float]] = {name: [] for name in fused.missing}
    for (fold, seed_), rows in stacked[stacked["split"] == "test"].groupby(_KEYS):
        patients = _one_row_a_patient(rows)
        given = _given(rows, patients, list(fused.missing))
        model, label = fused.models[int(fold), int(seed_)], patients["label"].to_numpy()
        addends = model.addends(given)
        whole = addends.sum(axis=1).to_numpy()
        for name, found in falls.items():
            one = addends[name].to_numpy()
            draws = [auc(label, whole - one + random.permutation(one)) for _ in range(N_DEALS)]
            found.append(auc(label, whole) - float(np.mean(draws)))
    return {name: number_or_none(float(np.mean(found))) for name, found in falls.items()}


def missing_otherwise(fused: Fused) -> dict[str, tuple[float, float]]:
    """By modality, shares of validation and of test patients without it, where they differ by more than chance.

    Their answer, which the validation patients teach, was then not learnt on such as are tested (Fisher, p < 0.001).
    """
    found = {}
    for name, of in pd.concat([one.table for one in fused.trainings]).groupby("modality"):
        counts = []
        for split in ("validation", "test"):
            everyone, there = (
                set(table.loc[table["split"] == split, "patient_id"]) for table in (fused.tables[TABLE], of)
            )
            counts.append((len(everyone - there), len(there)))
        if fisher_exact(counts).pvalue < 0.001:
            found[str(name)] = (counts[0][0] / sum(counts[0]), counts[1][0] / sum(counts[1]))
    return found


def write_fusion(fused: Fused, test: Mapping[str, Any], folder: Path, overwrite: bool = False) -> dict[str, Any]:
    """Write the fusion's folder.

    Args:
        fused: As `fuse` returns it.
        test: As `fair_test` returns it.
        folder: Made if absent.
        overwrite: Another fusion that is there is replaced.

    Returns:
        What ``fusion.json`` has.

    Raises:
        ComparisonError: Another fusion is there, or a training.
        OSError: It cannot be written.
    """
    first = fused.trainings[0]
    document = {
        "schema": SCHEMA,
        "stage": str(first.table["stage"].iloc[0]),
        "manifest_hash": first.run.get("manifest_hash"),
        "control": first.control,
        "runs": [training.run.get("mlflow_run_id") for training in fused.trainings],
        "missing": fused.missing,
        "models": [
            {"fold": fold, "seed": seed, "intercept": model.intercept,
             "terms": {name: asdict(term) for name, term in model.terms.items()}}
            for (fold, seed), model in sorted(fused.models.items())
        ],
        "adds": dict(test),
        "auc_falls_when_shuffled": shuffled(fused),
    }  # fmt: skip
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if (folder / "config.json").exists():
        raise ComparisonError(
            f"{folder}: expected no training there, found one, which would be lost. Name another --out."
        )
    there = next((path for name in (RESULT, TABLE, "run.json") if (path := folder / name).exists()), folder / RESULT)
    check_replaceable(there, holds_text(folder / RESULT, text), overwrite, ComparisonError)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in fused.tables.items():
        write_patients(table, folder / name)
    if PRESENCE not in fused.tables:
        (folder / PRESENCE).unlink(missing_ok=True)
    origin = first.run.get("origin")
    about = {"status": "finished", "manifest_hash": document["manifest_hash"], "origin": origin}
    write_text(folder / "run.json", json.dumps(about, indent=2) + "\n")
    write_text(folder / RESULT, text)
    return document


def _check_together(trainings: Sequence[Training]) -> None:
    """That they are of several modalities and of one design, and agree about every patient."""
    first = trainings[0]
    for training in trainings:
        for what, one, other in (
            ("manifest", first.run.get("manifest_hash"), training.run.get("manifest_hash")),
            ("control", first.control, training.control),
        ):
            if one != other:
                raise ComparisonError(
                    f"{training.folder}: expected the {what} of {first.folder}, found another. Fuse trainings on one "
                    "manifest, and negative controls of one kind."
                )
    parts: dict[tuple[int, ...], tuple[Any, ...]] = {}
    for training in trainings:
        for each in map(tuple, training.table[_KEYS].drop_duplicates().to_numpy().tolist()):
            if parts.setdefault(each, training.part) != training.part:
                raise ComparisonError(
                    f"{training.folder}: expected the repeat, fold and inner fold {parts[each]} of the others, found "
                    f"{training.part}: it has seen patients of theirs. Train it on the same."
                )
    stacked = pd.concat([training.table for training in trainings], ignore_index=True)
    answers = stacked.pivot_table(index=[*_KEYS, "patient_id"], columns="modality", values="probability")
    for one, other in itertools.combinations(answers, 2):
        both = answers[[one, other]].dropna()
        if both[one].nunique() > 2 and both[one].equals(both[other]):
            raise ComparisonError(
                f"expected answers of {one} and {other}, found the same of both for {len(both)} patients: one is a "
                "copy of the other. Name its own training."
            )
    designs = {name: frozenset(map(tuple, rows[_KEYS].drop_duplicates().to_numpy().tolist()))
               for name, rows in stacked.groupby("modality")}  # fmt: skip
    if len(designs) < 2:
        raise ComparisonError(f"expected trainings of two modalities or more, found {', '.join(designs)} alone.")
    if len(set(designs.values())) > 1:
        told = "; ".join(f"{name} {sorted(of)}" for name, of in designs.items())
        raise ComparisonError(f"expected the same folds and seeds of each modality, found (fold, seed): {told}.")
    twice = stacked.duplicated(["modality", *_KEYS, "patient_id"])
    if twice.any():
        name = stacked.loc[twice, "modality"].iloc[0]
        raise ComparisonError(
            f"expected one training of each modality, fold and seed, found two of {name}. Name one of them."
        )
    for what in ("label", "split"):
        told_ = stacked.groupby([*_KEYS, "patient_id"])[what].nunique()
        if (told_ > 1).any():
            raise ComparisonError(
                f"expected one {what} a patient in all modalities, found two of {int((told_ > 1).sum())} patients. "
                "Train them on one manifest."
            )


def _given(rows: pd.DataFrame, patients: pd.DataFrame, modalities: Sequence[str]) -> pd.DataFrame:
    """The single models' probabilities, a row a patient and a column a modality; ``nan`` is missing."""
    table = rows.pivot(index="patient_id", columns="modality", values="probability")
    return table.reindex(index=patients["patient_id"], columns=modalities)


def _one_row_a_patient(rows: pd.DataFrame) -> pd.DataFrame:
    """Of one fold and seed: everything but modality and probability, slices counted together."""
    n_slices = rows.groupby("patient_id")["n_slices"].sum()
    one = rows.drop_duplicates("patient_id").sort_values("patient_id").reset_index(drop=True)
    return one.assign(n_slices=one["patient_id"].map(n_slices))


def _test_json(test: PairedComparison) -> dict[str, float | None]:
    return {
        "fusion": number_or_none(test.auc_a),
        "best_single": number_or_none(test.auc_b),
        "difference": number_or_none(test.difference),
        "low": number_or_none(test.low),
        "high": number_or_none(test.high),
        "p": number_or_none(test.p_value),
    }
