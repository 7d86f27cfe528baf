"""The intervals keep their word at 53 patients, and the documentation prints what the simulation does."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from simulations import binormal, clustered, covered, delong_interval, main, proportions, true_figures

from mgmt_monai.evaluation.bootstrap import patient_auc_interval, slice_intervals
from mgmt_monai.evaluation.delong import auc_interval

TABLES = Path(__file__).parents[1] / "benchmarks" / "coverage.md"
# Number of studies, and the least and the largest share of them whose interval may hold the truth: between 0.93 and
# 0.97, give or take 2.6 times the Monte Carlo error, sqrt(0.95 * 0.05 / 800) = 0.0077 and 0.0154 of 200.
SIZES = pytest.mark.parametrize(
    ("n_studies", "least", "most"), [(200, 0.89, 1.01), pytest.param(800, 0.91, 0.99, marks=pytest.mark.slow)]
)


@SIZES
@pytest.mark.parametrize("true_auc", [0.5, 0.8, 0.95])
def test_patient_intervals_hold_the_truth_as_often_as_they_say(true_auc, n_studies, least, most):
    random = np.random.default_rng(21)
    studies = [binormal(53, true_auc, random) for _ in range(n_studies)]
    accuracy = true_figures(true_auc, 53)["accuracy"]
    found = {
        "DeLong": ([auc_interval(*study) for study in studies], true_auc),
        "bootstrap": (
            [patient_auc_interval(*study, n_resamples=200, seed=n) for n, study in enumerate(studies)],
            true_auc,
        ),
        "accuracy": ([proportions(*study)["accuracy"] for study in studies], accuracy),
    }
    shares = {name: covered(*each)[0] for name, each in found.items()}
    assert all(least < share < most for share in shares.values()), shares


@SIZES
@pytest.mark.parametrize("true_auc", [0.6, 0.95])
def test_slice_intervals_hold_the_truth_as_often_as_they_say(true_auc, n_studies, least, most):
    random = np.random.default_rng(22)
    truth = true_figures(true_auc, 53)
    found = [
        slice_intervals(*clustered(53, true_auc, random), threshold=0.0, n_resamples=200, seed=study)
        for study in range(n_studies)
    ]
    shares = {figure: covered([each[figure] for each in found], truth[figure])[0] for figure in ("auc", "accuracy")}
    assert all(least < share < most for share in shares.values()), shares


@SIZES
def test_simulation_finds_an_interval_that_is_too_short(n_studies, least, most):
    random = np.random.default_rng(23)
    share, _ = covered([delong_interval(*binormal(53, 0.95, random)) for _ in range(n_studies)], 0.95)
    assert share < least


def test_undefined_interval_is_a_miss_without_a_width():
    undefined = (float("nan"), float("nan"))
    assert covered([(0.2, 0.6), undefined, (0.6, 0.7), (0.4, 0.5)], 0.5) == pytest.approx((0.5, 0.6 / 3))


def _tables(text):
    """Title -> rows, each a dict of column to cell."""
    found = {}
    for title, body in re.findall(r"^### (.+?)\n\n((?:\|.*\n)+)", text, flags=re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]
        found[title] = [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]
    return found


def _settings(rows):
    return [{column: cell for column, cell in row.items() if "(width)" not in column} for row in rows]


@pytest.fixture(scope="module")
def documented():
    return _tables(TABLES.read_text(encoding="utf-8"))


def _required(documented):
    """Each cell at 53 and 200 patients of an interval in use of the AUC, an AUC over slices, or accuracy."""
    for title, rows in documented.items():
        for number, row in enumerate(rows):
            for column, cell in row.items():
                of_auc = title == "AUC over patients" or column.startswith("auc ")
                if row["patients"] in ("53", "200") and "(width)" in column and (of_auc or "accuracy" in column):
                    yield (
                        f"{title}, row {number}: {row['patients']} patients, true AUC {row['true AUC']}, {column}",
                        cell,
                    )


def test_documented_auc_and_accuracy_hold_the_truth_in_93_to_97_of_100(documented):
    cells = dict(_required(documented))
    # Two intervals of the AUC in ten rows; accuracy and balanced accuracy in eight; two of slices in eight.
    assert len(cells) == 2 * 10 + 2 * 8 + 2 * 8
    outside = {place: cell for place, cell in cells.items() if not 93 <= float(cell.split(" %")[0]) <= 97}
    assert not outside


def test_documented_tables_are_those_that_the_command_prints(documented):
    printed = CliRunner().invoke(main, ["--simulations", "2", "--resamples", "20"])
    assert printed.exit_code == 0, printed.output
    found = _tables(printed.stdout)
    assert list(found) == list(documented)
    for title, rows in found.items():
        assert [list(row) for row in rows] == [list(row) for row in documented[title]], title
        assert _settings(rows) == _settings(documented[title]), title
