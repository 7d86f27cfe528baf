"""report.json: against its schema, and against figures counted by hand."""

import json
import math
from importlib import resources

import jsonschema
import pytest

from mgmt_monai.cohort.doctor.doctor_report import Cohort, write_report
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.tables.ignores import Ignored, IgnoreList

GAP = ("D011", "expected a slice every 5.00 mm, found 2 missing in 1 gap (a.dcm and b.dcm lie 15.00 mm apart)")
SCHEMA = json.loads(resources.files("mgmt_monai.cohort").joinpath("data/doctor.schema.json").read_text())


@pytest.fixture
def exams(make_exam):
    def manufacturer(number):
        return {"Manufacturer": "GE" if number % 2 else "Siemens", "EchoTime": str(number)}

    sound = [make_exam(f"{n:05d}", tags=manufacturer(n), plane="axial" if n > 4 else "coronal") for n in range(2, 21)]
    gap = make_exam("00001", tags=manufacturer(1), gaps=((3, 2),), findings=(GAP,), identifying=("PatientName",))
    lost = make_exam(
        "00001", "T2w", readable=False, findings=(("D003", "expected DICOM files, found an empty series"),)
    )
    return [gap, *sound, lost]


@pytest.fixture
def cohort():
    labels = {f"{number:05d}": number % 2 for number in range(1, 20)}
    late = Finding("D035", "00021", "", "train/00021", "expected one of FLAIR, T1w, T1wCE, T2w, found none")
    return Cohort(
        name="made",
        layout="rsna-miccai-2021",
        labels=labels,
        patients=["00021"],
        findings=[late],
        columns={"00001": {"site": "3"}},
        ignores=IgnoreList([Ignored("D044", "00001", "a made name"), Ignored("D031", "00021", "never tested")]),
    )


def written(tmp_path, exams, cohort):
    diagnosis = write_report(tmp_path / "out", exams, cohort)
    return diagnosis, json.loads(diagnosis.report_path.read_text())


def test_report_fits_the_packaged_schema_which_refuses_another(tmp_path, exams, cohort):
    _, report = written(tmp_path, exams, cohort)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert unfit(report) == []
    report["cohort"]["patients"], report["findings"][0]["severity"] = "21", "grave"
    del report["series"][0]["slices"]
    assert unfit(report) == ["$.cohort.patients", "$.findings[0].severity", "$.series[0]"]


def unfit(report):
    return sorted(error.json_path for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(report))


def test_cohort_is_summed_up(tmp_path, exams, cohort):
    _, report = written(tmp_path, exams, cohort)
    summary = report["cohort"]
    assert (summary["patients"], summary["series"], summary["usable_series"], summary["slices"]) == (21, 21, 20, 400)
    assert summary["labels"] == {"methylated": 10, "unmethylated": 9, "unlabelled": 2}
    assert summary["planes"] == {"T1w": {"axial": 17, "coronal": 3}, "T2w": {"unusable": 1}}
    # D030: 19 patients without T2w; D031: 00020; D043: the manufacturer goes with the label
    assert summary["ids"] == {"D003": 1, "D011": 1, "D030": 19, "D031": 1, "D035": 1, "D043": 1}
    assert summary["severities"] == {"error": 2, "warning": 22, "note": 0}
    assert summary["ignored"] == 2


def test_findings_come_errors_first_with_their_remedy_and_decision(tmp_path, exams, cohort):
    diagnosis, report = written(tmp_path, exams, cohort)
    severities = [finding["severity"] for finding in report["findings"] if finding["ignored"] is None]
    assert severities == sorted(severities)  # error < warning, in the alphabet too
    (gap,) = [finding for finding in report["findings"] if finding["id"] == "D011"]
    assert (gap["patient_id"], gap["modality"], gap["path"], gap["text"]) == ("00001", "T1w", "train/00001/T1w", GAP[1])
    assert gap["remedy"] == "Restore the slices, or record that you accept it"
    reasons = {(finding["id"], finding["patient_id"]): finding["ignored"] for finding in report["findings"]}
    assert reasons["D044", "00001"] == "a made name" and reasons["D031", "00021"] == "never tested"
    assert reasons["D031", "00020"] is None
    assert [decision.reason for _, decision in diagnosis.ignored] == ["never tested", "a made name"]
    assert (diagnosis.count("error"), diagnosis.count("warning")) == (2, 22)


def test_fact_that_goes_with_the_label_is_in_the_table(tmp_path, exams, cohort):
    diagnosis, report = written(tmp_path, exams, cohort)
    first = report["confounders"]["tests"][0]
    assert (first["fact"], first["suspicious"], first["effect"]) == ("Manufacturer", True, pytest.approx(1))
    assert first["counts"] == [
        {"value": "GE", "unmethylated": 0, "methylated": 10},
        {"value": "Siemens", "unmethylated": 9, "methylated": 0},
    ]
    assert [finding.id for finding in diagnosis.findings if finding.id == "D043"] == ["D043"]


def test_without_labels_nothing_is_held_against_them(tmp_path, exams):
    _, report = written(tmp_path, exams, Cohort("made", "csv"))
    assert report["cohort"]["labels"] is None and report["confounders"]["tests"] == []
    assert {series["label"] for series in report["series"]} == {None}
    assert "D031" not in report["cohort"]["ids"]
    jsonschema.validate(report, SCHEMA)


def test_patient_whose_status_is_not_known_is_no_fault(tmp_path, make_exam):
    cohort = Cohort("made", "upenn-gbm", labels={"a": 1}, unlabelled={"b", "gone"})
    _, report = written(tmp_path, [make_exam("a"), make_exam("b")], cohort)
    assert report["cohort"]["ids"] == {} and report["cohort"]["labels"]["unlabelled"] == 1


def test_series_keep_their_order_and_geometry(tmp_path, exams, cohort):
    _, report = written(tmp_path, exams, cohort)
    assert [row["patient_id"] for row in report["series"]] == [exam.patient_id for exam in exams]
    first, last = report["series"][0], report["series"][-1]
    assert (first["plane"], first["slices"], first["missing_slices"], first["slice_spacing_mm"]) == (
        "axial",
        20,
        2,
        5.0,
    )
    assert (last["usable"], last["plane"], last["pixels"]) == (False, None, None)


def test_number_that_json_has_not_becomes_null(tmp_path, make_exam):
    odd = make_exam("a", pixels={"low": -math.inf, "high": math.nan, "robust_high": math.inf}, spacing_mm=math.nan)
    diagnosis, report = written(tmp_path, [odd], Cohort("made", "csv"))
    assert report["series"][0]["pixels"]["high"] is None and report["series"][0]["slice_spacing_mm"] is None
    jsonschema.validate(report, SCHEMA)
    assert "NaN" not in diagnosis.page_path.read_text()


def test_cohort_without_series_is_reported_too(tmp_path):
    _, report = written(tmp_path, [], Cohort("empty", "csv", labels={"a": 1}))
    assert report["series"] == [] and report["cohort"]["ids"] == {"D032": 1}
    jsonschema.validate(report, SCHEMA)


def test_interrupted_exams_leave_the_old_report_as_it_was(tmp_path, exams, cohort):
    diagnosis, _ = written(tmp_path, exams, cohort)
    before = diagnosis.report_path.read_bytes(), diagnosis.page_path.read_bytes()

    def broken():
        yield exams[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path / "out", broken(), cohort)
    assert (diagnosis.report_path.read_bytes(), diagnosis.page_path.read_bytes()) == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json"]


def test_name_that_is_no_unicode_is_written(tmp_path, make_exam):
    odd = make_exam("a\udcff", directory="train/a\udcff/T1w")
    _, report = written(tmp_path, [odd], Cohort("made\udcff", "csv"))
    assert report["series"][0]["directory"] == "train/a\udcff/T1w"
