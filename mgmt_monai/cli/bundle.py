"""``mgmt-monai bundle``: a trained model for others, as MONAI specifies it."""

from __future__ import annotations

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
@click.option("--overwrite", is_flag=True, help="Replace a bundle of this name.")
@click.option(
    "--output-dir",
    "--output_dir",
    type=FOLDER,
    default=Path("runs"),
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
    from mgmt_monai.exchange.source import open_source
    from mgmt_monai.tracking import store

    with open_source(run, tracking_uri or store.tracking_uri(output_dir), output_dir) as source:
        wanted = name or f"mgmt_{source.modality.lower()}"
        if zipped:
            check_free(out / f"{wanted}.zip", overwrite)
        bundle = export_bundle(source, out, wanted, torchscript, onnx, overwrite, data_source)
    click.echo(str(bundle))
    if zipped:
        click.echo(str(zip_bundle(bundle, overwrite)))
