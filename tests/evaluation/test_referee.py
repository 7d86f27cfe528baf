"""A table held against what is known, and patients who are there twice."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from mgmt_monai.evaluation.pooling import pool
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.referee import (
    clones,
    doubts,
    examinations,
    fold_splits,
    hold,
    missing,
    name_groups,
    noticed,
)


def rows(probability, split="test", fold=0, modality="T1w", first=0) -> pd.DataFrame:
    n = len(probability)
    model = {"modality": modality, "stage": "s", "split": split, "fold": fold, "seed": 0}
    patients = {"patient_id": [f"p{first + number}" for number in range(n)], "label": np.arange(n) % 2}
    return pd.DataFrame({**patients, **model, "probability": probability})


def test_what_agrees_passes_and_what_is_missing_is_named():
    table = rows(np.linspace(0, 1, 4))

    hold(
        table,
        "m",
        {f"p{number}": number % 2 for number in range(9)},
        dict.fromkeys(map("p{}".format, range(9)), "test"),
    )

    assert missing(table, {"p1", "p9", "p8"}) == ["p8", "p9"]


@pytest.mark.parametrize(
    ("labels", "splits", "told"),
    [
        ({"p0": 0}, {}, r"found 3 \(p1, p2, p3\) of 4 that are not in it"),
        ({"p0": 0, "p1": 1, "p2": 1, "p3": 1}, {}, r"found another for 1 \(p2\) of 4"),
        ({"p0": 0, "p1": 1, "p2": 0, "p3": 1}, {"p0": "test", "p1": "train", "p2": "train", "p3": "test"},
         r"found 2 \(p1, p2\) called test that are train"),
    ],
    ids=["unknown", "label", "split"],
)  # fmt: skip
def test_what_differs_is_counted(labels, splits, told):
    with pytest.raises(EvaluationError, match=told):
        hold(rows(np.linspace(0, 1, 4)), "m", labels, splits)


def test_folds_are_numbered_over_repeats():
    folds = {"a": [0, 2], "b": [1, 0], "c": [2, 1]}

    assert [patient for patient, split in fold_splits(folds, 5, 3).items() if split == "test"] == ["a"]
    assert [patient for patient, split in fold_splits(folds, 1, 3).items() if split == "test"] == ["b"]


def test_a_patient_under_two_names_is_found_and_two_that_meet_by_chance_are_not():
    random = np.random.default_rng(0)
    continuous = random.beta(2, 2, 60)
    twice = continuous.copy()
    twice[[7, 30]] = twice[[3, 4]]

    assert clones([rows(continuous)]) == {}
    assert clones([rows(twice)]) == {"p7": "p3", "p30": "p4"}
    for digits in (2, 3):
        assert clones([rows(continuous.round(digits))]) == {}
    assert clones([rows(random.integers(100, 400, 200) / 500)]) == {}  # a forest's
    assert clones([rows(np.full(30, 0.4))]) == {}
    assert clones([rows(np.r_[np.ones(20), continuous])]) == {}  # saturated


def test_clones_agree_in_every_model_that_tested_them():
    random = np.random.default_rng(1)
    first, second = random.beta(2, 2, (2, 60))
    first[7], first[9], second[9] = first[3], first[5], second[5]

    assert clones([rows(first), rows(second, modality="FLAIR")]) == {"p9": "p5"}


def test_clones_are_found_in_different_folds_of_rounded_predictions():
    random = np.random.default_rng(2)
    tables = [rows(random.integers(100, 400, 100) / 500, fold=fold, first=100 * fold) for fold in range(5)]

    assert clones(tables) == {}


def test_two_runs_of_one_image_differ_in_the_seventh_digit_and_are_one_patient():
    first = np.random.default_rng(3).random(40)
    assert clones([rows(np.r_[first, first + 3e-9])]).items() >= {"p40": "p0", "p79": "p39"}.items()


COPIES = {
    "noise": lambda p: p + np.random.default_rng(5).uniform(-1e-5, 1e-5, len(p)),
    "three digits": lambda p: p.round(3),
    "four digits": lambda p: p.round(4),
    "sharper": lambda p: expit(1.3 * logit(p)).round(5),
    "another prevalence": lambda p: expit(logit(p) + 0.4).round(5),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_that_was_rounded_shaken_or_rescaled_is_found(copied):
    first = np.random.default_rng(4).beta(2, 2, 40).round(5)

    found = clones([rows(np.r_[first, copied(first)])])

    assert sum(found.get(f"p{40 + number}") == f"p{number}" for number in range(40)) >= 34
    assert len(found) <= 43


MET = {
    "a forest's": lambda random: random.integers(100, 400, 80) / 500,
    "neighbours'": lambda random: random.integers(0, 11, 80) / 10,
    "rounded logits": lambda random: expit(random.standard_normal(80).round(2)),
    "a grid": lambda random: np.linspace(0.1, 0.9, 80),
    "nearly one value": lambda random: (0.53 + 0.0005 * random.standard_normal(80)).round(6),
    "logits near 0": lambda random: 0.5 + 0.0002 * random.standard_normal(80),
    "nearly certain": lambda random: expit(5 * random.standard_normal(80)),
}


@pytest.mark.parametrize("drawn", MET.values(), ids=MET)
def test_independent_patients_are_no_copies(drawn):
    assert [clones([rows(drawn(np.random.default_rng(seed)))]) for seed in range(3)] == [{}] * 3


def test_a_rescaled_copy_is_one_in_every_model():
    first, other = np.random.default_rng(9).beta(2, 2, (2, 40))
    copied = [rows(np.r_[p, expit(logit(p) + 0.4)], modality=f"m{n}") for n, p in enumerate((first, other))]

    assert len(clones(copied)) >= 38
    assert clones([copied[0], rows(np.random.default_rng(10).random(80), modality="m1")]) == {}


def test_a_test_patient_who_was_trained_on_under_another_name_is_named():
    random = np.random.default_rng(6)
    test, train = random.random(30), random.random(30)
    train[:4] = test[:4]

    held_out = clones([pd.concat([rows(test), rows(train, split="train", first=100)])])
    assert held_out == {f"p{number}": f"p{100 + number}" for number in range(4)}

    tables = [rows(test), rows(train, split="train", first=100)]
    tables += [rows(test[::-1], split="train", fold=1).assign(patient_id=[f"p{n}" for n in range(29, -1, -1)])]
    tables += [rows(train, fold=1, first=100)]  # each tests what the other was trained on
    assert set(clones([pd.concat(tables)])) == {f"p{number}" for number in (0, 1, 2, 3, 100, 101, 102, 103)}


def test_what_another_stage_has_seen_is_told_and_one_model_under_two_names():
    random = np.random.default_rng(7)
    first = random.random(20)
    models = {
        "a": rows(first),
        "b": pd.concat([rows(random.random(20), split="train"), rows(random.random(4), first=20)]),
        "c": rows(expit(3 * logit(first))),
    }

    told = noticed(models)

    assert [sentence.partition(":")[0] for sentence in told] == ["a", "a and c order all patients alike", "c"]
    assert "20 (p0, p1, p2, ...) of its test patients are train in b" in told[0]


@pytest.mark.parametrize("answers", [lambda label: label, lambda label: 0.2 + label / 2], ids=["labels", "shifted"])
def test_predictions_without_an_error_are_told(answers):
    table = rows(np.random.default_rng(8).random(20))

    assert noticed({"a": table}) == []
    told = noticed({"a": table.assign(probability=answers(table["label"]) + table.index / 1e3 * (answers(1) != 1))})
    assert [sentence[:41] for sentence in told] == ["a: no methylated patient is below another"]


def test_names_written_twice_and_rounding_errors_are_told():
    random = np.random.default_rng(8)
    models = {"a": rows(random.random(20)), "b": rows(random.random(8)), "c": rows(0.5 + 1e-7 * random.random(20))}
    models["b"]["patient_id"] = ["p0", "P-01", *(f"p{n}" for n in range(2, 8))]

    told = noticed(models)

    assert told[0] == "c: its probabilities differ by 9e-08 at most, as rounding errors do"
    assert told[1].startswith("1 (P-01 = p1) are names that differ in their writing alone")
    assert noticed({"a": models["a"]}) == []
    learnt = pd.concat([models["a"], models["a"].head(1).assign(patient_id="P 002", split="train")])
    assert "P 002" in noticed({"a": learnt})[0]


@pytest.mark.parametrize(
    "names", [[f"{n:05}" for n in range(40)], [f"TCGA-{n:02}-{n:04}" for n in range(40)], ["UCSF-1", "UPENN-2"] * 2],
    ids=["numbers", "as many as patients", "few"],
)  # fmt: skip
def test_names_that_do_not_group_patients_tell_no_site(names):
    assert name_groups(names) == ""


def test_one_answer_given_to_many_makes_no_copies_and_hides_none():
    answers = np.random.default_rng(2).random(600)
    answers[:240] = 0.5
    assert clones([rows(answers)]) == {}
    answers[300:310] = answers[400:410]
    assert clones([rows(answers)]) == {f"p{400 + n}": f"p{300 + n}" for n in range(10)}


def test_several_examinations_of_a_person_are_told_by_names_and_labels():
    random = np.random.default_rng(0)
    label = {f"P{n:03}": int(random.integers(2)) for n in range(30)}

    for form in ("{}-{}", "{}_T{}", "{}-0{}_11"):
        names = {form.format(person, scan): of for person, of in label.items() for scan in (1, 2)}
        assert examinations(names).startswith("30 of 30 groups of patients whose names are alike but for a number")
    assert examinations(label) == ""
    sites = {f"{site}-{n:03}": int(random.integers(2)) for site in ("UCSF", "UPENN", "TCGA-02") for n in range(20)}
    assert examinations(sites) == ""
    assert (
        examinations(
            {f"{site}-{form}-{n}": form == "met" for site in "AB" for form in ("met", "un") for n in range(20)}
        )
        == ""
    )
    assert examinations({f"p{n}-{scan}": int(random.integers(2)) for n in range(30) for scan in (1, 2)}) == ""
    assert examinations({"p1-1": 1, "p1-2": 1, "p2-1": 0, "p2-2": 0}) == ""  # so few are chance


def doubted(rows, others=(), controls=(), p=0.001):
    pooled = pool(rows, 0.5)
    return doubts("T1w net", {"T1w net": rows, **dict(others)}, controls, pooled, p)


def drawn(n=120, **columns):
    random = np.random.default_rng(0)
    label = random.permutation(np.arange(n) % 2)
    rows = {"patient_id": [f"{name:05d}" for name in random.permutation(n)], "modality": "T1w", "stage": "net",
            "split": "test", "fold": 0, "seed": 0, "label": label,
            "probability": random.random(n), "n_slices": 9}  # fmt: skip
    return pd.DataFrame(rows | {name: of(label, rows) if callable(of) else of for name, of in columns.items()})


@pytest.mark.parametrize(
    ("columns", "reasons"),
    [
        ({}, []),
        ({"n_slices": lambda label, _: 9 + label}, ["numbers_tell"]),
        ({"probability": lambda label, _: label * 0.3 + 0.3, "n_slices": lambda label, _: 9 + np.arange(120) % 2}, []),
        ({"patient_id": lambda label, _: [f"p{n}" for n in np.argsort(np.argsort(label + np.arange(120) / 999))]}, []),
    ],
    ids=["nothing", "slices", "other slices", "names in order of the labels"],
)
def test_numbers_beside_the_predictions_count_where_they_leave_the_model_nothing(columns, reasons):
    assert doubted(drawn(**columns)) == reasons


def test_a_model_that_knows_the_number_in_a_name_is_doubted():
    rows = drawn().sort_values("label").assign(patient_id=[f"p{n}" for n in range(120)])
    assert doubted(rows.assign(probability=np.arange(120) / 120)) == ["numbers_tell"]


@pytest.mark.parametrize("name", ["{site}-{n:03}", "{site}_{letters}", "GBM-{site}-{letters}", "{site:02}-{n:04}-1"])
@pytest.mark.parametrize(("tells", "reasons"), [(2.0, ["numbers_tell"]), (0.0, [])], ids=["sees it", "does not"])
def test_a_model_that_sees_the_hospital_of_a_name_is_doubted(name, tells, reasons):
    random, rows = np.random.default_rng(3), drawn(n=200)
    site = np.where(random.random(200) < np.where(rows["label"] == 1, 0.7, 0.35), 18, 2)
    form = name if ":02" in name else name.replace("{site}", "{hospital}")
    rows["patient_id"] = [
        form.format(
            site=of, hospital="UCSF" if of == 2 else "UPENN", n=n, letters="".join(random.choice([*"abcdef"], 6))
        )
        for n, of in enumerate(site)
    ]
    score = random.standard_normal(200) + tells * (site == 18) + (0 if tells else 1.2) * rows["label"]

    assert doubted(rows.assign(probability=expit(score))) == reasons


def test_folds_that_were_dealt_by_the_predictions_are_doubted_unless_a_manifest_has_them():
    """In each fold methylated patients lie above the others, but the last; over all pairs the model guesses."""
    rows = drawn()
    tenth = rows.groupby("label")["probability"].rank(method="first").sub(1) // 15
    rows["fold"] = (np.where(rows["label"] == 1, tenth, tenth + 1) % 4).astype(int)

    assert doubted(rows, p=0.4) == ["folds_alone"]
    assert doubted(rows.assign(held=False), p=0.4) == ["folds_alone"]  # a manifest without folds
    assert doubted(rows.assign(held=True), p=0.4) == doubted(drawn(fold=np.arange(120) % 4), p=0.4) == []


@pytest.mark.parametrize(("stage", "split", "reasons"), [
    ("first", "train", ["seen_by_stage"]), ("first", "test", []), ("other file", "train", []),
])  # fmt: skip
def test_a_stage_that_has_learnt_from_test_patients_is_told(stage, split, reasons):
    other = drawn(stage="first", split=split)
    other.loc[0, "split"] = "test"
    assert doubted(drawn(), {("b " if stage != "first" else "") + "T1w first": other}) == reasons


@pytest.mark.parametrize(("n", "reasons"), [(117, []), (80, ["chosen_patients"])])
def test_patients_whom_a_control_has_and_the_model_has_not_may_have_been_chosen(n, reasons):
    control = drawn().set_index("patient_id")["probability"]
    assert doubted(drawn().head(n), controls=[control]) == reasons
    assert doubted(drawn(held=True).head(n), controls=[control]) == []
