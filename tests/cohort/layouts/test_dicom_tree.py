import os
import random

import pydicom
import pytest
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mgmt_monai.cohort.layouts import dicom_tree, find_series


def _series(found):
    return {
        (series.patient_id, series.modality): sorted(
            (series.directory / name).as_posix() for name in series.files or ()
        )
        for series in found.series
    }


def test_grouped_by_tags_wherever_the_files_lie(tmp_path, make_series):
    make_series("AX T1", "disc 1/IM1", "disc 2/患者/IM 2", uid="1.1.1", SeriesNumber=1)
    make_series("AX T2", "disc 1/IM3", uid="1.1.2", SeriesNumber=2)
    make_series("AX T2", "disc 1/IM4", patient="P2", study="1.2", uid="1.2.1")
    found = dicom_tree.find(tmp_path)
    assert _series(found) == {
        ("P1", "T1w"): [f"{tmp_path}/disc 1/IM1", f"{tmp_path}/disc 2/患者/IM 2"],
        ("P1", "T2w"): [f"{tmp_path}/disc 1/IM3"],
        ("P2", "T2w"): [f"{tmp_path}/disc 1/IM4"],
    }
    assert found.patients == {"P1", "P2"}
    assert found.findings == []


@pytest.mark.parametrize(("time", "expected"), [("093000.25", "T1w"), ("103000.25", "T1wCE")])
def test_acquisition_time_in_the_files_tells_t1_from_enhanced_t1(tmp_path, make_series, time, expected):
    day = {"AcquisitionDate": "20200101"}
    make_series("DSC PERFUSION", "a/1", uid="1.1.1", SeriesNumber=8, AcquisitionTime="101500", **day)
    against_it = 1 if expected == "T1wCE" else 99
    make_series("AX T1", "b/1", uid="1.1.2", SeriesNumber=against_it, AcquisitionTime=time, **day)
    assert list(_series(dicom_tree.find(tmp_path))) == [("P1", expected)]


def test_folder_names_do_not_decide(tmp_path, make_series):
    make_series("AX T2 FSE", "T1wCE/1", "T1wCE/2")
    assert list(_series(dicom_tree.find(tmp_path))) == [("P1", "T2w")]


def test_what_is_left_out_is_told_with_its_reason(tmp_path, make_series):
    make_series("AX DWI", "a/1", "a/2", uid="1.1.1", SeriesNumber=3)
    make_series("AX T1", "b/1", uid="1.1.2")
    ((patient_id, directory, what, n_files, reason),) = (
        (item.patient_id, item.directory, item.what, item.n_files, item.reason)
        for item in dicom_tree.find(tmp_path).left_out
    )
    assert (patient_id, directory, what, n_files) == ("P1", tmp_path / "a", "series 3", 2)
    assert reason == "diffusion (by its name)"


def test_patient_with_nothing_usable_is_a_finding(tmp_path, make_series):
    make_series("AX T1", "b/1")
    make_series("AX DWI", "a/1", patient="P2", study="1.2", uid="1.2.1")
    found = find_series(tmp_path)
    assert found.layout == "dicom"
    assert [(finding.id, finding.patient_id) for finding in found.findings] == [("D035", "P2")]
    assert "series without number is diffusion" in found.findings[0].text


def test_choice_among_several_is_a_finding(tmp_path, make_series):
    make_series("AX T1", "a/1", uid="1.1.1", SeriesNumber=3)
    make_series("SAG T1", "b/1", "b/2", uid="1.1.2", SeriesNumber=4)
    found = dicom_tree.find(tmp_path)
    assert [series.directory.name for series in found.series] == ["b"]
    assert [(finding.id, finding.patient_id, finding.modality) for finding in found.findings] == [("D034", "P1", "T1w")]


def test_earliest_study_by_the_date_in_the_files(tmp_path, make_series):
    make_series("AX T1", "a/1", study="1.1", uid="1.1.1", StudyDate="20200202")
    make_series("AX T1", "b/1", study="1.2", uid="1.2.1", StudyDate="20190101")
    found = dicom_tree.find(tmp_path)
    assert [series.directory.name for series in found.series] == ["b"]
    assert "20190101" in found.findings[0].text


def test_magnitude_speaks_for_a_series_with_phase_images(tmp_path, make_series):
    make_series("AX T1", "a/1", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"])
    make_series("AX T1", "a/2", ImageType=["ORIGINAL", "PRIMARY", "M", "ND"])
    assert [(key, len(files)) for key, files in _series(dicom_tree.find(tmp_path)).items()] == [(("P1", "T1w"), 2)]


def test_series_of_phase_images_alone_left_out(tmp_path, make_series):
    make_series("AX T1", "a/1", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"])
    assert "phase" in dicom_tree.find(tmp_path).left_out[0].reason


def test_files_of_other_kinds_passed_over(tmp_path, make_series):
    make_series("AX T1", "a/1")
    (tmp_path / "notes.txt").write_text("T1")
    (tmp_path / "a/LICENSE").write_text("free")
    (tmp_path / "a/DICOMDIR").write_bytes(b"\0" * 300)
    (tmp_path / "viewer.exe").write_bytes(b"MZ\0\0")
    (tmp_path / "a/INDEX").write_text("a plain text without suffix\n")
    (tmp_path / "labels.csv").write_text("patient_id,label\nP1,1\n")
    found = dicom_tree.find(tmp_path)
    assert found.findings == []
    assert len(found.series) == 1


def test_damaged_file_is_a_finding_of_its_folders_series(tmp_path, make_series):
    make_series("AX T1", "a/1.dcm", "a/2.dcm", "a/3.dcm")
    whole = (tmp_path / "a/2.dcm").read_bytes()
    (tmp_path / "a/2.dcm").write_bytes(whole[:200])
    found = dicom_tree.find(tmp_path)
    assert [(f.id, f.patient_id, f.modality, f.path) for f in found.findings] == [
        ("D001", "P1", "T1w", str(tmp_path / "a/2.dcm"))
    ]
    assert len(found.series[0].files) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.dcm", b""), ("b.dcm", b"not DICOM"), ("IM5", b"\x93\x01\xff\x00" * 100)],
    ids=["empty", "text named so", "binary without suffix"],
)
def test_damaged_file_among_those_of_two_patients(tmp_path, make_series, name, content):
    make_series("AX T1", "1")
    make_series("AX T1", "2", patient="P2", study="1.2", uid="1.2.1")
    (tmp_path / name).write_bytes(content)
    findings = dicom_tree.find(tmp_path).findings
    assert [(f.id, f.patient_id, f.modality, f.path) for f in findings] == [("D001", "", "", str(tmp_path / name))]


@pytest.mark.parametrize("patient", ["", "  "], ids=["empty", "blank"])
def test_files_without_patient_are_told(tmp_path, make_series, patient):
    make_series("AX T1", "a/1")
    make_series("AX T1", "b/1", "b/2", patient=patient, uid="1.1.2")
    found = dicom_tree.find(tmp_path)
    assert found.patients == {"P1"}
    assert [(f.id, f.path) for f in found.findings] == [("D035", str(tmp_path / "b"))]
    assert "none in 2 files" in found.findings[0].text


def test_patient_named_with_a_line_break_stays_on_one_line(tmp_path, make_series):
    make_series("AX T1", "a/1", patient="P\n1")
    assert dicom_tree.find(tmp_path).patients == {"P<0a>1"}


def test_mutated_headers_never_end_the_search(tmp_path, make_series):
    """Every file is taken, left out, or a finding."""
    rng = random.Random(0)
    names = [f"a/{number}.dcm" for number in range(300)]
    make_series("AX T1 POST", *names, EchoTime=10, RepetitionTime=500, ScanningSequence="SE", SeriesNumber=4)
    for name in names:
        data = bytearray((tmp_path / name).read_bytes())
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(132, len(data))] = rng.randrange(256)
        (tmp_path / name).write_bytes(data[: rng.randrange(132, len(data))] if rng.random() < 0.2 else data)
    found = dicom_tree.find(tmp_path)
    read = sum(len(series.files) for series in found.series) + sum(item.n_files for item in found.left_out)
    nameless = sum(int(f.text.split(" in ")[2].split()[0]) for f in found.findings if f.id == "D035")
    assert read + nameless + sum(finding.id == "D001" for finding in found.findings) == len(names)
    assert not any("\n" in finding.line for finding in found.findings)
    assert read > 0


def test_series_without_identifier_grouped_by_folder(tmp_path, make_series):
    for folder in ("a", "b"):
        make_series("AX T1", f"{folder}/1", f"{folder}/2", uid="")
    found = dicom_tree.find(tmp_path)
    assert [len(series.files) for series in found.series] == [2]
    assert [finding.id for finding in found.findings] == ["D034"]


def test_compressed_and_linked_files(tmp_path, make_series):
    make_series("AX T1", "outside/1", "outside/2", rle=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to(tmp_path / "outside")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    assert _series(dicom_tree.find(tmp_path / "data")) == {
        ("P1", "T1w"): [f"{tmp_path}/data/link/1", f"{tmp_path}/data/link/2"]
    }


def test_undecodable_file_name(tmp_path, make_series):
    make_series("AX T1", "a/1")
    try:
        os.rename(os.fsencode(tmp_path / "a/1"), os.fsencode(tmp_path / "a") + b"/\xff1")  # noqa: PTH104 (bytes)
    except OSError:
        pytest.skip("this file system takes names of valid text only")
    ((name,),) = (series.files for series in dicom_tree.find(tmp_path).series)
    assert os.fsencode(name) == b"\xff1"


@pytest.mark.parametrize("name", ["1.2.840.113619.2.5", "IM0001", "x.IMA", "x.dcm"])
def test_recognised_by_content(tmp_path, make_series, name):
    make_series("AX T1", f"a/b/{name}")
    assert dicom_tree.recognises(tmp_path)


@pytest.mark.parametrize(("n_before", "expected"), [(199, True), (200, False)])
def test_first_two_hundred_files_are_looked_at(tmp_path, make_series, n_before, expected):
    for number in range(n_before):
        (tmp_path / f"{number:04d}").write_text("nothing")
    (tmp_path / "0000.txt").write_text("of another kind by its name: not counted")
    make_series("AX T1", "9999")
    assert dicom_tree.recognises(tmp_path) is expected


def test_file_with_the_mark_alone_is_recognised(tmp_path):
    (tmp_path / "IM1").write_bytes(bytes(128) + b"DICM" + bytes(3))
    assert dicom_tree.recognises(tmp_path)


def test_binary_file_before_the_first_dicom_file_does_not_end_the_look(tmp_path, make_series):
    (tmp_path / "0001").write_bytes(b"\x93\x01\xff\x00" * 100)
    assert not dicom_tree.recognises(tmp_path)
    make_series("AX T1", "0002")
    assert dicom_tree.recognises(tmp_path)


def test_date_that_pydicom_cannot_read_counts_as_none(tmp_path, make_series):
    make_series("AX T1", "a/1", study="1.1", uid="1.1.1", StudyDate="20200202")
    whole = (tmp_path / "a/1").read_bytes()
    assert whole.count(b"\x08\x00\x20\x00DA") == 1
    (tmp_path / "a/1").write_bytes(whole.replace(b"\x08\x00\x20\x00DA", b"\x08\x00\x20\x00DW"))  # no such kind
    make_series("AX T1", "b/1", study="1.2", uid="1.2.1", StudyDate="20210202")
    found = dicom_tree.find(tmp_path)
    assert [series.directory.name for series in found.series] == ["b"]
    assert "20210202: T1w; without date: T1w" in found.findings[0].text


def test_first_file_speaks_for_its_series(tmp_path, make_series):
    make_series("AX T1", "a/1")
    make_series("AX T2", "a/2", ImagePositionPatient=[0, 0, 1])
    make_series("AX T2", "a/3", ImagePositionPatient=[0, 0, 2])
    assert [(key, len(files)) for key, files in _series(dicom_tree.find(tmp_path)).items()] == [(("P1", "T1w"), 3)]


def test_labels_lie_beside_the_files(tmp_path, make_series):
    make_series("AX T1", "a/1")
    assert find_series(tmp_path).labels_file == tmp_path / "labels.csv"


def test_folder_of_text_not_recognised(tmp_path):
    (tmp_path / "README").write_text("nothing")
    (tmp_path / "0001").write_text("nothing")
    assert not dicom_tree.recognises(tmp_path)


def test_real_ge_series(shared_data):
    found = find_series(shared_data / "dicom/GE_T1w")
    ((series,), dataset) = (found.series, pydicom.dcmread(shared_data / "dicom/GE_T1w/00001.dcm"))
    assert (found.layout, series.patient_id, series.modality) == ("dicom", dataset.PatientID, "T1w")
    assert sorted(series.files) == [f"{number:05d}.dcm" for number in range(1, 197)]


def test_real_fragments_all_accounted_for(shared_data):
    """Every DICOM file, as pydicom counts them, is in one series taken or left out."""
    folder = shared_data / "dicom/dicom2nifti"
    found = find_series(folder)
    files = [path for path in folder.rglob("*") if path.is_file() and pydicom.misc.is_dicom(path)]
    uids = {pydicom.dcmread(path, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID for path in files}
    assert found.layout == "dicom"
    assert found.patients == {"dicom2nifti"}
    assert sum(len(s.files) for s in found.series) + sum(item.n_files for item in found.left_out) == len(files)
    assert len(found.series) + len(found.left_out) == len(uids)
    told = [finding.id for finding in found.findings]
    assert told.count("D037") == len(uids) - len(found.series)
    # Several examinations, several series of one day, and NIfTI copies beside the DICOM files.
    assert set(told) == {"D034", "D037", "D051"}


@pytest.mark.parametrize("suffix", [".json", ".xml", ".txt", ".csv", ".png", ".pdf", ".log", ".db", ".nii", ".zip"])
def test_dicom_file_is_known_by_content_whatever_its_suffix(tmp_path, make_series, suffix):
    make_series("AX T1", f"P1/1{suffix}", f"P1/2{suffix}")
    (tmp_path / f"P1/other{suffix}").write_bytes(b"{}")
    assert dicom_tree.recognises(tmp_path)
    found = dicom_tree.find(tmp_path)
    assert _series(found) == {("P1", "T1w"): [str(tmp_path / f"P1/{n}{suffix}") for n in (1, 2)]}
    assert (found.findings, found.files.n_read, found.files.n_passed_over) == ([], 2, 1)


def test_dicomdir_is_no_image(tmp_path, make_series):
    make_series("AX T1", "P1/1", "P1/DICOMDIR")
    assert _series(dicom_tree.find(tmp_path)) == {("P1", "T1w"): [str(tmp_path / "P1/1")]}


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("meta", [True, False], ids=["with meta information", "bare"])
def test_file_without_preamble_is_read_by_content(tmp_path, make_series, syntax, meta):
    make_series("AX T1", "P1/1", "P1/2", StudyDate="20200202")
    for name in ("1", "2"):
        dataset = pydicom.dcmread(tmp_path / "P1" / name)
        head = dataset.file_meta
        with (tmp_path / "P1" / f"{name}.MR").open("wb") as stream:
            if meta:
                head.TransferSyntaxUID = syntax
                write_file_meta_info(stream, head)
            bare = pydicom.Dataset({element.tag: element for element in dataset})
            pydicom.dcmwrite(stream, bare, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
        (tmp_path / "P1" / name).unlink()
    assert dicom_tree.recognises(tmp_path)
    assert _series(dicom_tree.find(tmp_path)) == {("P1", "T1w"): [str(tmp_path / f"P1/{n}.MR") for n in (1, 2)]}
