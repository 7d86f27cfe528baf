"""The AUC within sites: by counting pairs, against scikit-learn, and on studies in which only the site tells."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mgmt_monai.cohort.tables.table import NO_VALUE
from mgmt_monai.evaluation.delong import auc_and_variance, auc_interval
from mgmt_monai.evaluation.intervals import logit_interval, newcombe_interval
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.within_site import (
    NO_SITE,
    equal_classes,
    expected_auc,
    other_sites,
    site_alone,
    site_codes,
    site_column,
    stratified_auc,
    within_site,
)


@pytest.fixture(scope="module")
def study():
    """Three sites of other sizes and prevalences; the probability knows the site and nothing else."""
    random = np.random.default_rng(3)
    site = np.repeat([0, 1, 2], [60, 40, 20])
    label = (random.random(120) < np.array([0.7, 0.4, 0.2])[site]).astype(int)
    return label, np.clip(0.5 - 0.15 * site + 0.1 * random.standard_normal(120), 0, 1), site


def test_auc_is_the_share_of_pairs_of_one_site(study):
    label, probability, site = study
    won = pairs = 0.0
    for i in np.flatnonzero(label == 1):
        for j in np.flatnonzero((label == 0) & (site == site[i])):
            won += (probability[i] > probability[j]) + 0.5 * (probability[i] == probability[j])
            pairs += 1

    assert within_site(label, probability, site, n_permutations=10).auc.value == pytest.approx(won / pairs)


def test_one_site_is_the_plain_auc_with_delongs_interval_and_the_same_p(study):
    label, probability, _ = study

    found = within_site(label, probability, np.zeros(120), n_permutations=500, seed=4)

    assert found.auc.value == pytest.approx(roc_auc_score(label, probability))
    assert found.auc[1:3] == pytest.approx(auc_interval(label, probability))
    assert found.p_value == permutation_test(label, probability, 500, 4).p_value


def test_two_copies_of_a_site_have_half_its_variance(study):
    label, probability, _ = study
    half = stratified_auc(label[:60], probability[:60], np.zeros(60, dtype=int))

    both = stratified_auc(np.tile(label[:60], 2), np.tile(probability[:60], 2), np.repeat([0, 1], 60))

    widths = [math.log(each.high / (1 - each.high)) - math.log(each.low / (1 - each.low)) for each in (half, both)]
    assert both.value == pytest.approx(half.value)
    assert widths[1] == pytest.approx(widths[0] / math.sqrt(2))


def test_what_only_the_site_knows_is_nothing_within_sites(study):
    label, probability, site = study
    found = within_site(label, probability, site, n_permutations=2000)

    assert found.pooled > 0.65
    assert found.auc.low < 0.5 < found.auc.high
    assert found.p_value > 0.05
    assert found.share > 0.7
    assert found.site_alone > 0.6


def test_expected_auc_is_the_mean_over_labels_permuted_within_sites(study):
    label, probability, site = study
    random = np.random.default_rng(0)
    found = []
    for _ in range(400):
        dealt = label.copy()
        for each in range(3):
            dealt[site == each] = random.permutation(dealt[site == each])
        found.append(roc_auc_score(dealt, probability))

    assert expected_auc(label, probability, site) == pytest.approx(np.mean(found), abs=0.006)


def test_p_value_within_sites_is_that_of_every_way_to_deal_the_labels():
    """Two sites of three with one methylated each: nine ways, of which four have at least 3 of the 4 pairs won."""
    label, probability = [1, 0, 0, 0, 1, 0], [0.9, 0.5, 0.1, 0.9, 0.5, 0.1]

    found = within_site(label, probability, [*"AAABBB"], n_permutations=20_000)

    assert found.auc.value == 0.75
    assert found.p_value == pytest.approx(3 / 9, abs=0.015)  # both on top: 4 pairs; one on top, one in the middle: 3
    assert found.p_low == pytest.approx(8 / 9, abs=0.015)


def test_an_interval_within_sites_holds_the_truth_and_a_p_value_keeps_its_level():
    """Ten sites of 12 patients whose scores and prevalences differ, and a model that knows nothing else."""
    random = np.random.default_rng(5)
    site = np.repeat(np.arange(10), 12)
    held, small = 0, 0
    for _ in range(200):
        shift = random.standard_normal(10)
        label = (random.random(120) < 1 / (1 + np.exp(-shift[site]))).astype(int)
        score = shift[site] + random.standard_normal(120)
        estimate = stratified_auc(label, score, site)
        held += estimate.low <= 0.5 <= estimate.high
        small += permutation_test(label, score, 200, stratum=site).p_value <= 0.025
    assert 182 <= held <= 198  # 95 % of 200, and 2.6 standard errors of it
    assert small <= 11


def test_a_site_of_one_label_says_nothing_and_is_counted():
    label, probability = [0, 1, 0, 1, 1, 1], [0.1, 0.9, 0.8, 0.2, 0.5, 0.6]

    found = within_site(label, probability, [*"AABBCC"], n_permutations=50)

    assert (found.n_sites, found.n_mixed) == (3, 2)
    assert found.auc.value == 0.5


def test_without_a_mixed_site_nothing_is_told():
    found = within_site([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [*"AABB"], n_permutations=50)

    assert math.isnan(found.auc.value)
    assert math.isnan(found.p_value)
    assert found.as_json("site")["interval"] is None
    assert found.between == found.pooled == 1


def test_perfect_order_within_sites_has_an_interval_of_some_width():
    found = within_site([0, 1] * 10, [0.2, 0.8] * 10, np.repeat([0, 1], 10), n_permutations=50)

    assert found.auc.value == found.auc.high == 1
    assert 0.5 < found.auc.low < 0.95


def test_site_alone_is_the_auc_of_its_prevalence_and_no_better_than_chance_where_sites_are_alike():
    label = np.tile([0, 1], 60)

    assert site_alone(np.repeat([1, 0, 1, 0], [160, 40, 40, 160]), np.repeat([0, 1], 200)) == pytest.approx(0.8)
    assert site_alone(label, np.repeat(np.arange(6), 20)) < 0.5
    assert site_alone(label, label) == 1
    assert math.isnan(site_alone(label[:8], label[:8]))


def test_numbers_are_sites_and_a_patient_without_one_is_alone():
    assert site_codes([18, 1, 18, 1.0], 4).tolist() == [0, 1, 0, 1]
    assert site_codes(["A", "", None, "A", float("nan")], 5).tolist() == [0, 1, 2, 0, 3]
    assert equal_classes(np.array([0, 1]), np.array([0, 1])) == 0


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        (["age", "Centre"], "", "Centre"),
        (["hospital", "site"], "", "site"),
        (["age"], "", ""),
        (["age", "site"], "age", "age"),
    ],
)
def test_site_column_is_the_one_named_or_one_of_that_name(names, asked, expected):
    assert site_column(pd.DataFrame(columns=names), asked) == expected


def test_the_site_of_a_table_goes_before_that_of_the_headers():
    names = ["institution (DICOM)", "age", "Institution"]
    assert site_column(pd.DataFrame(columns=names)) == "Institution"
    assert site_column(pd.DataFrame(columns=names[:2])) == "institution (DICOM)"


def test_site_column_that_is_not_there_is_named():
    with pytest.raises(EvaluationError, match="'scanner' in the tables of columns, found age"):
        site_column(pd.DataFrame(columns=["age"]), "scanner")


def test_a_column_without_any_site_is_none():
    columns = pd.DataFrame({"site": ["", "n/a"], "centre": ["", "x"]})
    assert (site_column(columns), site_column(columns[["site"]])) == ("centre", "")
    with pytest.raises(EvaluationError, match="expected values in the column 'site', found none"):
        site_column(columns, "site")


def test_a_site_is_one_however_it_is_written():
    written = ["1", "01", "1.0", 1, "10", "K\u00f6ln", "Ko\u0308ln ", "k\u00d6LN", "1a", "01a"]
    assert site_codes(written, 10).tolist() == [0, 0, 0, 0, 1, 2, 2, 2, 3, 4]


def test_another_number_of_sites_than_patients_is_refused():
    with pytest.raises(EvaluationError, match="one value a patient, found 3 for 2"):
        within_site([0, 1], [0.1, 0.2], [*"ABC"])


def test_words_for_an_unknown_site_are_those_of_the_tables_and_no_site():
    assert NO_SITE == NO_VALUE
    assert site_codes(["unknown", "N/A", "None", "?", " NaN ", "A", "unknown", "A"], 8).tolist() == [
        1, 2, 3, 4, 5, 0, 6, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("n", [[8, 8], [20, 70]])
def test_one_small_site_has_an_interval_no_narrower_than_both_methods(n):
    label = np.repeat([1, 0], n)
    score = np.linspace(0, 1, sum(n)) + 0.3 * label + 0.5 * (np.arange(sum(n)) % 3)
    value, variance = auc_and_variance(label, score)
    each = equal_classes(label, np.zeros(sum(n), dtype=int))
    two = [logit_interval(value, math.sqrt(variance)), newcombe_interval(value, each, each)]

    found = stratified_auc(label, score, np.zeros(sum(n), dtype=int))

    assert (found.low, found.high) == (min(i.low for i in two), max(i.high for i in two))


@pytest.mark.parametrize(
    "name",
    [
        "Site No (represents the originating institution)",
        "site_id",
        "CENTRE",
        "hospital name",
        "site-id",
        "Study Site",
        "StudySite",
        "Data Collection Site",
        "hospital_nr",
        "sites",
        "clinic",
    ],
)
def test_a_site_is_known_by_its_columns_first_word(name):
    assert site_column(pd.DataFrame(columns=["age", name])) == name


def test_the_place_of_a_tumour_is_no_hospital():
    assert site_column(pd.DataFrame(columns=["tumour site", "site of tumour", "number", "Primary Site"])) == ""
    assert site_column(pd.DataFrame(columns=["Study Site", "centre"])) == "centre"
    assert other_sites(pd.DataFrame({"Study Site": [*"AB"], "centre": [*"AA"]})) == []


def test_two_columns_that_part_the_patients_otherwise_are_told():
    columns = pd.DataFrame({"Hospital": [*"AABB"], "site": [*"1212"], "center": [*"2121"], "site (DICOM)": [*"1111"]})

    assert (site_column(columns), other_sites(columns)) == ("site", ["Hospital"])
    assert other_sites(columns[["site", "center"]]) == []
    assert other_sites(columns[["Hospital", "site (DICOM)"]]) == []
