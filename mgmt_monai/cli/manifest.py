"""``mgmt-monai manifest``: build, check, split and show a cohort's manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mgmt_monai.cohort.manifest import Manifest
    from mgmt_monai.cohort.splits.plans import External, Holdout, Listed

FILE = click.Path(path_type=Path)

SHOWN_OF_A_KIND = 3
"""Findings, on the screen; of more, one stands for all."""

#: The paper's share of those who are not in the test.
TRAIN_FRACTION = 0.85


@click.group("manifest")
def command() -> None:
    """Build, check, split and show the list of patients, labels and ordered series that a training reads."""


@command.command("build")
@click.argument("data_dir", type=FILE)
@click.option("--labels", type=FILE, help="Label table [the one that the layout names].")
@click.option("--out", type=FILE, help="File to write [DATA_DIR/manifest.json].")
@click.option("--layout", help="How DATA_DIR is laid out [found by itself].")
@click.option("--test-fraction", default=0.1, show_default=True, help="Share of all patients for the test.")
@click.option("--train-fraction", default=TRAIN_FRACTION, show_default=True, help="Share of the others for training.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split.")
@click.option("--split-from", type=FILE, help="CSV patient_id,split: take this split, such as a committed one.")
@click.option("--columns", type=FILE, help="CSV with more about each patient, such as the site.")
@click.option("--group-by", default="", help="A column of --columns whose values no split tears apart.")
@click.option(
    "--exclude",
    default="default",
    show_default=True,
    help="CSV patient_id,reason; 'default' leaves out the three patients RSNA-MICCAI's hosts name; 'none'.",
)
@click.option("--ignore", type=FILE, help="CSV finding,patient_id,reason: findings that you accept.")
@click.option("--series", type=FILE, help="series.csv with your decisions [DATA_DIR/series.csv, where it is there].")
@click.option("--mapping", type=FILE, multiple=True, help="Table of aliases, such as BraTS21-17_Mapping.csv.")
@click.option("--external", is_flag=True, help="Every patient is for the test: the cohort is only scored.")
@click.option("--against", type=FILE, help="Manifest of the training data: leave out who is in it, under any name.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read [one a core].")
@click.option("--overwrite", is_flag=True, help="Replace another manifest that is there.")
def build(
    data_dir: Path,
    labels: Path | None,
    out: Path | None,
    layout: str | None,
    test_fraction: float,
    train_fraction: float,
    seed: int,
    split_from: Path | None,
    columns: Path | None,
    group_by: str,
    exclude: str,
    ignore: Path | None,
    series: Path | None,
    mapping: tuple[Path, ...],
    external: bool,
    against: Path | None,
    workers: int | None,
    overwrite: bool,
) -> None:
    """Read the images under DATA_DIR and write its manifest."""
    from mgmt_monai.cohort.build import Sources, build_manifest
    from mgmt_monai.cohort.doctor.geometry_facts import geometry_findings
    from mgmt_monai.cohort.findings import Finding, Severity
    from mgmt_monai.cohort.layouts import check_data_dir
    from mgmt_monai.cohort.layouts.tree import every_unreadable
    from mgmt_monai.cohort.manifest import check_writable, read_manifest, write_manifest
    from mgmt_monai.cohort.splits.plans import External, Holdout, Listed
    from mgmt_monai.cohort.tables.aliases import read_aliases
    from mgmt_monai.cohort.tables.ignores import IgnoreList, read_ignores

    if (external and (split_from or group_by)) or (split_from and group_by):
        raise click.UsageError("--external, --split-from and --group-by exclude each other.")
    if against and not external:
        raise click.UsageError("--against needs --external: it is for a cohort that is only scored.")
    if group_by and not columns:
        raise click.UsageError("--group-by needs --columns: the table that has this column.")
    check_data_dir(data_dir)  # a plainer fault than no place for its manifest
    path = out or data_dir / "manifest.json"
    check_writable(path)
    sources = Sources(
        labels_csv=labels,
        exclusions=exclude,
        layout=layout,
        ignores=read_ignores(ignore) if ignore else IgnoreList(),
        aliases=read_aliases(*mapping) if mapping else None,
        columns_csv=columns,
        series_csv=series,
        against=read_manifest(against) if against else None,
    )
    plan: Holdout | Listed | External
    if external:
        plan = External(sources.against.content_hash if sources.against else "", tuple(mapping))
    elif split_from:
        plan = Listed(split_from)
    else:
        plan = Holdout(test_fraction, train_fraction, seed, group_by)
    with every_unreadable(data_dir):
        built = build_manifest(data_dir, sources, plan, workers)
    write_manifest(built.manifest, path, overwrite)
    for patient_id, reason in built.manifest.excluded.items():
        click.echo(f"excluded: patient {patient_id}: {reason}")
    for line in built.manifest.left_out:
        click.echo(f"left out: {line}")
    for entry in built.manifest.chosen:
        click.echo(f"decided: patient {entry['patient_id']}: {entry['file']}: {entry['decision']}")
    by_kind: dict[str, list[Finding]] = {}
    for finding in built.findings:
        by_kind.setdefault(finding.id, []).append(finding)
    for found in by_kind.values():
        severity, shown = found[0].kind.severity, len(found) if len(found) <= SHOWN_OF_A_KIND else 1
        accepted = " (accepted)" if severity is Severity.ERROR else ""
        for finding in found[:shown]:
            click.echo(f"{severity}{accepted}: {finding.under(data_dir).line}")
        if shown < len(found):
            click.echo(
                f"  ... {found[0].kind.title} ({found[0].id}): {len(found)} in all; 'mgmt-monai doctor' shows each"
            )
    for finding in geometry_findings(built.manifest):
        click.echo(f"{finding.kind.severity}: {finding.line}")
    for finding in built.related:
        click.echo(f"kept in one split: {finding.line}")
    _echo_splits(built.manifest)
    click.echo(f"{path}: {len(built.manifest.patients)} patients, hash {built.manifest.content_hash[:12]}")
    click.echo(built.files)


@command.command("check")
@click.argument("manifest", type=FILE)
@click.option("--data-dir", type=FILE, help="Where the images are [the manifest's folder].")
@click.option("--quick", is_flag=True, help="Read headers, not pixels, and only of files that are new or changed.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read [one a core].")
def check(manifest: Path, data_dir: Path | None, quick: bool, workers: int | None) -> int:
    """Prove that nobody crosses a split, and that the files are still what MANIFEST says."""
    from mgmt_monai.cohort.check import changed_files, overlaps
    from mgmt_monai.cohort.manifest import read_manifest
    from mgmt_monai.cohort.series import MODALITIES

    read = read_manifest(manifest)
    folder = data_dir or manifest.parent
    if not folder.is_dir():  # one fault, not one a series
        raise click.ClickException(f"{folder}: no such data directory. Name it with --data-dir.")
    faults = overlaps(read)
    faults += changed_files(read, folder, modalities=MODALITIES, pixels=not quick, cached=quick, workers=workers)
    for finding in faults:
        click.echo(f"Error: {finding.under(folder).line}", err=True)
    if faults:
        return 1
    n_series = sum(len(patient.series) for patient in read.patients)
    what = "headers" if quick else "headers and pixels"
    click.echo(f"{manifest}: {len(read.patients)} patients, no image, study or person in two splits")
    click.echo(f"{folder}: {n_series} series, {what} as the manifest says")
    return 0


@command.command("split")
@click.argument("manifest", type=FILE)
@click.option("--out", type=FILE, help="File to write [MANIFEST itself].")
@click.option("--test-fraction", type=float, help="A new hold-out split: share of all patients for the test.")
@click.option("--train-fraction", type=float, help="Share of the others for training [0.85].")
@click.option("--from", "split_from", type=FILE, help="CSV patient_id,split: take this hold-out split.")
@click.option("--folds", type=click.IntRange(min=2), help="Make this many folds.")
@click.option("--folds-by", default="", metavar="COLUMN", help="Make one fold a site: each is left out in turn.")
@click.option("--repeats", type=click.IntRange(min=1), help="Repeats of the folds [1].")
@click.option("--inner-folds", type=click.IntRange(min=2), help="Nested: folds of each training part.")
@click.option("--columns", type=FILE, help="CSV with more about each patient, such as the site.")
@click.option("--group-by", default="", help="A column whose values no split or fold tears apart.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split and the folds.")
@click.option("--overwrite", is_flag=True, help="Replace a split or folds that are there.")
def split(
    manifest: Path,
    out: Path | None,
    test_fraction: float | None,
    train_fraction: float | None,
    split_from: Path | None,
    folds: int | None,
    folds_by: str,
    repeats: int | None,
    inner_folds: int | None,
    columns: Path | None,
    group_by: str,
    seed: int,
    overwrite: bool,
) -> None:
    """Split the patients of MANIFEST anew: hold-out, k-fold, repeated, nested, grouped; no image is read."""
    from mgmt_monai.cohort.manifest import check_writable, read_manifest, write_manifest
    from mgmt_monai.cohort.splits.plans import Holdout, KFold, LeaveSiteOut, Listed, with_columns

    if test_fraction is None and split_from is None and folds is None and not folds_by:
        raise click.UsageError("say what to make: --test-fraction, --from, --folds or --folds-by.")
    if folds_by and (folds is not None or repeats is not None):
        raise click.UsageError("--folds-by makes a fold of each site: leave --folds and --repeats out.")
    if test_fraction is not None and split_from is not None:
        raise click.UsageError("--test-fraction and --from exclude each other.")
    if folds is None and not folds_by and (inner_folds or repeats is not None):
        raise click.UsageError("--repeats and --inner-folds need --folds.")
    if test_fraction is None and train_fraction is not None:
        raise click.UsageError("--train-fraction needs --test-fraction: it shares out who is not in the test.")
    if group_by and test_fraction is None and folds is None:
        raise click.UsageError("--group-by needs --test-fraction or --folds: a listed split is taken as it is.")
    path = out or manifest
    check_writable(path)
    made = read_manifest(manifest)
    if columns:
        made = with_columns(made, columns)
    if test_fraction is not None:
        made = Holdout(
            test_fraction, TRAIN_FRACTION if train_fraction is None else train_fraction, seed, group_by
        ).apply(made)
    if split_from is not None:
        made = Listed(split_from).apply(made)
    if folds is not None:
        made = KFold(folds, repeats or 1, inner_folds or 0, seed, group_by).apply(made)
    if folds_by:
        made = LeaveSiteOut(folds_by, inner_folds or 0, seed).apply(made)
    write_manifest(made, path, overwrite)
    _echo_splits(made)
    click.echo(f"{path}: {len(made.patients)} patients, hash {made.content_hash[:12]}")


@command.command("show")
@click.argument("manifest", type=FILE)
@click.option("--patient", "patient_id", help="Show what the manifest holds of one patient.")
def show(manifest: Path, patient_id: str | None) -> None:
    """Tell what is in MANIFEST: splits, folds, planes, what was left out and why."""
    from mgmt_monai.cohort.describe import describe, describe_patient
    from mgmt_monai.cohort.manifest import read_manifest

    read = read_manifest(manifest)
    for line in describe(read) if patient_id is None else describe_patient(read, patient_id):
        click.echo(line)


@command.command("cohorts")
@click.argument("labels", type=FILE)
@click.option(
    "--mapping", type=FILE, multiple=True, required=True, help="Table of aliases, such as BraTS21-17_Mapping.csv."
)
def cohorts(labels: Path, mapping: tuple[Path, ...]) -> None:
    """Tell which public cohort each patient of the label table LABELS is from, by the mapping."""
    from mgmt_monai.cohort.tables.aliases import cohort_rows, read_aliases
    from mgmt_monai.cohort.tables.labels import read_labels

    rows = cohort_rows(read_aliases(*mapping), read_labels(labels).labels)
    click.echo(f"{'cohort':<40} {'patients':>8} {'methylated':>10}  sites")
    for row in rows:
        click.echo(f"{row.cohort:<40} {row.patients:>8} {row.methylated:>10}  {', '.join(row.sites)}")
    total = sum(row.patients for row in rows)
    click.echo(f"{'all':<40} {total:>8} {sum(row.methylated for row in rows):>10}")


def _echo_splits(manifest: Manifest) -> None:
    for name, (unmethylated, methylated) in manifest.counts().items():
        click.echo(f"{name}: {unmethylated + methylated} patients, {methylated} methylated")
    if manifest.folds:
        folds = manifest.folds
        nested = f", {folds['n_inner_folds']} inner folds" if folds["n_inner_folds"] else ""
        click.echo(f"folds: {folds['n_folds']}, repeats: {folds['n_repeats']}{nested}")
