"""No file, folder, name or interruption ends a scan, takes the machine's memory, or makes it wait for ever."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hostile_readers
import numpy as np
import pytest
from mutated_files import bombs, deep_sequences, dicom_bases, mutated_dicom, mutated_nifti, nifti_bases, written

from mgmt_monai.cli.main import main
from mgmt_monai.cohort.doctor.visit import Visit, visit
from mgmt_monai.cohort.examination import examine as examine_module
from mgmt_monai.cohort.examination import readers as readers_module
from mgmt_monai.cohort.examination import scan as scan_module
from mgmt_monai.cohort.examination.content import read_content
from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.examination.scan_cache import ScanCache
from mgmt_monai.cohort.files.headers import HeaderError, read_headers
from mgmt_monai.cohort.files.nifti import read_nifti
from mgmt_monai.cohort.files.pixels import digest, read_slices
from mgmt_monai.cohort.findings import Severity
from mgmt_monai.cohort.layouts import find_series
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.manifest import series_reference
from mgmt_monai.cohort.records import PatientRecord, slice_digests
from mgmt_monai.transforms.load import LoadSeries

N_DICOM, N_NIFTI, SEED = 1600, 480, 20260101
SERIES_LENGTH = 40

#: A worker with all its libraries takes 0.2 GiB, the largest volume that is really there (zeros, as 1 MB of gzip) 0.25
#: GiB, the largest slice 0.13 GiB and a few copies of it. Readers that believe a claim (4 GiB and more) exceed it.
WORKER_LIMIT_BYTES = 2**30

on_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux: /proc")


@pytest.fixture(scope="module")
def mutated_dir(tmp_path_factory) -> Path:
    """Damaged DICOM files, `SERIES_LENGTH` in a folder, and damaged NIfTI files."""
    root = tmp_path_factory.mktemp("mutated")
    dicom = [*mutated_dicom(N_DICOM, SEED), *deep_sequences()]
    nifti = list(mutated_nifti(N_NIFTI, SEED))
    for name, content in bombs():
        (dicom if name.endswith(".dcm") else nifti).append((name, content))
    for index, (name, content) in enumerate(dicom):
        path = root / f"dicom/{index // SERIES_LENGTH:03d}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "nifti").mkdir()
    for name, content in nifti:
        (root / "nifti" / name).write_bytes(content)
    return root


def files_of(mutated_dir: Path, kind: str) -> list[Path]:
    return sorted(path for path in (mutated_dir / kind).rglob("*") if path.is_file())


def alone(path: Path) -> FoundSeries:
    return FoundSeries(path.name, "T1w", path.parent, (path.name,), "its name")


def worker_peak_bytes() -> int:
    """The most memory that a process started by this one has ever had, of those that live."""
    parents, peaks = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            continue  # ended meanwhile
        pid = int(status.parent.name)
        parents[pid] = int(lines["PPid"])
        peaks[pid] = int(lines.get("VmHWM", "0 kB").split()[0]) * 1024
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return max((peaks[pid] for pid in found - {os.getpid()}), default=0)


def errors(exam: SeriesExam) -> list[str]:
    return [finding.line for finding in exam.findings if finding.kind.severity is Severity.ERROR]


def test_sound_files_are_read(tmp_path):
    """What the damage is done to is sound: otherwise it would test nothing."""
    for name, recipe in dicom_bases().items():
        (tmp_path / f"{name}.dcm").write_bytes(written(recipe))
    for name, content in nifti_bases().items():
        (tmp_path / f"{name}.nii").write_bytes(content)
    paths = sorted(tmp_path.iterdir())
    exams = {path.name: examine_module.examine_series(alone(path), tmp_path, True) for path in paths}
    assert {name: errors(exam) for name, exam in exams.items()} == {name: [] for name in exams}
    lossless = [exam for name, exam in exams.items() if name.endswith(".dcm") and name != "jpeg.dcm"]
    assert len({exam.content.digests[:12] for exam in lossless}) == 1


def test_damage_is_the_same_each_time():
    assert list(mutated_dicom(30, 1)) == list(mutated_dicom(30, 1))
    assert list(mutated_nifti(30, 1)) == list(mutated_nifti(30, 1)) != list(mutated_nifti(30, 2))


@on_linux
@pytest.mark.parametrize(
    ("every", "rare"), [(4, set()), pytest.param(1, {"D021"}, marks=pytest.mark.slow)], ids=["each fourth", "all"]
)
def test_no_file_ends_a_scan_or_takes_its_memory(every, rare, mutated_dir):
    paths = (files_of(mutated_dir, "dicom") + files_of(mutated_dir, "nifti"))[::every]
    assert len(paths) >= 2000 / every
    folders = sorted((mutated_dir / "dicom").iterdir())
    found = [alone(path) for path in paths] + [FoundSeries(f.name, "T1w", f, None, "folder") for f in folders]
    exams, peak = [], 0
    for exam in scan(found, mutated_dir, pixels=True, timeout_s=100):
        exams.append(exam)
        if len(exams) % 20 == 0 or len(exams) == len(found):
            peak = max(peak, worker_peak_bytes())
    assert [exam.patient_id for exam in exams] == [series.patient_id for series in found]
    assert [exam.patient_id for exam in exams if (exam.record is None) != bool(errors(exam))] == []
    lines = [finding.line for exam in exams for finding in exam.findings]
    assert [line for line in lines if "reading it" in line] == []  # ended the process, took too long or too much
    assert [line for line in lines if len(line) > 1500 or not line.isprintable()] == []
    assert peak < WORKER_LIMIT_BYTES
    # The damage reaches everything: headers, places, ends of files, pixels; and some of it does no harm.
    assert {"D001", "D002", "D004", "D010", "D026", *rare} <= {finding.id for e in exams for finding in e.findings}
    assert sum(exam.content is not None for exam in exams) > len(exams) / 10
    assert all(SeriesExam.from_json(exam.to_json()).to_json() == exam.to_json() for exam in exams)


@pytest.mark.parametrize("n", [60, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", [20261129])
def test_what_the_doctor_accepts_training_reads_as_the_same_pixels(tmp_path, n, seed):
    """What has the doctor's digests is, shown, what training gets; padding aside, which is filled there."""
    for name, content in [*mutated_dicom(3 * n // 4, seed), *mutated_nifti(n // 4, seed)]:
        (tmp_path / name).write_bytes(content)
    exams = list(scan([alone(path) for path in sorted(tmp_path.iterdir())], tmp_path, pixels=True, timeout_s=100))
    assert len(exams) == n
    assert [line for exam in exams for line in errors(exam) if "reading it" in line] == []
    accepted = [exam for exam in exams if exam.record is not None]
    assert n / 10 < len(accepted) < n * 0.9
    for exam in accepted:
        patient = PatientRecord(exam.patient_id, 0, "test", {"T1w": exam.record})
        volume = LoadSeries()(series_reference(patient, "T1w", tmp_path)).numpy()
        assert volume.shape == (exam.record.n_slices, exam.record.rows, exam.record.columns), exam.patient_id
        stored = list(read_slices([tmp_path / exam.patient_id], exam.record.frames))
        assert [digest(one.values) for one in stored] == slice_digests(exam.record.digests), exam.patient_id
        for pixels, one in zip(volume, stored, strict=True):
            inside = ... if one.padding is None else ~one.padding
            np.testing.assert_array_equal(pixels[inside], one.shown()[inside], exam.patient_id)


def test_damaged_dicom_raises_header_errors_alone(mutated_dir):
    n_read = n_refused = 0
    for path in files_of(mutated_dir, "dicom"):
        try:
            n_read += bool(read_headers(path))
        except HeaderError as error:
            assert error.finding in ("D001", "D002", "D004", "D010"), path.name
            n_refused += 1
    assert n_read + n_refused >= N_DICOM
    assert min(n_read, n_refused) > N_DICOM / 10


def test_damaged_nifti_raises_header_errors_alone(mutated_dir):
    n_read = n_refused = 0
    for path in files_of(mutated_dir, "nifti"):
        try:
            header = read_nifti(path)
        except HeaderError as error:
            assert error.finding in ("D001", "D002", "D004", "D010"), path.name
            n_refused += 1
        else:
            assert header.n_slices * header.rows * header.columns <= 2**31
            n_read += 1
    assert n_read + n_refused >= N_NIFTI
    assert min(n_read, n_refused) > N_NIFTI / 10


def test_damaged_dicom_tree_is_found(mutated_dir, tmp_path):
    for folder in sorted((mutated_dir / "dicom").iterdir())[::5]:
        (tmp_path / folder.name).symlink_to(folder)
    found = find_series(tmp_path, "dicom")
    assert found.series
    assert {finding.id for finding in found.findings} >= {"D001"}


@pytest.mark.parametrize(
    ("reader", "expected"),
    [
        ("killed", "reading it ended the process (exit code -9)"),
        ("aborted", "reading it ended the process (exit code -6)"),
        ("hanging", "reading it took more than 2 s"),
        ("greedy", "reading it took more than 4 GiB of memory"),
        ("faulty", "reading it failed in a way nobody foresaw (KeyError: 'no such\\nkey')"),
    ],
)
def test_reader_that_fails_loses_one_series(make_cohort, monkeypatch, reader, expected):
    data_dir = make_cohort(6)
    found = find_series(data_dir).series
    monkeypatch.setattr(scan_module, "examine_series", getattr(hostile_readers, reader))
    exams = list(scan(found, data_dir, pixels=True, workers=2, timeout_s=2 if reader == "hanging" else 60))
    lost = [exam for exam in exams if exam.record is None]
    assert [exam.patient_id for exam in exams] == [series.patient_id for series in found]
    assert [exam.patient_id for exam in lost] == [hostile_readers.TROUBLE]
    (line,) = errors(lost[0])
    assert f"train/00003/T1w: expected a readable series, found that {expected}: unreadable file (D001)" in line


def test_worker_killed_by_anothers_fault_loses_nothing(make_cohort, monkeypatch):
    data_dir = make_cohort(6)
    found = find_series(data_dir).series
    monkeypatch.setattr(scan_module, "examine_series", hostile_readers.killed_once)
    exams = list(scan(found, data_dir, pixels=True, workers=2))
    assert (data_dir / "killed once").exists()
    assert all(exam.record is not None for exam in exams)


def test_lost_series_is_tried_again_by_the_next_scan(make_cohort, monkeypatch):
    data_dir = make_cohort(6)
    found = find_series(data_dir).series
    cache = ScanCache(data_dir)
    with monkeypatch.context() as patch:
        patch.setattr(scan_module, "examine_series", hostile_readers.killed)
        before = list(scan(found, data_dir, pixels=True, cache=cache, workers=1))
    after = list(scan(found, data_dir, pixels=True, cache=cache, workers=1))
    cache.close()
    assert [exam.record is None for exam in before] == [False, False, True, False, False, False]
    assert [exam.record is None for exam in after] == [False] * 6


def test_all_readers_are_killed_and_are_replaced(make_cohort):
    """As when the machine's memory runs out: whoever was reading is read again."""
    data_dir = make_cohort(120)  # enough are left for both readers that take their places
    found = find_series(data_dir).series
    exams = []
    readers_module.end_kept()
    for exam in scan(found, data_dir, pixels=False, workers=2):
        exams.append(exam)
        if len(exams) == 5:
            for pid in readers_of_this_process():
                os.kill(pid, signal.SIGKILL)
    assert [exam.patient_id for exam in exams] == [series.patient_id for series in found]
    assert all(exam.record is not None for exam in exams)
    assert len(readers_of_this_process()) == 2
    readers_module.end_kept()
    assert readers_of_this_process() == []


def readers_of_this_process() -> list[int]:
    """The processes that are children of this one and run its readers' program."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            command = status.with_name("cmdline").read_bytes()
            if int(lines["PPid"]) == os.getpid() and readers_module._PROGRAM.encode() in command:
                found.append(int(status.parent.name))
    return found


INTERRUPTIBLE = """
import signal
import sys
import hostile_readers
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, as CI may be, ignores it
from mgmt_monai.cohort.examination import scan
scan.examine_series = hostile_readers.slow
from mgmt_monai.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def start_doctor(data_dir: Path, out: Path, read_list: Path) -> subprocess.Popen:
    paths = [str(Path(hostile_readers.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), hostile_readers.READ_LIST: str(read_list)}
    command = [sys.executable, "-c", INTERRUPTIBLE, "doctor", str(data_dir), "--out", str(out), "--workers", "2"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def interrupted(process: subprocess.Popen) -> str:
    """What a process complains of that is interrupted as a terminal does it: every process of the group is, once."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=60)[1]


def test_interrupted_doctor_goes_on_where_it_was(make_cohort, tmp_path):
    n_patients, n_before = 120, 20
    data_dir = make_cohort(n_patients)
    first, second = tmp_path / "read-first.txt", tmp_path / "read-second.txt"
    doctor = start_doctor(data_dir, tmp_path / "report", first)
    deadline = time.monotonic() + 120
    while not first.exists() or len(first.read_text().split()) < n_before:
        assert doctor.poll() is None, doctor.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    complaints = interrupted(doctor)
    assert doctor.returncode == 130
    assert "Traceback" not in complaints
    assert complaints.rstrip().endswith("Interrupted.")
    assert not (tmp_path / "report/report.json").exists()

    going_on = start_doctor(data_dir, tmp_path / "report", second)
    going_on.communicate(timeout=120)
    assert going_on.returncode == 0
    again = second.read_text().split()
    # what was on its way at the interruption, at most a worker's share ahead, is read again; nothing else is
    ahead = 2 * scan_module._AHEAD + 2
    assert n_patients - len(first.read_text().split()) <= len(again) <= n_patients - n_before + ahead
    assert len(set(again)) == len(again) < n_patients

    (data_dir / ".mgmt-monai-scan.sqlite").unlink()
    visit(data_dir, tmp_path / "whole", Visit())
    assert (tmp_path / "report/report.json").read_bytes() == (tmp_path / "whole/report.json").read_bytes()


def test_folder_that_vanishes_after_it_was_found_is_a_finding(make_cohort):
    data_dir = make_cohort(3)
    found = find_series(data_dir).series
    shutil.rmtree(found[1].directory)
    cache = ScanCache(data_dir)
    exams = list(scan(found, data_dir, pixels=True, cache=cache, workers=1))
    cache.close()
    (line,) = errors(exams[1])
    assert "train/00002/T1w: expected a folder of DICOM files, found it unreadable (No such file or directory)" in line
    assert [exam.record is None for exam in exams] == [False, True, False]


def test_folder_that_vanishes_between_headers_and_pixels_is_a_finding(make_cohort, monkeypatch):
    data_dir = make_cohort(1)
    (series,) = find_series(data_dir).series

    def too_late(*arguments, **settings):
        shutil.rmtree(series.directory)
        return read_content(*arguments, **settings)

    monkeypatch.setattr(examine_module, "read_content", too_late)
    exam = examine_module.examine_series(series, data_dir, True)
    (line,) = errors(exam)
    assert exam.record is None
    assert "No such file or directory" in line


def test_name_that_no_file_can_have_is_a_finding(make_cohort):
    data_dir = make_cohort(1)
    (data_dir / "cohort.csv").write_text(f"patient_id,label,T1w,T2w\n1,1,{'x' * 300},{'y' * 300}.nii\n")
    found = find_series(data_dir, "csv").series
    cache = ScanCache(data_dir)
    exams = list(scan(found, data_dir, pixels=True, cache=cache, workers=1))
    cache.close()
    assert [exam.record for exam in exams] == [None, None]
    assert all("File name too long" in errors(exam)[0] for exam in exams)


def test_links_that_lead_in_circles_or_to_devices_are_findings(make_cohort):
    data_dir = make_cohort(2)
    series, patient = data_dir / "train/00001/T1w", data_dir / "train/00001"
    (series / "itself.dcm").symlink_to(series / "itself.dcm")
    (series / "up").symlink_to(patient)
    (series / "zeros.dcm").symlink_to("/dev/zero")
    (patient / "round").symlink_to(data_dir)
    (data_dir / "train/00003").symlink_to(data_dir / "train/00003")
    (data_dir / "train/00004").symlink_to(data_dir)
    found = find_series(data_dir)
    exams = {exam.patient_id: exam for exam in scan(found.series, data_dir, pixels=True, workers=1)}
    lines = errors(exams["00001"])
    assert [line.split("found ")[1].split(":")[0] for line in lines] == [
        "a link to nowhere",
        "a folder",
        "no regular file",
    ]
    assert exams["00002"].record is not None


@pytest.fixture
def odd_names(make_cohort) -> Path:
    """A cohort whose folders and files have names that people, scanners and old disks give."""
    data_dir = make_cohort(5, name="Daten für 影像 № 1")
    names = [
        "a b.dcm",
        "große Schicht.dcm",
        "影像 1.dcm",
        "снимок.dcm",
        os.fsdecode(b"\xff\xfe.dcm"),
        "line\nbreak \x1b[31m.dcm",
    ]
    for index, patient in enumerate(sorted((data_dir / "train").iterdir())):
        for number, path in enumerate(sorted((patient / "T1w").iterdir())):
            path.rename(path.with_name(names[(index + number) % len(names)]))
    (data_dir / "train/00001/T1w/schlecht\n\x1b[31m <b>.dcm").write_bytes(b"no image")
    (data_dir / "train/00002/T1w" / os.fsdecode(b"\xff\xfe bad.dcm")).write_bytes(b"no image")
    return data_dir


def test_doctor_tells_odd_names_in_report_and_lines(odd_names, tmp_path, capfd):
    out = tmp_path / "Bericht 影"
    assert main(["doctor", str(odd_names), "--out", str(out), "--workers", "1"]) == 1
    told, complaints = capfd.readouterr()
    assert "Traceback" not in complaints
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2
    assert "schlecht<0a><1b>[31m <b>.dcm: expected a DICOM slice" in lines[0]
    assert "<dcff><dcfe> bad.dcm: expected a DICOM slice" in lines[1]
    assert "Daten für 影像 № 1" in lines[0]
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert odd_names.name in json.dumps(report, ensure_ascii=False)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "schlecht" in page
    assert "<b>.dcm" not in page  # names are text, never markup


def test_doctor_of_a_cohort_that_cannot_be_written_keeps_its_cache_elsewhere(make_cohort, tmp_path, monkeypatch, capfd):
    data_dir = make_cohort(4)
    (data_dir / ".mgmt-monai-scan.sqlite").mkdir()  # nor can the superuser, that tests may run as, write a file here
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments = ["doctor", str(data_dir), "--out", str(tmp_path / "report")]
    assert main(arguments) == 0
    before = (tmp_path / "report/report.json").read_bytes()
    assert list((tmp_path / "cache/mgmt-monai").glob("scan-*.sqlite"))
    monkeypatch.setattr(readers_module, "_Reader", None)  # nothing is read any more
    assert main(arguments) == 0
    assert (tmp_path / "report/report.json").read_bytes() == before
    assert "is not kept" not in capfd.readouterr().err
