"""Facts against the label, beside scipy and tables counted by hand."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mgmt_monai.cohort.doctor.confounders import (
    ABSENT,
    ALPHA,
    Count,
    Fact,
    confounder_findings,
    find_confounders,
    permutation_chi2,
)

LABELS = {f"{number:03d}": number % 2 for number in range(40)}


def by_label(unmethylated: str, methylated: str) -> dict[str, str]:
    return {patient: methylated if label else unmethylated for patient, label in LABELS.items()}


@pytest.mark.parametrize(
    "table",
    [[[12, 5], [3, 11]], [[1, 0], [0, 1], [8, 9], [2, 4]], [[30, 28], [1, 0], [5, 6]]],
    ids=["2x2", "sparse", "nearly constant"],
)
def test_permutation_chi2_agrees_with_scipy_on_the_shuffled_labels(table):
    table = np.array(table)
    statistic, p = permutation_chi2(table, np.random.default_rng(1), 9999)
    assert statistic == pytest.approx(stats.chi2_contingency(table, correction=False).statistic)
    values = np.repeat(np.arange(len(table)), table.sum(axis=1))
    labels = np.concatenate([np.repeat([0, 1], row) for row in table])
    rng, more = np.random.default_rng(2), 0
    for _ in range(2000):
        shuffled = stats.contingency.crosstab(values, rng.permutation(labels)).count
        more += stats.chi2_contingency(shuffled, correction=False).statistic >= statistic - 1e-9
    assert p == pytest.approx((more + 1) / 2001, abs=4 * np.sqrt(0.25 / 2000))


def test_permutation_chi2_of_two_by_two_agrees_with_the_exact_probability_of_the_table():
    # 8 patients, 4 a label, a value that splits them as the label does: 2 of the 70 tables are as extreme
    _, p = permutation_chi2(np.array([[4, 0], [0, 4]]), np.random.default_rng(0), 99_999)
    assert p == pytest.approx(2 / 70, abs=0.002)


def test_numbers_are_compared_as_scipy_does():
    rng = np.random.default_rng(3)
    numbers = {patient: float(rng.normal(label)) for patient, label in LABELS.items()}
    (row,) = find_confounders([Fact("EchoTime", "T1w", {p: str(v) for p, v in numbers.items()}, True)], LABELS)
    ones, zeros = ([numbers[p] for p, label in LABELS.items() if label == wanted] for wanted in (1, 0))
    expected = stats.mannwhitneyu(ones, zeros)
    assert (row.statistic, row.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert row.spreads[1].median == pytest.approx(np.median(ones))
    assert row.spreads[0].q3 == pytest.approx(np.percentile(zeros, 75))


@pytest.mark.parametrize(
    ("unmethylated", "methylated", "u", "effect"),
    [
        # 1.5, 4 and 5 of the methylated beat 1, 3 and 3 of the three unmethylated: 7 of 9 pairs
        pytest.param((1, 2, 3), (1.5, 4, 5), 7, 2 * 7 / 9 - 1, id="by hand"),
        pytest.param((1, 2, 3), (4, 5), 6, 1, id="all higher"),
        pytest.param((4, 5), (1, 2, 3), 0, 1, id="all lower"),
        pytest.param((1, 2, 3, 4), (2.5, 2.5), 4, 0, id="in the middle"),
        pytest.param((1, 2), (2, 2, 3), 5, 2 * 5 / 6 - 1, id="ties are half"),
    ],
)
def test_effect_of_a_number_is_how_far_its_auc_lies_from_chance(unmethylated, methylated, u, effect):
    numbers = [*unmethylated, *methylated]
    labels = {str(i): int(i >= len(unmethylated)) for i in range(len(numbers))}
    fact = Fact("EchoTime", "T1w", {str(i): str(number) for i, number in enumerate(numbers)}, numeric=True)
    (row,) = find_confounders([fact], labels)
    assert (row.statistic, row.effect) == (u, pytest.approx(effect))


def test_effect_of_a_category_is_cramers_v():
    # 6 of 8 and 2 of 8: chi-square 4 * 2^2 / 4 = 4 of 16 patients
    values = {**{f"u{i}": "AB"[i < 2] for i in range(8)}, **{f"m{i}": "AB"[i < 6] for i in range(8)}}
    (row,) = find_confounders([Fact("Manufacturer", "", values)], {p: int(p[0] == "m") for p in values})
    assert (row.statistic, row.effect) == (pytest.approx(4), pytest.approx(0.5))


def test_values_are_counted_by_label_and_an_empty_one_is_absent():
    values = {"a": "GE", "b": "GE", "c": "", "d": "Siemens", "e": "GE", "unlabelled": "Philips"}
    (row,) = find_confounders([Fact("Manufacturer", "", values)], {"a": 0, "b": 1, "c": 1, "d": 0, "e": 1, "f": 1})
    assert row.counts == (Count("GE", 1, 2), Count(ABSENT, 0, 1), Count("Siemens", 1, 0))


def test_planted_confounder_is_found_and_named():
    rng = np.random.default_rng(4)
    noise = [Fact(f"noise {i}", "FLAIR", {p: str(rng.integers(3)) for p in LABELS}) for i in range(10)]
    planted = Fact("MagneticFieldStrength", "T1w", {**by_label("1.5 T", "3 T"), "001": "1.5 T"})
    rows = find_confounders([*noise, planted], LABELS)
    (finding,) = confounder_findings(rows)
    assert (finding.id, finding.modality, finding.patient_id) == ("D043", "T1w", "")
    assert "3 T in 19 of 20 methylated and 0 of 20 unmethylated" in finding.text
    assert rows[0].fact == "MagneticFieldStrength" and rows[0].p <= 0.0001


def test_planted_number_is_found_with_both_medians():
    values = {patient: str(20 + 10 * label + int(patient) % 7) for patient, label in LABELS.items()}
    (finding,) = confounder_findings(find_confounders([Fact("number of slices", "T2w", values, True)], LABELS))
    assert "a median of 33 in 20 methylated and of 23 in 20 unmethylated patients" in finding.text


def test_p_values_are_corrected_as_statsmodels_does_by_holm():
    rng = np.random.default_rng(7)
    facts = [
        Fact(f"fact {i}", "", {p: str(int(rng.random() < 0.3 + 0.1 * i * label)) for p, label in LABELS.items()})
        for i in range(6)
    ]
    rows = find_confounders(facts, LABELS)
    expected = multipletests([row.p for row in rows], method="holm")[1]
    assert [row.p_corrected for row in rows] == pytest.approx(list(expected))
    assert len(rows) == 6 and rows[0].p_corrected > rows[0].p


@pytest.mark.parametrize(
    ("values", "numeric"),
    [
        (dict.fromkeys(LABELS, "GE"), False),
        (dict.fromkeys(LABELS, "5.0"), True),
        ({patient: patient for patient in LABELS}, False),
        ({patient: "GE" if patient == "001" else "Siemens" for patient, label in LABELS.items() if label}, False),
        (dict.fromkeys(LABELS, "not a number"), True),
        ({}, False),
    ],
    ids=["constant", "constant number", "one value a patient", "one label only", "no number", "nobody"],
)
def test_fact_that_cannot_be_tested_is_left_out(values, numeric):
    assert find_confounders([Fact("fact", "", values, numeric)], LABELS) == []


def test_p_of_a_fact_is_the_same_whatever_else_is_tested():
    rng = np.random.default_rng(5)
    facts = [Fact(f"fact {i}", "", {p: str(rng.integers(3)) for p in LABELS}) for i in range(3)]
    together = {row.fact: row.p for row in find_confounders(facts, LABELS)}
    assert {fact.name: find_confounders([fact], LABELS)[0].p for fact in facts} == together


def test_false_alarms_over_cohorts_without_any_effect_stay_near_alpha():
    rng = np.random.default_rng(6)
    n_cohorts, alarms = 150, 0
    labels = {str(i): int(i < 25) for i in range(50)}
    for seed in range(n_cohorts):
        facts = [Fact(f"category {i}", "", {p: str(rng.geometric(0.5)) for p in labels}) for i in range(6)] + [
            Fact(f"number {i}", "", {p: str(rng.choice([1, 1.5, 3, 5])) for p in labels}, True) for i in range(6)
        ]
        alarms += any(row.suspicious for row in find_confounders(facts, labels, seed=seed, n_resamples=999))
    # The upper 99.9 % bound of as many coins that fall with probability ALPHA.
    assert alarms <= stats.binom.ppf(0.999, n_cohorts, ALPHA)
    assert alarms >= 1  # a test that never rejects would find nothing either
