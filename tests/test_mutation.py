"""Faults are drawn by seed, each one is what it says, and tests that miss one are told from tests that notice."""

import csv
import sys
from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="Cosmic Ray is not installed: pip install 'mgmt_monai[mutation]'")

ROOT = Path(__file__).parents[1]

SUM = '''"""Sums."""


def total(first: int | None, second: int) -> int:
    """The sum, without what is missing.

    Example:
        >>> 2 + 2
        4
    """
    if first is None:
        return second
    return first + second
'''

GOOD = """from mgmt_monai.room.sums import total


def test_total():
    assert total(1, 3) == 4 and total(None, 2) == 2
"""


@pytest.fixture
def mutation(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import mutation

    yield mutation
    del sys.modules["mutation"]


@pytest.fixture
def tree(tmp_path):
    """A repository of one room with one module and its tests."""
    for folder, name, text in (
        ("mgmt_monai", "__init__.py", ""),
        ("mgmt_monai/room", "__init__.py", ""),
        ("mgmt_monai/room", "sums.py", SUM),
        ("tests/room", "test_sums.py", GOOD),
        ("tests/room", "test_sums_of_others.py", ""),
        ("tests/room", "test_a_whole.py", ""),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\nmarkers = slow: slow\n")
    return tmp_path


def test_faults_are_single_changes_of_what_runs(mutation, tree):
    faults = mutation.sample(tree / "mgmt_monai", "room", 100, 0)

    # Neither the annotation 'int | None' nor the example: five places, "is", "return" twice, "+" and the condition.
    assert {(fault.module, fault.line) for fault in faults} == {("room/sums.py", n) for n in (11, 12, 13)}
    for fault in faults:
        differing = [(a, b) for a, b in zip(SUM.splitlines(), fault.text.splitlines(), strict=True) if a != b]
        assert [(a.strip(), " ".join(b.split())) for a, b in differing] == [(fault.before, fault.after)]
    assert ("return second", "return None") in {(fault.before, fault.after) for fault in faults}


def test_draw_hangs_on_the_seed_and_on_nothing_beside_it(mutation, tree):
    draws = [[mutation.sample(tree / "mgmt_monai", "room", 2, seed) for seed in range(8)] for _ in range(2)]
    assert draws[0] == draws[1]
    assert all(len(draw) == 2 for draw in draws[0])
    assert any(draw != draws[0][0] for draw in draws[0])


def test_draw_stays_when_lines_are_put_before(mutation, tree):
    before = [fault.key for fault in mutation.sample(tree / "mgmt_monai", "room", 3, 0)]
    path = tree / "mgmt_monai" / "room" / "sums.py"
    path.write_text(SUM.replace("Sums.", "Sums.\n\nOf numbers.\n"))
    assert [fault.key for fault in mutation.sample(tree / "mgmt_monai", "room", 3, 0)] == before


def test_tests_of_a_module_begin_with_those_that_bear_its_name(mutation, tree):
    found = [Path(name).relative_to(tree).as_posix() for name in mutation.tests_of(tree, "room/sums.py")]
    own = ["mgmt_monai/room/sums.py", "tests/room/test_sums.py", "tests/room/test_sums_of_others.py"]
    assert found == [*own, "tests/room/test_a_whole.py"]
    assert mutation.tests_of(tree, "room/other.py")[1:] == [
        str(tree / found[3]),
        *(str(tree / name) for name in own[1:]),
    ]


@pytest.mark.parametrize("tests", [GOOD, GOOD.split(" and ")[0] + "\n"], ids=["good tests", "tests that miss a rule"])
def test_what_no_test_notices_survives_and_the_tree_is_as_before(mutation, tree, tests, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tree))
    for name in [name for name in sys.modules if name.partition(".")[0] == "mgmt_monai"]:
        monkeypatch.delitem(sys.modules, name)
    (tree / "tests" / "room" / "test_sums.py").write_text(tests)
    faults = mutation.sample(tree / "mgmt_monai", "room", 100, 0)

    survivors = [fault.before for fault, noticed in mutation.judged(tree, faults) if not noticed]

    assert survivors == ([] if tests == GOOD else ["return second"])
    assert (tree / "mgmt_monai" / "room" / "sums.py").read_text() == SUM


def test_module_whose_tests_fail_by_themselves_is_no_measure(mutation, tree):
    (tree / "tests" / "room" / "test_sums.py").write_text("1 / 0\n")
    with pytest.raises(SystemExit, match=r"fail without any fault: .*test_sums\.py"):
        list(mutation.judged(tree, mutation.sample(tree / "mgmt_monai", "room", 1, 0)))


def test_every_equivalent_fault_has_its_reason_and_is_of_a_line_that_is_there(mutation):
    with mutation.EQUIVALENT.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        lines = [" ".join(line.split()) for line in (ROOT / "mgmt_monai" / row["module"]).read_text().splitlines()]
        assert row["before"] in lines, row
        assert len(row["reason"]) > 20, row
