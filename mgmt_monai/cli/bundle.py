"""``mgmt-monai bundle``: a trained model for others, as MONAI specifies it."""

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.group("bundle")
def command() -> None:
    """Export a trained model as a MONAI bundle."""


@command.command("export")
@click.argument("run")
@click.option("--out", type=FOLDER, required=True, help="Folder that the bundle's own goes into.")
@click.option("--name", default="", help="Of the bundle  [mgmt_<modality>]")
@click.option("--zip", "zipped", is_flag=True, help="Also as NAME.zip.")
@click.option("--torchscript", is_flag=True, help="Also models/model.ts.")
@click.option("--onnx", is_flag=True, help="Also models/model.onnx.")
@click.option("--data-source", default="", metavar="TEXT", help="What it was trained on, for metadata and model card.")
@click.option("--overwrite", is_flag=True, help="Replace another bundle of this name.")
@click.option(
    "--output-dir",
    "--output_dir",
    type=FOLDER,
    default="runs",
    show_default=True,
    help="Folder of the trainings, where RUN is an identifier.",
)
@click.option("--tracking-uri", "--tracking_uri", metavar="URI", help="MLflow store  [MLFLOW_TRACKING_URI, else the "
              "one in --output-dir]")  # fmt: skip
def export(
    run: str,
    out: Path,
    name: str,
    zipped: bool,
    torchscript: bool,
    onnx: bool,
    data_source: str,
    overwrite: bool,
    output_dir: Path,
    tracking_uri: str | None,
) -> None:
    """Write the bundle of RUN: a run's folder, a best.pt in one, or a run's identifier in MLflow.

    The bundle runs with MONAI and the packages that its metadata lists, without mgmt-monai, from any directory.
    """
    from mgmt_monai.exchange.export import check_free, export_bundle, zip_bundle
    from mgmt_monai.exchange.metadata import one_of_many, what_it_learnt
    from mgmt_monai.exchange.run_source import open_source
    from mgmt_monai.tracking import mlflow_store as store

    with open_source(run, tracking_uri or store.tracking_uri(output_dir), output_dir) as source:
        wanted = name or f"mgmt_{source.modality.lower()}"
        if zipped and not (out / wanted).exists():
            check_free(out / f"{wanted}.zip", overwrite)
        bundle = export_bundle(source, out, wanted, torchscript, onnx, overwrite, data_source)
    click.echo(str(bundle))
    for said in filter(None, (one_of_many(source.config), what_it_learnt(source))):
        click.echo(said, err=True)
    n_code, n_files = (sum(path.is_file() for path in part.rglob("*")) for part in (bundle / "scripts", bundle))
    click.echo(f"{n_files} files, {n_code} of them its code", err=True)
    if zipped:
        click.echo(str(zip_bundle(bundle, overwrite)))


@command.command("verify")
@click.argument("bundle_path", metavar="BUNDLE", type=FOLDER)
@click.option("--study", type=FOLDER, help="Folder of the study that is predicted  [a made one]")
@click.option("--schema", type=FOLDER, help="JSON schema for metadata.json, such as MONAI's own  [a narrower one]")
@click.option("--trust-bundle", is_flag=True, help="Run code in it that is not this version's. Read it first.")
def verify(bundle_path: Path, study: Path | None, schema: Path | None, trust_bundle: bool) -> int:
    """Hold BUNDLE, a folder or zip file, against MONAI's own checks, and predict a study with it.

    Each check is a process of its own that cannot import mgmt-monai. Exit code 1 when one fails.
    """
    from mgmt_monai.exchange.bundle_folder import open_bundle
    from mgmt_monai.exchange.verify import verify_bundle

    failed = 0
    with open_bundle(bundle_path) as bundle:
        for check in verify_bundle(bundle, study, schema, trust_bundle):
            click.echo(f"{'ok    ' if check.passed else 'FAILED'} {check.name}{check.fault and f': {check.fault}'}")
            failed += not check.passed
    click.echo(f"{bundle_path}: {f'{failed} of the checks failed' if failed else 'all checks passed'}")
    return int(failed > 0)
