"""What a user mistypes is told in one line that says what to do, and before anything heavy is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from phantom_runs import command, newest_run

CODE = """
import sys
from mgmt_monai.cli.main import main
code = main(sys.argv[1:])
heavy = {"torch", "monai", "mlflow", "ignite", "SimpleITK"} & set(sys.modules)
sys.exit(f"heavy: {heavy}" if heavy else code)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A cohort's folder, a label table, a NIfTI file and a training's folder, all empty."""
    made = tmp_path_factory.mktemp("mistyped")
    (made / "study").mkdir()
    (made / "run").mkdir()
    for name in ("labels.csv", "head.nii.gz", "run/run.json"):
        (made / name).touch()
    return made


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param("predict gone --bundle study", 1, "gone: no such study. Name the folder", id="study"),
        pytest.param("predict study --bundle gone", 1, "gone: expected a bundle's folder or zip file", id="bundle"),
        pytest.param("predict study --bundle run", 1, "mgmt-monai bundle export run --out models", id="run as bundle"),
        pytest.param("predict head.nii.gz --bundle run", 1, ". --series T1w=head.nii.gz", id="file as study"),
        pytest.param("explain gone --bundle run", 1, "gone: no such study", id="explain"),
        pytest.param("train t1w --dataset_dir gone", 1, "gone: no such data directory", id="data"),
        pytest.param("train t1w --dataset_dir labels.csv", 1, "found a file. Name the folder", id="table as data"),
        pytest.param("train t1w study", 2, "named so: --dataset_dir study", id="positional"),
        pytest.param("train t1w -seed 1", 2, "found '-seed' alone. A setting has two dashes", id="one dash"),
        pytest.param("record study", 1, "study: expected the folder of a training that has begun", id="record"),
        pytest.param("compare study", 2, "named so: --dataset_dir study", id="positional of compare"),
        pytest.param("train t1x", 1, "t1x: expected the name of a packaged config", id="config"),
        pytest.param("doctor labels.csv", 1, "--labels", id="table to the doctor"),
        pytest.param(f"doctor {'9' * 5000}", 1, "expected a path, found one too long", id="no folder's name"),
    ],
)
def test_mistyped_word_is_told_at_once(folder, words, code, said):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"_MGMT_MONAI_COMPLETE": "bash_source"}, "complete -o nosort -F"),
        ({"_MGMT_MONAI_COMPLETE": "bash_complete", "COMP_WORDS": "mgmt-monai pre", "COMP_CWORD": "1"}, "plain,predict"),
    ],
    ids=["script", "word"],
)
def test_shell_completes(environment, said):
    code = "import sys; sys.argv = ['mgmt-monai']; from mgmt_monai.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert said in done.stdout, done.stderr


@pytest.mark.slow  # a whole training
def test_quiet_training_says_warnings_and_its_folder_alone(phantom_dir, tmp_path):
    words = command(phantom_dir, tmp_path / "runs")[7:]  # behind the config's file
    code = "import sys; from mgmt_monai.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "t1w", "--quiet", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(newest_run(tmp_path / "runs"))
    assert {line.split()[0] for line in done.stderr.splitlines()} == {"WARNING"}
