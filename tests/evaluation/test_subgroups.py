"""The AUC of each group of patients: who is in which group, in which order, and what is said of small ones."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from mgmt_monai.evaluation.columns import quarters
from mgmt_monai.evaluation.comparison import holm
from mgmt_monai.evaluation.delong import auc_interval
from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.subgroups import Subgroup, interactions, subgroups


def _pooled(label, probability):
    ids = [f"{number:05d}" for number in range(len(label))]
    return pd.DataFrame({"patient_id": ids, "label": label, "probability": probability})


@pytest.fixture
def pooled():
    random = np.random.default_rng(1)
    return _pooled(np.tile([0, 1], 15), np.round(random.random(30), 2))


def _columns(pooled, **values):
    return pd.DataFrame(values, index=pooled["patient_id"])


def test_auc_of_each_value_equals_scikit_learn():
    random = np.random.default_rng(1)
    pooled = _pooled(np.tile([0, 1], 30), np.round(random.random(60), 2))
    vendor = np.array(["GE"] * 24 + ["Siemens"] * 36)
    found = subgroups(pooled, _columns(pooled, manufacturer=vendor), level=0.9)
    assert [(each.column, each.value, each.n, each.n_methylated) for each in found] == [
        ("manufacturer", "Siemens", 36, 18),
        ("manufacturer", "GE", 24, 12),
    ]
    for each in found:
        label, probability = (pooled.loc[vendor == each.value, name] for name in ("label", "probability"))
        assert each.auc.value == pytest.approx(roc_auc_score(label, probability))
        assert each.auc[1:3] == pytest.approx(auc_interval(label, probability, 0.9))
        assert each.auc.n == each.n


def test_patients_are_matched_by_id_and_others_ignored(pooled):
    columns = _columns(pooled, site=np.where(pooled["label"] == 1, "a", "b"))
    stranger = pd.DataFrame({"site": ["c"]}, index=["99999"])
    shuffled = pd.concat([columns, stranger]).sample(frac=1, random_state=2)
    found = subgroups(pooled, shuffled)
    assert [(each.value, each.n, each.n_methylated) for each in found] == [("a", 15, 15), ("b", 15, 0)]


@pytest.mark.parametrize(
    ("label", "defined"),
    [([0] * 10 + [1] * 10, True), ([0] * 11 + [1] * 9, False), ([0] * 9 + [1] * 11, False), ([1] * 20, False)],
    ids=["ten each", "nine methylated", "nine unmethylated", "one class"],
)
def test_fewer_than_ten_in_a_class_have_no_auc_but_a_number(label, defined):
    pooled = _pooled(label, np.tile([0.2, 0.8, 0.3, 0.6], 5))
    (found,) = subgroups(pooled, _columns(pooled, site=["a"] * 20))
    assert (found.n, found.n_methylated, found.auc.n) == (20, sum(label), 20)
    assert [math.isnan(part) for part in found.auc[:3]] == [not defined] * 3


def test_absent_and_empty_values_are_one_group_and_come_last(pooled):
    values = ["a"] * 3 + ["", None, float("nan"), "  "] + ["b"] * 21
    columns = _columns(pooled.iloc[:28], site=values)
    found = subgroups(pooled, columns)
    # Two patients have no row at all.
    assert [(each.value, each.n) for each in found] == [("b", 21), ("a", 3), ("(absent)", 6)]


def test_beyond_the_eight_most_frequent_values_are_joined():
    values = [name for number, name in enumerate("kjihgfedcb") for _ in range(3 if number < 5 else 2)] + ["z", ""]
    pooled = _pooled([0, 1] * 13 + [1], np.linspace(0, 1, 27))
    found = subgroups(pooled, _columns(pooled, site=values))
    assert [each.value for each in found] == [*"ghijk", *"bcd", "other (3 values)", "(absent)"]
    assert [each.n for each in found] == [3] * 5 + [2] * 3 + [2 + 2 + 1, 1]
    rare = np.isin(values, ["e", "f", "z"])
    assert found[8].n_methylated == pooled.loc[rare, "label"].sum() == 3


def test_columns_keep_their_order(pooled):
    found = subgroups(pooled, _columns(pooled, site=["x"] * 30, age=["y"] * 30))
    assert [(each.column, each.value, each.n) for each in found] == [("site", "x", 30), ("age", "y", 30)]


def test_order_of_the_patients_does_not_matter(pooled):
    columns = _columns(pooled, site=list("abc") * 10)
    shuffled, ordered = subgroups(pooled.sample(frac=1, random_state=5), columns), subgroups(pooled, columns)
    assert [(each.value, each.n) for each in shuffled] == [(each.value, each.n) for each in ordered]
    for one, other in zip(shuffled, ordered, strict=True):
        np.testing.assert_allclose(one.auc, other.auc, rtol=1e-12)


def test_no_column_gives_no_group(pooled):
    assert subgroups(pooled, pd.DataFrame(index=pooled["patient_id"])) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda pooled, columns: (pooled.drop(columns="label"), columns), "none named label; pool"),
        (lambda pooled, columns: (pooled, pd.concat([columns, columns])), "columns, patient 00000: expected one row"),
        (lambda pooled, columns: (pd.concat([pooled, pooled]), columns), "predictions, patient 00000: expected one"),
        (lambda pooled, columns: (pooled.assign(label=2), columns), "labels 0 or 1, found 2"),
    ],
    ids=["column", "patient twice", "prediction twice", "label"],
)
def test_bad_tables_are_refused(pooled, change, found):
    with pytest.raises(EvaluationError, match=found):
        subgroups(*change(pooled, _columns(pooled, site=["a"] * 30)))


def test_many_numbers_are_cut_into_quarters_of_the_patients(pooled):
    ages = [str(40 + number) for number in range(30)]

    found = subgroups(pooled, _columns(pooled, age=ages))

    assert sorted((each.value, each.n) for each in found) == [
        ("40 to 47", 8), ("48 to 54", 7), ("55 to 61", 7), ("62 to 69", 8),
    ]  # fmt: skip


def test_numbers_of_the_column_that_is_the_site_are_codes(pooled):
    scanners = _columns(pooled, scanner=[str(number % 15) for number in range(30)])

    assert subgroups(pooled, scanners)[0].value == "0 to 3"
    assert [each.value for each in subgroups(pooled, scanners, site="scanner")][:2] == ["0", "1"]


def test_numbers_of_few_values_and_text_stay_as_they_are(pooled):
    grades, sites = [str(number % 3) for number in range(30)], [f"site {number % 3}" for number in range(30)]

    found = subgroups(pooled, _columns(pooled, grade=grades, site=sites))

    assert [each.value for each in found] == ["0", "1", "2", "site 0", "site 1", "site 2"]


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("Site No (represents the originating institution)", range(30)),
        ("batch", [18] * 14 + [1] * 7 + list(range(20, 29))),
        ("scanner", [f"{number:02}" for number in range(1, 31)]),
    ],
    ids=["by its name", "by its frequent values", "by its zeros"],
)
def test_numbers_that_are_codes_stay_categories(pooled, name, codes):
    found = subgroups(pooled, _columns(pooled, **{name: [str(code) for code in codes]}))

    assert not [each.value for each in found if " to " in each.value]


@pytest.mark.parametrize(("n_rare", "expected"), [(1, "other (1 value)"), (2, "other (2 values)")])
def test_values_that_are_joined_are_counted(n_rare, expected):
    values = [name for name in "abcdefgh" for _ in range(3)] + list("yz")[:n_rare]
    pooled = _pooled([0, 1] * 12 + [1] * n_rare, np.linspace(0, 1, len(values)))
    assert subgroups(pooled, _columns(pooled, site=values))[-1].value == expected


def test_quarters_of_long_numbers_keep_their_names_apart():
    numbers = pd.Series([str(123456700 + number) for number in range(20)], name="acquired")

    assert quarters(numbers).unique().tolist() == [
        f"{123456700 + first} to {123456704 + first}" for first in (0, 5, 10, 15)
    ]


def _two_groups(apart, n=200, seed=1):
    random = np.random.default_rng(seed)
    label, group = np.arange(n) % 2, np.arange(n) // 2 % 2
    score = random.standard_normal(n) + label * np.where(group == 1, apart, 0.5)
    pooled = _pooled(label, 1 / (1 + np.exp(-score))).assign(threshold=0.6)
    return pooled, _columns(pooled, scanner=np.where(group == 1, "A", "B"), sex=np.array(["F", "M"])[label])


def test_figures_at_the_threshold_and_calibration_stand_beside_each_auc():
    pooled, columns = _two_groups(0.5)
    found = next(each for each in subgroups(pooled, columns) if each.value == "A")
    of = pooled[(columns["scanner"] == "A").to_numpy()]
    methylated = of[of["label"] == 1]["probability"] >= 0.6
    assert found.sensitivity[:3] == pytest.approx(
        (methylated.mean(), *proportion_confint(methylated.sum(), 50, method="wilson"))
    )
    assert found.specificity.value == pytest.approx((of[of["label"] == 0]["probability"] < 0.6).mean())
    assert found.in_the_large.low < found.in_the_large.value < found.in_the_large.high
    assert found.as_json()["specificity"]["n"] == 50


def test_an_interaction_is_cochrans_q_of_the_groups_with_an_auc():
    groups = subgroups(*_two_groups(2.5))
    (found,) = interactions(groups)  # of one label each, the sexes have no AUC
    a, b = (each.auc for each in groups if each.column == "scanner")
    error = [(logit(each.high) - logit(each.low)) / (2 * 1.959964) for each in (a, b)]
    assert (found["column"], found["n_groups"]) == ("scanner", 2)
    # Of two groups, Q is the square of the difference over its standard error.
    assert found["chi2"] == pytest.approx((logit(a.value) - logit(b.value)) ** 2 / np.sum(np.square(error)), rel=1e-5)
    assert found["p_holm"] == found["p"] < 0.001
    # Chi-squared with one degree of freedom is a squared normal number.
    assert found["p"] == pytest.approx(math.erfc(math.sqrt(found["chi2"] / 2)))


@pytest.mark.slow
def test_no_interaction_is_found_in_most_studies_without_one():
    p = [interactions(subgroups(*_two_groups(0.5, seed=seed)))[0]["p"] for seed in range(60)]
    assert np.mean(np.array(p) < 0.05) < 0.15


def test_interactions_of_several_columns_are_corrected():
    pooled, columns = _two_groups(1.2)
    rows = interactions(subgroups(pooled, columns[["scanner"]].assign(other=list("xy") * 50 + list("yx") * 50)))
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]).tolist())
    assert len(rows) == 2


def test_a_group_whose_interval_reaches_0_or_1_has_no_part_in_an_interaction():
    ends = {"a": (0.5, 0.7), "b": (0.5, 0.7), "c": (0.0, 0.7), "d": (0.5, 1.0)}
    each = {name: Estimate(0.6, *of, 40) for name, of in ends.items()}
    groups = [Subgroup("scanner", name, 40, 20, auc, auc, auc, auc) for name, auc in each.items()]
    assert [row["n_groups"] for row in interactions(groups)] == [2]
