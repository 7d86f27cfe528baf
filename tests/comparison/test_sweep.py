"""A comparison from the command line to the report: real trainings, a real MLflow store, real kills."""

import base64
import hashlib
import json
import re
import signal
from importlib import resources

import jsonschema
import pandas as pd
import pytest
from filelock import FileLock
from mlflow.tracking import MlflowClient
from sklearn.metrics import roc_auc_score
from small_comparison import comparison_words, kill_when, start_comparison, tables, unfinished

from mgmt_monai.cli.main import main
from mgmt_monai.comparison.kept_results import ComparisonRecord, read_record
from mgmt_monai.comparison.report.facts import findings
from mgmt_monai.training.pseudonyms import under_pseudonyms

pytestmark = pytest.mark.xdist_group("comparison")


def folder(runs):
    return runs / "comparisons" / "small"


@pytest.mark.slow
def test_every_training_is_a_run_under_the_comparisons(finished_comparison):
    client = MlflowClient(f"sqlite:///{finished_comparison / 'mlruns.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])

    parents = [run for run in runs if "mgmt.comparison" in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(parents) == 1
    assert len(children) == len(runs) - 1 == 5
    assert {run.info.status for run in runs} == {"FINISHED"}
    controls = sorted(run.data.params["control"] for run in children)
    assert controls == ["background", "blank", "none", "none", "permuted_labels"]
    names = {file.path for file in client.list_artifacts(parents[0].info.run_id, "report")}
    assert {"report/report.html", "report/report.json", "report/checklist.html"} <= names


@pytest.mark.slow
def test_report_keeps_its_schema_and_counts_what_was_done(finished_comparison):
    report = json.loads((folder(finished_comparison) / "report" / "report.json").read_text())
    schema = json.loads((resources.files("mgmt_monai.comparison.report") / "data" / "report.schema.json").read_text())

    jsonschema.validate(report, schema)
    assert [row["network"] for row in report["table_1"]] == ["efficientnet-b0", "resnet-10"]
    assert [row["pretrained"] for row in report["table_1"]] == [True, False]
    assert len(report["comparison"]["trainings"]) == 5
    assert [row["name"] for row in report["controls"]] == [
        "header_tags", "geometry", "background", "blank", "permuted_labels",
    ]  # fmt: skip
    assert report["cohort"]["n_patients"] == 15
    assert report["figures"]["n"] == 4
    plain = [row for row in report["candidates"] if row["stage"] == "plain"]
    assert [row["network"] for row in plain] == ["efficientnet-b0"]
    assert report["noise"]["n_candidates"] == report["chosen"]["n_compared"] == len(report["candidates"]) == 3
    (chosen,) = [row for row in report["candidates"] if row["chosen"]]
    assert chosen["validation_auc"] == max(row["validation_auc"] for row in report["candidates"])
    assert chosen["stage"] == report["chosen"]["stage"]
    for row in plain:
        table = pd.read_csv(folder(finished_comparison) / "record" / "predictions" / f"{row['network']}.csv")
        for split, found in (("test", row["auc"]["value"]), ("validation", row["validation_auc"])):
            of = table[(table["stage"] == "plain") & (table["split"] == split)]
            assert found == pytest.approx(roc_auc_score(of["label"], of["probability"]))


@pytest.mark.slow
def test_the_plan_is_written_before_anything_is_scored_and_every_judgement_is_counted(finished_comparison):
    path = folder(finished_comparison) / "plan.json"
    report = json.loads((folder(finished_comparison) / "report" / "report.json").read_text())
    scored = [each.stat().st_mtime for each in folder(finished_comparison).rglob("predictions.csv")]

    assert report["comparison"]["plan_hash"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report["comparison"]["n_judged"] == 1
    assert scored and path.stat().st_mtime < min(scored)
    assert json.loads(path.read_text())["site"] == "site"


@pytest.mark.slow
def test_no_patient_and_no_path_is_in_what_is_shared(finished_comparison, comparison_data):
    patients = [path.name for path in (comparison_data / "train").iterdir()]
    names = re.compile(rb"(?<![0-9a-f.])(" + "|".join(patients).encode() + rb")(?![0-9a-f])")
    shared = [
        *(folder(finished_comparison) / "record").rglob("*"),
        *(folder(finished_comparison) / "report").rglob("*"),
        folder(finished_comparison) / "plan.json",
    ]
    texts = {path: path.read_bytes() for path in shared if path.suffix in (".csv", ".json", ".html", ".svg")}

    assert len(texts) > 20
    for path, text in texts.items():
        embedded = [base64.b64decode(part) for part in re.findall(rb"base64,([A-Za-z0-9+/=]+)", text)]
        for part in (text, *embedded):
            assert not names.search(part), path
            assert str(comparison_data).encode() not in part, path
            assert str(finished_comparison).encode() not in part, path
            assert b"accession" not in part, path
    report = json.loads(texts[folder(finished_comparison) / "report" / "report.json"])
    assert report["cohort"]["excluded"] == [{"reason": "(not shown: it names a patient)", "n": 1}]
    assert {row["column"] for row in report["subgroups"]} == {"plane", "site"}


@pytest.mark.slow
def test_the_same_command_does_nothing_again(finished_comparison, comparison_data):
    before = {path: path.stat().st_mtime_ns for path in finished_comparison.rglob("*.pt")}
    found = tables(folder(finished_comparison) / "report" / "report.json")

    assert main(comparison_words(comparison_data, finished_comparison, "small")) == 0

    assert before
    assert {path: path.stat().st_mtime_ns for path in finished_comparison.rglob("*.pt")} == before
    assert tables(folder(finished_comparison) / "report" / "report.json") == found


@pytest.mark.slow
def test_the_second_start_tells_mlflow_what_it_lacks_of_a_training(finished_comparison, comparison_data):
    path = min(folder(finished_comparison).rglob("mlflow.json"))
    notes, client = json.loads(path.read_text()), MlflowClient(f"sqlite:///{finished_comparison / 'mlruns.db'}")
    run_id = notes["the tags"]["told"]
    client.delete_tag(run_id, "weights")
    notes["the tags"]["told"] = None
    path.write_text(json.dumps(notes))

    assert main(comparison_words(comparison_data, finished_comparison, "small")) == 0

    assert client.get_run(run_id).data.tags["weights"] == notes["the tags"]["value"]["weights"]
    assert json.loads(path.read_text())["the tags"]["told"] == run_id


@pytest.mark.slow
def test_a_comparison_killed_twice_says_so_and_gives_the_tables_of_one_that_was_not(
    finished_comparison, comparison_data, tmp_path
):
    runs, log = tmp_path / "runs", tmp_path / "log.txt"
    words = comparison_words(comparison_data, runs, "small")
    kill_when(start_comparison(words, log), lambda: list(runs.rglob("last.pt")))  # in the first training
    among_controls = start_comparison(words, log)
    code = kill_when(among_controls, lambda: list(runs.rglob("*-blank-*/transfer/best.pt")), by=signal.SIGTERM)

    assert code == 128 + signal.SIGTERM, log.read_text()
    assert "interrupted; go on with the same command" in log.read_text()
    assert unfinished(runs) == {"parent": "KILLED", "blank": "KILLED"}
    with FileLock(folder(runs) / ".lock").acquire(blocking=False):
        pass  # nobody holds it

    assert main(words) == 0
    assert unfinished(runs) == {}
    assert tables(folder(runs) / "report" / "report.json") == tables(
        folder(finished_comparison) / "report" / "report.json"
    )


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_tables(finished_comparison, comparison_data, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mgmt_monai[ray]'")
    runs = tmp_path / "runs"

    process = start_comparison(comparison_words(comparison_data, runs, "small", "--ray", "local"), tmp_path / "log.txt")

    assert process.wait(400) == 0, (tmp_path / "log.txt").read_text()
    assert tables(folder(runs) / "report" / "report.json") == tables(
        folder(finished_comparison) / "report" / "report.json"
    )


@pytest.mark.slow
def test_report_is_made_from_mlflow_alone(finished_comparison, tmp_path, capsys):
    store = tmp_path / "runs"
    store.mkdir()
    for name in ("mlruns.db", "mlartifacts"):
        (store / name).symlink_to(finished_comparison / name)

    assert main(["report", "--output-dir", str(store), "--out", str(tmp_path / "report")]) == 0

    again = json.loads((tmp_path / "report" / "report.json").read_text())
    assert again == json.loads((folder(finished_comparison) / "report" / "report.json").read_text())
    said = capsys.readouterr().out
    assert said.startswith(again["verdict"]["sentence"] + "\n")
    assert said.count("\n  ") == len(again["verdict"]["reasons"]) > 0


@pytest.mark.slow
def test_figures_do_not_depend_on_the_pseudonyms(finished_comparison):
    record = read_record(folder(finished_comparison) / "record")

    def renamed(key: str) -> ComparisonRecord:
        return ComparisonRecord(
            about=record.about,
            predictions={name: under_pseudonyms(table, key) for name, table in record.predictions.items()},
            controls={name: under_pseudonyms(table, key) for name, table in record.controls.items()},
            slices=under_pseudonyms(record.slices, key),
            curves=record.curves,
            columns=under_pseudonyms(record.columns, key),
        )

    first, second = renamed("one"), renamed("other")
    assert set(first.columns.index).isdisjoint(second.columns.index)
    assert findings(first).report == findings(second).report


@pytest.mark.slow
def test_blank_images_are_chance_to_the_last_digit(finished_comparison):
    controls = json.loads((folder(finished_comparison) / "report" / "report.json").read_text())["controls"]

    blank = next(row for row in controls if row["name"] == "blank")
    assert (blank["auc"]["value"], blank["p"]) == (0.5, 1.0)


@pytest.mark.slow
def test_record_reads_back_as_it_is_in_mlflow(finished_comparison):
    record = read_record(folder(finished_comparison) / "record")

    assert list(record.predictions) == ["efficientnet-b0", "resnet-10"]
    assert sorted(record.controls) == ["background", "blank", "geometry", "header_tags", "permuted_labels"]
    assert len(record.slices["patient_id"].unique()) == 4
    assert set(record.columns.columns) == {"plane", "site"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["--seed", "1"], "seed: the comparison sets it for each training", id="own key"),
        pytest.param(
            ["--cohort::permute_labels", "true"], "cohort::permute_labels: the comparison sets it", id="inside"
        ),
        pytest.param(["--name", "../up"], "name: expected letters, digits", id="folder as a name"),
        pytest.param(["--folds", "3", "--name", "folds", "--image_size", "8"], "image_size: expected", id="setting"),
        pytest.param(["--image_sise", "64"], "did you mean 'image_size'", id="mistyped key"),
        pytest.param(["--networks", ","], "networks: expected one or more, found none", id="no network"),
        pytest.param(["--networks", "alexnet"], "image_size: expected 63 or more for alexnet", id="too small"),
        pytest.param(["--ray", "127.0.0.1:1"], "--ray 127.0.0.1:1: no Ray cluster there", id="no cluster"),
        pytest.param(["--networks", "resnet-11"], "unknown network 'resnet-11'", id="unknown network"),
        pytest.param(["--seeds", "2"], "started with another seeds", id="another plan"),
        pytest.param(
            ["--weights", "alexnet=a.pt"], "weights: 'alexnet' is not in the comparison", id="weights of another"
        ),
    ],
)
@pytest.mark.slow
def test_a_comparison_that_cannot_be_run_is_refused_in_one_line(
    finished_comparison, comparison_data, words, told, capsys
):
    assert main([*comparison_words(comparison_data, finished_comparison, "small"), *words]) == 1

    complaint = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(complaint) == 1
    assert told in complaint[0]


@pytest.mark.slow
def test_with_folds_every_patient_is_tested_and_the_choice_is_paid_for(comparison_data, tmp_path):
    words = ["--networks", "resnet-10", "--modalities", "T1w,FLAIR", "--folds", "3", "--workers", "2"]

    assert main([*comparison_words(comparison_data, tmp_path / "runs", "folds"), *words]) == 0

    report = json.loads((tmp_path / "runs" / "comparisons" / "folds" / "report" / "report.json").read_text())
    assert report["figures"]["n"] == 15
    assert report["cohort"]["splits"] is None
    assert [row["n_models"] for row in report["spread"]] == [3, 3, 3, 3]
    asked = float(re.search(r"p = ([0-9.]+)", report["verdict"]["checks"][0]["text"])[1])
    assert asked >= round(report["figures"]["permutation_p"], 3)  # the best of four, not of one


@pytest.mark.slow
def test_a_failed_training_is_named_with_its_reason_and_the_others_run(comparison_data, tmp_path, capsys):
    words = comparison_words(
        comparison_data, tmp_path / "runs", "failing", "--weights", f"resnet-10={tmp_path / 'none.pt'}"
    )

    assert main(words) == 1

    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert "training resnet-10-t1w-seed0: ended with exit code 1" in complaints[0]
    assert "none.pt cannot be read" in complaints[0]
    assert "start the comparison again" in complaints[-1]
    done = tmp_path / "runs" / "comparisons" / "failing" / "t1w" / "efficientnet-b0-t1w-seed0" / "run.json"
    assert json.loads(done.read_text())["status"] == "finished"


def test_report_without_a_comparison_says_so_in_one_line(tmp_path, capsys):
    assert main(["report", "--output-dir", str(tmp_path)]) == 1
    assert "no recorded runs there" in capsys.readouterr().err
