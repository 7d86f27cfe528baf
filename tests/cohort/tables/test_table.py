import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.table import is_unknown, names, parse_table, read_table
from mgmt_monai.machine import MachineError


def test_rows_in_the_order_asked_for(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffa, b ,c\r\n1,"x, y",3\r\n\r\n ,,\r\n2\r\n'.encode())
    table = read_table(path, "absent")
    assert table.columns == ("a", "b", "c")
    assert table.rows(["b", "a"]) == [("x, y", "1"), ("", "2")]


def test_rows_without_text_in_the_columns_dropped():
    assert parse_table("a,b\n,note\n1,\n", "t").rows(["a"]) == [("1",)]


def test_empty_cells_beyond_the_header_dropped():
    assert parse_table("a,b,\n1,2,,\n", "t").cells == ({"a": "1", "b": "2"},)


def test_text_beyond_the_header_refused():
    with pytest.raises(CohortError, match=r"^t: line 3: expected 2 cells as in the first line, found 3\. Mend"):
        parse_table("a,b\n1,2\n1,2,3\n", "t")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "a,c\n1,2\n", "t: expected the columns a,b, found a,c. Name them so in the first line.", id="name"
        ),
        pytest.param("", "t: expected the columns a,b, found an empty file. Check the file.", id="empty"),
        pytest.param("a,b,b\n1,2,3\n", "t: expected one column b, found several. Remove the others.", id="twice"),
    ],
)
def test_columns_refused(text, expected):
    with pytest.raises(CohortError) as caught:
        parse_table(text, "t").rows(["a", "b"])
    assert str(caught.value) == expected


def test_absent_file_told_in_the_callers_words(tmp_path):
    with pytest.raises(CohortError, match=r"x\.csv: no list\. Make one\.$"):
        read_table(tmp_path / "x.csv", "no list. Make one.")


@pytest.mark.parametrize("content", ["a,b\nü,1".encode("latin-1"), ("a,b\n" + "x" * 200_000).encode()])
def test_unreadable_file_refused(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(CohortError, match=r"t\.csv: not a readable CSV \(.*\)\. Save it as plain UTF-8 text\."):
        read_table(path, "absent")


def test_file_without_the_right_to_read_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.touch()

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(MachineError, match=r"t\.csv: Permission denied; .*: give this user the right to read it"):
        read_table(path, "absent")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "a,1,\n\n,2,\n,,note\n'b\nb',3,\n,4,\n", r"id in every row, found none in line 4, 8\. Add", id="none"
        ),
        pytest.param("a,1,\nb,2,\na,3,\n", r"found several for a\. Keep", id="twice"),
    ],
)
def test_check_patients(text, expected):
    table = parse_table("id,label,note\n" + text.replace("'", '"'), "t")
    columns = ("id", "label")
    with pytest.raises(CohortError, match=expected):
        table.check_patients("id", [patient for patient, _ in table.rows(columns)], columns)


@pytest.mark.parametrize("text", ["", " ", "N/A", "na", "NaN", "None", "Not Available", " UNKNOWN", "?", "-", "NULL"])
def test_words_for_no_value(text):
    assert is_unknown(text)


@pytest.mark.parametrize("text", ["0", "no", "indeterminate", "unknown site"])
def test_words_that_are_values(text):
    assert not is_unknown(text)


def test_names_counts_the_rest():
    assert names([str(n) for n in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
