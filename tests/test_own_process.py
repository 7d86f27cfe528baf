"""Our programs in places that lack something: each in a process of its own, for real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mgmt_monai.own_process import processors

PREPARED = """
import os, sys
sys.argv[0] = "mgmt-monai"
from mgmt_monai.own_process import prepare
prepare()
"""


def ran(code: str, *before: str, **environment: str) -> str:
    """What a program of ours prints as its last line."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    command = [*before, sys.executable, "-c", PREPARED + code]
    process = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=False)
    if before and process.stderr.startswith(before[0]):
        pytest.skip(f"needs {' '.join(before)}")
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()[-1]


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_user_without_an_entry_has_a_name_and_a_home():
    code = "import getpass, pathlib; print(os.getuid(), getpass.getuser(), pathlib.Path.home())"
    assert ran(code, "unshare", "--user", "--map-user=12345") == "12345 user /"
    assert ran(code, "unshare", "--user", "--map-user=12345", USER="ann", HOME="/tmp") == "12345 ann /tmp"


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
@pytest.mark.slow
def test_user_without_an_entry_can_import_what_a_training_takes():
    code = "import monai.bundle, mlflow, mgmt_monai.training; print('imported')"
    assert ran(code, "unshare", "--user", "--map-user=12345") == "imported"


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_notebook_of_a_user_without_an_entry_imports_all_and_keeps_its_environment():
    code = (
        "import os; before = dict(os.environ); import mgmt_monai as mgmt; mgmt.predict, mgmt.train, mgmt.transforms\n"
        "from mgmt_monai.host_state import as_it_was; import getpass\n"
        "with as_it_was(): name = getpass.getuser()\n"
        "print(name, dict(os.environ) == before)"
    )
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    command = ["unshare", "--user", "--map-user=12345", sys.executable, "-c", code]
    process = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    if process.stderr.startswith("unshare"):
        pytest.skip("needs unshare --user")
    assert process.stdout.splitlines()[-1:] == ["user True"], process.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_letter_that_the_encoding_has_not_is_told_by_its_number(encoding):
    assert ran("print('\u5f71')", PYTHONIOENCODING=encoding) == r"\u5f71"


def test_backend_of_a_notebook_is_not_ours():
    code = "import matplotlib.pyplot; print(matplotlib.get_backend().lower())"
    assert ran(code, MPLBACKEND="module://no_such.backend_inline", HOME="/tmp") == "agg"


def test_program_that_is_not_ours_stays_as_it_was():
    code = "from mgmt_monai.own_process import prepare; prepare(); import os; print(os.environ.get('MPLBACKEND'))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == str(os.environ.get("MPLBACKEND"))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_were_closed_lead_nowhere(closed, tmp_path):
    """What is opened next is not written to in their stead."""
    told = tmp_path / "told"
    code = (
        f"{PREPARED}\nwith open({str(told)!r}, 'w') as stream:\n    stream.write(str(stream.fileno()))\n"
        "    print('to stdout'); sys.stderr.write('to stderr'); sys.stdin.read()\n"
    )
    shell = f'exec "$0" -c "$1" {closed if "<" in closed else closed + " </dev/null"}'
    process = subprocess.run(["sh", "-c", shell, sys.executable, code], capture_output=True, check=False)
    assert process.returncode == 0, process.stderr
    assert int(told.read_text()) > 2


PROGRAMS = {
    "script": ["-c", "import sys; sys.argv[0] = 'mgmt-monai'; from mgmt_monai.cli.main import main; sys.exit(main())"],
    "module": ["-m", "mgmt_monai.cli.main"],
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("closed", "said"), [("<&-", "stdout stderr"), (">&-", "stderr"), ("2>&-", "stdout"),
                                              ("<&- >&- 2>&-", "")])  # fmt: skip
def test_command_runs_with_closed_streams(closed, said, program):
    """One that ends well and speaks, and one that ends with an error."""
    for words, code, stream in ((["--version"], 0, "stdout"), (["manifest", "show", "no.json"], 1, "stderr")):
        shell = f'exec "$@" {closed}'
        process = subprocess.run(
            ["sh", "-c", shell, "sh", sys.executable, *PROGRAMS[program], *words], capture_output=True, check=False
        )
        assert process.returncode == code, process.stderr
        for name, told in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert bool(told) == (name == stream and name in said), told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full, a disk that is full")
def test_only_a_result_that_cannot_be_written_is_an_error(tmp_path, phantom_dir):
    """Not what goes to stderr: progress, warnings, the log."""
    told = "Error: the standard output could not be written: the disk is full; free some space and run again\n"
    doctor = ["doctor", str(phantom_dir), "--workers", "1", "--out", str(tmp_path)]
    cases = ((doctor, "2>", 0), (doctor, ">", 1), (["--version"], ">", 1), (["--version"], "2>/dev/full >", 1))
    for words, where, code in cases:
        shell = ["sh", "-c", f'exec "$@" {where}/dev/full', "sh", sys.executable, *PROGRAMS["module"], *words]
        process = subprocess.run(shell, capture_output=True, text=True, check=False)
        assert process.returncode == code
        assert bool(process.stdout) == (code == 0)
        assert process.stderr.endswith(told if where == ">" else ""), process.stderr


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"": "max 100000"}, 4),
        ({"jobs": "150000 100000"}, 2),
        ({"jobs/7": "100000 100000", "jobs": "300000 100000"}, 1),
    ],
    ids=["none", "one and a half", "the narrowest"],
)
def test_processors_are_those_of_the_containers_share(tmp_path, monkeypatch, limits, expected):
    monkeypatch.setattr("mgmt_monai.own_process._allowed", lambda: 4)
    for name in ("SLURM_CPUS_PER_TASK", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/jobs/7\n")
    for group, limit in limits.items():
        folder = tmp_path / "sys/fs/cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(limit + "\n")
    assert processors(tmp_path) == expected
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert processors(tmp_path) == 1
