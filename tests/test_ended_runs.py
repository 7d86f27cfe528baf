"""Runs of the tests: a group has one worker; what crashes or hangs ends the run, which never waits for ever."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = Path(__file__).parents[1] / "setup.cfg"
# Where the two processes of `make test` wait: one of them for the group that the other one has in hand.
SESSION = """
import itertools, os, time
import pytest

@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("n", range(6))
def test_in_order(n):
    if n == 2:
        {fault}

@pytest.mark.parametrize("n", range(10))
def test_anywhere(n):
    time.sleep(0.05)
"""


def run(folder: Path, fault: str, *options: str) -> tuple[int, str]:
    """Exit code and output of a session with that fault, run as `make test` runs its own.

    One that has not ended after four minutes is aborted: its output has where it waited.
    """
    (folder / "test_session.py").write_text(SESSION.format(fault=fault))
    command = [sys.executable, "-m", "pytest", "-c", SETTINGS, "--rootdir", folder, "-p", "no:cacheprovider"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    words = [*command, "-n", "2", "--dist", "loadgroup", *options, folder / "test_session.py"]
    with (folder / "said").open("w+") as said:
        session = subprocess.Popen(words, stdout=said, stderr=said, text=True, env=own, cwd=folder)
        try:
            session.wait(timeout=240)
        except subprocess.TimeoutExpired:
            session.send_signal(signal.SIGABRT)
            session.wait(timeout=30)
        said.seek(0)
        return session.returncode, said.read()


@pytest.mark.parametrize(
    "fault",
    ["os._exit(0)", f"os.kill(os.getpid(), {int(signal.SIGSEGV)})", f"os.kill(os.getpid(), {int(signal.SIGKILL)})"],
    ids=["leaves", "segmentation fault", "killed"],
)
def test_worker_that_dies_ends_the_run(tmp_path, fault):
    code, said = run(tmp_path, fault)

    assert code == 1, said
    assert "crashed while running 'test_session.py::test_in_order[2]@together'" in said
    assert "1 failed" in said


def test_test_that_waits_for_ever_fails_and_the_others_run(tmp_path):
    code, said = run(tmp_path, "time.sleep(1000)", "--timeout", "2")

    assert code == 1, said
    assert "1 failed, 15 passed" in said
    assert "Timeout (>2.0s)" in said


@pytest.mark.slow
def test_test_that_hears_no_signal_ends_the_run(tmp_path):
    """A loop in C that neither ends nor lets Python in."""
    code, said = run(tmp_path, "sum(itertools.repeat(0))", "--timeout", "2", "-o", "faulthandler_timeout=5")

    assert code == 1, said
    assert "crashed while running 'test_session.py::test_in_order[2]@together'" in said


def test_tests_of_a_group_are_run_by_one_worker(request):
    """pytest 9.2 leaves xdist 3.8 without its groups, and says nothing: then each worker trains the shared models."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("this session has no workers that share the tests")

    assert [item.name for item in request.session.items if not item.nodeid.endswith(f"@{group_of(item)}")] == []


def group_of(item: pytest.Item) -> str:
    return item.get_closest_marker("xdist_group").args[0]


def test_slow_tests_have_longer(request):
    """What conftest.py adds to each test that is marked slow, and to no other."""
    limits = {
        bool(item.get_closest_marker("slow")): item.get_closest_marker("timeout") for item in request.session.items
    }

    assert limits[False] is None
    assert True not in limits or limits[True].args == (7200,)


def test_make_test_gives_up(tmp_path):
    """The last limit: `make test` around a program in pytest's place that only waits."""
    program = tmp_path / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    # The rest of `make test` is left out: what stands before the tests themselves is taken as done.
    recipe = subprocess.run(
        ["make", "--dry-run", "test", f"VENV={tmp_path / 'venv'}", "TEST_LIMIT=1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=SETTINGS.parent,
    ).stdout
    command = recipe[recipe.rindex("OMP_NUM_THREADS=1 timeout") :]
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, cwd=tmp_path)

    assert ended.returncode == 124
    assert "make test: stopped after 1 (TEST_LIMIT)" in ended.stdout
