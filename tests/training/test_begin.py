"""The first moments of a training, in real processes: killed before it has a state, and two of one name at once."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from phantom_runs import BUNDLES, SMALL, command, start

#: Seconds: one epoch a stage, nothing downloaded.
SHORT = {"transfer_epochs": 1, "fine_tune_epochs": 1, "weights": "none", "backbone": "resnet-10", "run_name": "a"}

#: The main command, killed without notice when the folder is there and its state is not.
KILLED = """
import os, signal
import monai.bundle
from mgmt_monai.locked_folder import LockedFolder
write_json = LockedFolder.write_json
def killing(self, name, content):
    if name == "run.json":
        os.kill(os.getpid(), signal.SIGKILL)
    return write_json(self, name, content)
LockedFolder.write_json = killing
monai.bundle.run(run_id="training", config_file={config!r}, logging_file=False, **{settings!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("resume", [pytest.param(False, id="again"), pytest.param(True, id="resumed")])
def test_training_killed_before_it_has_a_state_is_started_by_the_same_command(
    resume: bool, phantom_dir: Path, tmp_path: Path
) -> None:
    settings = {**SMALL, **SHORT, "dataset_dir": str(phantom_dir), "output_dir": str(tmp_path / "runs")}
    code = KILLED.format(config=str(BUNDLES / "t1w.json"), settings=settings)
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    folder = tmp_path / "runs" / "t1w" / "a"
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert {path.name for path in folder.iterdir()} == {".lock", ".owner", ".spare", "config.json"}
    again = start(command(phantom_dir, tmp_path / "runs", "--resume", str(resume), **SHORT), tmp_path)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert (folder / "predictions.csv").is_file()
    assert json.loads((folder / "shared/config.json").read_text())["resume"] is False, "as of a run that was not killed"


@pytest.mark.slow
def test_of_two_trainings_of_one_name_at_once_one_runs_and_the_other_says_why_not(
    phantom_dir: Path, tmp_path: Path
) -> None:
    both = [start(command(phantom_dir, tmp_path / "runs", **SHORT), tmp_path) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], outputs
    refused = next(output for process, output in zip(both, outputs, strict=True) if process.returncode == 1)
    assert "Traceback" not in refused
    last = refused.splitlines()[-1]
    assert last.startswith("Error: ") and ("still running in another process" in last or "there is a run of" in last)
