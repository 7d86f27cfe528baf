"""The simulated verdicts err no more often than they may: a small twin here, all rows among the slow tests."""

import importlib.util
import math
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("verdicts", Path(__file__).parents[1] / "benchmarks" / "verdicts.py")
verdicts = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(verdicts)


def check(name: str, n_studies: int) -> None:
    """Hold a row to what is asked of it, give or take three standard errors."""
    make, asked = verdicts.ROWS[name]
    found = verdicts.shares(make, range(verdicts.FIRST_SEED, verdicts.FIRST_SEED + n_studies))

    def most(share: float) -> float:
        return n_studies * share + 3 * math.sqrt(n_studies * share * (1 - share))

    if asked == "null":
        assert found["supported"] <= most(0.025), found
    if asked in ("clean", "adds"):
        assert found["contaminated"] <= most(0.05), found
    if asked == "adds":
        assert n_studies - found["supported"] <= most(0.1), found


@pytest.mark.parametrize("name", ["null, 20", "null, 5 folds, 60", "header 0.75 alone, 59", "AUC 0.80, 59"])
def test_a_few_studies_of_a_row(name):
    check(name, 25)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(verdicts.ROWS))
def test_a_thousand_studies_of_each_row(name):
    check(name, 1000)


def test_the_table_has_every_row_and_state(monkeypatch):
    monkeypatch.setattr(verdicts, "ROWS", {"null, 20": verdicts.ROWS["null, 20"]})

    lines = list(verdicts.table(2, 0))

    assert lines[2].startswith("| null, 20 | null | ")
    assert sum(float(cell.strip(" %")) for cell in lines[2].split("|")[3:-1]) == 100
