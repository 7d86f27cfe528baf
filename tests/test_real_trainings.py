"""The simulated verdicts' rows with real trainings (minutes: ``make test-slow``)."""

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

_SPEC = importlib.util.spec_from_file_location("real", Path(__file__).parents[1] / "benchmarks" / "real_trainings.py")
real = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(real)


@pytest.mark.slow
def test_labels_as_planted_and_permuted_are_trained_on_and_judged(tmp_path):
    words = ["--draws", "1", "--patients", "36", "--data", str(tmp_path / "data")]

    lines = CliRunner().invoke(real.main, words, catch_exceptions=False).stdout.splitlines()

    of_row = {cells[1].strip(): cells for cells in (line.split("|") for line in lines) if len(cells) == 9}
    permuted, planted = (float(of_row[name][3].split("(")[0]) for name in ("permuted", "as planted"))
    assert planted > permuted
    assert of_row["permuted"][4].strip() == "0"
