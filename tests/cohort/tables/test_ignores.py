import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.tables.ignores import Ignored, IgnoreList, read_ignores

FEW = Ignored("D015", "00001", "a short protocol")
TWINS = Ignored("D041", "00002", "looked at both: two people")


@pytest.mark.parametrize(
    ("finding_id", "patient_id", "others", "expected"),
    [
        pytest.param("D015", "00001", (), FEW, id="its own"),
        pytest.param("D015", "00003", (), None, id="another patient"),
        pytest.param("D011", "00001", (), None, id="another kind"),
        pytest.param("D041", "00002", ("00009",), TWINS, id="first of a pair"),
        pytest.param("D041", "00001", ("00002",), TWINS, id="second of a pair"),
        pytest.param("D040", "00001", ("00002",), None, id="pair of another kind"),
        pytest.param("D043", "", (), None, id="the whole cohort"),
    ],
)
def test_decision_covers_a_finding_of_its_kind_and_patient(finding_id, patient_id, others, expected):
    finding = Finding(finding_id, patient_id, "T1w", "", "found", others)
    assert IgnoreList([FEW, TWINS]).decision(finding) == expected


def test_no_decisions_cover_nothing():
    assert IgnoreList().decision(Finding("D015", "00001", "", "", "found")) is None


def test_read_takes_the_columns_in_any_order(tmp_path):
    path = tmp_path / "accepted.csv"
    path.write_text("patient_id,reason,finding,who\n00001,a short protocol,D015,me\n", encoding="utf-8")
    assert read_ignores(path).decisions == (FEW,)


def test_read_keeps_every_row(tmp_path):
    path = tmp_path / "accepted.csv"
    path.write_text('finding,patient_id,reason\nD015,00001,a short protocol\nD011,00001,"cut, on purpose"\n')
    assert read_ignores(path).decisions == (FEW, Ignored("D011", "00001", "cut, on purpose"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("finding,patient_id\nD015,00001\n", "reason"),
        ("finding,patient_id,reason\nD999,00001,because\n", "expected the identifier of a finding (D001 to D0"),
        ("finding,patient_id,reason\nd015,00001,because\n", "found 'd015'"),
        ("finding,patient_id,reason\nD015,,because\n", "expected a patient_id and a reason in every row"),
        ("finding,patient_id,reason\nD015,00001,\n", "found '00001' and '' for D015"),
        ("finding,patient_id,reason\nD043,00001,because\n", "D043, which is of the whole cohort"),
    ],
    ids=["no column", "unknown", "lower case", "no patient", "no reason", "whole cohort"],
)
def test_list_that_decides_nothing_refused(tmp_path, text, expected):
    path = tmp_path / "accepted.csv"
    path.write_text(text)
    with pytest.raises(CohortError) as caught:
        read_ignores(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_list_refused_with_its_columns(tmp_path):
    with pytest.raises(CohortError) as caught:
        read_ignores(tmp_path / "absent.csv")
    assert str(caught.value).startswith(f"{tmp_path / 'absent.csv'}: no ignore list. Expected a CSV with the columns")
    assert "finding,patient_id,reason" in str(caught.value)


def test_decision_covers_a_name_in_another_unicode_form(caplog):
    decision = Ignored("D015", "M\u00fcller", "a short protocol")
    decisions = IgnoreList([decision])
    assert decisions.decision(Finding("D015", "Mu\u0308ller", "T1w", "", "found")) == decision
    decisions.warn_of_strangers(["Mu\u0308ller"])
    assert not caplog.messages
