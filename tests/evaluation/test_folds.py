"""Who tested whom, told from a table's folds and seeds."""

import pandas as pd
import pytest

from mgmt_monai.evaluation.folds import parted_models, seeds_as_folds, untold


def _seeds(splits: dict[int, str], fold: int = 0) -> pd.DataFrame:
    """A letter a patient: t tested, l learnt from, - not there."""
    words = {"t": "test", "l": "train"}
    return pd.DataFrame(
        [{"patient_id": f"p{number}", "seed": seed, "fold": fold, "split": words[letter]}
         for seed, letters in splits.items() for number, letter in enumerate(letters) if letter != "-"]
    )  # fmt: skip


@pytest.mark.parametrize(
    "splits", [{0: "tt--", 7: "--tt"}, {0: "ttl-", 1: "tlt-", 2: "t-tt"}, {0: "t---", 1: "-t--", 2: "--tt"}],
    ids=["disjoint", "tested and trained on", "one patient a seed"],
)  # fmt: skip
def test_seeds_that_test_other_patients_are_folds(splits):
    found = seeds_as_folds(_seeds(splits))

    assert found["fold"].tolist() == _seeds(splits)["seed"].replace(7, 1).tolist()
    assert set(found["seed"]) == {0} and found["seeds_as_folds"].all()


def test_seeds_of_the_same_test_patients_stay_and_a_seed_for_each_fold_is_no_seed():
    same = _seeds({0: "ttl", 1: "ttl", 2: "t-l"})
    assert seeds_as_folds(same) is same
    each = pd.concat([_seeds({0: "tl"}, fold=0), _seeds({1: "lt"}, fold=1)])
    assert seeds_as_folds(each)["seed"].tolist() == [0] * 4
    assert "seeds_as_folds" not in seeds_as_folds(each)


def test_a_seed_deals_folds_of_its_own():
    table = pd.DataFrame({"patient_id": ["a", "b"] * 2, "seed": [0, 0, 1, 1], "fold": [1, 0, 0, 1], "split": "test"})
    learnt = table.assign(fold=1 - table["fold"], split="train")

    assert "seeds_as_folds" not in seeds_as_folds(pd.concat([table, learnt]))
    assert untold(table) == 0


@pytest.mark.parametrize(
    ("splits", "share"),
    [
        ({0: "ttt", 1: "ttt"}, 0),
        ({0: "t--", 1: "-t-", 2: "--t", 3: "tt-", 4: "--t"}, 0),  # as many folds, twice
        ({0: "tll", 1: "ltt", 2: "tlt"}, 0),  # drawn anew each time
        ({0: "tt-", 1: "-tt", 2: "t-t"}, 1 / 3),  # who fits
        ({0: "ttt", 1: "ttt", 2: "tt-"}, 1 / 9),  # one is lost
    ],
)
def test_what_a_design_would_have_and_a_table_has_not(splits, share):
    assert untold(_seeds(splits)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("splits", "share"),
    [({0: "t---", 1: "-tt-", 2: "---t"}, 2 / 3), ({0: "ttll", 1: "lltl", 2: "lllt"}, 0)],
    ids=["the seed that fits is kept", "each seed tells whom it learnt from"],
)
def test_who_is_tested_by_one_seed_each_may_have_been_given_the_seed_that_fits(splits, share):
    assert untold(seeds_as_folds(_seeds(splits))) == pytest.approx(share)


def test_models_that_part_the_patients_may_each_have_got_those_who_fit():
    kept = {"a": {*"pqr"}, "b": {*"stu"}, "c": {*"vw"}}

    assert parted_models(kept) == {*"abc"}
    assert parted_models({"T1w": {*"pqrstuvw"}, "FLAIR": {*"pq"}}) == set()  # who lacks a modality
    assert parted_models({"T1w": {*"pqrstu"}, "FLAIR": {*"stuvw"}}) == set()
    assert parted_models({"T1w": {*"pq"}}) == set()
