from pathlib import Path

import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.labels import read_labels

HEADER = "BraTS21ID,MGMT_value\n"


@pytest.fixture
def table(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(HEADER + "00009,1\n9,0\n", {"00009": 1, "9": 0}, id="zero padding kept"),
        pytest.param(HEADER + "b,0\na,1\n", {"b": 0, "a": 1}, id="order of the file"),
        pytest.param("\ufeff" + HEADER + "a,1\n", {"a": 1}, id="byte order mark"),
        pytest.param("MGMT_value,site,BraTS21ID\n1,Köln,a\n", {"a": 1}, id="other columns, other order"),
        pytest.param((HEADER + " a , 1 \n").replace("\n", "\r\n"), {"a": 1}, id="spaces, Windows line ends"),
        pytest.param(HEADER + "a,1\n\n,\n", {"a": 1}, id="empty rows"),
        pytest.param(HEADER + '"Doe, J",1\n患者,0\n', {"Doe, J": 1, "患者": 0}, id="quoted, non-Latin"),
    ],
)
def test_read_labels(table, text, expected):
    labels = read_labels(table(text))
    assert list(labels.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(HEADER + "a,1\nb,0\na,0\n", "expected one row a patient, found several for a.", id="duplicate"),
        pytest.param(HEADER + "a,1\na,1\n", "found several for a.", id="duplicate with the same label"),
        pytest.param(HEADER + "a,2\nb,1\n", "expected MGMT_value 0 or 1, found a = '2'.", id="unknown value"),
        pytest.param(HEADER + "a,1.0\n", "found a = '1.0'.", id="not a whole number"),
        pytest.param(HEADER + "a\n", "found a = ''.", id="no value"),
        pytest.param(HEADER + ",1\nb,0\n", "expected a BraTS21ID in every row, found 1 without.", id="no identifier"),
        pytest.param("BraTS21ID;MGMT_value\na;1\n", "found BraTS21ID;MGMT_value.", id="semicolons"),
        pytest.param("BraTS21ID\na\n", "found BraTS21ID.", id="missing column"),
        pytest.param("", "found none.", id="empty file"),
        pytest.param(HEADER, "expected at least one patient", id="header alone"),
        pytest.param((HEADER + "a,1\n").encode("utf-16"), "not a readable CSV", id="UTF-16"),
    ],
)
def test_read_labels_refused(table, text, expected):
    path = table(text)
    with pytest.raises(CohortError) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_labels_names_ten_unknown_values_and_counts_the_rest(table):
    with pytest.raises(CohortError, match=r"p00 = 'x', .*, p09 = 'x' and 2 more\."):
        read_labels(table(HEADER + "".join(f"p{i:02d},x\n" for i in range(12))))


@pytest.mark.parametrize("name", [".", "absent.csv"], ids=["folder", "absent"])
def test_read_labels_without_a_file(tmp_path, name):
    with pytest.raises(CohortError, match=r"no label file.*--labels"):
        read_labels(tmp_path / name)
