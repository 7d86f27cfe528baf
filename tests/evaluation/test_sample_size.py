"""Power, against simulated rank tests."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from simulations import binormal

from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.sample_size import power

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "intervals.md"


def test_documented_numbers_are_those_of_the_function():
    section = re.search(r"## How many patients\n(.+?)\n##", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    pairs = re.findall(r"(\d+)(?: patients)? for (?:an AUC of )?(0\.\d\d)", " ".join(section.split()))

    assert len(pairs) == 5
    for n, auc in ((int(n), float(auc)) for n, auc in pairs):
        assert power(auc, n // 2 - 1, n // 2 - 1) < 0.8 <= power(auc, n // 2, n // 2)


@pytest.mark.parametrize(("n", "auc"), [(20, 0.8), (59, 0.65), (200, 0.6)])
def test_power_is_that_of_simulated_rank_tests(n, auc):
    random = np.random.default_rng(0)
    found = [mannwhitneyu(score[label == 1], score[label == 0], alternative="greater").pvalue <= 0.025
             for label, score in (binormal(n, auc, random) for _ in range(1000))]  # fmt: skip

    assert power(auc, n - n // 2, n // 2) == pytest.approx(np.mean(found), abs=0.045)  # three standard errors


def test_power_of_too_few_to_ever_show_anything_is_none():
    assert power(1.0, 3, 3) == 0  # 1 of 20 orders
    assert power(1.0, 4, 4) == 1  # 1 of 70


@pytest.mark.parametrize("change", [{"auc": 1.1}, {"n_methylated": 0}, {"alpha": 0}])
def test_power_of_nonsense_is_refused(change):
    with pytest.raises(EvaluationError, match="power: expected an AUC"):
        power(**({"auc": 0.7, "n_methylated": 5, "n_unmethylated": 5} | change))
