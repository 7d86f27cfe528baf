import json
import os
import shutil
from pathlib import Path

import pytest
from made_cohorts import write_cohort, write_labels, write_patient
from textures import texture

from mgmt_monai.cli.main import main
from mgmt_monai.cohort.doctor import doctor_report as report_module


@pytest.fixture(scope="module")
def clean(tmp_path_factory, make_dicom) -> Path:
    """Six patients without an error (their series are short, which is a warning); not to be changed."""
    data_dir = write_cohort(tmp_path_factory.mktemp("clean") / "data", make_dicom, n_patients=6)
    main(["doctor", str(data_dir), "--out", str(data_dir.parent / "first"), "--workers", "1"])  # fills the cache
    return data_dir


@pytest.fixture
def data_dir(clean, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(clean, tmp_path / "data"))


@pytest.fixture
def doctor(tmp_path, capsys):
    """``doctor(data_dir, <words>)``: the exit code, the lines on stdout, those on stderr but for the progress bar."""

    def run(data_dir, *words, out=tmp_path / "report"):
        code = main(["doctor", str(data_dir), "--out", str(out), "--workers", "1", *words])
        told, err = capsys.readouterr()
        return code, told.splitlines(), [line for line in err.splitlines() if line and "series/s" not in line]

    return run


def report(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))


def found(tmp_path: Path) -> set[tuple[str, str]]:
    """Identifier and patient of every finding that counts."""
    return {(f["id"], f["patient_id"]) for f in report(tmp_path)["findings"] if f["ignored"] is None}


def test_report_of_another_directory_is_replaced_only_where_that_is_said(doctor, data_dir, clean, tmp_path):
    assert doctor(data_dir)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    code, told, errors = doctor(clean)
    assert (code, told, len(errors)) == (1, [], 1)
    assert errors[0].startswith(f"Error: {tmp_path / 'report/report.json'}: expected nothing there, or the same, found")
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()} == before
    assert doctor(data_dir)[0] == 0  # after something was mended in it, say
    of_the_first = report(tmp_path)["cohort"]["place"]
    assert doctor(clean, "--overwrite")[0] == 0
    assert report(tmp_path)["cohort"]["place"] != of_the_first


def test_cohort_without_an_error(doctor, clean, tmp_path):
    code, told, errors = doctor(clean)
    assert (code, errors) == (0, [])
    assert told[0].startswith(f"{clean}: 0 errors, ")
    assert told[1] == f"{tmp_path / 'report/report.html'} and {tmp_path / 'report/report.json'}"
    assert len(told) == 3
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "report.json"]
    assert report(tmp_path)["cohort"]["labels"] == {"methylated": 3, "unmethylated": 3, "unlabelled": 0}


def test_json_stands_alone_on_stdout(doctor, clean, tmp_path):
    code, told, errors = doctor(clean, "--json")
    assert code == 0 and json.loads("\n".join(told)) == report(tmp_path)
    assert errors[0].startswith(f"{clean}: 0 errors, ")


def test_error_ends_with_exit_code_1_after_the_report(doctor, data_dir, tmp_path):
    path = data_dir / "train/00002/T1w/Image-1.dcm"
    path.write_bytes(b"no image")
    code, told, errors = doctor(data_dir)
    assert (code, errors) == (1, [])
    assert told[0].startswith(f"error: patient 00002, T1w: {path}: expected ")
    assert told[0].endswith("unreadable file (D001). Replace the file or leave the patient out.")
    assert told[1].startswith(f"{data_dir}: 1 error, ")
    assert ("D001", "00002") in found(tmp_path)
    assert (tmp_path / "report/report.html").is_file()


def test_many_errors_are_shown_in_part_and_counted(doctor, tmp_path):
    labels = {f"{number:05d}": number % 2 for number in range(1, 13)}
    for patient_id in labels:
        directory = tmp_path / "data/train" / patient_id / "T1w"
        directory.mkdir(parents=True)
        (directory / "Image-1.dcm").write_bytes(b"no image")
    _, told, _ = doctor(write_labels(tmp_path / "data", labels))
    assert [line.split(",")[0] for line in told[:10]] == [f"error: patient {i:05d}" for i in range(1, 11)]
    assert told[10] == "... and 2 more, all in the report"
    assert told[11].startswith(f"{tmp_path / 'data'}: 12 errors, ")


def test_accepted_error_ends_with_exit_code_0_and_is_counted_apart(doctor, data_dir, tmp_path):
    (data_dir / "train/00002/T1w/Image-1.dcm").write_bytes(b"no image")
    (tmp_path / "accepted.csv").write_text("finding,patient_id,reason\nD001,00002,a broken disc\n")
    code, told, _ = doctor(data_dir, "--ignore", str(tmp_path / "accepted.csv"))
    assert code == 0
    assert told[0].startswith(f"{data_dir}: 0 errors, ")
    assert told[0].endswith(", 1 accepted")
    (accepted,) = [f for f in report(tmp_path)["findings"] if f["ignored"] is not None]
    assert (accepted["id"], accepted["patient_id"], accepted["ignored"]) == ("D001", "00002", "a broken disc")


def test_excluded_patient_is_not_looked_at(doctor, data_dir, tmp_path):
    (data_dir / "train/00002/T1w/Image-1.dcm").write_bytes(b"no image")
    (tmp_path / "left out.csv").write_text("patient_id,reason\n00002,a broken disc\n")
    assert doctor(data_dir, "--exclude", str(tmp_path / "left out.csv"))[0] == 0
    assert report(tmp_path)["cohort"]["patients"] == 5


def test_same_images_under_two_names_are_an_error(doctor, data_dir, tmp_path):
    for name in ("Image-1.dcm", "Image-2.dcm"):
        shutil.copy(data_dir / "train/00001/T1w" / name, data_dir / "train/00003/T1w" / name)
    code, told, _ = doctor(data_dir)
    assert code == 1
    assert "as patient 00003: identical images under two patients (D040)" in told[0]


def test_one_person_by_the_mapping_is_an_error(doctor, clean, tmp_path):
    (tmp_path / "names.csv").write_text("patient_id,alias\n00001,X-1\n00004,X-1\n")
    code, told, _ = doctor(clean, "--mapping", str(tmp_path / "names.csv"))
    assert code == 1
    assert told[0].startswith("error: patient 00001: ")
    assert "00004" in told[0]
    assert "one person under two names (D045)" in told[0]


def test_cohort_without_labels_is_examined(doctor, data_dir, tmp_path):
    (data_dir / "train_labels.csv").unlink()
    code, _, errors = doctor(data_dir)
    assert (code, errors) == (0, [])
    assert report(tmp_path)["cohort"]["labels"] is None


def test_named_labels_are_taken(doctor, data_dir, tmp_path):
    labels = (data_dir / "train_labels.csv").rename(tmp_path / "labels.csv")
    labels.write_text(labels.read_text().replace("00004,0\n", ""))
    code, told, _ = doctor(data_dir, "--labels", str(labels))
    assert code == 1
    assert told[0].startswith("error: patient 00004: ")
    assert "no label (D031)" in told[0]


def test_headers_alone_do_not_see_the_pixels(doctor, data_dir, tmp_path, make_dicom):
    for z in (0, 1):
        black = texture("black", (8, 12)) * 0
        make_dicom(data_dir / f"train/00005/T1w/Image-{2 - z}.dcm", black, position=(0, 0, 2.0 * z))
    assert doctor(data_dir, "--headers-only")[0] == 0
    assert {entry["pixels"] for entry in report(tmp_path)["series"] if entry["patient_id"] == "00005"} == {None}
    assert ("D021", "00005") not in found(tmp_path)
    assert doctor(data_dir)[0] == 1
    assert ("D021", "00005") in found(tmp_path)


def test_second_visit_reads_nothing(doctor, data_dir, tmp_path):
    for path in data_dir.rglob("*.dcm"):
        before = path.stat()
        path.write_bytes(b"x" * before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert doctor(data_dir)[0] == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--layout", "unknown"], "'unknown'"),
        (["--labels", "absent.csv"], "absent.csv: no label file"),
        (["--ignore", "absent.csv"], "absent.csv: no ignore list"),
        (["--exclude", "absent.csv"], "absent.csv: no exclusion list"),
        (["--columns", "absent.csv"], "absent.csv: no such table"),
        (["--mapping", "absent.csv"], "absent.csv: no such table of names"),
    ],
    ids=["layout", "labels", "decisions", "exclusions", "columns", "mapping"],
)
def test_what_cannot_be_used_is_one_line_and_nothing_is_written(doctor, clean, tmp_path, words, expected):
    code, told, errors = doctor(clean, *words)
    assert (code, told) == (1, [])
    (line,) = errors
    assert line.startswith("Error: ")
    assert expected in line
    assert not (tmp_path / "report").exists()


def test_data_directory_that_is_not_there_is_one_line_and_nothing_is_written(doctor, tmp_path):
    code, told, errors = doctor(tmp_path / "absent")
    assert (code, told) == (1, [])
    (line,) = errors
    assert line.startswith(f"Error: {tmp_path / 'absent'}: no such data directory")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/report"])
def test_report_that_cannot_be_a_folder_is_one_line(doctor, clean, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    code, told, errors = doctor(clean, out=tmp_path / place)
    assert (code, told) == (1, [])
    assert errors == [
        f"Error: {tmp_path / place}: cannot be a folder for the report ({tmp_path / 'file'} is a file). Name another "
        "with --out."
    ]
    assert (tmp_path / "file").read_text() == "mine"


def test_report_that_may_not_be_written_is_one_line(doctor, clean, tmp_path, monkeypatch):
    really = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and really(path, mode))
    code, told, errors = doctor(clean)
    assert (code, told) == (1, [])
    assert errors == [
        f"Error: {tmp_path / 'report'}: this folder for the report may not be written to. Name another with --out."
    ]


def test_report_that_fails_to_be_written_is_one_line(doctor, clean, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_module, "atomic_file", full)
    code, told, errors = doctor(clean)
    assert (code, told) == (1, [])
    place = tmp_path / "report"
    assert errors == [
        f"Error: {place}: cannot write the report (No space left on device). Name another folder with --out."
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], "Missing argument 'DATA_DIR'"), (["{data}", "--workers", "0"], "0 is not in the range x>=1")],
    ids=["no data", "workers"],
)
def test_wrong_usage_has_exit_code_2(clean, capsys, words, expected):
    assert main(["doctor", *(word.format(data=clean) for word in words)]) == 2
    assert expected in capsys.readouterr().err


def test_the_hospital_alone_is_told_before_anything_is_trained(make_dicom, doctor, tmp_path):
    names = [f"{number:05d}" for number in range(1, 21)]
    data_dir = write_cohort(tmp_path / "many", make_dicom, n_patients=1)
    (tmp_path / "sites.csv").write_text(
        "patient_id,Site No (of origin)\n" + "".join(f"{name},{'AB'[int(name) % 2]}\n" for name in names)
    )
    labels = tmp_path / "labels.csv"
    labels.write_text("BraTS21ID,MGMT_value\n" + "".join(f"{name},{int(name) % 2}\n" for name in names))

    told = doctor(data_dir, "--labels", str(labels), "--columns", str(tmp_path / "sites.csv"))[1]

    site = report(tmp_path)["cohort"]["site"]
    assert site["column"] == "Site No (of origin)"
    assert any(line.startswith("the hospital alone ") for line in told)
    page = (tmp_path / "report/report.html").read_text()
    assert (site["auc"] is None) == ("The hospital alone reaches" not in page)


def test_the_hospital_of_the_headers_is_taken_where_no_table_tells_it(make_dicom, doctor, tmp_path):
    names = [f"{number:05d}" for number in range(1, 21)]
    for name in names:
        write_patient(tmp_path / "data", make_dicom, name, InstitutionName=["Xyloburg", "St. Zebulon"][int(name) % 2])
    data_dir = write_labels(tmp_path / "data", {name: int(name) % 2 for name in names})

    told = doctor(data_dir)[1]

    assert (
        "the hospital alone reaches 1.00 here, out of fold (column 'institution (DICOM)': 2 sites, 20 patients)" in told
    )
    written = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "report").iterdir())
    assert "institution (DICOM)" in written
    assert not any(name in written + "".join(told) for name in ("Xyloburg", "Zebulon"))
