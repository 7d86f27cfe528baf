"""The documented table of what imaging adds is that of the command."""

import importlib.util
import re
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
_SPEC = importlib.util.spec_from_file_location("imaging_adds_table", BENCHMARKS / "imaging_adds.py")
module = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(module)


def test_the_documented_rows_are_the_commands_and_none_claims_what_is_not_there():
    told = {(1, 0): "nothing", (1, 1): "a copy of the age", (0, 0): "AUC"}
    known = {(told[row.image == 0.5, row.copies > 0], row.n, row.n_columns) for row in module.ROWS}
    rows = re.findall(
        r"^\| ([a-zA-Z ]+?)(?: 0\.\d+)? \| (\d+) \| (\d+) \|(.*)", (BENCHMARKS / "imaging_adds.md").read_text(), re.M
    )

    assert rows and {(what, int(n), int(k)) for what, n, k, _ in rows} <= known
    above_0 = [float(cells.split("|")[i].strip(" %")) for what, _, _, cells in rows if what != "AUC" for i in (2, 5)]
    assert max(above_0) <= 2.5


def test_a_line_of_the_table_has_what_its_head_names():
    head, _ = (line for line, _ in zip(module.table(1), range(2), strict=False))
    line = module.line(module.Row(150, 2, 0.75), range(1000, 1002))

    assert line.count("|") == head.count("|")
    assert line.startswith("| AUC 0.75 | 150 | 2 | +0.")
