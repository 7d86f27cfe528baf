"""No table that is written holds a formula, and what is read back is what was written."""

import csv
import io
import math
from pathlib import Path

import pandas as pd
import pytest

import mgmt_monai
from mgmt_monai.cohort.doctor.visit import write_series
from mgmt_monai.cohort.splits.holdout import ListedSplit, read_split
from mgmt_monai.cohort.splits.split_table import format_split
from mgmt_monai.cohort.tables.series_table import SeriesRow, read_decisions
from mgmt_monai.csv_file import csv_text, plain
from mgmt_monai.evaluation.evaluation_folder import nested_csv
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, read_patients, write_patients

FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "'=1", "''=1", "=", "-", "--1")
HARMLESS = ("-0.5", "+1e-3", "1", "it's", "'quoted'", "a=b", "", "影像", "-inf")


@pytest.mark.parametrize("text", [*FORMULAS, *HARMLESS])
def test_text_comes_back_as_it_was_and_is_no_formula(text):
    (_, (cell,)) = csv.reader(io.StringIO(csv_text(["a"], [[text]]), newline="")) if text else ([], [""])
    assert plain(cell) == text
    assert cell.startswith("'") == (text in FORMULAS or text == "'quoted'")


def test_control_characters_are_shown_as_their_number():
    assert csv_text(["a"], [["\r=1\x1b[2J"]]) == "a\n<0d>=1<1b>[2J\n"


def test_numbers_are_as_pandas_writes_them():
    rows = [(0.1, -3, None), (math.nan, 2**60, 1e-300)]
    written = pd.read_csv(io.StringIO(csv_text(["a", "b", "c"], rows)))
    pd.testing.assert_frame_equal(written, pd.DataFrame(rows, columns=["a", "b", "c"]))


def test_only_one_module_writes_csv():
    package = Path(mgmt_monai.__file__).parent
    words = ("csv.writer", "DictWriter", ".to_csv(")
    found = {p.name for p in package.rglob("*.py") if any(word in p.read_text() for word in words)}
    assert found == {"csv_file.py"}


def test_names_that_are_formulas_are_none_in_any_table_and_come_back(tmp_path):
    name = "=HYPERLINK(1)"
    row = dict.fromkeys(PATIENT_COLUMNS, 0) | {"patient_id": name, "modality": "T1w", "stage": "fine_tune"}
    table = pd.DataFrame([row | {"split": "test", "label": 1, "probability": 0.5, "n_slices": 3}])
    write_patients(table, tmp_path / "predictions.csv")
    write_series(tmp_path / "series.csv", [SeriesRow(name, f"{name}/a", "", decision="T1w")])
    (tmp_path / "split.csv").write_text(format_split(ListedSplit({name: "test"}, {}, {"@a": "-b"})))
    (tmp_path / "subgroups.csv").write_text(nested_csv([{"column": "@site", "value": name, "auc": {"value": -0.5}}]))
    for path in tmp_path.iterdir():
        cells = [cell for cells in csv.reader(path.open(newline="")) for cell in cells]
        assert f"'{name}" in cells
        assert not [cell for cell in cells if cell[:1] in tuple("=+@") or (cell[:1] == "-" and cell != "-0.5")]
    assert read_patients(tmp_path / "predictions.csv")["patient_id"].tolist() == [name]
    assert [(one.patient_id, one.file) for one in read_decisions(tmp_path / "series.csv")] == [(name, f"{name}/a")]
    assert read_split(tmp_path / "split.csv").excluded == {"@a": "-b"}
