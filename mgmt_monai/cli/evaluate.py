"""``mgmt-monai evaluate``: what a table of predictions is worth, whoever made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mgmt_monai.cli.json_result import result, with_json

if TYPE_CHECKING:
    import pandas as pd

FILE = click.Path(path_type=Path)

SHOWN_PAIRS = 10
"""Of models, on the screen."""


@click.command("evaluate")
@click.argument("predictions", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, default="evaluation", show_default=True, help="Folder for tables and pictures.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Called methylated from this probability on  [Youden's on the validation patients; 0.5 without any]",
)
@click.option("--columns", type=FILE, help="CSV patient_id,...: sites, and subgroups by each column.")
@click.option(
    "--site", default="", metavar="COLUMN", help="That tells the site  [one called site, centre, hospital...]"
)
@click.option("--clinical", default="", metavar="COLUMNS", help="What imaging adds to these  [age, sex, gender]")
@click.option("--manifest", type=FILE, help="Manifest: labels, split and completeness are held against it.")
@click.option("--allow-missing", is_flag=True, help="Judge though test patients of the manifest are missing.")
@click.option(
    "--labels", type=FILE, help="Label table, for the table of 'predict --batch'; others are held against it."
)
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="MODEL",
    help="A model made without the tumour, or a file of such, by the control's name (blank of blank.csv).",
)
@click.option("--primary", multiple=True, metavar="MODEL",
              help="Named beforehand: judged alone, others as the best of all  [stage fine_tune].")  # fmt: skip
@click.option("--bound", type=click.FloatRange(0.5, 1, True, True), default=0.6, show_default=True,
              help="The smallest AUC that would matter, set beforehand.")  # fmt: skip
@click.option("--level", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, help="Of every interval.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resampling.")
@click.option("--overwrite", is_flag=True, help="Replace another evaluation that is there.")
@with_json
def command(
    predictions: tuple[Path, ...], out: Path, threshold: float | None, columns: Path | None, site: str, clinical: str,
    manifest: Path | None, allow_missing: bool, labels: Path | None, controls: tuple[str, ...],
    primary: tuple[str, ...], bound: float, level: float, seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """Judge PREDICTIONS, one or more patient tables (docs/reference/predictions.md).

    Each modality and stage of a file name is a model; its test patients are judged, folds and seeds together, also
    where several files of one name hold them. OUT gets evaluation.json, figures.csv, comparisons.csv, subgroups.csv
    and a folder of pictures for each model.
    """
    import pandas as pd

    from mgmt_monai.evaluation.evaluation_folder import RESULT, write_evaluation
    from mgmt_monai.evaluation.external import developments
    from mgmt_monai.evaluation.intervals import estimate_text
    from mgmt_monai.evaluation.model_rows import not_learnt, pool_models, read_rows, threshold_rule, trained_on
    from mgmt_monai.evaluation.referee import clones, examinations, name_groups, noticed

    rows, left_out = read_rows(predictions, None if labels is None else _labels(predictions, labels))
    told = [f"{n} prediction{'s' * (n != 1)} {what}: not judged" for what, n in left_out.items()]
    incomplete = {} if manifest is None else _held(rows, manifest, allow_missing)
    for name, of in rows.items():
        tested = of[of["split"] == "test"]
        if tested["fold"].nunique() > 1 and (untested := set(of["patient_id"]) - set(tested["patient_id"])):
            told.append(f"{name}: {len(untested)} patients of the table are tested in no fold, so they are not judged")
    told += noticed(rows)
    same = clones(rows.values())
    if same:
        pairs = [f"{other} = {first}" for other, first in list(same.items())[:SHOWN_PAIRS]]
        more = f" and {len(same) - SHOWN_PAIRS} more" if len(same) > SHOWN_PAIRS else ""
        tables = pd.concat(rows.values()).drop_duplicates("patient_id").set_index("patient_id")["label"]
        other = int((tables[list(same)].to_numpy() != tables[list(same.values())].to_numpy()).sum())
        labels_differ = f", {other} of them under another label," if other else ""
        told.append(
            f"{len(same)} patients have the very predictions of another{labels_differ} and are not judged: "
            f"{', '.join(pairs)}{more}"
        )
        rows = {name: of[~of["patient_id"].isin(list(same))].reset_index(drop=True) for name, of in rows.items()}
    models = pool_models(rows, threshold)
    controls = tuple(model for name in controls for model in _of_control(name, predictions, rows))
    patients = dict.fromkeys(patient for pooled in models.values() for patient in pooled["patient_id"])
    known = _columns(patients, columns, manifest)
    judged = pd.concat(models.values())
    repeated = examinations(dict(zip(judged["patient_id"], judged["label"], strict=True)))
    told += [repeated] if repeated else []
    given = {"test_patients_missing": any(incomplete.values()), "clones": same, "examinations": repeated,
             "left_out": left_out}  # fmt: skip
    notes = [note for note, holds in given.items() if holds]
    unlearnt, origins = not_learnt(predictions, rows), trained_on(predictions)
    asked = [name.strip() for name in clinical.split(",") if name.strip()]
    evaluated = write_evaluation(
        rows, models, out, known, site, controls, bound, level, seed, notes, unlearnt, primary, overwrite, origins,
        asked, developments(predictions, rows),
    )  # fmt: skip
    result(out / RESULT)
    if best := evaluated["best_of"]:
        click.echo(
            f"{best['n_models']} models: the best has AUC {best['auc']:.2f} ({best['best']}); if none knew anything "
            f"it would have {best['expected']:.2f} on average, above {best['percentile_95']:.2f} in 5 of 100 cases"
        )
    for name, figures in evaluated["models"].items():
        verdict = figures["verdict"]
        said = " ".join(["a control" if verdict is None else verdict["sentence"], *incomplete.get(name, ())])
        click.echo(f"{name}: {said}" if len(models) > 1 or verdict is None else said)
    if all(of["within_site"] is None for of in evaluated["models"].values()) and (said := name_groups(patients)):
        told.append(said)
    for line in [*origins, *told, *(f"{name}: {sentence}" for name, sentence in unlearnt.items())]:
        click.echo(line)
    for name, figures in evaluated["models"].items():
        _tell_model(name, figures, bool(site), threshold_rule(rows[name], threshold), bool(asked))
    for row in (row for row in evaluated["interactions"] if row["p_holm"] <= 0.05):
        click.echo(
            f"{row['model']}: the AUC differs among the values of {row['column']}, {_p(row['p_holm'])} after Holm"
        )
    for row in evaluated["comparisons"][:SHOWN_PAIRS]:
        difference = {"value": row["difference"], "low": row["low"], "high": row["high"]}
        click.echo(
            f"{row['first']} minus {row['second']}: {estimate_text(difference)}, {_p(row['p'])}, "
            f"{_p(row['p_holm'])} after Holm ({row['n']} patients)"
        )
    if len(evaluated["comparisons"]) > SHOWN_PAIRS:
        click.echo(f"... and {len(evaluated['comparisons']) - SHOWN_PAIRS} pairs more, all in comparisons.csv")
    click.echo(f"{out}: tables and pictures")


def _tell_model(name: str, figures: dict[str, Any], named: bool, rule: str, asked: bool) -> None:
    """The figures, and what the verdict leaves open."""
    from mgmt_monai.evaluation.intervals import estimate_text
    from mgmt_monai.evaluation.verdict import REASONS

    verdict, within = figures["verdict"], figures["within_site"]
    patients = f"{figures['n']} test patient{'' if figures['n'] == 1 else 's'}"
    click.echo(f"{name}: {patients}, {figures['n_methylated']} methylated")
    for reason in [] if verdict is None else verdict["reasons"]:
        click.echo(f"  {REASONS[reason]}")
    for column in figures["columns_tell"]:
        click.echo(f"  column {column!r}: name it with --site, or with --clinical if it is known without a picture")
    whose = "" if figures["seeds"] is None else "the ensemble's "
    pooled = f"{whose}AUC {estimate_text(figures['auc'])}, permutation {_p(figures['permutation_p'])}"
    if within is None:
        click.echo(f"  {pooled}")
    else:
        low, high = within["interval"] or (None, None)
        auc = estimate_text({"value": within["auc"], "low": low, "high": high})
        taken = "" if named else f" (the column '{within['column']}' is taken as the site)"
        click.echo(f"  within sites: AUC {auc}, permutation {_p(within['p'])}{taken}")
        paired = sum(one["auc"]["n"] for one in within["sites"] if 0 < one["n_methylated"] < one["auc"]["n"])
        if paired < figures["n"]:
            click.echo(
                f"  within sites are {paired} of {figures['n']} patients: the others' site is unknown or has one label"
            )
        if within["unseen"]:
            click.echo("  each site was tested by models that had not seen it")
        if over := within["over_sites"]:
            click.echo(
                f"  over {over['n_sites']} sites: AUC {estimate_text(over['mean'])}; another site's is expected "
                f"between {over['new_low']:.2f} and {over['new_high']:.2f}"
            )
        click.echo(f"  the site alone reaches {_number(within['site_alone'], 2)} here, out of fold")
        share = (
            "" if within["share"] is None else f"; {100 * within['share']:.0f} % of what lies above 0.5 is the sites'"
        )
        click.echo(f"  pairs of all sites: {pooled}{share}")
    if asked and verdict is not None and figures["imaging_adds"] is None:
        click.echo(
            "  what imaging adds is not told: the columns do not vary, or under 10 patients have one of the labels"
        )
    _tell_added(figures["imaging_adds"])
    click.echo(
        f"  at {figures['threshold']:.2f} ({rule}): accuracy {estimate_text(figures['accuracy'])}, sensitivity "
        f"{estimate_text(figures['sensitivity'])}, specificity {estimate_text(figures['specificity'])}"
    )
    low, high = figures["brier_interval"] or (None, None)
    brier = {"value": figures["brier"], "low": low, "high": high}
    click.echo(
        f"  calibration slope {estimate_text(figures['calibration_slope'])}, Brier {estimate_text(brier, 3)}; "
        f"the prevalence alone: {figures['brier_of_prevalence']:.3f}"
    )
    if "external" in figures:
        _tell_external(figures["external"])


def _tell_external(of: dict[str, Any]) -> None:
    """A bundle's model beside its development, recalibrated, and the case mix."""
    from mgmt_monai.evaluation.intervals import estimate_text

    if (after := of["recalibrated"]) is not None:
        low, high = after["brier_interval"] or (None, None)
        click.echo(
            f"  recalibrated out of fold: slope {estimate_text(after['slope'])}, intercept "
            f"{estimate_text(after['intercept'])}, Brier "
            f"{estimate_text({'value': after['brier'], 'low': low, 'high': high}, 3)}"
        )
    mix, before = f"{100 * of['prevalence']:.0f} % methylated", of["development"]
    if before is not None:
        difference = "" if of["difference"] is None else f"; here minus there {estimate_text(of['difference'])}"
        click.echo(f"  in development: AUC {estimate_text(before['auc'])}, {before['n']} test patients{difference}")
        if before["n"] and before["n_methylated"] is not None:
            mix += f", {100 * before['n_methylated'] / before['n']:.0f} % in development"
    click.echo(f"  case mix: {mix}; were the probabilities right, the AUC would be {_number(of['auc_if_right'], 2)}")


def _tell_added(adds: dict[str, Any] | None) -> None:
    """What imaging adds to what is known without it."""
    if adds is None:
        return
    from mgmt_monai.evaluation.intervals import estimate_text

    difference, benefit = adds["difference"], adds["net_benefit"]["difference"]
    click.echo(
        f"  {', '.join(adds['columns'])} alone: AUC {estimate_text(adds['clinical'])}; with the image model "
        f"{estimate_text(adds['both'])}"
    )
    ends = ["" if of["low"] is None else f" ({of['low']:+.3f} to {of['high']:+.3f})" for of in (difference, benefit)]
    few = "" if ends[0] else "; no intervals: a label has under 75 patients"
    click.echo(
        f"  imaging adds {difference['value']:+.3f}{ends[0]}, likelihood ratio "
        f"{_p(adds['likelihood_ratio']['p'])}, net benefit {benefit['value']:+.3f}{ends[1]} a patient{few}"
    )


def _held(rows: dict[str, pd.DataFrame], manifest: Path, allow_missing: bool) -> dict[str, list[str]]:
    """Hold each model's rows against the manifest; sentences for each model whose test patients are not all there."""
    from mgmt_monai.cohort.manifest import read_manifest
    from mgmt_monai.evaluation.predictions import EvaluationError
    from mgmt_monai.evaluation.referee import fold_splits, hold, missing

    known = read_manifest(manifest)
    labels = {patient.patient_id: patient.label for patient in known.patients}
    held_out = {patient.patient_id: patient.split for patient in known.patients}
    folds = {patient.patient_id: list(patient.folds) for patient in known.patients}
    n_folds = known.folds.get("n_folds", 0)
    faults: dict[str, str] = {}
    partial: dict[str, str] = {}
    for name, of in rows.items():
        tested = of[of["split"] == "test"]
        own = {p.patient_id for p in known.patients if of["modality"].iloc[0] in p.series} or set(labels)
        expected = {patient for patient in own if held_out[patient] == "test"}
        in_folds = bool(n_folds) and tested["fold"].max() > 0
        try:
            if not in_folds:
                hold(of, name, labels, held_out)
        except EvaluationError:
            # Fold 0 alone has the hold-out's number; who fits neither is told of the hold-out.
            in_folds = bool(n_folds) and _fits(tested, labels, fold_splits(folds, 0, n_folds))
            if not in_folds:
                raise
        if in_folds:
            expected = set()
            for fold, of_fold in tested.groupby("fold"):
                splits = fold_splits(folds, int(fold), n_folds)
                hold(of_fold, f"{name}, fold {fold}", labels, splits)
                expected |= {patient for patient in own if splits[patient] == "test"}
            if expected != own:
                out = f"{len(own - expected)} of {len(own)} patients"
                partial[name] = f"The table lacks the folds that test {out}: these are not judged."
        if absent := missing(of, expected):
            faults[name] = (f"{len(absent)} of {len(expected)} test patients are missing ({', '.join(absent[:3])}"
                            f"{', ...' if len(absent) > 3 else ''}).")  # fmt: skip
        elif name not in partial:
            rows[name] = of.assign(held=in_folds or tested["fold"].nunique() == 1)  # whether it has these folds
    for name, fault in {} if allow_missing else faults.items():
        raise click.ClickException(f"{name}: {fault} Add them, or judge the others with --allow-missing.")
    return {name: [of[name] for of in (faults, partial) if name in of] for name in rows}


def _fits(tested: pd.DataFrame, labels: Mapping[str, int], splits: Mapping[str, str]) -> bool:
    from mgmt_monai.evaluation.predictions import EvaluationError
    from mgmt_monai.evaluation.referee import hold

    try:
        hold(tested, "", labels, splits)
    except EvaluationError:
        return False
    return True


def _labels(predictions: Iterable[Path], labels: Path) -> dict[str, int]:
    """The label of each patient that the tables name, however the label table writes the name."""
    from mgmt_monai.cohort.tables.aliases import normalised
    from mgmt_monai.cohort.tables.labels import read_labels
    from mgmt_monai.evaluation.predictions import named_patients

    known = {normalised(patient): label for patient, label in read_labels(labels).labels.items()}
    patients = {patient for path in predictions for patient in named_patients(path)}
    return {patient: known[normalised(patient)] for patient in patients if normalised(patient) in known}


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def _p(value: float | None) -> str:
    return f"p {'< 0.0001' if value is not None and value < 0.00005 else _number(value, 4)}"


def _of_control(name: str, predictions: Iterable[Path], models: Iterable[str]) -> list[str]:
    """A model's name, or all of a file that carries the control's name."""
    of_file = (
        [model for model in models if model.startswith(f"{name} ")] if name in {p.stem for p in predictions} else []
    )
    return of_file or [name]


def _columns(patients: Iterable[str], columns: Path | None, manifest: Path | None) -> pd.DataFrame:
    """What is known of the patients, from a table, from a manifest, or from both."""
    import pandas as pd

    from mgmt_monai.cohort.manifest import read_manifest
    from mgmt_monai.cohort.tables.columns import read_columns

    known: dict[str, dict[str, str]] = {patient: {} for patient in patients}
    if manifest is not None:
        records = [record for record in read_manifest(manifest).patients if record.patient_id in known]
        if not records:
            raise click.ClickException(f"{manifest}: expected the patients of the predictions, found none of them.")
        for record in records:
            planes = {f"{name} plane": series.plane for name, series in record.series.items()}
            known[record.patient_id] = {**planes, **record.columns}
    if columns is not None:
        differing: dict[str, int] = {}
        for patient, values in read_columns(columns, known).items():
            for name, value in values.items():
                if (other := known[patient].get(name, "")) and value and value != other:
                    differing[name] = differing.get(name, 0) + 1
                known[patient][name] = value or other  # an empty cell takes nothing away
        for name, n in differing.items():
            click.echo(f"column {name!r}: {n} patients have another value in {manifest}; that of {columns} is taken")
    return pd.DataFrame.from_dict(known, orient="index").fillna("").astype(str)
