"""What the machine did is told apart from what a file is, however it came to fail."""

import errno
import mmap
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from faulty_storage import faulty, needs_compiler

from mgmt_monai.cohort.examination.readers import Readers, end_kept
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.layouts import find_series
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.errors import one_line
from mgmt_monai.machine import MachineError, machine_fault

SCRIPT = """
import sys
from pathlib import Path
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.layouts import find_series
found = find_series(Path(sys.argv[1])).series
print(sum(exam.content is not None for exam in scan(found, Path(sys.argv[1]), pixels=True)))
"""


@pytest.mark.parametrize(
    "number",
    [
        errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
        errno.EROFS, errno.ENOLCK, errno.EAGAIN, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN, errno.ENODEV,
        errno.EINVAL, errno.EOVERFLOW,
    ],
)  # fmt: skip
def test_errno_of_the_machine(number):
    fault = machine_fault(OSError(number, os.strerror(number), "a.dcm"))
    assert str(fault).startswith(f"a.dcm: {os.strerror(number)}; the machine is at fault, not the file: ")
    assert "a.dcm" not in fault.reason
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "a.dcm"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory", "a.dcm"),
        OSError(errno.ENAMETOOLONG, "File name too long", "a.dcm"),
        OSError("not a gzip file"),
        ValueError("a damaged header"),
    ],
    ids=repr,
)
def test_what_is_the_files_own(error):
    assert machine_fault(error) is None


def test_fault_that_was_wrapped_is_found():
    try:
        try:
            raise MemoryError
        except MemoryError as error:
            raise RuntimeError("applying transform") from error
    except RuntimeError as error:
        assert "not enough memory" in str(machine_fault(error, "a.dcm"))
        assert one_line(error).startswith("not enough memory; ask for more")


def test_script_on_stdin_with_a_long_tmpdir_reads_as_any_other(make_cohort, tmp_path):
    """No socket's name fits into such a TMPDIR, and no process can import such a main module again."""
    data_dir = make_cohort(2)
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    ran = subprocess.run(
        [sys.executable, "-", str(data_dir)],
        input=SCRIPT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "2\n"), ran.stderr


def _n_read(data_dir: Path) -> int:
    return sum(exam.content is not None for exam in scan(find_series(data_dir).series, data_dir, pixels=True))


def test_daemonic_worker_reads_as_any_other(make_cohort):
    """A process that may have no children of `multiprocessing`."""
    data_dir = make_cohort(2)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_n_read, [data_dir]) == 2


def test_no_process_to_be_had_is_no_finding(make_cohort, monkeypatch):
    data_dir = make_cohort(2)
    end_kept()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(MachineError, match=r"no process to read files in can be had \(No such file"):
        _n_read(data_dir)


def test_reader_that_cannot_import_is_no_finding(make_cohort, tmp_path, monkeypatch):
    data_dir = make_cohort(2)
    end_kept()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(MachineError, match=r"can be had \((ModuleNotFound|Import)Error"):
        _n_read(data_dir)


def _lacks(found: FoundSeries, *_: object) -> None:
    raise ImportError("libopenblas.so: cannot open shared object file")


def test_library_that_a_reader_cannot_load_later_is_no_finding(make_cohort, monkeypatch):
    data_dir = make_cohort(2)
    monkeypatch.setattr("mgmt_monai.cohort.examination.scan.examine_series", _lacks)
    with pytest.raises(MachineError, match=r"a library cannot be loaded \(libopenblas"):
        _n_read(data_dir)


def _exhaust(found: FoundSeries, *_: object) -> None:
    raise MemoryError


def test_made_series_that_fails_too_is_the_machines_fault(make_cohort, monkeypatch):
    """As after a memory limit, which meets every series."""
    data_dir = make_cohort(2)
    monkeypatch.setattr("mgmt_monai.cohort.examination.scan.examine_series", _exhaust)
    monkeypatch.setattr("mgmt_monai.cohort.examination.scan.read_probe", _exhaust_alone)
    with pytest.raises(MachineError, match="nor a made one that is sound"):
        _n_read(data_dir)


def _exhaust_alone() -> bool:
    raise MemoryError


@pytest.mark.slow
def test_time_for_which_the_process_was_stopped_does_not_count(tmp_path):
    code = (
        "import time\nfrom mgmt_monai.cohort.examination.readers import Readers\n"
        "readers = Readers(1)\nreaders.submit(time.sleep, 0, timeout_s=9).result()\nprint('begun', flush=True)\n"
        "readers.submit(time.sleep, 4, timeout_s=6).result()\nprint('done', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "begun\n"
    time.sleep(1)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(8)
    os.killpg(process.pid, signal.SIGCONT)
    assert process.communicate(timeout=60)[0] == "done\n"


def test_reader_that_takes_too_long_is_replaced():
    readers = Readers(1)
    try:
        with pytest.raises(TimeoutError):
            readers.submit(time.sleep, 60, timeout_s=0.2).result()
        assert readers.submit(abs, -3, timeout_s=60).result() == 3
    finally:
        readers.close()


@needs_compiler
def test_doctor_tells_all_files_that_it_may_not_read(make_cohort, tmp_path):
    data_dir = make_cohort(12)
    words = ["doctor", str(data_dir), "--workers", "1", "--out", str(tmp_path / "out")]
    ran = subprocess.run(
        [sys.executable, "-m", "mgmt_monai.cli.main", *words],
        env=faulty("open", errno.EACCES, "T1w/Image-1.dcm"),
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: 12 x Permission denied; the machine is at fault, not the file: give this user the ")
    assert line.endswith("train/00010/T1w/Image-1.dcm and 2 more")
    assert ran.returncode == 1
    assert not (tmp_path / "out").exists()


@needs_compiler
@pytest.mark.parametrize(
    ("folder", "fault", "said"),
    [
        ("/no/such", ("open", 0, "nothing"), "no temporary file can be had (No such file or directory)"),
        ("", ("write", errno.ENOSPC, "/slice.dcm"), "/slice.dcm: No space left on device"),
        ("", ("read", errno.EIO, "/slice.dcm"), "/slice.dcm: Input/output error"),
    ],
    ids=["gone", "full", "not read again"],
)
def test_temporary_file_that_fails_is_no_damaged_series(make_dicom, tmp_path, folder, fault, said):
    """A compressed image is shown to its decoder in a file of its own."""
    image = np.random.default_rng(0).integers(0, 4000, (60, 40)).astype(np.uint16)
    (tmp_path / "T1w").mkdir()
    for z in (0, 1):
        make_dicom(tmp_path / f"T1w/{z}.dcm", image + z, position=(0, 0, 2.0 * z), rle=True)
    script = f"""
import sys, tempfile
from pathlib import Path
tempfile.tempdir = {folder!r} or None
from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.layouts.found import FoundSeries
data_dir = Path(sys.argv[1])
print(examine_series(FoundSeries("a", "T1w", data_dir / "T1w", None, "made"), data_dir, True).findings)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=faulty(*fault), capture_output=True, text=True, check=False
    )
    assert ran.stdout == ""
    assert ran.stderr.splitlines()[-1].startswith("mgmt_monai.machine.MachineError: ")
    assert said in ran.stderr.splitlines()[-1]


def addresses_and_memory(n_bytes: int) -> int:
    """Eight GiB of addresses that no memory stands behind, as PyTorch for CUDA has three for its libraries."""
    with mmap.mmap(-1, 8 * 2**30, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ):
        assert len(bytearray(n_bytes)) == n_bytes
    return os.getpid()


def test_a_reader_is_held_to_its_data_and_ends_when_they_are_too_many():
    readers = Readers(1)
    try:
        first = readers.submit(addresses_and_memory, 2**20, timeout_s=60).result()
        with pytest.raises(MemoryError):
            readers.submit(addresses_and_memory, 5 * 2**30, timeout_s=60).result()
        assert readers.submit(addresses_and_memory, 2**20, timeout_s=60).result() != first
    finally:
        readers.close()
