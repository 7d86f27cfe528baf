import csv
from pathlib import Path

import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.columns import read_columns, values_of

MAPPING = Path(__file__).parents[3] / "../shared/data/tables/BraTS21-17_Mapping.csv"


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("column", ["patient_id", "BraTS21ID", "BraTS2021", "ID", "PATIENT_ID"])
def test_rows_of_the_patients_with_every_other_column(write, column):
    path = write(f"site,{column}, age\n1, 00007 ,61\n2,00008,\n3,00009,50\n")
    assert read_columns(path, ["00008", "00007", "00010"]) == {
        "00007": {"site": "1", "age": "61"},
        "00008": {"site": "2", "age": ""},
    }


def test_patient_id_comes_before_other_names_of_the_patient(write):
    path = write("ID,patient_id,site\nx,00007,1\n")
    assert read_columns(path, ["00007"]) == {"00007": {"ID": "x", "site": "1"}}


def test_another_spelling_of_the_name_is_the_same_patient(write):
    path = write("BraTS2021,site\nBraTS2021_00007,1\n")
    assert read_columns(path, ["00007"]) == {"00007": {"site": "1"}}


@pytest.mark.parametrize(
    ("patient", "age"), [("UPENN-GBM-00001", "52"), ("UPENN-GBM-00001_21", "53"), ("UPENN-GBM-00001_11", "52")]
)
def test_several_scans_of_one_person(write, patient, age):
    path = write("ID,age\nUPENN-GBM-00001_21,53\nUPENN-GBM-00001_11,52\n")
    assert read_columns(path, [patient]) == {patient: {"age": age}}


def test_cases_of_other_years_are_passed_over(write):
    path = write("BraTS2021,site\nBraTS2021_00007,1\nN/A,16\nN/A,17\n")
    assert read_columns(path, ["00007"]) == {"00007": {"site": "1"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("name,site\na,1\n", "expected the columns patient_id or BraTS21ID.* found name,site", id="no id"),
        pytest.param("patient_id,site\na,1\na,2\n", "expected one row a patient, found several for a", id="twice"),
        pytest.param(
            "patient_id,site\n,1\na,2\n", "expected a patient_id in every row, found none in line 2", id="nameless"
        ),
        pytest.param("patient_id,site,site\na,1,2\n", "expected one column site, found several", id="column twice"),
        pytest.param("patient_id,site\nb,1\nc,2\n", "found none; its column patient_id holds b, c", id="others"),
    ],
)
def test_faulty_table_refused_in_one_line(write, text, message):
    path = write(text)
    with pytest.raises(CohortError, match=message) as caught:
        read_columns(path, ["a"])
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_absent_table_refused(tmp_path):
    with pytest.raises(CohortError, match=r"absent\.csv: no such table\. Expected a CSV with one of the columns"):
        read_columns(tmp_path / "absent.csv", ["a"])


def test_values_of_a_column_name_those_without_in_the_log(caplog):
    columns = {"a": {"site": "1"}, "b": {"site": "N/A"}, "c": {"site": ""}}
    assert values_of(columns, "site", ["d", "c", "b", "a"]) == {"a": "1"}
    assert "column site: no value for 3 patients" in caplog.text and "b, c, d" in caplog.text


def test_unknown_column_refused_with_those_there():
    with pytest.raises(CohortError, match="column scanner: expected it in the table, found age, site"):
        values_of({"a": {"site": "1", "age": "2"}}, "scanner", ["a"])


def test_column_without_any_value_refused():
    with pytest.raises(CohortError, match="column site: expected values, found none"):
        values_of({"a": {"site": ""}}, "site", ["a", "b"])


@pytest.mark.skipif(not MAPPING.is_file(), reason="the real tables are not beside this checkout")
def test_columns_of_real_patients_as_the_file_has_them():
    with MAPPING.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    site, local = header.index("Site No (represents the originating institution)"), len(header) - 1
    expected = {row[0][-5:]: (row[site], row[local]) for row in rows if row[0] != "N/A"}
    columns = read_columns(MAPPING, expected)
    assert {patient: (of[header[site]], of["Local ID"]) for patient, of in columns.items()} == expected
    assert len(expected) == 1251


def test_name_that_differs_in_its_unicode_form_alone_is_the_same_patient(write):
    path = write("patient_id,site\nM\u00fcller,1\nBraTS2021_00007,2\n")
    assert read_columns(path, ["Mu\u0308ller", "00007"]) == {"Mu\u0308ller": {"site": "1"}, "00007": {"site": "2"}}


def test_row_without_its_zeros_is_refused(write):
    """Beside others that fit, its patient would be without a site."""
    path = write("patient_id,site\n007,A\n8,B\n")
    with pytest.raises(CohortError, match="found 8 for 008: a spreadsheet strips leading zeros"):
        read_columns(path, ["007", "008"])
