"""``mgmt-monai evaluate`` as a user runs it."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_records import made_manifest, made_patient, made_series
from scipy.special import expit

from mgmt_monai.cli.main import main
from mgmt_monai.cohort.manifest import write_manifest
from mgmt_monai.evaluation.predictions import write_patients
from mgmt_monai.inference.prediction import SeriesPrediction, StudyPrediction


@pytest.fixture
def predictions(tmp_path):
    random = np.random.default_rng(1)
    label = np.arange(40) % 2
    table = pd.DataFrame(
        {
            "patient_id": [f"{number:05}" for number in range(40)],
            "modality": "T1w",
            "stage": "fine_tune",
            "split": "test",
            "fold": 0,
            "seed": 0,
            "label": label,
            "probability": np.clip(0.3 + 0.3 * label + 0.2 * random.standard_normal(40), 0, 1),
            "n_slices": 5,
        }
    )
    write_patients(table, tmp_path / "predictions.csv")
    return tmp_path / "predictions.csv"


def test_evaluate_prints_and_writes_every_figure(predictions, tmp_path, capsys):
    out = tmp_path / "out"

    assert main(["evaluate", str(predictions), "--out", str(out)]) == 0

    printed = capsys.readouterr().out
    found = json.loads((out / "evaluation.json").read_text())["models"]["T1w fine_tune"]
    assert f"AUC {found['auc']['value']:.2f} ({found['auc']['low']:.2f}-{found['auc']['high']:.2f})" in printed
    row = next(csv.DictReader((out / "figures.csv").open()))
    assert float(row["auc.value"]) == found["auc"]["value"]
    pictures = {path.name for path in (out / "T1w-fine_tune").iterdir()}
    assert pictures == {
        f"{name}.{kind}" for name in ("roc", "calibration", "decision_curve") for kind in ("png", "svg")
    }


def test_json_stands_alone_on_stdout(predictions, tmp_path, capsys):
    assert main(["evaluate", str(predictions), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads((tmp_path / "out/evaluation.json").read_text())
    assert told.err.rstrip().endswith(f"{tmp_path / 'out'}: tables and pictures")


def test_another_evaluation_is_replaced_only_where_that_is_said(predictions, tmp_path, capsys):
    words = ["evaluate", str(predictions), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    first = (tmp_path / "out/evaluation.json").read_bytes()
    assert main(words) == 0  # the same
    assert main([*words, "--threshold", "0.7"]) == 1
    assert "found another, which would be lost. Name another place with --out, or" in capsys.readouterr().err
    assert (tmp_path / "out/evaluation.json").read_bytes() == first
    assert main([*words, "--threshold", "0.7", "--overwrite"]) == 0
    assert (tmp_path / "out/evaluation.json").read_bytes() != first


def test_evaluate_says_what_the_training_beside_says_it_has_not_learnt(predictions, tmp_path, capsys):
    metrics = {"fine_tune": {"learning": {"sentence": "this training has not learnt"}}, "plain": {"test": {}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))

    assert main(["evaluate", str(predictions), "--out", str(tmp_path / "out")]) == 0

    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["not_learnt"] == {"T1w fine_tune": "this training has not learnt"}
    assert found["trained_on"] == []
    assert "T1w fine_tune: this training has not learnt" in capsys.readouterr().out


def test_evaluate_says_what_was_trained_on_and_which_threshold_rule_holds(predictions, tmp_path, capsys):
    table = pd.read_csv(predictions, dtype={"patient_id": str})
    table.loc[:9, "split"] = "validation"
    write_patients(table, predictions)
    (tmp_path / "run.json").write_text(json.dumps({"origin": {"text": "A made cohort of 16."}}))

    for words, rule in (
        ([], "Youden's, chosen on 10 validation patients; a training's own figures: --threshold 0.5"),
        (["--threshold", "0.5"], "0.50 (as asked for)"),
    ):
        assert main(["evaluate", str(predictions), "--out", str(tmp_path / "out"), "--overwrite", *words]) == 0
        printed = capsys.readouterr().out
        assert "A made cohort of 16." in printed and rule in printed
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["trained_on"] == ["A made cohort of 16."]


def test_evaluate_parts_the_patients_by_a_column(predictions, tmp_path):
    sites = tmp_path / "sites.csv"
    sites.write_text("patient_id,site\n" + "".join(f"{n:05},{'AB'[n // 2 % 2]}\n" for n in range(40)))

    assert main(["evaluate", str(predictions), "--columns", str(sites), "--out", str(tmp_path / "out")]) == 0

    rows = list(csv.DictReader((tmp_path / "out" / "subgroups.csv").open()))
    assert [(row["column"], row["value"], row["n"]) for row in rows] == [("site", "A", "20"), ("site", "B", "20")]
    assert (tmp_path / "out" / "T1w-fine_tune" / "forest.png").is_file()


def test_evaluate_tells_the_verdict_first_and_writes_it(predictions, tmp_path, capsys):
    assert main(["evaluate", str(predictions), "--out", str(tmp_path / "out")]) == 0

    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["T1w fine_tune"]
    assert capsys.readouterr().out.startswith(found["verdict"]["sentence"] + "\n")
    assert (found["verdict"]["state"], found["within_site"]) == ("cannot_tell", None)
    assert found["verdict"]["reasons"] == ["no_informative_control", "no_site_column"]


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [("centre", [], "(the column 'centre' is taken as the site)"), ("scanner", ["--site", "scanner"], "")],
)
def test_evaluate_takes_a_site_column_and_says_so(predictions, tmp_path, capsys, name, words, told):
    sites = tmp_path / "sites.csv"
    sites.write_text(f"patient_id,{name}\n" + "".join(f"{n:05},{n // 2 % 12}\n" for n in range(40)))

    assert main(["evaluate", str(predictions), "--columns", str(sites), *words, "--out", str(tmp_path / "out")]) == 0

    printed = capsys.readouterr().out
    within = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["T1w fine_tune"]["within_site"]
    assert (within["column"], within["n_sites"]) == (name, 12)
    assert f"within sites: AUC {within['auc']:.2f}" in printed
    assert printed.index("within sites: AUC") < printed.index("pairs of all sites: AUC")
    assert told in printed


def test_a_column_that_tells_what_the_model_does_is_named_until_it_is_called_clinical(predictions, tmp_path, capsys):
    columns = tmp_path / "columns.csv"
    columns.write_text("patient_id,scanner\n" + "".join(f"{n:05},{'AB'[n % 2]}\n" for n in range(40)))
    command = ["evaluate", str(predictions), "--columns", str(columns), "--overwrite", "--out", str(tmp_path / "out")]

    assert main(command) == main([*command, "--clinical", "scanner"]) == 0

    first, named = capsys.readouterr().out.split("tables and pictures")[:2]
    assert first.startswith("Cannot tell: a column of the table tells the labels as well; AUC")
    assert "column 'scanner': name it with --site, or with --clinical" in first
    assert "tells the labels as well" not in named


def test_evaluate_asks_which_of_two_columns_is_the_site(predictions, tmp_path, capsys):
    sites = tmp_path / "sites.csv"
    sites.write_text("patient_id,site,hospital\n" + "".join(f"{n:05},{n // 2 % 4},{n % 3}\n" for n in range(40)))
    words = ["evaluate", str(predictions), "--columns", str(sites), "--out", str(tmp_path / "out")]

    assert main(words) == 1
    assert "found 'site' and 'hospital', which differ; name one (--site)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--site", "hospital"]) == 0


def test_evaluate_refuses_a_site_column_that_is_not_there(predictions, tmp_path, capsys):
    sites = tmp_path / "sites.csv"
    sites.write_text("patient_id,age\n00000,50\n")

    assert main(["evaluate", str(predictions), "--columns", str(sites), "--site", "hospital"]) == 1
    assert "site: expected the column 'hospital' in the tables of columns, found age" in capsys.readouterr().err


def test_evaluate_tells_the_best_of_many_before_their_verdicts(predictions, tmp_path, capsys):
    lines = predictions.read_text().splitlines()
    more = [line.replace(",T1w,", f",m{number},") for number in range(3) for line in lines[1:]]
    predictions.write_text("\n".join([*lines, *more]) + "\n")

    assert main(["evaluate", str(predictions), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out.splitlines()
    verdicts = [
        line["verdict"] for line in json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"].values()
    ]
    assert [line.partition(": ")[2] for line in said[1:5]] == [verdict["sentence"] for verdict in verdicts]
    assert said[0].startswith("4 models: the best has AUC 0.")


def test_patients_in_no_pair_of_a_site_are_counted(predictions, tmp_path, capsys):
    patients = sorted(set(pd.read_csv(predictions, dtype=str)["patient_id"]))
    sites = ["A" if n < 20 else "" for n in range(len(patients))]
    pd.DataFrame({"patient_id": patients, "site": sites}).to_csv(tmp_path / "columns.csv", index=False)

    words = ["evaluate", str(predictions), "--columns", str(tmp_path / "columns.csv"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert re.search(r"\n  within sites are \d+ of \d+ patients: ", capsys.readouterr().out)


def test_a_stage_of_somebody_elses_table_is_no_plan(tmp_path, capsys):
    """One of four guessers is called fine_tune, the others transfer."""
    draw = np.random.default_rng(3)
    rows = ["patient_id,modality,stage,split,fold,seed,label,probability,n_slices"]
    for n in range(4):
        stage = "fine_tune" if n == 2 else "transfer"
        rows += [f"p{i},m{n},{stage},test,0,0,{i % 2},{draw.random():.4f},1" for i in range(54)]
    (tmp_path / "predictions.csv").write_text("\n".join(rows) + "\n")

    assert main(["evaluate", str(tmp_path / "predictions.csv"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("4 models: the best has AUC 0.")
    models = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]
    assert all("best_of_several" in figures["verdict"]["reasons"] for figures in models.values())


def test_evaluate_twice_writes_the_same_bytes(predictions, tmp_path):
    for name in ("first", "second"):
        assert main(["evaluate", str(predictions), "--out", str(tmp_path / name)]) == 0

    first = sorted(path for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert first
    for path in first:
        assert path.read_bytes() == (tmp_path / "second" / path.relative_to(tmp_path / "first")).read_bytes(), path.name


def test_evaluate_refuses_a_broken_table_in_one_line_and_writes_nothing(predictions, tmp_path, capsys):
    predictions.write_text(predictions.read_text().replace("T1w,fine_tune,test,0,0,1", "T1w,fine_tune,test,0,0,2"))

    assert main(["evaluate", str(predictions), "--out", str(tmp_path / "out")]) == 1

    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "line 3, column label: expected 0 (unmethylated) or 1 (methylated), found '2'" in complaint
    assert not (tmp_path / "out").exists()


def test_evaluate_tells_what_is_undefined_with_one_class(predictions, tmp_path, capsys):
    rows = predictions.read_text().splitlines()
    predictions.write_text("\n".join([rows[0], *rows[2::2]]) + "\n")  # the methylated

    assert main(["evaluate", str(predictions), "--out", str(tmp_path / "out")]) == 0

    assert "AUC undefined, permutation p undefined" in capsys.readouterr().out


def test_evaluate_prints_how_two_models_differ(predictions, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text(predictions.read_text())

    assert main(["evaluate", str(predictions), str(other), "--out", str(tmp_path / "out")]) == 0

    printed = capsys.readouterr().out
    assert "predictions T1w fine_tune minus other T1w fine_tune: 0.00 (0.00-0.00), p 1.0000" in printed


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--threshold", "2"], ["--level", "95"]])
def test_evaluate_refuses_numbers_out_of_range_as_wrong_usage(predictions, words):
    assert main(["evaluate", str(predictions), *words]) == 2


def test_evaluate_refuses_a_manifest_of_other_patients(predictions, tmp_path, capsys):
    write_manifest(made_manifest(made_patient("somebody", T1w=made_series())), tmp_path / "manifest.json")

    assert main(["evaluate", str(predictions), "--manifest", str(tmp_path / "manifest.json")]) == 1

    assert "found 40 (00000, 00001, 00002, ...) of 40 that are not in it" in capsys.readouterr().err


def test_a_columns_table_beside_a_manifest_takes_nothing_away_and_says_what_it_changes(predictions, tmp_path, capsys):
    patients = [made_patient(f"{n:05}", "test", n % 2, T1w=made_series(), columns={"site": "AB"[n // 20]})
                for n in range(40)]  # fmt: skip
    write_manifest(made_manifest(*patients), tmp_path / "manifest.json")
    columns = tmp_path / "columns.csv"
    columns.write_text("patient_id,site\n" + "".join(f"{n:05},{'' if n < 30 else 'C'}\n" for n in range(40)))
    words = ["--manifest", str(tmp_path / "manifest.json"), "--columns", str(columns), "--out", str(tmp_path / "out")]

    assert main(["evaluate", str(predictions), *words]) == 0

    assert f"column 'site': 10 patients have another value in {tmp_path / 'manifest.json'}" in capsys.readouterr().out
    within = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["T1w fine_tune"]["within_site"]
    assert [(of["site"], of["auc"]["n"]) for of in within["sites"]] == [("A", 20), ("B", 10), ("C", 10)]


EVIDENCE = pytest.mark.parametrize(
    ("table", "told"),
    [
        ("flip_labels", "expected the manifest's labels, found another for 32 (90000, 90001, 90002, ...) of 32"),
        ("train_as_test", "found 40 (90003, 90004, 90006, ...) called test that are train in the manifest"),
        ("only_right_ones", "24 of 32 test patients are missing"),
    ],
)


@EVIDENCE
def test_evaluate_holds_a_table_against_its_manifest(shared_data, tmp_path, capsys, table, told):
    evidence = shared_data / "evidence" / "tables"
    words = [str(evidence / f"{table}.csv"), "--manifest", str(evidence / "site_manifest.json")]

    assert main(["evaluate", *words, "--out", str(tmp_path / "out")]) == 1

    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert told in complaint
    assert not (tmp_path / "out").exists()


def test_evaluate_judges_an_incomplete_table_where_it_is_allowed_and_says_so(shared_data, tmp_path, capsys):
    evidence = shared_data / "evidence" / "tables"
    words = [str(evidence / "only_right_ones.csv"), "--manifest", str(evidence / "site_manifest.json")]

    assert main(["evaluate", *words, "--allow-missing", "--out", str(tmp_path / "out")]) == 0

    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("Cannot tell") and "24 of 32 test patients are missing" in first
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["T1w fine_tune"]
    assert "test_patients_missing" in found["verdict"]["reasons"]


def test_a_manifest_without_folds_vouches_for_none(shared_data, tmp_path):
    """Methylated patients lie above the others in each of two folds that were dealt so, and guess over all pairs."""
    manifest = shared_data / "evidence" / "tables" / "site_manifest.json"
    tested = [of for of in json.loads(manifest.read_text())["patients"] if of["split"] == "test"]
    label = np.array([of["label"] for of in tested])
    place = np.array([(label[:number] == of).sum() for number, of in enumerate(label)])
    fold = np.where(label == 1, place >= 12, place >= 4).astype(int)  # 12 methylated in the lower, 4 in the upper
    table = pd.DataFrame(
        {"patient_id": [of["patient_id"] for of in tested], "modality": "T1w", "stage": "mine", "split": "test",
         "fold": fold, "seed": 0, "label": label, "n_slices": 9,
         "probability": 0.2 + 0.4 * fold + 0.1 * label + np.random.default_rng(0).random(32) / 20}
    )  # fmt: skip
    table.to_csv(tmp_path / "a.csv", index=False)

    words = [str(tmp_path / "a.csv"), "--manifest", str(manifest), "--out", str(tmp_path / "out")]
    assert main(["evaluate", *words]) == 0
    (found,) = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"].values()
    assert "folds_alone" in found["verdict"]["reasons"]


def test_evaluate_names_clones_and_judges_each_once(shared_data, tmp_path, capsys):
    table = shared_data / "evidence" / "tables" / "clones.csv"

    assert main(["evaluate", str(table), "--out", str(tmp_path / "out")]) == 0

    said = capsys.readouterr().out.splitlines()[1]
    assert said.startswith("40 patients have the very predictions of another and are not judged: qp000")
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["T1w fine_tune"]
    assert found["n"] == 40


def test_evaluate_says_who_is_contradicted_who_is_never_tested_and_what_adds_nothing(tmp_path, capsys):
    first = np.random.default_rng(0).random(12).round(6)
    table = pd.DataFrame(
        {"patient_id": [f"p{n:02}" for n in range(24)], "modality": "T1w", "stage": "mine", "split": "test", "fold": 0,
         "seed": 0, "label": [0, 1] * 6 + [1, 0] * 6, "probability": [*first, *first], "n_slices": 3}
    )  # fmt: skip
    tested = pd.concat([table.assign(fold=k, split=np.where(table.index % 3 == k, "test", "train")) for k in (0, 1)])
    for name, of in (("clones", table), ("folds", tested)):
        write_patients(of, tmp_path / f"{name}.csv")
    (tmp_path / "columns.csv").write_text("patient_id,grade\n" + "".join(f"p{n:02},4\n" for n in range(24)))
    said = {}
    for name in ("clones", "folds"):
        words = ["--columns", str(tmp_path / "columns.csv"), "--clinical", "grade", "--out", str(tmp_path / name)]
        assert main(["evaluate", str(tmp_path / f"{name}.csv"), *words]) == 0
        said[name] = capsys.readouterr().out

    assert "12 patients have the very predictions of another, 12 of them under another label, and" in said["clones"]
    assert "T1w mine: 8 patients of the table are tested in no fold" in said["folds"]
    assert all("what imaging adds is not told" in text for text in said.values())


def test_evaluate_takes_the_labels_of_a_batch_from_a_table(tmp_path, capsys):
    rows = [f"P{number},T1w,fine_tune,{0.01 * number + 0.2:.2f},5,0.3,,,mine" for number in range(30)]
    (tmp_path / "predictions.csv").write_text(
        "\n".join(["patient_id,modality,stage,probability,n_slices,threshold,abstained,error,bundle", *rows]) + "\n"
    )
    (tmp_path / "labels.csv").write_text("patient_id,label\n" + "".join(f"P{n},{n % 2}\n" for n in range(29)))
    words = [str(tmp_path / "predictions.csv"), "--labels", str(tmp_path / "labels.csv")]

    own = {"n": 24, "n_methylated": 6, "auc": {"value": 0.9, "low": 0.7, "high": 0.97}}
    one = SeriesPrediction("T1w", "mine", "1", "0" * 64, 0.2, (), (0,), (0.2,), None, None, (), 1, 0.3, own, "0" * 64)
    (tmp_path / "P0").mkdir()
    (tmp_path / "P0" / "prediction.json").write_text(
        StudyPrediction("P0", (one,), {}, "2026-01-02T03:04:05Z").to_json()
    )

    assert main(["evaluate", *words, "--out", str(tmp_path / "out")]) == 0

    printed = capsys.readouterr().out
    assert printed.splitlines()[1] == "1 prediction without a label: not judged"
    assert "  in development: AUC 0.90 (0.70-0.97), 24 test patients; here minus there -0.4" in printed
    assert "case mix: 48 % methylated, 25 % in development; were the probabilities right" in printed
    assert "recalibrated out of fold: slope" in printed
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["T1w fine_tune"]
    assert (found["n"], found["threshold"]) == (29, pytest.approx(0.3))
    assert "left_out" in found["verdict"]["reasons"]


def test_evaluate_supports_nothing_where_persons_are_there_twice(predictions, tmp_path, capsys):
    table = pd.read_csv(predictions, dtype={"patient_id": str})
    scans = [f"{number // 4}{number % 2}-{number // 2 % 2}" for number in range(40)]  # the label is number % 2
    write_patients(table.assign(patient_id=scans), predictions)
    control = tmp_path / "control.csv"
    noise = np.random.default_rng(0).random(40)
    write_patients(table.assign(patient_id=scans, stage="x", probability=noise), control)
    words = ["evaluate", str(predictions), str(control), "--control", "control T1w x", "--out", str(tmp_path / "out")]

    assert main(words) == 0

    printed = capsys.readouterr().out
    assert "20 of 20 groups of patients whose names are alike but for a number have one label (00-0, 00-1" in printed
    verdict = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["predictions T1w fine_tune"]
    assert verdict["verdict"]["sentence"].startswith("Cannot tell: persons are there several times; AUC 0.")


FOLD_0, FOLD_3 = [0, 1, 2, 3, 20, 21, 22, 23], [12, 13, 14, 15, 32, 33, 34, 35]
TAKEN = "control 'nobody': expected"  # the next fault


@pytest.fixture
def words_of_folds(predictions, tmp_path):
    """The words for some patients' predictions of one fold, beside a manifest with 5 folds and 8 patients held out."""
    patients = [
        made_patient(f"{n:05}", "test" if n < 8 else "train", n % 2, folds=[n // 4 % 5], T1w=made_series())
        for n in range(40)
    ]
    folds = {"method": "kfold", "n_folds": 5, "n_repeats": 1, "n_inner_folds": 0, "seed": 0}
    write_manifest(made_manifest(*patients, folds=folds), tmp_path / "manifest.json")
    table = pd.read_csv(predictions, dtype={"patient_id": str})

    def write(fold, tested):
        write_patients(table.iloc[list(tested)].assign(fold=fold), predictions)
        return [
            "evaluate",
            str(predictions),
            "--manifest",
            str(tmp_path / "manifest.json"),
            "--out",
            str(tmp_path / "o"),
        ]

    return write


@pytest.mark.parametrize(
    ("fold", "tested", "told"),
    [
        pytest.param(0, FOLD_0, TAKEN, id="fold 0 alone"),
        pytest.param(0, range(8), TAKEN, id="held out"),
        pytest.param(3, [*FOLD_3, 4], "fold 3: expected the manifest's split, found 1 (00004)", id="others"),
        pytest.param(0, [*FOLD_0, 8], "T1w fine_tune: expected the manifest's split, found 5 (", id="neither"),
        pytest.param(0, range(7), "1 of 8 test patients are missing (00007)", id="one held out is missing"),
        pytest.param(3, FOLD_3[1:], "1 of 8 test patients are missing (00012)", id="one of fold 3 is missing"),
    ],
)
def test_one_fold_and_the_held_out_are_held_against_a_manifest_with_folds(words_of_folds, capsys, fold, tested, told):
    assert main([*words_of_folds(fold, tested), "--control", "nobody"]) == 1

    complaint = capsys.readouterr().err
    assert told in complaint
    assert complaint.count("\n") == 1


def test_one_fold_alone_is_judged_and_the_patients_of_the_others_are_counted(words_of_folds, tmp_path, capsys):
    assert main(words_of_folds(3, FOLD_3)) == 0

    assert "lacks the folds that test 32 of 40 patients" in capsys.readouterr().out
    found = json.loads((tmp_path / "o" / "evaluation.json").read_text())["models"]["T1w fine_tune"]
    assert (found["n"], "test_patients_missing" in found["verdict"]["reasons"]) == (8, True)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("predictions.csv", None, "No such file"),
        ("predictions.csv", b"", "No columns to parse"),
        (
            "predictions.csv",
            b"patient,probability\n1,0.5\n",
            "line 1: expected the column patient_id, found patient, pr",
        ),
        ("predictions.csv", "patient_id,probability\n1,0.5\n".encode("utf-16"), "expected UTF-8 text"),
        ("labels.csv", None, "no label file"),
        ("labels.csv", b"", "expected"),
        ("labels.csv", "patient_id,label\n1,1\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_tables_beside_labels_that_cannot_be_read_are_one_line(predictions, tmp_path, capsys, name, content, told):
    labels = tmp_path / "labels.csv"
    labels.write_text("patient_id,label\n00000,0\n")
    path = tmp_path / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    assert main(["evaluate", str(predictions), "--labels", str(labels), "--out", str(tmp_path / "out")]) == 1

    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert str(path) in complaint
    assert told in complaint


def test_control_is_named_by_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the help says: the name of its file."""
    random = np.random.default_rng(0)
    label = np.arange(200) % 2
    for name in ("model", "background"):
        rows = pd.DataFrame({
            "patient_id": [f"p{i}" for i in range(200)], "modality": "T1w", "stage": "fine_tune", "split": "test",
            "fold": 0, "seed": 0, "label": label, "n_slices": 6,
            "probability": expit(random.standard_normal(200) + (name == "model") * (2 * label - 1)),
        })  # fmt: skip
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    words = ["evaluate", str(tmp_path / "model.csv"), str(tmp_path / "background.csv"), "--out", str(tmp_path / "out")]
    assert main([*words, "--control", "background"]) == 0
    assert "Signal supported" in capsys.readouterr().out
    assert main([*words, "--control", "back", "--overwrite"]) == 1
    assert "control 'back'" in capsys.readouterr().err
