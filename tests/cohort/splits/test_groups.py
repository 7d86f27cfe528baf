import itertools

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.splits.groups import all_single, check_groups, groups_of


def test_patients_without_links_are_groups_of_one():
    assert groups_of(["b", "a"]) == {"a": "a", "b": "b"}


def test_link_joins_and_group_is_named_after_smallest():
    assert groups_of(["c", "b", "a"], [("c", "b")]) == {"a": "a", "b": "b", "c": "b"}


def test_links_join_through_others():
    assert groups_of("abcde", [("e", "d"), ("b", "c"), ("d", "c")]) == {
        "a": "a",
        **dict.fromkeys("bcde", "b"),
    }


def test_equal_values_of_a_column_join():
    site = {"a": "1", "b": "2", "c": "1 "}
    assert groups_of("abc", column=site) == {"a": "a", "b": "b", "c": "a"}


def test_link_and_column_join_together():
    # a and b share a site, c and d another; the link b-c joins all four
    site = {"a": "1", "b": "1", "c": "2", "d": "2"}
    assert set(groups_of("abcd", [("b", "c")], site).values()) == {"a"}


@pytest.mark.parametrize("value", ["", " ", "N/A", "Not Available", "unknown"])
def test_unknown_value_joins_nobody(value):
    assert groups_of("ab", column={"a": value, "b": value}) == {"a": "a", "b": "b"}


def test_patient_absent_from_the_column_is_a_group_of_one():
    assert groups_of("ab", column={"a": "1"}) == {"a": "a", "b": "b"}


def test_link_to_somebody_else_is_passed_over():
    assert groups_of("ab", [("a", "x"), ("x", "b")]) == {"a": "a", "b": "b"}


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_the_connected_components(seed):
    rng = np.random.default_rng(seed)
    patients = [f"{i:03d}" for i in range(60)]
    pairs = rng.integers(60, size=(40, 2))
    _, component = connected_components(coo_array((np.ones(40), pairs.T), shape=(60, 60)), directed=False)
    expected = {p: patients[list(component).index(component[i])] for i, p in enumerate(patients)}
    links = [(patients[one], patients[other]) for one, other in pairs]
    assert groups_of(patients, links) == expected


def test_order_of_patients_and_links_changes_nothing():
    links = [("a", "b"), ("c", "d"), ("d", "b")]
    results = [groups_of(p, ls) for p in ("abcde", "edcba") for ls in itertools.permutations(links)]
    assert all(list(result.items()) == list(results[0].items()) for result in results)


def test_missing_group_refused_by_name():
    with pytest.raises(CohortError, match="patient b: expected a group for every patient, found none for 1"):
        check_groups("ab", {"a": "a"})


@pytest.mark.parametrize(
    ("patients", "expected"), [("", True), ("ab", True), ("abc", False)], ids=["nobody", "apart", "shared"]
)
def test_all_single_of_these_patients(patients, expected):
    assert all_single(patients, {"a": "1", "b": "2", "c": "2"}) is expected
