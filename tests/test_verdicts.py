"""The simulated verdicts err no more often than they may: a small twin here, all rows among the slow tests."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mgmt_monai.evaluation.assessment import assess
from mgmt_monai.evaluation.folds import FOLDS_WIDEN, fold_ranks
from mgmt_monai.evaluation.imaging_adds import imaging_adds
from mgmt_monai.evaluation.models import comparisons

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


@pytest.mark.parametrize(
    "name",
    [
        "null, 20",
        "null, 5 folds, 60",
        "header 0.75 alone, 59",
        "AUC 0.80, 59",
        "signal in 5 folds, and controls in them, 200",
        "AUC 0.70, 5 columns, 200",
    ],
)
def test_a_few_studies_of_a_row(name):
    check(name, 25)


@pytest.fixture(scope="module")
def nulls():
    """Two models of folds that tell nothing, 80 times: of each, what is said beside the verdict."""
    found = []
    for seed in range(80):
        random = np.random.default_rng(seed)
        label, fold = random.permutation(np.arange(100) % 2), random.permutation(np.arange(100) % 5)
        models = {}
        for name in ("a", "b"):
            features = random.standard_normal((100, verdicts.N_FEATURES))
            scores = verdicts.ridge_in_folds(features, label, fold).clip(0.01, 0.99)
            models[name] = pd.DataFrame({"patient_id": np.arange(100).astype(str), "label": label, "threshold": 0.5,
                                         "probability": scores, "n_models": 1, "fold": fold})  # fmt: skip
        columns = pd.DataFrame({"age": random.standard_normal(100)})
        ranks = fold_ranks(models["a"]["probability"], fold)
        adds = imaging_adds(label, ranks, columns, widen=FOLDS_WIDEN)
        found.append({**assess(models["a"], 0.95, 10, 200), "pair": comparisons(models)[0], "adds": adds})
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        lambda of: not of["auc"]["low"] <= 0.5 <= of["auc"]["high"],
        lambda of: not of["accuracy"]["low"] <= 0.5 <= of["accuracy"]["high"],
        lambda of: not of["calibration_slope"]["low"] <= 0 <= of["calibration_slope"]["high"],
        lambda of: of["permutation_p"] <= 0.05,
        lambda of: of["pair"]["p"] <= 0.05,
        lambda of: of["adds"]["likelihood_ratio"]["p"] <= 0.05,
    ],
    ids=["auc", "accuracy", "calibration slope", "permutation p", "comparison", "likelihood ratio"],
)
def test_what_is_said_of_folds_errs_no_more_often_than_it_may(nulls, wrong):
    assert sum(map(wrong, nulls)) <= 8  # of 80; of independent patients' widths 12 or so are wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", list(verdicts.ROWS))
def test_a_thousand_studies_of_each_row(name):
    check(name, 1000)


def test_the_table_has_every_row_and_state(monkeypatch):
    monkeypatch.setattr(verdicts, "ROWS", {"null, 20": verdicts.ROWS["null, 20"]})

    lines = list(verdicts.table(2, 0))

    assert lines[2].startswith("| null, 20 | null | ")
    assert sum(float(cell.strip(" %")) for cell in lines[2].split("|")[3:-1]) == 100
