import pytest

from mgmt_monai.cohort.errors import CohortError, CohortFaultsError
from mgmt_monai.cohort.layouts import listed
from mgmt_monai.cohort.people import People
from mgmt_monai.cohort.tables.labels import read_labels


@pytest.fixture
def table(tmp_path):
    def write(text):
        (tmp_path / "cohort.csv").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_folders_and_files(table, make_nifti):
    make_nifti("b/flair scan.nii.gz")
    data_dir = table("patient_id,label,T1w,T1wCE,T2w,FLAIR\nb,0,,,,b/flair scan.nii.gz\n007,1,患者 7/T1/,./x,,\n")
    found = listed.find(data_dir)
    assert [(s.patient_id, s.modality, s.directory, s.files, s.reason) for s in found.series] == [
        ("007", "T1w", data_dir / "患者 7/T1", None, "column T1w"),
        ("007", "T1wCE", data_dir / "x", None, "column T1wCE"),
        ("b", "FLAIR", data_dir / "b", ("flair scan.nii.gz",), "column FLAIR"),
    ]
    assert read_labels(listed.labels_file(data_dir)).labels == {"b": 0, "007": 1}


def test_files_named_after_another_patient_reach_the_check_of_people(table):
    found = listed.find(table("patient_id,label,T1w\np1,0,p2/t1.nii\np2,1,p1/t1.nii\np3,1,p3/t1.nii\n"))
    assert {finding.patient_id for finding in People(found.people).findings()} == {"p1", "p2"}


def test_absent_nifti_is_named_as_a_file(table):
    found = listed.find(table("patient_id,label,T1w\n1,0,a/x.nii.gz\n"))
    assert found.series[0].files == ("x.nii.gz",)


def test_name_that_no_file_can_have_is_left_to_the_reading(table):
    (series,) = listed.find(table(f"patient_id,label,T1w\n1,0,{'x' * 300}\n")).series
    assert (series.directory.name, series.files) == ("x" * 300, None)


def test_patient_without_series_is_seen(table):
    assert listed.find(table("patient_id,label,T1w\n1,0,a\n2,1,\n")).patients == {"1", "2"}


@pytest.mark.parametrize("cell", ["../elsewhere", "/data/x", "a/../../b", "a/.."])
def test_paths_outside_refused_by_name(table, cell):
    with pytest.raises(CohortFaultsError) as caught:
        listed.find(table(f"patient_id,label,T1w\n1,0,fine\n2,1,{cell}\n3,1,{cell}\n"))
    assert [fault.split(",")[0] for fault in caught.value.faults] == ["patient 2", "patient 3"]
    assert repr(cell) in caught.value.faults[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "patient_id,label\n1,0\n", "one or more of T1w,T1wCE,T2w,FLAIR, found patient_id,label", id="none"
        ),
        pytest.param("patient_id,T1w,t1WCE\n1,a,b\n", "found patient_id,T1w,t1WCE", id="another case"),
        pytest.param("id,T1w\n1,a\n", "expected the columns patient_id", id="no patient_id"),
        pytest.param("patient_id,T1w\n1,a\n1,b\n", "found several for 1", id="twice"),
        pytest.param("patient_id,T1w\n,a\n", "expected a patient_id in every row", id="nameless"),
    ],
)
def test_refused(table, text, expected):
    with pytest.raises(CohortError) as caught:
        listed.find(table(text))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("patient_id,label,T2w\n", True, id="header"),
        pytest.param("patient_id,age\n1,50\n", False, id="another table"),
        pytest.param("", True, id="empty"),
    ],
)
def test_recognised_by_columns(table, text, expected):
    assert listed.recognises(table(text)) is expected


def test_not_recognised_without_a_table(tmp_path):
    assert not listed.recognises(tmp_path)


def test_path_that_differs_in_its_unicode_form_alone_is_found_and_told(table, caplog):
    data_dir = table("patient_id,label,T1w,T2w\n1,0,Mu\u0308ller/x,M\u00fcller/none\n")
    (data_dir / "M\u00fcller/x").mkdir(parents=True)
    assert [series.directory for series in listed.find(data_dir).series] == [
        data_dir / "M\u00fcller/x",
        data_dir / "M\u00fcller/none",
    ]
    assert "Unicode form alone (NFC, NFD) and are taken for the same: 1" in caplog.text
