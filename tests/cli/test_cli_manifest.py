import json
import subprocess
import sys
from pathlib import Path

import pytest
from textures import texture

from mgmt_monai.cli.main import main
from mgmt_monai.cli.manifest import build
from mgmt_monai.cohort.manifest import read_manifest

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture
def cohort(tmp_path, make_dicom):
    """Ten patients, the odd ones methylated, one slice each; 00109 is on the default exclusion list."""
    data_dir = tmp_path / "my data"
    patients = [f"{number:05d}" for number in (*range(1, 10), 109)]
    for patient_id in patients:
        directory = data_dir / "train" / patient_id / "T1w"
        directory.mkdir(parents=True)
        make_dicom(directory / "Image-1.dcm", texture(patient_id, (8, 12)))
    rows = "".join(f"{patient_id},{int(patient_id) % 2}\n" for patient_id in [*patients, "00999"])
    (data_dir / "train_labels.csv").write_text("BraTS21ID,MGMT_value\n" + rows)
    return data_dir


ENOUGH = ["--test-fraction", "0.3", "--train-fraction", "0.6"]


def test_build_reports_what_it_did(cohort, capsys):
    assert main(["manifest", "build", str(cohort), *ENOUGH]) == 0
    lines = capsys.readouterr().out.splitlines()
    manifest = read_manifest(cohort / "manifest.json")
    assert lines[0].startswith("excluded: patient 00109: named as faulty")
    assert lines[1] == "left out: patient 00999: in the label file, but without images"
    warnings = [line for line in lines if line.startswith("warning: ")]
    few = [line for line in warnings if "few slices (D015)" in line]
    assert len(few) == 9
    assert few[0].startswith(f"warning: patient 00001, T1w: {cohort / 'train/00001/T1w'}: expected at least 8 slices")
    lines = [line for line in lines if line not in warnings]
    # 9 patients: 3 for the test; of the other 6, 3 (0.6 of 6, rounded down) for training and 3 for validation
    assert [line.split(",")[0] for line in lines[2:5]] == [
        "train: 3 patients",
        "validation: 3 patients",
        "test: 3 patients",
    ]
    assert lines[5] == f"{cohort / 'manifest.json'}: 9 patients, hash {manifest.content_hash[:12]}"


def test_build_takes_its_options(cohort, tmp_path, capsys):
    labels = (cohort / "train_labels.csv").rename(tmp_path / "labels.csv")
    out = tmp_path / "m.json"
    words = ["--labels", str(labels), "--out", str(out), "--seed", "7", "--exclude", "none", "--workers", "1"]
    assert main(["manifest", "build", str(cohort), *ENOUGH, *words]) == 0
    manifest = read_manifest(out)
    assert manifest.split == {"method": "holdout", "test_fraction": 0.3, "train_fraction": 0.6, "seed": 7}
    assert (len(manifest.patients), manifest.excluded) == (10, {})
    assert not (cohort / "manifest.json").exists()


def test_build_tells_every_fault_and_leaves_the_old_manifest(cohort, capsys):
    (cohort / "manifest.json").write_text("old")
    for patient_id in ("00002", "00003", "00004", "00005", "00006"):
        (cohort / "train" / patient_id / "T1w/Image-1.dcm").write_bytes(b"no image")
    assert main(["manifest", "build", str(cohort), *ENOUGH]) == 1
    out, err = capsys.readouterr()
    faults = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert [line.split(",")[0] for line in faults] == [f"Error: patient 0000{i}" for i in (2, 3, 4, 5, 6)]
    assert out == ""
    assert (cohort / "manifest.json").read_text() == "old"


def test_entry_point_ends_with_one_line_and_exit_code_1(cohort):
    command = Path(sys.executable).with_name("mgmt-monai")
    words = [str(command)] if command.exists() else [sys.executable, "-m", "mgmt_monai.cli.main"]
    words += ["manifest", "build", str(cohort), "--labels", str(cohort / "absent.csv")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {cohort / 'absent.csv'}: no label file.")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        pytest.param(["absent"], 1, "absent: no such data directory", id="no data"),
        pytest.param(["{cohort}", "--out", "{cohort}"], 1, "cannot write the manifest (it is a folder)", id="folder"),
        pytest.param(["{cohort}", "--out", "/absent/m.json"], 1, "/absent is not a folder", id="no folder"),
        pytest.param(["{cohort}", "--exclude", "absent.csv"], 1, "absent.csv: no exclusion list", id="no exclusions"),
        pytest.param(
            ["{cohort}", "--test-fraction", "1"], 1, "test_fraction: expected a number between", id="fraction"
        ),
        pytest.param(["{cohort}", "--seed", "-1"], 1, "split seed: expected a whole number from 0", id="seed"),
        pytest.param(["{cohort}", "--test-fraction", "0.01"], 1, "too few to split by label", id="too few"),
        pytest.param(["{cohort}", "--workers", "0"], 2, "0 is not in the range x>=1", id="workers"),
        pytest.param([], 2, "Missing argument 'DATA_DIR'", id="no argument"),
    ],
)
def test_build_refused(cohort, capsys, words, code, expected):
    assert main(["manifest", "build", *(word.format(cohort=cohort) for word in words)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
    assert not (cohort / "manifest.json").exists()


@pytest.mark.parametrize("name", ["t1w", "t1wce", "t2w", "flair"])
def test_defaults_are_those_of_the_bundles(name):
    config = json.loads((BUNDLES / f"{name}.json").read_text())
    defaults = {option.name: option.default for option in build.params}
    assert defaults["test_fraction"] == config["test_fraction"]
    assert defaults["train_fraction"] == config["train_fraction"]
    assert defaults["seed"] == config["split_seed"]
    assert defaults["exclude"] == config["exclusions"]
