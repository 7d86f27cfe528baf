"""``mgmt-monai manifest``: build a cohort's manifest."""

from pathlib import Path

import click


@click.group("manifest")
def command() -> None:
    """Build the list of patients, labels, split and ordered series that a training reads."""


@command.command("build")
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--labels", type=click.Path(path_type=Path), help="Label table [DATA_DIR/train_labels.csv].")
@click.option("--out", type=click.Path(path_type=Path), help="File to write [DATA_DIR/manifest.json].")
@click.option("--test-fraction", default=0.1, show_default=True, help="Share of all patients for the test.")
@click.option("--train-fraction", default=0.85, show_default=True, help="Share of the others for training.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split.")
@click.option(
    "--exclude",
    default="default",
    show_default=True,
    help="CSV patient_id,reason; 'default' leaves out the three patients RSNA-MICCAI's hosts name; 'none'.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read headers [one a core].")
def build(
    data_dir: Path,
    labels: Path | None,
    out: Path | None,
    test_fraction: float,
    train_fraction: float,
    seed: int,
    exclude: str,
    workers: int | None,
) -> int:
    """Read the headers under DATA_DIR and write its manifest."""
    from mgmt_monai.cohort.build import build_manifest, warnings_of
    from mgmt_monai.cohort.errors import CohortFaultsError
    from mgmt_monai.cohort.layouts import patient_folders
    from mgmt_monai.cohort.manifest import check_writable, write_manifest

    path = out or data_dir / "manifest.json"
    patient_folders(data_dir)  # no data directory is a plainer fault than no place for its manifest
    check_writable(path)
    try:
        manifest = build_manifest(
            data_dir,
            labels or data_dir / "train_labels.csv",
            test_fraction=test_fraction,
            train_fraction=train_fraction,
            seed=seed,
            exclusions=exclude,
            workers=workers,
        )
    except CohortFaultsError as error:
        for fault in error.faults:
            click.echo(f"Error: {fault}", err=True)
        return 1
    write_manifest(manifest, path)
    for patient_id, reason in manifest.excluded.items():
        click.echo(f"excluded: patient {patient_id}: {reason}")
    for line in manifest.left_out:
        click.echo(f"left out: {line}")
    for line in warnings_of(manifest):
        click.echo(f"warning: {line}")
    for split, (unmethylated, methylated) in manifest.counts().items():
        click.echo(f"{split}: {unmethylated + methylated} patients, {methylated} methylated")
    click.echo(f"{path}: {len(manifest.patients)} patients, hash {manifest.content_hash[:12]}")
    return 0
