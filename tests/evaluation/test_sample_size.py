"""Patients needed, against published numbers, the exact rank test and simulated studies."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata
from simulations import binormal

from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.sample_size import patients_needed, power

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "intervals.md"

# Obuchowski, Lieber and Wians, Clin Chem 2004;50:1118, table 4 (one-sided 5 %, power 90 %), as far as above its
# floor of 10 a class, with the two cells that the R package pROC found off by one corrected as in its tests:
# unmethylated for each methylated, true AUC, unmethylated, methylated.
TABLE_4 = [
    (0.25, 0.6, 84, 334),
    (0.25, 0.7, 20, 80),
    (0.5, 0.6, 101, 202),
    (0.5, 0.7, 25, 49),
    (1, 0.6, 135, 135),
    (1, 0.7, 33, 33),
    (1, 0.8, 14, 14),
    (2, 0.6, 203, 102),
    (2, 0.7, 50, 25),
    (2, 0.8, 21, 11),
    (4, 0.6, 340, 85),
    (4, 0.7, 84, 21),
]


@pytest.mark.parametrize(("ratio", "auc", "unmethylated", "methylated"), TABLE_4, ids=str)
def test_patients_needed_equal_the_published_table(ratio, auc, unmethylated, methylated):
    found = patients_needed(auc, power=0.9, alpha=0.1, methylated_share=1 / (1 + ratio))
    assert found == unmethylated + methylated


@pytest.mark.parametrize(
    ("power", "share", "expected"),
    # pROC's tests of power.roc.test on S100B (AUC 0.7314): 29.57 + 29.57, 23.56 + 41.37 and 29.30 + 49.81.
    [(0.9, 0.5, 30 + 30), (0.9, 41 / 113, 24 + 42), (0.95, 1 / 2.7, 30 + 50)],
    ids=["balanced", "as in the data", "1.7 to 1"],
)
def test_two_sided_test_equals_proc(power, share, expected):
    assert patients_needed(0.731368563685637, power, methylated_share=share) == expected


@pytest.mark.parametrize("auc", [0.65, 0.8])
def test_simulated_studies_of_that_size_have_the_power(auc):
    n = int(patients_needed(auc, power=0.8))
    random = np.random.default_rng(12)
    studies = [binormal(n, auc, random) for _ in range(1000)]
    label = studies[0][0]
    m, k = int(label.sum()), int((1 - label).sum())
    won = rankdata([score for _, score in studies], axis=1)[:, label == 1].sum(axis=1) - m * (m + 1) / 2
    significant = np.abs(won - m * k / 2) > 1.959964 * math.sqrt(m * k * (m + k + 1) / 12)
    # The Monte Carlo error is 0.013; the formula's variance is an approximation.
    assert significant.mean() == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_near_one_it_is_the_smallest_size_that_can_be_significant(alpha):
    n = int(patients_needed(1.0, alpha=alpha))
    for patients, enough in ((n, True), (n - 2, False)):
        scores = np.arange(patients)
        exact = mannwhitneyu(scores[patients // 2 :], scores[: patients // 2], method="exact").pvalue
        assert bool(exact <= alpha) == enough


def test_rarer_class_needs_more_patients():
    assert patients_needed(0.7, methylated_share=0.1) > 2 * patients_needed(0.7)


@pytest.mark.parametrize("auc", [0.5, 0.31, 0.0, math.nan])
def test_chance_or_worse_is_never_told_from_chance(auc):
    assert math.isnan(patients_needed(auc))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"auc": 70}, "AUC from 0 to 1, found 70"),
        ({"power": 80}, "power between 0.05 and 1, found 80"),
        ({"power": 0.04}, "power between 0.05 and 1, found 0.04"),
        ({"alpha": 0}, "alpha between 0 and 1, found 0"),
        ({"methylated_share": 1}, "share of methylated between 0 and 1, found 1"),
        ({"methylated_share": math.nan}, "share of methylated between 0 and 1, found nan"),
    ],
    ids=["auc", "power", "power below alpha", "alpha", "share", "nan"],
)
def test_arguments_outside_their_range_are_refused(change, found):
    with pytest.raises(EvaluationError, match=found):
        patients_needed(**({"auc": 0.7} | change))


def test_documented_numbers_are_those_of_the_function():
    section = re.search(r"## How many patients\n(.+?)\n##", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    pairs = re.findall(r"(\d+)(?: patients)? for (?:an AUC of )?(0\.\d\d)", " ".join(section.split()))

    assert len(pairs) == 5
    assert [(patients_needed(float(auc)), auc) for _, auc in pairs] == [(int(n), auc) for n, auc in pairs]


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
