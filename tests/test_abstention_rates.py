"""The page on abstention prints the tables that its command prints."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from made_bundles import write_bundle

DOCS = Path(__file__).parents[1] / "docs"
SCRIPT = DOCS / "abstention_rates.py"


@pytest.fixture(scope="module")
def rates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("abstention_rates", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["abstention_rates"] = module
    spec.loader.exec_module(module)
    return module


def rows(text: str) -> dict[str, list[str]]:
    """Cells of a line of the table, by its first."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    return {name: cells for name, *cells in found}


def test_page_has_the_tables_that_the_command_prints(rates, finished_run, phantom_dir, make_dicom, tmp_path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "new").symlink_to(phantom_dir)
    (tmp_path / "real").mkdir()
    for number in range(3):
        make_dicom(tmp_path / "real" / f"{number}.dcm", np.full((8, 8), 100 + number, "u2"), position=(0, 0, number))
    bundle = write_bundle(tmp_path / "mgmt_t1w", finished_run)
    words = ["--bundle", bundle, "--work", tmp_path / "work", "--changed", 1, "--new", 1, "--real", tmp_path / "real"]
    printed = CliRunner().invoke(rates.main, [str(word) for word in words], catch_exceptions=False)

    made, page = rows(printed.stdout), rows((DOCS / "explanation" / "abstention.md").read_text())
    assert list(made) == list(page)
    assert made["series"] == page["series"]
    assert made["real DICOM series, no phantom"][:3] == ["1", "100 %", "100 %"]
    assert made["half of the slices blank"][:2] == ["1", "100 %"]


def test_rates_on_the_page_are_shares_of_their_sets() -> None:
    page = rows((DOCS / "explanation" / "abstention.md").read_text())
    del page["series"]
    assert len(page) > 20
    for name, (n, *shares, _) in page.items():
        values = [int(share.removesuffix(" %")) for share in shares]
        counts = [value * int(n) / 100 for value in values]
        assert all(abs(count - round(count)) < int(n) / 200 + 1e-9 for count in counts), name
        assert max(values[1:]) <= values[0] <= sum(values[1:]) + 1, name


@pytest.mark.parametrize("name", ["NO_BRAIN", "DAMAGED"])
def test_changes_keep_the_shape_and_change_the_pixels(rates, name: str) -> None:
    random = np.random.default_rng(0)
    volume = random.uniform(0, 1000, (12, 30, 40)) * (rates._radius((12, 30, 40)) < 0.8)
    for title, change in getattr(rates, name).items():
        before = volume.copy()
        after = change(volume, np.random.default_rng(1))
        assert after.shape == volume.shape, title
        assert np.isfinite(after).all(), title
        assert np.array_equal(volume, before), title
        assert np.abs(after - volume).max() > 1, title


def test_shuffled_slices_are_the_same_slices(rates) -> None:
    volume = np.arange(5.0)[:, None, None] * np.ones((5, 2, 2))
    after = rates.shuffled(volume, np.random.default_rng(0))

    assert sorted(after[:, 0, 0]) == [0, 1, 2, 3, 4]
