"""``mgmt-monai report``: a comparison's report, from MLflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(path_type=Path)


@click.command("report")
@click.argument("comparison", default="")
@click.option("--out", type=FOLDER, default="report", show_default=True, help="Folder for the report.")
@click.option(
    "--output-dir", "--output_dir", type=FOLDER, default="runs", show_default=True, help="Folder of the trainings."
)
@click.option("--overwrite", is_flag=True, help="Replace another report that is there.")
def command(comparison: str, out: Path, output_dir: Path, overwrite: bool) -> None:
    """Write the report of COMPARISON, its name or its run in MLflow; without one, of the newest comparison.

    Everything is read from MLflow: the server that MLFLOW_TRACKING_URI names, else the store in --output-dir. OUT gets
    report.html (one page that needs no network), checklist.html, report.json, tables as CSV, pictures as PNG and SVG.
    """
    from mgmt_monai.comparison.kept_results import stored_record
    from mgmt_monai.comparison.report.files import write_report
    from mgmt_monai.tracking.comparisons import find_comparison
    from mgmt_monai.tracking.mlflow_store import tracking_uri

    uri = tracking_uri(output_dir)
    report = write_report(stored_record(uri, find_comparison(uri, comparison)), out, overwrite)
    tell_verdict(report["verdict"])
    click.echo(f"{out / 'report.html'}")


def tell_verdict(verdict: Mapping[str, Any]) -> None:
    """The verdict of a report, and what it leaves open, as `mgmt-monai evaluate` tells it."""
    from mgmt_monai.evaluation.verdict import REASONS

    click.echo(verdict["sentence"])
    for reason in verdict["reasons"]:
        click.echo(f"  {REASONS.get(reason, reason)}")
