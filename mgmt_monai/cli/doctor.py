"""``mgmt-monai doctor``: look for what makes a cohort's results worthless."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from mgmt_monai.cli.json_result import result, with_json

FILE = click.Path(path_type=Path)


@click.command("doctor")
@click.argument("data_dir", type=FILE)
@click.option("--labels", type=FILE, help="Label table [the one that the layout names, where it is there].")
@click.option("--out", type=FILE, default="doctor", show_default=True, help="Folder for the report.")
@click.option("--layout", help="How DATA_DIR is laid out [found by itself].")
@click.option(
    "--exclude", default="none", show_default=True, help="CSV patient_id,reason, or 'default': not looked at."
)
@click.option("--ignore", type=FILE, help="CSV finding,patient_id,reason: findings that you accept.")
@click.option("--series", type=FILE, help="series.csv with your decisions [OUT's, else DATA_DIR's, where it is there].")
@click.option(
    "--columns", type=FILE, help="CSV with more about each patient, such as the site: tested against the label."
)
@click.option(
    "--site", default="", metavar="COLUMN", help="That tells the site  [one called site, centre, hospital...]"
)
@click.option("--mapping", type=FILE, multiple=True, help="Table of aliases, such as BraTS21-17_Mapping.csv.")
@click.option("--headers-only", is_flag=True, help="Leave the pixels alone: faster, and blind to what is in them.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that read [one a core].")
@click.option("--overwrite", is_flag=True, help="Replace the report of another data directory.")
@with_json
def command(
    data_dir: Path,
    labels: Path | None,
    out: Path,
    layout: str | None,
    exclude: str,
    ignore: Path | None,
    series: Path | None,
    columns: Path | None,
    site: str,
    mapping: tuple[Path, ...],
    headers_only: bool,
    workers: int | None,
    overwrite: bool,
) -> int:
    """Examine every series under DATA_DIR; write report.json and report.html.

    Ends with exit code 1 where an error was found that --ignore does not accept.
    """
    from mgmt_monai.cohort.doctor.visit import Visit, visit
    from mgmt_monai.cohort.findings import Severity
    from mgmt_monai.cohort.layouts.passed_over import files_line
    from mgmt_monai.cohort.layouts.tree import every_unreadable

    plan = Visit(
        labels_csv=labels,
        layout=layout,
        exclusions=exclude,
        ignore_csv=ignore,
        series_csv=series,
        columns_csv=columns,
        mappings=mapping,
        pixels=not headers_only,
        workers=workers,
        site_alone=partial(_site_alone, site=site),
    )
    with every_unreadable(data_dir):
        diagnosis = visit(data_dir, out, plan, overwrite)
    result(diagnosis.report_path)
    shown = 10
    errors = [finding for finding in diagnosis.findings if finding.kind.severity is Severity.ERROR]
    for finding in errors[:shown]:
        click.echo(f"error: {finding.under(data_dir).line}")
    if len(errors) > shown:
        click.echo(f"... and {len(errors) - shown} more, all in the report")
    numbers = {severity: diagnosis.count(severity) for severity in Severity}
    counts = ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for severity, number in numbers.items())
    click.echo(f"{data_dir}: {counts}" + (f", {len(diagnosis.ignored)} accepted" if diagnosis.ignored else ""))
    click.echo(f"{diagnosis.page_path} and {diagnosis.report_path}")
    if diagnosis.files is not None:
        click.echo(files_line(diagnosis.files))
    return 1 if errors else 0


def _site_alone(
    labels: Mapping[str, int], columns: Mapping[str, Mapping[str, str]], site: str
) -> dict[str, Any] | None:
    """What the site alone reaches among patients with a label; said before anything is trained."""
    if not columns and not site:
        return None
    import numpy as np
    import pandas as pd

    from mgmt_monai.evaluation.intervals import number_or_none
    from mgmt_monai.evaluation.within_site import known_sites, other_sites, site_alone, site_codes, site_column

    table = pd.DataFrame.from_dict(dict(columns), orient="index")
    column = site_column(table, site)
    if not column:
        return None
    values = known_sites(table[column].reindex(sorted(labels)))
    if not len(values):
        return None
    label = np.array([labels[patient] for patient in values.index])
    auc = number_or_none(site_alone(label, site_codes(values, len(values))))
    found = {"column": column, "n_sites": int(values.nunique()), "n": len(values), "auc": auc}
    told = "is not judged with so few patients" if auc is None else f"reaches {auc:.2f} here, out of fold"
    click.echo(f"the hospital alone {told} (column {column!r}: {found['n_sites']} sites, {len(values)} patients)")
    if not site and (others := other_sites(table)):
        click.echo(f"the column {others[0]!r} is called a site, too, and differs: --site {others[0]!r} takes it")
    return found
