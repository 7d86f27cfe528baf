"""`mgmt-monai predict` as a user meets it, and the commands of its page."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pandas as pd
import pydicom
import pytest
from made_bundles import EVALUATION, template_text, write_bundle
from page_commands import commands_of

from mgmt_monai.cli.main import main
from mgmt_monai.inference.model import open_models

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads(resources.files("mgmt_monai.inference").joinpath("data/prediction.schema.json").read_text())


@pytest.fixture(scope="module")
def bundles(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``mgmt_t1w``, ``mgmt_flair.zip`` and ``other``, a bundle with a config that is not ours."""
    folder = tmp_path_factory.mktemp("models")
    write_bundle(folder / "mgmt_t1w", finished_run)
    flair = write_bundle(
        folder / "mgmt_flair",
        finished_run,
        {"version": "2", "evaluation": {**EVALUATION, "auc": {"value": 0.78, "low": 0.62, "high": 0.89}}},
        modality="FLAIR",
    )
    (flair / "models" / "reference.safetensors").unlink()
    shutil.make_archive(str(flair), "zip", flair)
    other = write_bundle(folder / "other", finished_run)
    config = json.loads(template_text().replace("scripts", "mgmt_monai")) | {"image_size": 48, "note": "by hand"}
    (other / "configs" / "inference.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def here(bundles: Path, phantom_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the page's commands are run."""
    (tmp_path / "data" / "phantom" / "train").mkdir(parents=True)
    (tmp_path / "data" / "phantom" / "train_labels.csv").symlink_to(phantom_dir / "train_labels.csv")
    for patient in ("90000", "90001", "90002"):
        (tmp_path / "data" / "phantom" / "train" / patient).symlink_to(phantom_dir / "train" / patient)
    (tmp_path / "models").symlink_to(bundles)
    shutil.copytree(phantom_dir / "train" / "90001" / "T1w", tmp_path / "scans" / "case-7" / "series-3")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_page_runs(here: Path) -> None:
    found = commands_of((DOCS / "how-to" / "predict.md").read_text(), "mgmt-monai")
    assert len(found) == 6
    for command in found:
        assert main(command[1:]) == 0, command

    results = sorted(path.relative_to(here).as_posix() for path in here.glob("*/*/prediction.json"))
    assert [path for path in results if not path.startswith(("many/", "faster/"))] == [
        "prediction/90000/prediction.json",
        "prediction/case-7/prediction.json",
        "results/90000/prediction.json",
        "trusted/90000/prediction.json",
    ]
    for path in results:
        jsonschema.validate(json.loads((here / path).read_text()), SCHEMA)
    assert len(results) == 4 + 3 + 3
    engines = [json.loads((here / path).read_text())["software"]["engine"] for path in results if "faster" in path]
    assert engines == ["onnxruntime"] * 3

    labels = here / "data" / "phantom" / "train_labels.csv"
    assert main(["evaluate", "many/predictions.csv", "--labels", str(labels)]) == 0
    table = pd.read_csv(here / "many" / "predictions.csv", dtype={"patient_id": str})
    judged = json.loads((here / "evaluation" / "evaluation.json").read_text())["models"]
    assert sum(model["n"] for model in judged.values()) == table["probability"].notna().sum() > 0


def test_reference_page_has_every_key_of_the_schema() -> None:
    page = (DOCS / "reference" / "prediction.md").read_text()
    tables = page.split("(the-batch-s-table)=")[0]
    keys = re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE)

    assert sorted(keys) == sorted([*SCHEMA["properties"], *SCHEMA["$defs"]["series"]["properties"]])


def test_short_result_is_printed(here: Path, capsys) -> None:
    words = ["predict", "data/phantom/train/90001", "--bundle", "models/mgmt_flair.zip", "--bundle", "models/mgmt_t1w"]
    assert main(words) == 0

    out = capsys.readouterr().out.splitlines()
    result = json.loads((here / "prediction" / "90001" / "prediction.json").read_text())
    flair, t1w = result["series"]
    assert out[0].startswith(f"FLAIR (mgmt_flair): {flair['probability']:.3f}, ")
    assert out[0].endswith("the model's AUC: 0.78 (0.62-0.89) on 24 test patients")
    assert out[1].startswith("T1w (mgmt_t1w)")
    assert ("abstains: unlike" in out[1]) == (t1w["probability"] is None)
    assert out[2] == f"mean of those that answer: {result['probability']:.3f}"
    assert out[3] == "Research use only. Not for diagnosis or treatment."
    assert out[4] == "prediction/90001/prediction.html and prediction/90001/prediction.json"


def test_abstention_is_no_error(here: Path, capsys) -> None:
    (here / "scans" / "case-7" / "series-3").rename(here / "scans" / "case-7" / "FLAIR")
    assert main(["predict", "scans/case-7", "--bundle", "models/mgmt_t1w"]) == 0

    assert "T1w (mgmt_t1w) abstains: the study has no T1w series, only FLAIR" in capsys.readouterr().out
    assert "No answer" in (here / "prediction" / "case-7" / "prediction.html").read_text()


def test_result_is_not_replaced_unless_told(here: Path, capsys) -> None:
    words = ["predict", "data/phantom/train/90001", "--bundle", "models/mgmt_t1w"]
    assert main(words) == 0
    first = (here / "prediction" / "90001" / "prediction.json").stat().st_mtime_ns
    capsys.readouterr()

    assert main(words) == 0  # the same again
    assert (here / "prediction" / "90001" / "prediction.json").stat().st_mtime_ns == first
    other = (here / "prediction" / "90001" / "prediction.json").read_text().replace('"n_slices": ', '"n_slices": 1')
    (here / "prediction" / "90001" / "prediction.json").write_text(other)
    capsys.readouterr()
    assert main(words) == 1
    assert "there is another result already" in capsys.readouterr().err
    assert (here / "prediction" / "90001" / "prediction.json").read_text() == other
    assert main([*words, "--overwrite"]) == 0
    assert (here / "prediction" / "90001" / "prediction.json").stat().st_mtime_ns > first


def test_untrusted_code_is_not_run(here: Path, capsys) -> None:
    assert main(["predict", "data/phantom/train/90001", "--bundle", "models/other"]) == 1

    assert "--trust-bundle" in capsys.readouterr().err
    assert not (here / "prediction").exists()


@pytest.mark.slow
def test_trusted_bundle_predicts_with_its_own_code(here: Path, exported_bundle: Path) -> None:
    study = "data/phantom/train/90001"
    assert main(["predict", study, "--bundle", str(exported_bundle), "--out", "ours"]) == 0
    own = Path(shutil.copytree(exported_bundle, here / "own"))
    config = json.loads((own / "configs" / "inference.json").read_text())
    (own / "configs" / "inference.json").write_text(json.dumps({**config, "note": "by hand"}))
    with (own / "scripts" / "networks" / "classifier.py").open("a") as script:
        script.write("\nOWN = 1\n")

    words = ["predict", study, "--bundle", "own", "--trust-bundle", "--out", "theirs"]
    code = (
        "import sys\nfrom mgmt_monai.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print(sys.modules['scripts.networks.classifier'].OWN)\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "1"
    ours, theirs = (
        json.loads((here / out / "90001" / "prediction.json").read_text())["series"][0] for out in ("ours", "theirs")
    )
    assert theirs["slice_probabilities"] == pytest.approx(ours["slice_probabilities"], abs=1e-6)
    assert theirs["distance"] == pytest.approx(ours["distance"], rel=1e-6)


def test_engine_by_name_gives_pytorchs_figures(here: Path) -> None:
    words = ["predict", "data/phantom/train/90001", "--bundle", "models/mgmt_flair.zip"]
    assert main([*words, "--out", "usual"]) == 0
    assert main([*words, "--out", "named", "--engine", "onnxruntime"]) == 0

    usual, named = (json.loads((here / out / "90001" / "prediction.json").read_text()) for out in ("usual", "named"))
    jsonschema.validate(named, SCHEMA)
    assert (usual["software"]["engine"], named["software"]["engine"]) == ("pytorch", "onnxruntime")
    assert named["probability"] == pytest.approx(usual["probability"], abs=1e-4)


def test_engine_that_is_not_installed_is_one_line(here: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = ["predict", "data/phantom/train/90001", "--bundle", "models/mgmt_t1w", "--engine", "onnxruntime"]
    assert main(words) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Install it: pip install 'mgmt_monai[onnx]'")
    assert not (here / "prediction").exists()


def test_bundles_own_code_is_left_to_pytorch(here: Path) -> None:
    with open_models([here / "models" / "other"], trust=True, engine="auto") as models:
        assert models[0].engine.name == "pytorch"
    with open_models([here / "models" / "mgmt_t1w"], engine="auto") as models:
        assert models[0].engine.name == "onnxruntime"


def test_batch_with_a_bad_study_ends_with_1_and_a_count(here: Path, capsys) -> None:
    studies = here / "studies"
    shutil.copytree(here / "scans" / "case-7" / "series-3", studies / "good" / "T1w")
    (studies / "bad").mkdir()
    assert main(["predict", "studies", "--batch", "--bundle", "models/mgmt_t1w", "--out", "out"]) == 1

    printed = capsys.readouterr()
    assert re.search(r"^2 studies: 1 read, [01] with a model that abstains, 1 failed$", printed.out, re.MULTILINE)
    assert re.search(r"^Error: bad: .*expected series of", printed.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["nowhere", "--bundle", "models/mgmt_t1w"], "no such study", id="no study"),
        pytest.param(["scans/case-7", "--bundle", "models/none"], "none", id="no bundle"),
        pytest.param(["nowhere", "--batch", "--bundle", "models/mgmt_t1w"], "nowhere: no such study", id="no batch"),
    ],
)
def test_mistake_is_one_line(here: Path, capsys, words: list[str], said: str) -> None:
    assert main(["predict", *words]) == 1

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error")]
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    "words", [["--series", "T1w"], ["--series", "T1w=a", "--series", "T1w=b"], ["--batch", "--series", "T1w=a"]]
)
def test_wrong_usage_ends_with_2(here: Path, capsys, words: list[str]) -> None:
    assert main(["predict", "scans/case-7", "--bundle", "models/mgmt_t1w", *words]) == 2


SECRETS = ("Zyxwvut", "Quentin", "QX-55221", "19430217", "1943", "20190823", "2019-08-23", "ACC77123", "Dr^Who")


def test_nothing_that_is_written_or_told_names_the_patient(here: Path, capsys, caplog, finished_run: Path) -> None:
    case = here / "cases" / "case-7" / "Zyxwvut_Quentin_19430217"
    for modality, description in (("T1w", "AX T1 QUENTIN 2019-08-23"), ("FLAIR", "Zyxwvut FLAIR")):
        (case / modality).mkdir(parents=True)
        for number, file in enumerate(sorted((here / "data" / "phantom" / "train" / "90001" / modality).iterdir())):
            dataset = pydicom.dcmread(file)
            dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Zyxwvut^Quentin", "QX-55221", "19430217"
            dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20190823"
            dataset.AccessionNumber, dataset.ReferringPhysicianName = "ACC77123", "Dr^Who"
            dataset.SeriesDescription = description
            dataset.save_as(case / modality / f"Zyxwvut_{number:03}.dcm")
    again = sorted((case / "FLAIR").iterdir())
    shutil.copy(again[3], case / "FLAIR" / "Zyxwvut_QX-55221_again.dcm")  # a finding that quotes file names
    with caplog.at_level(logging.INFO):
        words = ["--bundle", "models/mgmt_t1w", "--bundle", "models/mgmt_flair.zip"]
        assert main(["predict", "cases/case-7", *words, "--out", "one"]) == 0
        assert main(["predict", "cases", "--batch", *words, "--out", "many"]) == 0

    printed = capsys.readouterr()
    written = [path for out in ("one", "many") for path in (here / out).rglob("*") if path.is_file()]
    assert len(written) == 6  # the last: which process held the batch's folder
    texts = {path.name: re.sub(r"base64,[^\"]+", "", path.read_text()) for path in written}
    texts |= {"stdout": printed.out, "stderr": printed.err, "log": caplog.text}
    found = [(name, secret) for name, text in texts.items() for secret in SECRETS if secret.lower() in text.lower()]
    assert found == []
    result = json.loads((here / "one" / "case-7" / "prediction.json").read_text())
    assert "duplicate slices (D009)" in result["series"][1]["abstained"][0]
    assert "file" in result["series"][1]["abstained"][0]
