import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.exclusions import read_exclusions


def test_default_names_the_three_patients_of_the_hosts():
    reasons = read_exclusions("default")
    assert sorted(reasons) == ["00109", "00123", "00709"]
    assert all("hosts" in reason for reason in reasons.values())


@pytest.mark.parametrize("word", ["none", "None"])
def test_none_is_empty(word):
    assert read_exclusions(word) == {}


def test_own_list_keeps_identifiers_and_reasons(tmp_path):
    path = tmp_path / "weg 患者.csv"
    path.write_text('\ufeffreason,patient_id\n"motion,\nsevere",007\nno consent, b \n\n,\n', encoding="utf-8")
    assert read_exclusions(path) == {"007": "motion,\nsevere", "b": "no consent"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("patient_id,reason\n7,motion\n8,\n9\n", "found none for 8, 9. Write why", id="no reason"),
        pytest.param("patient,reason\n7,motion\n", "found patient,reason.", id="missing column"),
        pytest.param("", "found an empty file.", id="empty"),
        pytest.param("reason,patient_id\nmotion\n", "expected a patient_id in every row", id="no identifier"),
        pytest.param("patient_id,reason\n7,a\n7,b\n", "found several for 7.", id="twice"),
    ],
)
def test_own_list_refused(tmp_path, text, expected):
    path = tmp_path / "exclusions.csv"
    path.write_text(text)
    with pytest.raises(CohortError) as caught:
        read_exclusions(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert expected in str(caught.value)


def test_list_that_is_not_utf8_refused(tmp_path):
    path = tmp_path / "exclusions.csv"
    path.write_bytes("patient_id,reason\n7,Bewegung für".encode("latin-1"))
    with pytest.raises(CohortError, match="not a readable CSV"):
        read_exclusions(path)


def test_absent_list_refused(tmp_path):
    with pytest.raises(CohortError, match="no exclusion list"):
        read_exclusions(tmp_path / "absent.csv")


def test_name_that_differs_in_its_unicode_form_alone_is_the_patients_and_told(tmp_path, caplog):
    path = tmp_path / "exclusions.csv"
    path.write_text("patient_id,reason\nM\u00fcller,motion\n7,blur\n", encoding="utf-8")
    assert read_exclusions(path, ["Mu\u0308ller", "7"]) == {"Mu\u0308ller": "motion", "7": "blur"}
    assert caplog.messages[0].startswith(f"{path}: names that differ from the data's in their Unicode form alone")
    path.write_text("patient_id,reason\nM\u00fcller,motion\nMu\u0308ller,blur\n", encoding="utf-8")
    with pytest.raises(CohortError, match="found two whose names differ in their Unicode form alone"):
        read_exclusions(path, ["Mu\u0308ller"])


@pytest.mark.parametrize(
    ("row", "patients", "found"),
    [
        ("7", ["007", "008"], "7 for 007"),
        ("7.0", ["00007"], "7.0 for 00007"),
        ("007", ["7"], "007 for 7"),
        ("0", ["000"], "0 for 000"),
    ],
)
def test_number_whose_zeros_a_spreadsheet_took_is_refused(tmp_path, row, patients, found):
    """It would leave out nobody."""
    path = tmp_path / "exclusions.csv"
    path.write_text(f"patient_id,reason\n{row},motion\n")
    with pytest.raises(CohortError, match=rf"expected patients as the data name them, found {found}: a spreadsheet"):
        read_exclusions(path, patients)


@pytest.mark.parametrize(("row", "patients"), [("7", ["7", "007"]), ("7", ["8"]), ("p7", ["p007"]), ("7", ["70"])])
def test_number_that_is_a_patients_own_or_of_nobody_is_taken(tmp_path, row, patients):
    path = tmp_path / "exclusions.csv"
    path.write_text(f"patient_id,reason\n{row},motion\n")
    assert read_exclusions(path, patients) == {row: "motion"}


def test_packaged_list_is_not_held_against_other_numbers():
    assert "00109" in read_exclusions("default", ["109"])
