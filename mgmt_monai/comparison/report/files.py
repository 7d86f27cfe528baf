"""A comparison's report as files: the page, its checklist, the same as JSON and CSV, and the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mgmt_monai.atomic import write_text
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.record import ComparisonRecord
from mgmt_monai.comparison.report.facts import findings
from mgmt_monai.comparison.report.pictures import pictures
from mgmt_monai.comparison.report.report_page import CHECKLIST_NAME, REPORT_NAME, checklist_page, report_page
from mgmt_monai.evaluation.evaluation_folder import nested_csv
from mgmt_monai.evaluation.plots.picture_files import save_figure
from mgmt_monai.html_page import write_page

TABLES = ("table_1", "table_2", "candidates", "controls", "spread", "subgroups")
"""The lists of the report that are written as CSV too."""


def write_report(record: ComparisonRecord, folder: Path) -> dict[str, Any]:
    """Write the report of a comparison.

    Args:
        record: As it lies in MLflow.
        folder: Made if absent; files of an earlier report in it are replaced.

    Returns:
        The report, as ``report.json`` has it.

    Raises:
        ComparisonError: The folder cannot be written to.
    """
    found = findings(record)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        (folder / "tables").mkdir(exist_ok=True)
    except OSError as error:
        raise ComparisonError(f"{folder}: cannot be written to ({error.strerror}). Name another with --out.") from error
    for old in (folder / "figures").glob("*"):
        old.unlink()
    drawn: dict[str, str] = {}
    for name, figure in pictures(record, found):
        for path in save_figure(figure, folder / "figures", name):
            if path.suffix == ".svg":
                drawn[name] = path.read_text(encoding="utf-8")
    for name in TABLES:
        write_text(folder / "tables" / f"{name}.csv", nested_csv(found.report[name]))
    write_text(folder / "report.json", json.dumps(found.report, indent=2, allow_nan=False) + "\n")
    write_page(folder / CHECKLIST_NAME, checklist_page(found.report))
    write_page(folder / REPORT_NAME, report_page(found.report, drawn))
    return found.report
