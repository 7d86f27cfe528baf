"""What the machine did is told apart from what a file is, however it came to fail."""

import errno
import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_storage import faulty, needs_compiler

from mgmt_monai.cli.main import main
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


PAGE = Path(__file__).parents[2] / "docs/how-to/cluster.md"
COMMANDS = {"doctor": ("--out", "report.json"), "manifest build": ("--out", "manifest.json")}


def drawn(n: int, seed: int) -> list[pytest.param]:
    """From the page's table: call, errno, what is said and a command; all but the first two are slow."""
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "E" in line[:20]
    ]
    every = [
        ("write" if names.startswith("writing") else "read", getattr(errno, name), said, command)
        for names, said in (row for row in rows if len(row) == 2)
        for name in names.removeprefix("writing: ").split(", ")
        for command in COMMANDS
    ]
    chosen = random.Random(seed).sample(every, n)
    return [
        pytest.param(*one, id=f"{one[0]} {errno.errorcode[one[1]]} {one[3]}", marks=[pytest.mark.slow] * (k > 1))
        for k, one in enumerate(chosen)
    ]


@needs_compiler
@pytest.mark.parametrize(("call", "number", "said", "command"), drawn(10, seed=1))
def test_command_on_a_healthy_machine_afterwards_is_as_if_nothing_had_been(
    make_cohort, tmp_path, call, number, said, command
):
    data_dir, flag = make_cohort(8), tmp_path / "faulty"
    out, written = tmp_path / "out", COMMANDS[command][1]
    place = out / written if command == "manifest build" else out
    out.mkdir()
    words = [*command.split(), str(data_dir), "--workers", "1", "--out", str(place)]
    flag.touch()
    faults = faulty(call, number, "train/00002/T1w" if call == "read" else str(out), flag)
    ran = subprocess.run(
        [sys.executable, "-m", "mgmt_monai.cli.main", *words], env=faults, capture_output=True, text=True, check=False
    )
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
    assert ran.returncode == 1
    assert os.strerror(number) in line or "the disk is full" in line
    assert set(re.findall(r"[a-z]{5,}", said)) & set(re.findall(r"[a-z]{5,}", line.partition(str(out))[2] or line)), (
        line
    )
    assert list(out.iterdir()) == []
    flag.unlink()
    assert main(words) == 0
    (data_dir / ".mgmt-monai-scan.sqlite").unlink()
    again = (out / written).read_bytes()
    (out / written).unlink()
    assert main(words) == 0
    assert (out / written).read_bytes() == again
