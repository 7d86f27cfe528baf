"""The doctor's table of series in doubt: what is in it, and what a decision in it changes."""

import csv
import json
import re

import numpy as np
import pytest

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.describe import describe
from mgmt_monai.cohort.doctor.visit import Visit, visit
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.layouts import find_series
from mgmt_monai.cohort.manifest import read_manifest, write_manifest
from mgmt_monai.cohort.splits.plans import External
from mgmt_monai.inference.studies import studies_in

#: Folder, description, SeriesNumber, other tags: two T2, a T1 whose name says the opposite of its tags, one that says
#: nothing, one of diffusion.
SERIES = (
    ("t2 a", "AX T2", 3, {}),
    ("t2 b", "AX T2", 4, {}),
    ("t1", "AX T1 native", 5, {"ContrastBolusAgent": "GADAVIST"}),
    ("odd", "AX", 6, {}),
    ("dwi", "DWI", 7, {}),
)


@pytest.fixture
def data_dir(tmp_path, make_dicom):
    data_dir = tmp_path / "data"
    for folder, text, number, tags in SERIES:
        for index in range(3):
            path = data_dir / "P1" / folder / f"{index}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(10 * number + index).integers(0, 99, (16, 16)).astype(np.uint16)
            uids = {"StudyInstanceUID": "1.1", "SeriesInstanceUID": f"1.1.{number}", "SeriesNumber": number}
            named = {"PatientID": "P1", "SeriesDescription": text}
            make_dicom(path, pixels, position=(0, 0, 5 * index), **uids, **named, **tags)
    (data_dir / "labels.csv").write_text("patient_id,label\nP1,1\n")
    return data_dir


def rows(path):
    with path.open(newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def decide(path, to, **decisions):
    """The table with decisions by folder, written to another place."""
    table = list(rows(path).values())
    for row in table:
        row["decision"] = decisions.get(row["file"].split("/")[1].replace(" ", "_"), row["decision"])
    with to.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return to


def read(data_dir, **settings):
    return {one.modality: one.directory.name for one in find_series(data_dir, **settings).series}


def test_table_and_pictures_of_all_that_may_be_decided_on(data_dir, tmp_path):
    diagnosis = visit(data_dir, tmp_path / "report", Visit(workers=1))
    table = rows(tmp_path / "report/series.csv")
    assert {name: (row["read_as"], row["slices"], row["decision"]) for name, row in table.items()} == {
        "P1/odd/0.dcm": ("", "3", ""),
        "P1/t1/0.dcm": ("T1wCE", "3", ""),
        "P1/t2 a/0.dcm": ("T2w", "3", ""),
        "P1/t2 b/0.dcm": ("", "3", ""),
    }
    page = diagnosis.page_path.read_text()
    shown = page.split('id="choice"')[1].split("</section>")[0]
    assert re.findall(r'<span class="path">(.*?)</span>', shown) == ["P1/t1/0.dcm", "P1/t2 a/0.dcm", "P1/t2 b/0.dcm"]
    assert shown.count('src="data:image/jpeg;base64,/9j/') == 3
    assert "T1 native" not in page


def test_decision_is_read_and_kept_by_everything_that_reads_the_cohort(data_dir, tmp_path):
    visit(data_dir, tmp_path / "report", Visit(workers=1))
    assert read(data_dir) == {"T1wCE": "t1", "T2w": "t2 a"}
    decide(tmp_path / "report/series.csv", data_dir / "series.csv", t2_b="T2w", t1="T1w", odd="FLAIR")
    assert read(data_dir) == {"T1w": "t1", "T2w": "t2 b", "FLAIR": "odd"}
    (study,) = studies_in(data_dir, tmp_path / "out")
    assert {one.modality: one.directory.name for one in study.found.series} == read(data_dir)
    found = find_series(data_dir)
    assert [f.id for f in found.findings if f.id in ("D034", "D038")] == []
    assert (found.files.n_read, found.files.n_left_out) == (9, 6)
    assert {item.directory.name for item in found.left_out} == {"t2 a", "dwi"}
    built = build_manifest(data_dir, Sources(), External("", ()), workers=1)
    write_manifest(built.manifest, tmp_path / "manifest.json")
    kept = read_manifest(tmp_path / "manifest.json")
    assert [(row["file"], row["decision"]) for row in kept.chosen] == [
        ("P1/odd/0.dcm", "FLAIR"), ("P1/t1/0.dcm", "T1w"), ("P1/t2 b/0.dcm", "T2w"),
    ]  # fmt: skip
    assert (
        kept.patients[0].series["T2w"].reason == "named in series.csv (not chosen among several T2w (T2 by its name))"
    )
    assert "decided: patient P1: P1/t2 b/0.dcm: T2w" in list(describe(kept))


def test_series_that_shall_not_be_read(data_dir, tmp_path):
    visit(data_dir, tmp_path / "report", Visit(workers=1))
    table = decide(tmp_path / "report/series.csv", tmp_path / "mine.csv", t1="none")
    assert read(data_dir, decisions=table) == {"T2w": "t2 a"}
    assert read(data_dir) == {"T1wCE": "t1", "T2w": "t2 a"}


def test_choice_that_is_confirmed_is_told_no_more(data_dir, tmp_path):
    report = tmp_path / "report"
    visit(data_dir, report, Visit(workers=1))
    decide(report / "series.csv", report / "series.csv", t2_a="T2w")
    diagnosis = visit(data_dir, report, Visit(workers=1))
    assert "D034" not in [finding.id for finding in diagnosis.findings]
    assert "D038" in [finding.id for finding in diagnosis.findings]
    assert rows(report / "series.csv")["P1/t2 a/0.dcm"]["decision"] == "T2w"


def test_manifest_without_a_decision_is_as_before(data_dir, tmp_path):
    write_manifest(build_manifest(data_dir, Sources(), External("", ()), workers=1).manifest, tmp_path / "m.json")
    assert "chosen" not in json.loads((tmp_path / "m.json").read_text())
    assert read_manifest(tmp_path / "m.json").chosen == []


def test_another_table_of_this_name_is_left_alone(data_dir):
    (data_dir / "series.csv").write_text("patient,series\nP1,4\n")
    assert read(data_dir) == {"T1wCE": "t1", "T2w": "t2 a"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("P1,P1/t2 b/0.dcm,,T3", "found 'T3'"),
        ("P1,P1/t2 c/0.dcm,,T2w", "begins with P1/t2 c/0.dcm"),
        ("P2,P1/t2 b/0.dcm,,T2w", "patient P2"),
        ("P1,P1/t2 b/0.dcm,5,T2w", "begins with P1/t2 b/0.dcm"),
        ("P1,P1/t2 b/0.dcm,,T2w\nP1,P1/t2 a/0.dcm,,T2w", "found a second"),
        ("P1,P1/t2 b/0.dcm,,T2w\nP1,P1/t2 b/0.dcm,,none", "found a second"),
        ("P1,P1/dwi/0.dcm,,T2w", "begins with P1/dwi/0.dcm"),
    ],
    ids=["no modality", "no such file", "another patient", "no such frame", "two", "twice", "no candidate"],
)
def test_table_that_does_not_fit_is_one_line(data_dir, row, told):
    (data_dir / "series.csv").write_text(f"patient_id,file,frame,decision\n{row}\n")
    with pytest.raises(CohortError) as caught:
        find_series(data_dir)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_column_missing_is_one_line(tmp_path, data_dir):
    table = tmp_path / "mine.csv"
    table.write_text("patient_id,file\n")
    with pytest.raises(CohortError, match="patient_id,file,frame,decision"):
        find_series(data_dir, decisions=table)


def test_nifti_files_are_decided_on_by_their_names(tmp_path, make_nifti):
    make_nifti("P1/a_t1.nii.gz", "P1/b_t1.nii.gz", "P1/c_t2.nii.gz")
    visit(tmp_path, tmp_path / "report", Visit(layout="folders", workers=1))
    assert set(rows(tmp_path / "report/series.csv")) == {"P1/a_t1.nii.gz", "P1/b_t1.nii.gz", "P1/c_t2.nii.gz"}
    (tmp_path / "series.csv").write_text("patient_id,file,frame,decision\nP1,P1/b_t1.nii.gz,,T1wCE\n")
    files = {one.modality: one.files for one in find_series(tmp_path, "folders").series}
    assert files == {"T1w": ("a_t1.nii.gz",), "T1wCE": ("b_t1.nii.gz",), "T2w": ("c_t2.nii.gz",)}


def test_decision_on_a_series_that_is_gone_is_dropped_by_the_doctor_alone(data_dir, tmp_path, caplog):
    report = tmp_path / "report"
    visit(data_dir, report, Visit(workers=1, pixels=False))
    decide(report / "series.csv", report / "series.csv", t2_b="T2w", t1="T1w")
    (data_dir / "P1/t2 b").rename(data_dir / "P1/moved")
    with pytest.raises(
        CohortError, match=r"t2 b/0.dcm. Remove the row, or run the doctor again and take its series.csv.$"
    ):
        find_series(data_dir, decisions=report / "series.csv")
    visit(data_dir, report, Visit(workers=1, pixels=False))
    (told,) = [record.getMessage() for record in caplog.records if record.name.endswith(".decided")]
    assert "P1/t2 b/0.dcm. The decision T2w is dropped" in told
    kept = {name: row["decision"] for name, row in rows(report / "series.csv").items()}
    assert kept == {"P1/odd/0.dcm": "", "P1/t1/0.dcm": "T1w", "P1/t2 a/0.dcm": "", "P1/moved/0.dcm": ""}
    assert find_series(data_dir, decisions=report / "series.csv").decisions


def test_decisions_on_patients_that_are_excluded_are_kept(data_dir, tmp_path, make_dicom):
    pixels = np.arange(9, dtype=np.uint16).reshape(3, 3)
    make_dicom(data_dir / "1.dcm", pixels, PatientID="P2", SeriesDescription="AX T2", SeriesInstanceUID="1.9")
    report = tmp_path / "report"
    visit(data_dir, report, Visit(workers=1, pixels=False))
    decide(report / "series.csv", report / "series.csv", t2_b="T2w")
    (tmp_path / "without.csv").write_text("patient_id,reason\nP1,tested\n")
    before = rows(report / "series.csv")
    diagnosis = visit(data_dir, report, Visit(workers=1, pixels=False, exclusions=str(tmp_path / "without.csv")))
    after = rows(report / "series.csv")
    assert {name: row["decision"] for name, row in after.items()} == {
        name: row["decision"] for name, row in before.items()
    }
    assert after["P1/t2 b/0.dcm"]["decision"] == "T2w"
    assert "t2 b" not in diagnosis.page_path.read_text()


def test_decisions_of_another_table_do_not_replace_those_of_the_reports_folder(data_dir, tmp_path):
    report = tmp_path / "report"
    visit(data_dir, report, Visit(workers=1, pixels=False))
    other = decide(report / "series.csv", tmp_path / "other.csv", t2_a="T2w")
    decide(report / "series.csv", report / "series.csv", t1="T1w")
    kept = (report / "series.csv").read_bytes()
    with pytest.raises(CohortError, match=r"found others, which would be lost: P1/t1/0.dcm T1w. Move"):
        visit(data_dir, report, Visit(workers=1, pixels=False, series_csv=other))
    assert (report / "series.csv").read_bytes() == kept
    both = decide(other, tmp_path / "both.csv", t1="T1w")
    visit(data_dir, report, Visit(workers=1, pixels=False, series_csv=both))
    decided = {name: row["decision"] for name, row in rows(report / "series.csv").items() if row["decision"]}
    assert decided == {"P1/t1/0.dcm": "T1w", "P1/t2 a/0.dcm": "T2w"}
    (tmp_path / "report/series.csv").write_text("patient_id;file;decision\n")
    with pytest.raises(CohortError, match="found another, which would be lost"):
        visit(data_dir, report, Visit(workers=1, pixels=False))


def test_decision_on_a_file_whose_name_differs_in_its_unicode_form_alone_counts(data_dir, tmp_path, caplog):
    report = tmp_path / "report"
    (data_dir / "P1/t2 a").rename(data_dir / "P1/t2 u\u0308")
    visit(data_dir, report, Visit(workers=1, pixels=False))
    decided = decide(report / "series.csv", tmp_path / "mine.csv", **{"t2_u\u0308": "T2w"})
    decided.write_text(decided.read_text(encoding="utf-8").replace("u\u0308", "\u00fc"), encoding="utf-8")
    found = find_series(data_dir, decisions=decided)
    assert [row.file for row in found.decisions] == ["P1/t2 u\u0308/0.dcm"]
    assert "are taken for the same: 1" in caplog.text
