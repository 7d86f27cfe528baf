"""A study from the command line to the report: real trainings, a real MLflow store, real kills."""

import json
from importlib import resources

import jsonschema
import pytest
from mlflow.tracking import MlflowClient
from small_study import kill_when, start_study, study_words, tables

from mgmt_monai.cli.main import main
from mgmt_monai.study.collect import under_pseudonyms
from mgmt_monai.study.record import StudyRecord, read_record
from mgmt_monai.study.report import findings

pytestmark = pytest.mark.xdist_group("study")


def folder(runs):
    return runs / "studies" / "small"


def test_every_training_is_a_run_under_the_studys(finished_study):
    client = MlflowClient(f"sqlite:///{finished_study / 'mlruns.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])

    parents = [run for run in runs if "mgmt.study" in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(parents) == 1
    assert len(children) == len(runs) - 1 == 5
    assert {run.info.status for run in runs} == {"FINISHED"}
    controls = sorted(run.data.params["control"] for run in children)
    assert controls == ["background", "blank", "none", "none", "permuted_labels"]
    names = {file.path for file in client.list_artifacts(parents[0].info.run_id, "report")}
    assert {"report/report.html", "report/report.json", "report/checklist.html"} <= names


def test_report_keeps_its_schema_and_counts_what_was_done(finished_study):
    report = json.loads((folder(finished_study) / "report" / "report.json").read_text())
    schema = json.loads((resources.files("mgmt_monai.study") / "data" / "report.schema.json").read_text())

    jsonschema.validate(report, schema)
    assert [row["network"] for row in report["table_1"]] == ["efficientnet-b0", "resnet-10"]
    assert [row["pretrained"] for row in report["table_1"]] == [True, False]
    assert len(report["study"]["trainings"]) == 5
    assert [row["name"] for row in report["controls"]] == [
        "header_tags", "geometry", "background", "blank", "permuted_labels",
    ]  # fmt: skip
    assert report["cohort"]["n_patients"] == 16
    assert report["figures"]["n"] == 4


def test_no_patient_and_no_path_is_in_what_is_shared(finished_study, phantom_dir):
    patients = [path.name for path in (phantom_dir / "train").iterdir()]
    shared = [*(folder(finished_study) / "record").rglob("*"), *(folder(finished_study) / "report").rglob("*")]
    texts = {path: path.read_bytes() for path in shared if path.is_file() and path.suffix != ".png"}

    assert len(texts) > 20
    for path, text in texts.items():
        assert str(phantom_dir).encode() not in text, path
        assert str(finished_study).encode() not in text, path
        if path.suffix in (".csv", ".json", ".html"):
            named = [p for p in patients if f'"{p}"'.encode() in text or f"{p},".encode() in text]
            assert not named, path


def test_the_same_command_does_nothing_again(finished_study, phantom_dir):
    before = {path: path.stat().st_mtime_ns for path in finished_study.rglob("*.pt")}
    found = tables(folder(finished_study) / "report" / "report.json")

    assert main(study_words(phantom_dir, finished_study, "small")) == 0

    assert before
    assert {path: path.stat().st_mtime_ns for path in finished_study.rglob("*.pt")} == before
    assert tables(folder(finished_study) / "report" / "report.json") == found


def test_a_study_killed_twice_and_started_again_gives_the_same_tables(finished_study, phantom_dir, tmp_path):
    runs = tmp_path / "runs"
    words, log = study_words(phantom_dir, runs, "small"), tmp_path / "log.txt"

    kill_when(start_study(words, log), lambda: list(runs.rglob("last.pt")))  # in the middle of the first training
    kill_when(start_study(words, log), lambda: list(runs.rglob("*-blank-*/transfer/best.pt")))  # among the controls
    assert start_study(words, log).wait(300) == 0, log.read_text()

    assert tables(folder(runs) / "report" / "report.json") == tables(folder(finished_study) / "report" / "report.json")


def test_a_ray_cluster_gives_the_same_tables(finished_study, phantom_dir, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mgmt_monai[ray]'")
    runs = tmp_path / "runs"

    process = start_study(study_words(phantom_dir, runs, "small", "--ray", "local"), tmp_path / "log.txt")

    assert process.wait(400) == 0, (tmp_path / "log.txt").read_text()
    assert tables(folder(runs) / "report" / "report.json") == tables(folder(finished_study) / "report" / "report.json")


def test_report_is_made_from_mlflow_alone(finished_study, tmp_path, capsys):
    store = tmp_path / "runs"
    store.mkdir()
    for name in ("mlruns.db", "mlartifacts"):
        (store / name).symlink_to(finished_study / name)

    assert main(["report", "--output-dir", str(store), "--out", str(tmp_path / "report")]) == 0

    again = json.loads((tmp_path / "report" / "report.json").read_text())
    assert again == json.loads((folder(finished_study) / "report" / "report.json").read_text())
    assert again["verdict"]["sentence"] in capsys.readouterr().out


def test_figures_do_not_depend_on_the_pseudonyms(finished_study):
    record = read_record(folder(finished_study) / "record")

    def renamed(key: str) -> StudyRecord:
        return StudyRecord(
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


def test_blank_images_are_chance_to_the_last_digit(finished_study):
    controls = json.loads((folder(finished_study) / "report" / "report.json").read_text())["controls"]

    blank = next(row for row in controls if row["name"] == "blank")
    assert (blank["auc"]["value"], blank["p"]) == (0.5, 1.0)


def test_record_reads_back_as_it_is_in_mlflow(finished_study):
    record = read_record(folder(finished_study) / "record")

    assert list(record.predictions) == ["efficientnet-b0", "resnet-10"]
    assert sorted(record.controls) == ["background", "blank", "geometry", "header_tags", "permuted_labels"]
    assert len(record.slices["patient_id"].unique()) == 4
    assert set(record.columns.columns) == {"plane"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["--seed", "1"], "seed: the study sets it for each training", id="own key"),
        pytest.param(["--image_sise", "64"], "did you mean 'image_size'", id="mistyped key"),
        pytest.param(["--networks", "resnet-11"], "unknown network 'resnet-11'", id="unknown network"),
        pytest.param(["--seeds", "2"], "started with another seeds", id="another plan"),
        pytest.param(["--weights", "alexnet=a.pt"], "weights: 'alexnet' is not in the study", id="weights of another"),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_in_one_line(finished_study, phantom_dir, words, told, capsys):
    assert main([*study_words(phantom_dir, finished_study, "small"), *words]) == 1

    complaint = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(complaint) == 1
    assert told in complaint[0]


def test_a_failed_training_is_named_with_its_reason_and_the_others_run(phantom_dir, tmp_path, capsys):
    words = study_words(phantom_dir, tmp_path / "runs", "failing", "--weights", f"resnet-10={tmp_path / 'none.pt'}")

    assert main(words) == 1

    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert "training resnet-10-t1w-seed0: ended with exit code 1" in complaints[0]
    assert "none.pt cannot be read" in complaints[0]
    assert "start the study again" in complaints[-1]
    done = tmp_path / "runs" / "studies" / "failing" / "t1w" / "efficientnet-b0-t1w-seed0" / "run.json"
    assert json.loads(done.read_text())["status"] == "finished"


def test_report_without_a_study_says_so_in_one_line(tmp_path, capsys):
    assert main(["report", "--output-dir", str(tmp_path)]) == 1
    assert "no recorded runs there" in capsys.readouterr().err
