from pathlib import Path

import pandas as pd
import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.layouts import find_series
from mgmt_monai.cohort.tables.labels import Labels, read_labels

HEADER = "BraTS21ID,MGMT_value\n"
UPENN = "ID,MGMT\n"


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
        pytest.param("label,patient_id\n1,a\n0,b\n", {"a": 1, "b": 0}, id="patient_id and label"),
        pytest.param(HEADER + '"Doe, J",1\n患者,0\n', {"Doe, J": 1, "患者": 0}, id="quoted, non-Latin"),
    ],
)
def test_read_labels(table, text, expected):
    labels = read_labels(table(text))
    assert list(labels.labels.items()) == list(expected.items())
    assert labels.unlabelled == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(HEADER + "a,1\nb,0\na,0\n", "expected one row a patient, found several for a.", id="duplicate"),
        pytest.param(HEADER + "a,1\na,1\n", "found several for a.", id="duplicate with the same label"),
        pytest.param(HEADER + "a,2\nb,1\n", "expected MGMT_value 0 or 1, found a = '2'.", id="unknown value"),
        pytest.param(HEADER + "a,1.0\n", "found a = '1.0'.", id="not a whole number"),
        pytest.param(HEADER + "a\n", "found a = ''.", id="no value"),
        pytest.param(
            HEADER + ",1\nb,0\n", "expected a BraTS21ID in every row, found none in line 2", id="no identifier"
        ),
        pytest.param(
            "BraTS21ID;MGMT_value\na;1\n", "expected commas between the cells, found semicolons.", id="semicolons"
        ),
        pytest.param("BraTS21ID\na\n", "found BraTS21ID.", id="missing column"),
        pytest.param("", "found an empty file.", id="empty file"),
        pytest.param(HEADER, "expected at least one patient", id="header alone"),
        pytest.param("BraTS21ID,MGMT_value\na,\n", "expected MGMT_value 0 or 1, found a = ''.", id="blank label"),
        pytest.param("patient_id,label\na,yes\n", "expected label 0 or 1, found a = 'yes'.", id="label in words"),
        pytest.param(UPENN + "a,positive\n", "Not Available, found a = 'positive'.", id="MGMT in other words"),
        pytest.param(UPENN + "a_11,Methylated\na_11,Methylated\n", "several for a_11.", id="visit twice"),
        pytest.param(UPENN, "expected at least one patient", id="clinical header alone"),
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


@pytest.mark.parametrize(
    ("rows", "labels", "unlabelled"),
    [
        pytest.param("p_11,Methylated\nq_11,unmethylated\n", {"p": 1, "q": 0}, {}, id="words"),
        pytest.param("p_11,Indeterminate\n", {}, {"p": "MGMT is Indeterminate"}, id="indeterminate"),
        pytest.param(
            "p_11,Not Available\nq_11,\n", {}, {"p": "MGMT is Not Available", "q": "MGMT is blank"}, id="none"
        ),
        pytest.param("p_21,Methylated\np_11,Methylated\n", {"p": 1}, {}, id="visits agree"),
        pytest.param("p_21,Methylated\n", {"p": 1}, {}, id="follow-up alone"),
        pytest.param("p_11,unknown\n", {}, {"p": "MGMT is unknown"}, id="unknown"),
        pytest.param("p_11,Unmethylated\np_21,Indeterminate\n", {"p": 0}, {}, id="first visit counts"),
        pytest.param(
            "p_11,Not Available\np_21,Methylated\n",
            {},
            {"p": "MGMT is Not Available at visit 11 (Methylated at visit 21)"},
            id="known only later",
        ),
        pytest.param(
            "p_11,Unmethylated\np_21,Methylated\n",
            {},
            {"p": "the visits disagree: Unmethylated at visit 11, Methylated at visit 21"},
            id="visits disagree",
        ),
        pytest.param("Köln 7,Methylated\n", {"Köln 7": 1}, {}, id="no visit in the identifier"),
    ],
)
def test_clinical_table(table, rows, labels, unlabelled):
    found = read_labels(table(UPENN + rows))
    assert found.labels == labels
    assert found.unlabelled == unlabelled


def test_real_rsna_labels(shared_data):
    labels = read_labels(shared_data / "tables/train_labels.csv").labels
    assert (len(labels), sum(labels.values())) == (585, 307)


def test_real_upenn_table(shared_data):
    """Counted with pandas: the first visit's value, without patient 00352 whose visits say the opposite."""
    path = shared_data / "tables/UPENN-GBM_clinical_info_v2.1.csv"
    found = read_labels(path)
    frame = pd.read_csv(path, keep_default_na=False).sort_values("ID")
    first = frame.assign(patient=frame.ID.str[:-3]).drop_duplicates("patient").set_index("patient").MGMT
    first = first.drop("UPENN-GBM-00352")
    assert sum(found.labels.values()) == (first == "Methylated").sum()
    assert len(found.labels) - sum(found.labels.values()) == (first == "Unmethylated").sum()
    assert set(found.labels) | set(found.unlabelled) == {*first.index, "UPENN-GBM-00352"}
    assert "visits disagree" in found.unlabelled["UPENN-GBM-00352"]


def test_blank_label_of_a_plain_table_is_not_known(tmp_path):
    (tmp_path / "labels.csv").write_text("patient_id,label\na,1\nb,\n")
    found = read_labels(tmp_path / "labels.csv")
    assert (found.labels, found.unlabelled) == ({"a": 1}, {"b": "label is blank"})


UCSF = "ID,MGMT status,MGMT index\n"


@pytest.mark.parametrize(
    ("text", "labels", "unlabelled"),
    [
        pytest.param(
            UCSF + "UCSF-PDGM-004,negative,0\nUCSF-PDGM-010,positive,7\n",
            {"UCSF-PDGM-0004": 0, "UCSF-PDGM-0010": 1}, {}, id="folders have four digits",
        ),
        pytest.param(
            UCSF + "UCSF-PDGM-005,indeterminate,1\nUCSF-PDGM-006,unknown,unknown\nUCSF-PDGM-007,,\n", {},
            {
                "UCSF-PDGM-0005": "MGMT status is indeterminate",
                "UCSF-PDGM-0006": "MGMT status is unknown",
                "UCSF-PDGM-0007": "MGMT status is blank",
            },
            id="no status",
        ),
        pytest.param(
            UCSF + "UCSF-PDGM-005,positive,0\nUCSF-PDGM-006,negative,8\nUCSF-PDGM-007,positive,unknown\n",
            {"UCSF-PDGM-0007": 1},
            {
                "UCSF-PDGM-0005": "MGMT status is positive, but MGMT index is 0",
                "UCSF-PDGM-0006": "MGMT status is negative, but MGMT index is 8",
            },
            id="index disagrees",
        ),
        pytest.param(
            UCSF + "UCSF-PDGM-433_FU007d,positive,3\nUCSF-PDGM-433,positive,3\n"
            "UCSF-PDGM-434,negative,0\nUCSF-PDGM-434_FU010d,positive,4\n",
            {"UCSF-PDGM-0433": 1},
            {"UCSF-PDGM-0434": "the visits disagree: negative at visit 1, positive at visit FU010d"},
            id="follow-ups",
        ),
        pytest.param("ID,MGMT status\nUCSF-PDGM-1000,Positive\n", {"UCSF-PDGM-1000": 1}, {}, id="no index"),
    ],
)  # fmt: skip
def test_ucsf_metadata(table, text, labels, unlabelled):
    told = read_labels(table(text))
    assert (told.labels, told.unlabelled) == (labels, unlabelled)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("MGMT", ("methylated", "unmethylated", "n/a")),
        ("mgmt", ("1", "0", "indeterminate")),
        ("label", ("1.0", "0.0", "")),
        ("mgmt_status", ("Positive", "Negative", "unknown")),
    ],
)
def test_bids_participants(tmp_path, column, values):
    path = tmp_path / "participants.tsv"
    rows = zip(("sub-01", "02", "sub-03"), values, strict=True)
    path.write_text(f"participant_id\tage\t{column}\n" + "".join(f"{name}\t60\t{value}\n" for name, value in rows))
    told = read_labels(path)
    assert told.labels == {"sub-01": 1, "sub-02": 0}
    assert list(told.unlabelled) == ["sub-03"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("participants.tsv", "participant_id\tmgmt\n01\t1\nsub-01\t0\n", "found several for sub-01"),
        ("participants.tsv", "participant_id\tmgmt\n01\t1\nsub-01\tn/a\n", "found several for sub-01"),
        ("participants.tsv", "participant_id\tMGMT\tmgmt\nsub-01\t1\t0\n", "found mgmt twice"),
        ("x.csv", "ID,MGMT status\nUCSF-PDGM-004,positive\nucsf-pdgm-0004,negative\n", "several for UCSF-PDGM-0004"),
    ],
    ids=["two spellings", "one without label", "two columns", "digits and case"],
)
def test_two_rows_that_are_one_patient_are_refused(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    with pytest.raises(CohortError, match=expected):
        read_labels(tmp_path / name)


def test_bids_label_in_unknown_words_is_refused(tmp_path):
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tMGMT\nsub-01\tperhaps\n")
    with pytest.raises(CohortError, match=r"expected MGMT 0 or 1, .* found sub-01 = 'perhaps'"):
        read_labels(path)


def test_label_of_a_name_that_differs_in_its_form_alone_is_found():
    composed, decomposed = "M\u00fcller", "Mu\u0308ller"
    labels = Labels({composed: 1, "Ott": 0}, {"Zo\u00eb": "unknown"}).under_names_of([decomposed, "Zoe\u0308"])
    assert labels == Labels({decomposed: 1, "Ott": 0}, {"Zoe\u0308": "unknown"})
    with pytest.raises(CohortError, match="differ in their Unicode form alone"):
        Labels({composed: 1, decomposed: 1}).under_names_of([decomposed])


def test_two_patients_whose_names_look_the_same_are_refused(tmp_path):
    for name in ("M\u00fcller", "Mu\u0308ller", "Ott"):
        (tmp_path / "train" / name / "T1w").mkdir(parents=True)
    with pytest.raises(CohortError, match="patient M\u00fcller: expected one name a patient, found 2 that differ"):
        find_series(tmp_path, "rsna-miccai-2021")
