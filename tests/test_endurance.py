"""A drawn share of ``make endurance``, and what it calls a fault."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "endurance.py"


@pytest.fixture
def endurance(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import endurance

    return endurance


@pytest.mark.parametrize(
    ("code", "text", "faults"),
    [
        (0, "done\n", []),
        (-signal.SIGKILL, "", []),
        (130, "Interrupted.\n", []),
        (1, "Error: runs: cannot be written to.\n", []),
        (1, "killed\n", ["exit code 1 without a line of why"]),
        (139, "", ["exit code 139"]),
        (0, "Traceback (most recent call last):\n  File\nValueError: x\n", ["traceback: ValueError: x"]),
    ],
)
def test_fault_is_a_traceback_a_foreign_code_or_an_error_without_words(endurance, code, text, faults, tmp_path):
    (tmp_path / "log").write_text(text)
    assert endurance.faults_of(code, tmp_path / "log") == faults


def test_table_counts_trials_without_a_fault(endurance):
    counts = {("doctor", "kill -9"): [2, 3], ("export", "SIGTERM"): [1, 1]}
    assert endurance.table(counts, ["kill -9", "SIGTERM"]).splitlines()[2:] == [
        "| doctor | 2 of 3 | - |",
        "| export | - | 1 of 1 |",
    ]


@pytest.mark.slow
def test_drawn_share_has_no_fault(tmp_path):
    words = [sys.executable, str(SCRIPT), "--seed", "5", "--share", "0.02", "--only", "manifest,doctor,export,training"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
