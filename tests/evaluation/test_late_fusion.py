"""Late fusion, held against scikit-learn, against all subsets of modalities, and by hand."""

from dataclasses import astuple
from itertools import combinations
from math import factorial, log, nan

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mgmt_monai.evaluation.comparison import PairedComparison, compare_paired
from mgmt_monai.evaluation.late_fusion import (
    PENALTY,
    best_single,
    compare_within,
    cross_fitted,
    first_that_answers,
    fit_late_fusion,
    what_it_adds,
)
from mgmt_monai.evaluation.predictions import EvaluationError

FOUR = ["FLAIR", "T1w", "T1wCE", "T2w"]


def drawn(effects: tuple[float, ...], n: int, seed: int, missing: float = 0.0) -> tuple[pd.DataFrame, np.ndarray]:
    """Probabilities of single models whose logits are latent values, and labels."""
    random = np.random.default_rng(seed)
    label = np.arange(n) % 2
    latents = (label[:, None] - 0.5) * np.array(effects) + random.standard_normal((n, len(effects)))
    table = pd.DataFrame(expit(latents), columns=FOUR[: len(effects)])
    return table.mask(random.random(table.shape) < missing), label


def test_without_missing_series_it_is_the_ridge_regression_of_scikit_learn() -> None:
    table, label = drawn((1.0, 1.0, 0.5, 0.8), 120, seed=0)
    logits = logit(table.to_numpy())
    standard = (logits - logits.mean(axis=0)) / logits.std(axis=0)
    theirs = LogisticRegression(C=1 / PENALTY, tol=1e-10, max_iter=1000).fit(standard, label)
    assert (theirs.coef_ > 0).all()  # where the bound does not hold
    ours = fit_late_fusion(table, label).probability(table)
    np.testing.assert_allclose(ours, theirs.predict_proba(standard)[:, 1], atol=1e-5)


def test_a_model_never_counts_against_itself() -> None:
    table, label = drawn((2.0, -2.0), 100, seed=1)
    fusion = fit_late_fusion(table, label)
    assert fusion.terms["T1w"].weight == 0
    assert fusion.terms["FLAIR"].weight > 0


def test_nobody_teaches_the_fusion_that_answers_about_them() -> None:
    """50 patients in 5 parts: who changes is answered by the same fusion, as are the 9 others of the part."""
    table, label = drawn((1.0, 1.0), 50, seed=3)
    before = cross_fitted(table, label)
    other = table.copy()
    other.iloc[0] = 0.9

    assert (cross_fitted(other, label).drop(0) == before.drop(0)).sum() == 9


def test_patient_who_alone_has_a_modality_is_answered_by_fusions_without_it() -> None:
    table, label = drawn((1.0, 1.0), 50, seed=4)
    table["T1w"] = table["T1w"].where(table.index == 7)
    table.loc[7, "FLAIR"] = nan

    assert cross_fitted(table, label).between(0, 1).all()


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_each_addend_is_the_exact_shapley_value_over_all_subsets(missing: float) -> None:
    table, label = drawn((1.0, 0.5, 1.0, 0.0), 200, seed=2, missing=missing)
    fusion = fit_late_fusion(table, label)
    addends = fusion.addends(table)

    def worth(of: tuple[str, ...]) -> np.ndarray:
        return fusion.intercept + sum((addends[name].to_numpy() for name in of), np.zeros(len(table)))

    for name in FOUR:
        others, value = [other for other in FOUR if other != name], np.zeros(len(table))
        for size in range(4):
            share = factorial(size) * factorial(3 - size) / factorial(4)
            for of in combinations(others, size):
                value += share * (worth((*of, name)) - worth(of))
        np.testing.assert_allclose(value, addends[name], atol=1e-12)
    answered = table.notna().any(axis=1)
    np.testing.assert_allclose(logit(fusion.probability(table))[answered], worth(tuple(FOUR))[answered], atol=1e-9)


def test_any_subset_is_answered_and_none_is_no_answer() -> None:
    table, label = drawn((1.0, 1.0, 1.0, 1.0), 200, seed=3, missing=0.5)
    fusion = fit_late_fusion(table, label)
    answers = fusion.probability(table)
    assert answers.notna().equals(table.notna().any(axis=1)) and answers.isna().any()
    alone = fusion.probability(pd.DataFrame({"T1w": [0.7]}))  # a table that has never heard of the others
    assert alone.equals(fusion.probability(pd.DataFrame({"FLAIR": nan, "T1w": [0.7], "T1wCE": nan, "T2w": nan})))


def test_a_missing_series_counts_as_it_did_among_the_patients_it_was_fitted_on() -> None:
    """Nothing but missingness goes with the label: 40 of 50 methylated lack T2w, 10 of 50 unmethylated do."""
    label = np.repeat([0, 1], 50)
    lacks = np.r_[np.arange(50) < 10, np.arange(50) < 40]
    table = pd.DataFrame({"T1w": 0.5, "T2w": np.where(lacks, nan, 0.5)})
    fusion = fit_late_fusion(table, label)
    asked = pd.DataFrame({"T1w": 0.5, "T2w": [0.5, nan]})
    with_it, without = fusion.probability(asked)
    assert fusion.of_missing(asked.assign(T1w=0.9)).tolist() == pytest.approx([with_it, without])
    # Unpenalised they are 0.2 and 0.8; the penalty pulls them together, equally far from 0.5.
    assert 0.2 < with_it < 0.32 and 0.68 < without < 0.8
    assert with_it + without == pytest.approx(1, abs=1e-6)
    assert fusion.terms["T1w"].missing == 0


def test_sure_and_constant_models_have_finite_weights() -> None:
    label = np.arange(40) % 2
    table = pd.DataFrame({"T1w": label.astype(float), "T2w": 0.3})
    fusion = fit_late_fusion(table, label)
    answers = fusion.probability(table)
    assert np.isfinite(answers).all() and roc_auc_score(label, answers) == 1
    assert fusion.terms["T2w"].weight == 0


@pytest.mark.parametrize(
    ("label", "table", "named"),
    [
        ([0, 0, 0, 1, 1], {"T1w": [0.1] * 5}, "found 3 unmethylated and 2 methylated"),
        ([0, 0, 0, 1, 1, 1], {"T1w": [0.1] * 6, "T2w": [nan] * 6}, "T2w, found none"),
    ],
)
def test_too_little_to_fit_is_refused(label: list[int], table: dict[str, list[float]], named: str) -> None:
    with pytest.raises(EvaluationError, match=named):
        fit_late_fusion(pd.DataFrame(table), label)


def test_unknown_modality_is_refused() -> None:
    table, label = drawn((1.0, 1.0), 40, seed=4)
    with pytest.raises(EvaluationError, match="found T2w"):
        fit_late_fusion(table, label).addends(table.assign(T2w=0.5))


def test_best_single_answers_by_the_best_that_is_there() -> None:
    table, label = drawn((0.0, 2.0, 1.0), 200, seed=5)
    table.loc[:19, "T1w"] = nan
    ranked = best_single(table, label)
    assert [name for name, _ in ranked] == ["T1w", "T1wCE", "FLAIR"]
    assert all(one.terms[other].weight == 0 for name, one in ranked for other in one.terms if other != name)
    answer = first_that_answers(ranked, table)
    np.testing.assert_array_equal(answer[20:], ranked[0][1].probability(table)[20:])
    np.testing.assert_array_equal(answer[:20], ranked[1][1].probability(table)[:20])


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(0.01, 0.2, "adds"), (-0.03, 0.04, "does_not_add"), (-0.03, 0.06, "cannot_tell"), (nan, nan, "cannot_tell")],
)
def test_sentence_follows_from_the_interval_and_the_bound(low: float, high: float, state: str) -> None:
    test = PairedComparison(0.8, 0.75, 0.05, low, high, 0.1)
    assert what_it_adds(test, 0.05)[0] == state
    assert what_it_adds(test, 0.05, ["T1w"])[0] == state.replace("adds", "cannot_tell")


@pytest.mark.parametrize(("auc", "p", "why"), [(1.0, 1.0, "both are the same"), (0.9, nan, "too few test patients")])
def test_sentence_tells_why_there_is_no_interval(auc: float, p: float, why: str) -> None:
    assert why in what_it_adds(PairedComparison(1.0, auc, 1.0 - auc, nan, nan, p), 0.05)[1]


def test_who_answers_all_the_same_has_not_shown_that_it_adds_nothing() -> None:
    constant = np.full(40, 0.5)
    assert what_it_adds(compare_paired(np.arange(40) % 2, constant, constant), 0.05)[0] == "cannot_tell"


def test_one_stratum_is_the_paired_test() -> None:
    table, label = drawn((1.0, 0.5), 80, seed=6)
    one, other = table["FLAIR"], table["T1w"]
    expected = compare_paired(label, one, other)
    assert astuple(compare_within(label, one, other, np.zeros(80))) == pytest.approx(astuple(expected))


def test_pairs_of_one_stratum_alone_count() -> None:
    """By hand: at site A the first model is right in all 4 pairs, at site B in 6 of 9; a shift of a site is nothing."""
    label = np.array([0, 0, 1, 1, 0, 0, 0, 1, 1, 1])
    first = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 0.7, 0.8, 0.85])
    second = np.where(label == 1, 0.0, 1.0)
    site = np.array([*"AAAABBBBBB"])
    found = compare_within(label, first, second, site)
    assert (found.auc_a, found.auc_b) == (pytest.approx((4 + 6) / 13), 0)
    assert compare_within(label, first + (site == "B"), second, site).auc_a == found.auc_a


def test_strata_are_independent() -> None:
    """Two sites of the same patients: the same difference, and half the variance."""
    table, label = drawn((1.0, 0.5), 60, seed=7)
    once = compare_paired(label, table["FLAIR"], table["T1w"])
    twice = pd.concat([table, table])
    found = compare_within(np.tile(label, 2), twice["FLAIR"], twice["T1w"], np.repeat([0, 1], 60))
    assert found.difference == pytest.approx(once.difference)
    assert found.high - found.low == pytest.approx((once.high - once.low) / np.sqrt(2))


def test_a_prediction_of_the_prevalence_is_that_of_the_patients_it_was_fitted_on() -> None:
    label = np.array([0] * 30 + [1] * 10)
    table = pd.DataFrame({"T1w": np.full(40, 0.5)})
    assert logit(fit_late_fusion(table, label).probability(table)[0]) == pytest.approx(log(10 / 30), abs=1e-4)


def test_models_of_one_order_differ_by_nothing() -> None:
    table, label = drawn((1.0,), 60, seed=8)
    site = np.repeat(["A", "B"], 30)
    found = compare_within(label, table["FLAIR"], table["FLAIR"] ** 2, site)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert what_it_adds(found, 0.05)[0] == "does_not_add"
