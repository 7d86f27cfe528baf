"""A bundle without this package: in an environment with MONAI and what its metadata lists, from another directory."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from isolated_venv import make_venv
from page_commands import commands_of

from mgmt_monai.cli.main import main
from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.export import export_bundle
from mgmt_monai.exchange.run_source import open_source

pytestmark = pytest.mark.xdist_group("training")

#: Planted in the headers of every file, and as the patients' names of folders: nothing of it may come through.
HEADERS = {
    "PatientName": "PLANTEDNAME^ZZYZX",
    "PatientBirthDate": "19070605",
    "StudyDate": "20190817",
    "SeriesDate": "20190818",
    "AccessionNumber": "PLANTEDACCESSION",
    "InstitutionName": "PLANTEDHOSPITAL",
    "ReferringPhysicianName": "PLANTEDDOCTOR",
    "StudyDescription": "PLANTEDSTUDY",
}


@pytest.fixture(scope="module")
def python(exported_bundle, tmp_path_factory) -> Path:
    metadata = json.loads((exported_bundle / "configs" / "metadata.json").read_text())
    names = ["monai", "torch", "numpy", *metadata["required_packages_version"]]
    return make_venv(tmp_path_factory.mktemp("isolated") / "venv", names)


def run(words: list[str], cwd: Path) -> str:
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    done = subprocess.run(
        words, cwd=cwd, env={**environment, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def card_command(bundle: Path, config: str, python: Path, **paths: Path) -> list[str]:
    """A command of the model card, with the paths that it leaves open."""
    commands = commands_of((bundle / "docs" / "README.md").read_text(), "python")
    (found,) = (words for words in commands if words[words.index("--config_file") + 1].rstrip("']").endswith(config))
    return [str(python), *(str(paths.get(word, word)) for word in found[1:])]


def training_run(finished_run: Path, name: str) -> pd.DataFrame:
    table = pd.read_csv(finished_run / name, dtype={"patient_id": str})
    return table[table["stage"] == "fine_tune"]


@pytest.fixture(scope="module")
def planted_cohort(phantom_dir, tmp_path_factory) -> Path:
    """The phantom's T1w with an identity in every header, and names that can be told apart from anything else."""
    data = tmp_path_factory.mktemp("planted") / "cohort"
    labels = pd.read_csv(phantom_dir / "train_labels.csv", dtype=str)
    for patient in labels["BraTS21ID"]:
        target = data / "train" / f"PLANTEDID{patient}" / "T1w"
        target.mkdir(parents=True)
        for path in (phantom_dir / "train" / patient / "T1w").iterdir():
            dataset = pydicom.dcmread(path)
            dataset.PatientID = f"PLANTEDID{patient}"
            for keyword, value in HEADERS.items():
                setattr(dataset, keyword, value)
            dataset.save_as(target / path.name)
    labels["BraTS21ID"] = "PLANTEDID" + labels["BraTS21ID"]
    labels.to_csv(data / "train_labels.csv", index=False)
    return data


@pytest.fixture(scope="module")
def run_of_a_bundle(exported_bundle, planted_cohort, python, tmp_path_factory) -> Path:
    """The folder of a training by the card's command."""
    runs = tmp_path_factory.mktemp("isolated-runs")
    words = card_command(exported_bundle, "train.json", python, COHORT=planted_cohort, RUNS=runs)
    told = run([*words, "--transfer_epochs", "1", "--fine_tune_epochs", "1"], exported_bundle.parent)
    assert "type hint" not in told  # MLflow warns of its own classes
    return next(runs.glob("t1w/*"))


def test_package_is_not_there(python, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", "import mgmt_monai"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "No module named 'mgmt_monai'" in done.stderr


def test_study_is_predicted_as_in_the_training_run(exported_bundle, finished_run, phantom_dir, python, tmp_path):
    slices = training_run(finished_run, "slice_predictions.csv")
    slices = slices[slices["split"] == "test"]
    patient = slices["patient_id"].iloc[0]
    (mean,) = training_run(finished_run, "predictions.csv").set_index("patient_id").loc[[patient], "probability"]
    words = [
        str(python), "-m", "monai.bundle", "run", "--config_file", str(exported_bundle / "configs" / "inference.json"),
        "--bundle_root", str(exported_bundle), "--dataset_dir", str(phantom_dir / "train" / patient),
        "--output_dir", "predicted",
    ]  # fmt: skip

    run(words, tmp_path)

    predicted = json.loads((tmp_path / "predicted" / "prediction.json").read_text())
    expected = slices[slices["patient_id"] == patient].sort_values("slice_index")["probability"]
    assert predicted["probability"] == pytest.approx(mean, abs=1e-6)
    assert predicted["slice_probabilities"] == pytest.approx(expected.tolist(), abs=1e-6)
    assert len(expected) > 3


@pytest.mark.slow
def test_external_cohort_is_scored_as_in_the_training_run(
    exported_bundle, finished_run, phantom_dir, python, tmp_path, capsys
):
    cohort = tmp_path / "cohort"
    others = shutil.ignore_patterns("manifest.json", "T1wCE", "T2w", "FLAIR")
    shutil.copytree(phantom_dir, cohort, ignore=others)
    assert main(["manifest", "build", str(cohort), "--external"]) == 0

    words = card_command(exported_bundle, "evaluate.json", python, COHORT=cohort, OUT=tmp_path / "out")
    run(words, exported_bundle.parent)

    scored = pd.read_csv(tmp_path / "out" / "predictions.csv", dtype={"patient_id": str}).set_index("patient_id")
    known = training_run(finished_run, "predictions.csv").set_index("patient_id")
    assert len(scored) == 16
    assert set(scored["split"]) == {"test"}
    assert scored.loc[known.index, "probability"].tolist() == pytest.approx(known["probability"].tolist(), abs=1e-6)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["fine_tune"]["test"]["patient"]["auc"]["n"] == 16
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "out" / "predictions.csv"), "--out", str(tmp_path / "evaluation")]) == 0
    assert "16 test patients, 8 methylated" in capsys.readouterr().out


@pytest.mark.parametrize("run_id", ["run", "training"])
def test_training_that_cannot_begin_says_so_in_one_line(exported_bundle, planted_cohort, python, tmp_path, run_id):
    words = card_command(exported_bundle, "train.json", python, COHORT=planted_cohort, RUNS=tmp_path / "runs")
    words.insert(words.index("run") + 1, run_id)
    done = subprocess.run(
        [*words, "--resume", "true"], cwd=exported_bundle.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no unfinished training to resume" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("run_id", ["run", "training"])
def test_two_processes_train_through_either_id(exported_bundle, planted_cohort, python, tmp_path, run_id):
    words = card_command(exported_bundle, "train.json", python, COHORT=planted_cohort, RUNS=tmp_path / "runs")
    words.insert(words.index("run") + 1, run_id)
    config = words.index("--config_file") + 1
    words[config] = str([words[config], words[config].replace("train.json", "multi_gpu_train.json")])
    short = ["--device", "cpu", "--transfer_epochs", "1", "--fine_tune_epochs", "1"]
    run([words[0], "-m", "torch.distributed.run", "--nproc_per_node", "2", *words[1:], *short], exported_bundle.parent)
    assert len(list((tmp_path / "runs").glob("t1w/*/predictions.csv"))) == 1


@pytest.mark.slow
def test_federation_gets_its_statistics(exported_bundle, phantom_dir, python, tmp_path):
    others = shutil.ignore_patterns("manifest.json", "T1wCE", "T2w", "FLAIR")
    cohort = shutil.copytree(phantom_dir, tmp_path / "cohort", ignore=others)
    script = Path(__file__).parents[2] / "docs" / "federated_statistics.py"
    done = subprocess.run(
        [python, script, exported_bundle, cohort], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(exported_bundle), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip

    told = json.loads(done.stdout.splitlines()[-1])
    patients = json.loads((cohort / "manifest.json").read_text())["patients"]
    for part, split in (("train", "train"), ("eval", "validation")):
        folders = [cohort / "train" / one["patient_id"] / "T1w" for one in patients if one["split"] == split]
        series = [[pydicom.dcmread(path) for path in folder.iterdir()] for folder in folders]
        assert told[part]["data_count"] == len(series) and told[part]["fail_count"] == 0
        found = told[part]["data_stats"]["image_stats"]
        assert found["shape"]["max"][2] == max(len(one) for one in series)
        assert found["intensity"]["max"] == max(int(one.pixel_array.max()) for of in series for one in of)
    assert (tmp_path / "train_data_stats_by_case.yaml").read_text().count("image_filepath: ''") == 8


@pytest.mark.slow
def test_bundle_trains_again(run_of_a_bundle):
    state = json.loads((run_of_a_bundle / "run.json").read_text())
    metrics = json.loads((run_of_a_bundle / "metrics.json").read_text())

    assert state["status"] == "finished"
    assert state["mlflow_run_id"]
    assert metrics["fine_tune"]["test"]["patient"]["auc"]["n"] == 4


@pytest.mark.slow
def test_run_of_a_bundle_is_exported_as_the_bundle_was(run_of_a_bundle, exported_bundle, tmp_path):
    with open_source(run_of_a_bundle, "", tmp_path) as source:
        again = export_bundle(source, tmp_path)

    first, second = (json.loads((bundle / "configs" / "train.json").read_text()) for bundle in (exported_bundle, again))
    assert second == {**first, "transfer_epochs": 1, "fine_tune_epochs": 1}
    with open_bundle(again) as bundle:
        assert bundle.is_ours


@pytest.mark.slow
def test_model_that_a_bundle_logs_has_its_code_beside_it(run_of_a_bundle):
    (served,) = run_of_a_bundle.parents[1].glob("mlartifacts/models/*/artifacts/**/served_model.py")
    (code,) = (path for path in (served.parent / "code").iterdir() if path.is_dir())
    content = "".join(path.read_text() for path in (served, *code.rglob("*.py")))

    assert f"from {code.name}.networks import MGMTClassifier" in served.read_text()
    assert "from scripts" not in content
    assert "import scripts" not in content


@pytest.mark.slow
def test_nothing_planted_comes_into_the_bundle_of_a_run(run_of_a_bundle, planted_cohort, tmp_path):
    assert "PLANTEDID" in (run_of_a_bundle / "predictions.csv").read_text()
    assert str(planted_cohort) in (run_of_a_bundle / "config.json").read_text()
    with open_source(run_of_a_bundle, "", tmp_path) as source:
        bundle = export_bundle(source, tmp_path / "out", torchscript=True)
    key = (run_of_a_bundle / "pseudonyms.key").read_text()
    places = [str(place) for place in (planted_cohort, run_of_a_bundle, tmp_path, run_of_a_bundle.parents[2])]
    planted = ["PLANTED", "ZZYZX", *(value for value in HEADERS.values() if value.isdigit()), key, *places]

    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        content = path.read_bytes()
        assert [word for word in planted if word.encode() in content] == [], path


@pytest.mark.slow
def test_bundle_runs_after_pip_installs_what_its_card_says(exported_bundle, finished_run, phantom_dir, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    (words,) = commands_of((exported_bundle / "docs" / "README.md").read_text(), "pip")
    run([str(python), "-m", *words, "--quiet"], tmp_path)
    patient = training_run(finished_run, "predictions.csv").set_index("patient_id").iloc[[0]]

    study = phantom_dir / "train" / patient.index[0]
    run(card_command(exported_bundle, "inference.json", python, STUDY=study, OUT=tmp_path), exported_bundle.parent)

    predicted = json.loads((tmp_path / "prediction.json").read_text())["probability"]
    assert predicted == pytest.approx(patient["probability"].iloc[0], abs=1e-6)
