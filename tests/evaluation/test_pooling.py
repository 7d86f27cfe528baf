"""One row a test patient: means over the models that tested it, thresholds from validation patients alone."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from mgmt_monai.evaluation.pooling import pool
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, EvaluationError


def _table(*rows):
    """Rows of (patient, split, fold, seed, label, probability) of one modality and stage."""
    full = [(who, "T2w", "fine_tune", split, fold, seed, label, p, 5) for who, split, fold, seed, label, p in rows]
    return pd.DataFrame(full, columns=list(PATIENT_COLUMNS))


@pytest.fixture
def hold_out():
    """Two seeds that test the same two patients; thresholds by hand: 0.4 with seed 1, 0.7 with seed 2."""
    return _table(
        ("v0", "validation", 0, 1, 0, 0.3),
        ("v1", "validation", 0, 1, 1, 0.5),
        ("v0", "validation", 0, 2, 0, 0.6),
        ("v1", "validation", 0, 2, 1, 0.8),
        ("00020", "test", 0, 1, 1, 0.25),
        ("00003", "test", 0, 1, 0, 0.5),
        ("00020", "test", 0, 2, 1, 0.75),
        ("00003", "test", 0, 2, 0, 0.875),
    )


@pytest.fixture
def repeated_folds():
    """Two repeats of four folds, ten patients, drawn; each patient tested by one fold of either repeat."""
    random = np.random.default_rng(5)
    label = np.repeat([0, 1], 10)
    rows = []
    for repeat in range(2):
        order = np.concatenate([random.permutation(10), 10 + random.permutation(10)])
        group = np.empty(20, dtype=int)
        group[order] = np.arange(20) % 4
        for fold in range(4):
            for patient in range(20):
                split = {0: "test", 1: "validation"}.get((group[patient] - fold) % 4, "train")
                p = round(float(random.random()), 2)
                rows.append((f"{patient:05d}", split, 4 * repeat + fold, 7, int(label[patient]), p))
    return _table(*rows)


def test_mean_over_the_models_by_hand(hold_out):
    pooled = pool(hold_out)
    assert list(pooled.columns) == ["patient_id", "label", "probability", "threshold", "n_models", "fold"]
    assert pooled["patient_id"].tolist() == ["00003", "00020"]
    assert pooled["label"].tolist() == [0, 1]
    assert pooled["probability"].tolist() == [0.6875, 0.5]
    assert pooled["threshold"].tolist() == pytest.approx([0.55, 0.55])
    assert pooled["n_models"].tolist() == [2, 2]


def test_fold_of_a_patient_is_the_first_that_tested_it():
    rows = [("a", "test", 4, 0), ("a", "test", 1, 0), ("b", "train", 0, 0), ("b", "test", 2, 1), ("b", "test", 3, 0)]
    pooled = pool(_table(*((who, split, fold, seed, 1, 0.5) for who, split, fold, seed in rows)), 0.5)

    assert pooled.set_index("patient_id")["fold"].to_dict() == {"a": 1, "b": 3}


def test_given_threshold_needs_no_validation_patients(hold_out):
    pooled = pool(hold_out[hold_out["split"] == "test"], 0.5)
    assert pooled["threshold"].tolist() == [0.5, 0.5]
    assert pooled["probability"].tolist() == [0.6875, 0.5]


def test_each_patient_over_repeated_folds_has_the_models_that_tested_it(repeated_folds):
    pooled = pool(repeated_folds).set_index("patient_id")
    assert len(pooled) == 20
    for who, row in pooled.iterrows():
        tested = repeated_folds[(repeated_folds["patient_id"] == who) & (repeated_folds["split"] == "test")]
        assert row["n_models"] == len(tested) == 2
        assert row["probability"] == pytest.approx(tested["probability"].mean())


def test_threshold_over_repeated_folds_is_as_good_as_the_best_of_each_roc_curve(repeated_folds):
    one = repeated_folds[repeated_folds["fold"] == 5]
    threshold = pool(one)["threshold"].unique()
    assert len(threshold) == 1
    seen = one[one["split"] == "validation"]
    false_positive_rate, sensitivity, _ = roc_curve(seen["label"], seen["probability"], drop_intermediate=False)
    called = seen["probability"] >= threshold[0]
    youden = called[seen["label"] == 1].mean() - called[seen["label"] == 0].mean()
    assert youden == pytest.approx((sensitivity - false_positive_rate).max())


def test_permuted_test_labels_leave_the_thresholds_alone(hold_out):
    swapped = hold_out.copy()
    swapped.loc[swapped["split"] == "test", "label"] = 1 - swapped["label"]
    before, after = pool(hold_out), pool(swapped)
    assert before["label"].tolist() != after["label"].tolist()
    assert after["threshold"].tolist() == before["threshold"].tolist()


def test_a_patients_label_never_enters_its_own_threshold_over_folds(repeated_folds):
    before = pool(repeated_folds).set_index("patient_id")
    moved = 0
    for who in before.index:
        changed = repeated_folds.copy()
        changed.loc[changed["patient_id"] == who, "label"] = 1 - before.loc[who, "label"]
        after = pool(changed).set_index("patient_id")
        assert after.loc[who, "threshold"] == before.loc[who, "threshold"]
        moved += int((after["threshold"] != before["threshold"]).sum())
    # The others' thresholds do move, where the patient is a validation patient.
    assert moved > 0


def test_training_patients_and_the_order_of_rows_do_not_matter(repeated_folds):
    shuffled = repeated_folds[repeated_folds["split"] != "train"].sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(pool(shuffled), pool(repeated_folds))


def test_models_that_all_say_one_stay_at_one():
    rows = [("a", "test", 0, seed, 1, 1.0) for seed in range(10)]
    assert pool(_table(*rows), 0.5)["probability"].tolist() == [1.0]


def test_without_validation_patients_the_error_says_what_to_do(hold_out):
    without = hold_out[~((hold_out["split"] == "validation") & (hold_out["seed"] == 2))]
    with pytest.raises(EvaluationError, match=r"fold 0, seed 2: .* found none; add them .* or give a threshold"):
        pool(without)


def test_validation_patients_of_one_class_give_no_threshold(hold_out):
    without = hold_out[~((hold_out["patient_id"] == "v0") & (hold_out["seed"] == 1))]
    with pytest.raises(EvaluationError, match=r"fold 0, seed 1: .* found 1, all methylated"):
        pool(without)


@pytest.mark.parametrize(
    ("change", "threshold", "found"),
    [
        (lambda table: table.assign(modality=["FLAIR"] + ["T2w"] * 7), None, "one modality to pool, found FLAIR, T2w"),
        (lambda table: table.assign(stage=["transfer"] + ["fine_tune"] * 7), None, "one stage to pool"),
        (lambda table: table[table["split"] != "test"], None, "split test to judge, found validation"),
        (lambda table: table.iloc[:0], 0.5, "split test to judge, found no row"),
        (lambda table: table.drop(columns="seed"), None, "none named seed"),
        (lambda table: table, 50, "threshold from 0 to 1, found 50"),
        (lambda table: table, float("nan"), "threshold from 0 to 1, found nan"),
    ],
    ids=["modalities", "stages", "no test", "empty", "column", "percent", "nan"],
)
def test_bad_table_is_refused(hold_out, change, threshold, found):
    with pytest.raises(EvaluationError, match=found):
        pool(change(hold_out), threshold)


def test_patients_of_equal_slices_are_tied_whatever_their_number(hold_out):
    """0.1 three times over and 0.1 once have means that differ in the last bit."""
    row = hold_out[hold_out["split"] == "test"].head(1)
    three = [row.assign(patient_id="three", seed=seed, probability=0.1) for seed in (0, 1, 2)]

    pooled = pool(pd.concat([*three, row.assign(patient_id="once", seed=0, probability=0.1)]), threshold=0.5)

    assert set(pooled["n_models"]) == {1, 3}
    assert pooled["probability"].nunique() == 1
