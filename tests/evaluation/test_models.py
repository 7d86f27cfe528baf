"""The models in predictions tables, and how they compare."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from mgmt_monai.evaluation.best_of import best_of_p_values
from mgmt_monai.evaluation.comparison import compare_paired
from mgmt_monai.evaluation.folds import fold_ranks
from mgmt_monai.evaluation.model_rows import not_learnt, pool_models, read_rows, seed_spread, trained_on
from mgmt_monai.evaluation.models import best_of_models, comparisons, evaluate, judged, primary_models
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.predictions import PATIENT_COLUMNS, EvaluationError, write_patients

LABELS = [0, 0, 0, 1, 1, 1]


def test_file_beside_a_table_that_is_none_of_a_training_is_told(tmp_path, caplog):
    table = tmp_path / "predictions.csv"
    assert (not_learnt([table], ["fine_tune"]), trained_on([table])) == ({}, [])
    for content in ('{"origin": "Mars"}', "[1]", "{", '{"fine_tune": {"learning": 5}}'):
        (tmp_path / "metrics.json").write_text(content)
        (tmp_path / "run.json").write_text(content)
        assert (not_learnt([table], ["fine_tune"]), trained_on([table])) == ({}, [])
        assert [record.message.count("json: expected a training's file") for record in caplog.records] == [1, 1]
        caplog.clear()
    (tmp_path / "metrics.json").write_text('{"accuracy": 0.5}')
    assert not_learnt([table], ["fine_tune"]) == {}
    assert not caplog.records


def table(probability, modality="T1w", stage="fine_tune", split="test", labels=LABELS) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "patient_id": [f"{split}-{number}" for number in range(len(labels))],
            "modality": modality,
            "stage": stage,
            "split": split,
            "fold": 0,
            "seed": 0,
            "label": labels,
            "probability": probability,
            "n_slices": 2,
        }
    )
    return rows[list(PATIENT_COLUMNS)]


def models_of(paths, threshold=None):
    return pool_models(read_rows(paths)[0], threshold)


@pytest.fixture
def written(tmp_path):
    def write(name: str, *tables: pd.DataFrame):
        write_patients(pd.concat(tables), tmp_path / name)
        return tmp_path / name

    return write


def test_each_modality_and_stage_is_a_model(written):
    rising = np.linspace(0.1, 0.9, 6)
    path = written("a.csv", table(rising), table(rising, stage="transfer"), table(rising, modality="FLAIR"))

    assert list(read_rows([path])[0]) == ["T1w fine_tune", "T1w transfer", "FLAIR fine_tune"]


def test_models_of_several_files_carry_the_files_names(written):
    paths = [written("a.csv", table([0.5] * 6)), written("b.csv", table([0.5] * 6))]

    assert list(read_rows(paths)[0]) == ["a T1w fine_tune", "b T1w fine_tune"]


def test_tables_of_one_name_are_the_folds_of_one_plan(tmp_path):
    """As an array of jobs leaves them: a folder a modality and fold, a predictions.csv in each."""
    paths, parts = [], []
    for modality in ("T1w", "FLAIR"):
        for fold in range(2):
            part = table(np.linspace(0.1, 0.9, 6), modality=modality).assign(fold=fold)
            part["patient_id"] = [f"{fold}-{number}" for number in range(6)]
            path = tmp_path / modality / str(fold) / "predictions.csv"
            path.parent.mkdir(parents=True)
            write_patients(part, path)
            sentence = {"learning": {"sentence": "this training has not learnt"}}
            (path.parent / "metrics.json").write_text(json.dumps({"fine_tune": sentence} if modality == "T1w" else {}))
            paths.append(path)
            parts.append(part)

    rows, _ = read_rows(paths)

    assert list(rows) == ["T1w fine_tune", "FLAIR fine_tune"]
    pd.testing.assert_frame_equal(rows["T1w fine_tune"], pd.concat(parts[:2], ignore_index=True))
    said = "this training has not learnt; so say {} of its 2 trainings"
    assert not_learnt(paths, rows) == {"T1w fine_tune": said.format(2)}
    learnt = paths[0].parent / "metrics.json"
    learnt.write_text(learnt.read_text().replace("this training has not learnt", ""))
    assert not_learnt(paths, rows) == {"T1w fine_tune": said.format(1)}
    assert not_learnt(paths[:1], rows) == {}

    (paths[0].parent / "run.json").write_text('{"weights": "b0.safetensors", "manifest_hash": "1"}')
    (paths[1].parent / "run.json").write_text('{"weights": "b4.safetensors", "manifest_hash": "1"}')
    with pytest.raises(
        EvaluationError, match=r"1/predictions\.csv: expected the same weights as beside .*0/predictions\.csv"
    ):
        read_rows(paths)
    (paths[1].parent / "run.json").unlink()
    write_patients(parts[1].assign(patient_id=parts[0]["patient_id"], label=1 - parts[0]["label"]), paths[1])
    with pytest.raises(EvaluationError, match="label"):
        read_rows(paths)


def test_threshold_is_chosen_on_validation_patients_else_a_half(written):
    test = table(np.linspace(0.1, 0.9, 6))
    validation = table([0.1, 0.2, 0.3, 0.5, 0.6, 0.7], split="validation")

    alone = models_of([written("a.csv", test)])["T1w fine_tune"]
    chosen = models_of([written("b.csv", test, validation)])["T1w fine_tune"]
    given = models_of([written("c.csv", test, validation)], threshold=0.25)["T1w fine_tune"]

    assert set(alone["threshold"]) == {0.5}
    assert set(chosen["threshold"]) == {0.4}  # midway between 0.3 and 0.5, which part the classes
    assert set(given["threshold"]) == {0.25}


def test_every_pair_is_compared_on_the_shared_patients_with_holms_correction(written):
    random = np.random.default_rng(0)
    labels = [0, 1] * 10
    probabilities = {name: random.uniform(size=20) for name in ("a", "b", "c")}
    paths = [written(f"{name}.csv", table(p, labels=labels)) for name, p in probabilities.items()]

    rows = comparisons(models_of(paths))

    assert [(row["first"][0], row["second"][0]) for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    for row in rows:
        first, second = probabilities[row["first"][0]], probabilities[row["second"][0]]
        expected = compare_paired(np.array(labels), first, second)
        assert row["p"] == pytest.approx(expected.p_value)
        assert row["n"] == 20
    smallest = min(rows, key=lambda row: row["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, 3 * smallest["p"]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param([{"split": "train"}], "expected rows of split test", id="no test"),
        pytest.param([{}, {}], "expected different file names, or other folds", id="same file"),
    ],
)
def test_tables_that_cannot_be_judged_are_named(written, given, told):
    with pytest.raises(EvaluationError, match=rf"a\.csv.*{told}"):
        models_of([written("a.csv", table([0.5] * 6, **changes)) for changes in given])


def test_models_that_disagree_on_a_label_are_not_compared(written):
    paths = [written("a.csv", table([0.5] * 6)), written("b.csv", table([0.5] * 6, labels=LABELS[::-1]))]

    with pytest.raises(EvaluationError, match="patient test-0: expected one label, found 0 in 'a T1w"):
        comparisons(models_of(paths))


def guesses(number: int, n: int = 40) -> pd.DataFrame:
    return table(np.random.default_rng(number).uniform(size=n), modality=f"m{number}", labels=[0, 1] * (n // 2))


def test_seeds_are_told_apart_from_their_average():
    random = np.random.default_rng(0)
    labels = np.arange(100) % 2
    rows = pd.concat(
        [table(np.clip(0.5 + 0.06 * labels + 0.2 * random.standard_normal(100), 0, 1), labels=labels).assign(seed=seed)
         for seed in range(6)]
    )  # fmt: skip
    each = [roc_auc_score(of["label"], of["probability"]) for _, of in rows.groupby("seed")]

    found = seed_spread(rows)

    assert found == pytest.approx(
        {"n": 6, "mean": np.mean(each), "low": min(each), "high": max(each), "sd": np.std(each, ddof=1)}
    )
    assert seed_spread(rows[rows["seed"] == 0]) is None


def test_each_of_several_models_gets_the_p_value_of_the_best(written):
    path = written("a.csv", *(guesses(number) for number in range(5)))
    models = models_of([path])
    stack = np.stack([each["probability"] for each in models.values()])

    found = evaluate(path)

    for number, (name, pooled) in enumerate(models.items()):
        asked = f"p = {best_of_p_values(pooled['label'], stack)[number]:.3f}"
        assert asked in found[name]["verdict"]["checks"][0]["text"]
        assert found[name]["verdict"]["reasons"][-1] == "best_of_several"


def test_several_models_of_other_patients_pay_for_their_number(written):
    second = guesses(1).assign(patient_id=[f"other-{number}" for number in range(40)])
    found = evaluate(written("a.csv", guesses(0), second))

    for each in found.values():
        p = float(each["verdict"]["checks"][0]["text"].split("p = ")[1].split(" ")[0])
        assert p == pytest.approx(min(1, 2 * each["permutation_p"]), abs=0.001)


def test_a_control_is_another_model_of_the_tables(written):
    signal = table(np.tile([0.2, 0.8], 20), labels=[0, 1] * 20)
    path = written("a.csv", signal, guesses(3))

    found = evaluate(path, controls=["m3 fine_tune"])

    assert found["T1w fine_tune"]["verdict"]["state"] == "supported"
    assert found["m3 fine_tune"]["verdict"] is None
    with pytest.raises(EvaluationError, match="control 'm4': expected one of the models T1w fine_tune, m3 fine_tune"):
        evaluate(path, controls=["m4"])
    with pytest.raises(EvaluationError, match="none for 2, the first test-38"):
        evaluate(written("b.csv", signal, guesses(3, 38)), controls=["m3 fine_tune"])


def test_a_control_alone_is_nothing_to_judge(written):
    with pytest.raises(
        EvaluationError, match="control 'm0 fine_tune': expected a model beside it to judge, found none"
    ):
        evaluate(written("a.csv", guesses(0)), controls=["m0 fine_tune"])


def test_a_site_is_taken_from_the_columns(written):
    rows, _ = read_rows([written("a.csv", guesses(0))])
    columns = pd.DataFrame({"Hospital": [*"AB"] * 20}, index=rows["m0 fine_tune"]["patient_id"])

    found = judged(rows, pool_models(rows), columns)["m0 fine_tune"]

    assert found["within_site"]["column"] == "Hospital"
    assert found["within_site"]["auc"] is None  # A is unmethylated, B methylated
    assert found["verdict"]["reasons"][0] == "no_pairs_within_site"
    with pytest.raises(EvaluationError, match="found no table of columns"):
        judged(rows, pool_models(rows), site="Hospital")


def test_a_site_of_one_value_beside_a_column_that_differs_is_told(written):
    rows, _ = read_rows([written("a.csv", guesses(0))])
    columns = pd.DataFrame({"x": "A", "centre": [*"AB"] * 20}, index=rows["m0 fine_tune"]["patient_id"])

    reasons = judged(rows, pool_models(rows), columns, "x")["m0 fine_tune"]["verdict"]["reasons"]

    assert {"one_site", "other_site_column"} <= {*reasons}


def batch(*rows: str):
    head = "patient_id,modality,stage,probability,n_slices,threshold,distance,abstained,error,bundle"
    return "\n".join([head, *rows]) + "\n"


def test_the_table_of_a_batch_takes_its_labels_from_elsewhere_and_its_threshold_from_the_bundle(tmp_path):
    lines = [f"P{number},T1w,fine_tune,{0.1 * number + 0.1:.1f},5,0.35,,,,mine" for number in range(6)]
    (tmp_path / "a.csv").write_text(
        batch(*lines, "P6,T1w,fine_tune,,,0.35,,too far,,mine", "P7,T1w,fine_tune,0.5,5,0.35,,,,mine")
    )
    labels = {f"P{number}": int(number > 2) for number in range(7)}

    rows, left_out = read_rows([tmp_path / "a.csv"], labels)

    assert left_out == {"without a probability": 1, "without a label": 1}
    pooled = pool_models(rows)["T1w fine_tune"]
    assert pooled["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert set(pooled["threshold"]) == {0.35}
    with pytest.raises(EvaluationError, match=r"a\.csv: expected predictions of patients with a label, found none: 1"):
        read_rows([tmp_path / "a.csv"], {"other": 1})


@pytest.mark.parametrize("other", ["0.4", ""], ids=["another", "none"])
def test_a_bundle_has_one_threshold(tmp_path, other):
    (tmp_path / "a.csv").write_text(batch(*(f"P{n},T1w,,0.5,5,{(0.35, other)[n]},,,,mine" for n in (0, 1))))

    with pytest.raises(
        EvaluationError, match=r"a\.csv, column threshold: expected one threshold for T1w unknown, found"
    ):
        read_rows([tmp_path / "a.csv"], {"P0": 0, "P1": 1})


def test_two_bundles_of_one_modality_are_two_models(tmp_path):
    lines = [f"P{number},T1w,,0.{number + 1},5,,,,,{name}" for name in ("a", "b") for number in range(4)]
    (tmp_path / "a.csv").write_text(batch(*lines))

    assert list(read_rows([tmp_path / "a.csv"], dict.fromkeys(("P0", "P1", "P2", "P3"), 1))[0]) == [
        "T1w unknown a", "T1w unknown b",
    ]  # fmt: skip


def test_a_blank_control_in_folds_says_nothing(written):
    fold = np.repeat([0, 1], 20)
    signal = table(np.tile([0.2, 0.8], 20), labels=[0, 1] * 20).assign(fold=fold)
    level = table(np.where(fold, 0.52, 0.47), modality="zeros", labels=[0, 1] * 20).assign(fold=fold)

    found = evaluate(written("a.csv", signal, level), controls=["zeros fine_tune"])

    assert "no_informative_control" in found["T1w fine_tune"]["verdict"]["reasons"]


def test_models_of_other_patients_in_folds_are_ranked_and_widened(written):
    fold = np.arange(40) // 20
    shifted = guesses(0).assign(fold=fold, probability=lambda rows: rows["probability"] / 2 + 0.5 * fold)
    other = guesses(1).assign(patient_id=[f"other-{number}" for number in range(40)])
    found = evaluate(written("a.csv", shifted, other))["m0 fine_tune"]["verdict"]
    alone = permutation_test(shifted["label"], fold_ranks(shifted["probability"], fold)).p_value

    wide = norm.sf(norm.isf(alone) / 1.3) if alone < 0.5 else alone
    assert f"p = {min(1, 2 * wide):.3f} " in found["checks"][0]["text"]


def test_a_trainings_result_is_judged_alone_and_its_other_stages_as_the_best_of_all(written):
    stages = [
        guesses(n).assign(modality="T1w", stage=stage) for n, stage in enumerate(("transfer", "fine_tune", "plain"))
    ]
    path = written("a.csv", *stages)
    models = models_of([path])
    stack = np.stack([each["probability"] for each in models.values()])

    found = evaluate(path)

    result, other = (found[f"T1w {stage}"]["verdict"] for stage in ("fine_tune", "plain"))
    assert f"p = {found['T1w fine_tune']['permutation_p']:.3f}" in result["checks"][0]["text"]
    assert "best_of_several" not in result["reasons"]
    assert f"p = {best_of_p_values(models['T1w plain']['label'], stack)[2]:.3f}" in other["checks"][0]["text"]
    named = evaluate(path, primary=["T1w plain"])
    assert [name for name, of in named.items() if "primary" in of["verdict"]["reasons"]] == ["T1w plain"]
    assert ["best_of_several" in each["verdict"]["reasons"] for each in named.values()] == [True, True, False]
    with pytest.raises(EvaluationError, match="primary model 'y': expected one of the models T1w transfer, T1w fine_"):
        evaluate(path, primary=["y"])


def test_the_best_of_many_stages_called_fine_tune_was_not_meant_beforehand():
    rows = {f"T1w {stage}": pd.DataFrame({"stage": [stage]}) for stage in ("fine_tune", "plain", "transfer")}

    assert primary_models(rows, list(rows)) == ["T1w fine_tune"]
    assert primary_models({**rows, "T1w s7": pd.DataFrame({"stage": ["s7"]})}, [*rows, "T1w s7"]) == []


def test_a_control_with_other_labels_is_refused(written):
    other = guesses(1).assign(label=lambda of: 1 - of["label"])

    with pytest.raises(EvaluationError, match="patient test-0: expected one label, found 0 in 'a m0 fine_tune' and 1 "):
        evaluate(written("a.csv", guesses(0)), written("b.csv", other), controls=["b m1 fine_tune"])


def test_the_best_of_no_model_is_none():
    assert best_of_models({}) is None


def test_the_best_of_models_in_folds_is_that_of_ranks_within_them(written):
    fold = np.arange(40) // 20
    shifted = [guesses(n).assign(fold=fold, probability=lambda of: of["probability"] / 2 + fold / 2) for n in (0, 1)]
    path = written("a.csv", *shifted)

    found = best_of_models(models_of([path]))

    best = max(roc_auc_score(of["label"], fold_ranks(of["probability"], fold)) for of in shifted)
    assert found["auc"] == pytest.approx(best)


def test_labels_beside_a_table_that_has_its_own_are_held_against_them(written):
    path = written("a.csv", table([0.5] * 6))
    labels = {f"test-{number}": label for number, label in enumerate(LABELS)}

    assert read_rows([path], labels)[1] == {}
    with pytest.raises(EvaluationError, match=r"expected the label table.s labels, found another for 1 .test-2. of 6"):
        read_rows([path], {**labels, "test-2": 1})


def test_who_keeps_the_seeds_that_fit_a_patient_shows_nothing(written):
    every = pd.concat([guesses(seed, 100).assign(modality="m0", seed=seed) for seed in range(10)])
    fit = every["probability"].where(every["label"] == 1, 1 - every["probability"])
    kept = every[fit.groupby(every["patient_id"]).rank(method="first") > 3]
    rows, _ = read_rows([written("a.csv", kept), written("control.csv", guesses(11, 100))])

    found = judged(rows, pool_models(rows), controls=["control m11 fine_tune"])["a m0 fine_tune"]["verdict"]

    assert found["auc"]["low"] > 0.7
    assert found["state"] == "cannot_tell" and "chosen_patients" in found["reasons"]


@pytest.mark.parametrize("column", ["seed", "stage"])
def test_who_keeps_the_best_of_three_for_each_patient_shows_nothing(written, column):
    every = pd.concat([guesses(n, 120).assign(modality="m0", **{column: n}) for n in range(3)])
    fit = every["probability"].where(every["label"] == 1, 1 - every["probability"])
    kept = every[fit.groupby(every["patient_id"]).rank(method="first") == 3].astype({"stage": str})
    rows, _ = read_rows([written("a.csv", kept), written("control.csv", guesses(11, 120))])

    found = judged(rows, pool_models(rows), controls=["control m11 fine_tune"])

    verdicts = [of["verdict"] for of in found.values() if of["verdict"]]
    assert len(verdicts) == (1 if column == "seed" else 3)
    assert all(verdict["auc"]["low"] > 0.7 and verdict["state"] == "cannot_tell" for verdict in verdicts)
    assert all("chosen_patients" in verdict["reasons"] for verdict in verdicts)
