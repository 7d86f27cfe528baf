"""A comparison's report as files: the page, its checklist, the same as JSON and CSV, and the pictures."""

import json
from pathlib import Path
from typing import Any

from mgmt_monai.atomic import check_replaceable, holds_text, write_text
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.kept_results import ComparisonRecord
from mgmt_monai.comparison.report.facts import findings
from mgmt_monai.comparison.report.pictures import pictures
from mgmt_monai.comparison.report.report_page import CHECKLIST_NAME, REPORT_NAME, checklist_page, report_page
from mgmt_monai.errors import why
from mgmt_monai.evaluation.evaluation_folder import nested_csv
from mgmt_monai.evaluation.plots.picture_files import save_figure
from mgmt_monai.html_page import write_page

TABLES = ("table_1", "table_2", "candidates", "fusions", "controls", "spread", "subgroups")
"""The lists of the report that are written as CSV too, those that it has."""


def write_report(record: ComparisonRecord, folder: Path, overwrite: bool = False) -> dict[str, Any]:
    """Write the report of a comparison; files of the same one in the folder are replaced, another's with ``overwrite``.

    Raises:
        ComparisonError: Another report is there, or the folder cannot be written to.
    """
    found = findings(record)
    text, path = json.dumps(found.report, indent=2, allow_nan=False) + "\n", folder / "report.json"
    check_replaceable(path, holds_text(path, text), overwrite, ComparisonError)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        (folder / "tables").mkdir(exist_ok=True)
    except OSError as error:
        raise ComparisonError(f"{folder}: cannot be written to ({why(error)}). Name another with --out.") from error
    for old in (folder / "figures").glob("*"):
        old.unlink()
    drawn: dict[str, str] = {}
    for name, figure in pictures(record, found):
        for picture in save_figure(figure, folder / "figures", name):
            if picture.suffix == ".svg":
                drawn[name] = picture.read_text(encoding="utf-8")
    for name in found.report.keys() & TABLES:
        write_text(folder / "tables" / f"{name}.csv", nested_csv(found.report[name]))
    write_text(path, text)
    write_page(folder / CHECKLIST_NAME, checklist_page(found.report))
    write_page(folder / REPORT_NAME, report_page(found.report, drawn))
    return found.report
