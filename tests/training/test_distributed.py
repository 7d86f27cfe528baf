"""Real trainings by two processes, on the CPU and on two GPUs, with the commands of docs/how-to/several-gpus.md."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from monai.bundle import ConfigWorkflow
from phantom_runs import BUNDLES, SMALL, newest_run, train, workflow
from shared_trainings import assert_equal_within_rounding, begin

pytestmark = pytest.mark.xdist_group("training")


#: As the config's, and then the names of the threads that are left in each process.
FINALIZE = [
    "$mgmt_monai.training.ranks.leave_ranks()",
    "$print('threads left:', *[path.read_text().strip() for path in "
    "__import__('pathlib').Path('/proc/self/task').glob('*/comm')])",
]


def process_of_rank(torchrun: subprocess.Popen[str], rank: int) -> int:
    """The process number of one of those that ``torchrun`` started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == torchrun.pid and f"RANK={rank}" in (folder / "environ").read_text().split("\0"):
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError(f"no process of rank {rank}")


@pytest.fixture
def only_run(tmp_path):
    """Gives the only run below a folder of runs, and its process's record in MLflow."""

    def find(runs: Path) -> tuple[Path, str]:
        (run,) = (path for path in runs.glob("*/*") if path.is_dir() and path.parent.name == "t1w")
        (record,) = MlflowClient(f"sqlite:///{runs / 'mlruns.db'}").search_runs(["1"])
        assert json.loads((run / "run.json").read_text())["mlflow_run_id"] == record.info.run_id
        return run, record.info.status

    return find


@pytest.mark.slow
def test_two_processes_give_the_result_of_one_and_write_once(finished_run, phantom_dir, tmp_path, only_run):
    data = tmp_path / "phantom"
    shutil.copytree(phantom_dir, data)
    (data / "manifest.json").unlink()
    process = begin(0, data, tmp_path / "runs", finalize=FINALIZE)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert output.count("threads left:") == 2 and "gloo" not in output
    run, status = only_run(tmp_path / "runs")
    assert status == "FINISHED"
    assert_equal_within_rounding(run, finished_run)
    assert all(output.count(line) == 1 for line in ("built the manifest", "2 processes", "test patients, after"))
    assert output.count("Preparing T1w slices:   0%") == output.count("Scoring fine_tune on test:   0%") == 1
    hashes = [json.loads((folder / "run.json").read_text())["manifest_hash"] for folder in (run, finished_run)]
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_two_processes_keep_the_start_that_one_keeps(phantom_dir, tmp_path, only_run):
    still = {"transfer_least_steps": 8, "transfer_batch_size": 128, "transfer_learning_rate": 1e-9,
             "fine_tune_learning_rate": 1e-9, "transfer_epochs": 1, "fine_tune_epochs": 1}  # fmt: skip
    process = begin(0, phantom_dir, tmp_path / "two", **still)
    output = process.communicate(timeout=1500)[0]
    assert process.returncode == 0, output
    run, _ = only_run(tmp_path / "two")
    one = train(phantom_dir, tmp_path / "one", seed=3, **still)
    assert_equal_within_rounding(run, one)
    for folder in (run, one):
        learning = json.loads((folder / "run.json").read_text())["learning"]
        assert [of["best_epoch"] for of in learning.values()] == [0, 0]


@pytest.mark.slow
def test_two_processes_that_compile_give_the_result_of_one(finished_run, phantom_dir, tmp_path, only_run):
    process = begin(0, phantom_dir, tmp_path / "runs", compile="true")
    output = process.communicate(timeout=1500)[0]
    assert process.returncode == 0, output
    run, status = only_run(tmp_path / "runs")
    assert status == "FINISHED"
    assert_equal_within_rounding(run, finished_run)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs: NCCL refuses two processes on one")
def test_two_gpus_give_the_result_of_one(phantom_dir, tmp_path):
    config = json.loads((BUNDLES / "multi_gpu_train.json").read_text())
    process = begin(0, phantom_dir, tmp_path / "two", device=config["device"], precision="float32")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    one = train(phantom_dir, tmp_path / "one", seed=3, device="cuda:0", precision="float32")
    tables = [pd.read_csv(run / "predictions.csv") for run in (newest_run(tmp_path / "two"), one)]
    pd.testing.assert_frame_equal(*tables, rtol=0, atol=1e-2)  # a GPU adds up in another order each time


@pytest.mark.slow
def test_killed_process_ends_the_others_and_the_run_is_resumed(finished_run, phantom_dir, tmp_path, only_run):
    runs = tmp_path / "runs"
    process = begin(0, phantom_dir, runs)
    while not list(runs.glob("t1w/*/transfer/last.pt")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    killed = time.monotonic()
    os.kill(process_of_rank(process, 1), signal.SIGKILL)
    output = process.communicate(timeout=60)[0]
    assert process.returncode != 0 and time.monotonic() - killed < 45
    assert "--resume true" in output
    run, status = only_run(runs)
    assert json.loads((run / "run.json").read_text())["status"] in ("failed", "killed")
    assert status in ("FAILED", "KILLED") and not (run / "predictions.csv").exists()
    process = begin(1, phantom_dir, runs)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    resumed, status = only_run(runs)
    assert (resumed, status) == (run, "FINISHED")
    assert_equal_within_rounding(resumed, finished_run)


@pytest.mark.slow
def test_fault_in_the_data_is_one_line_of_each_process(tmp_path):
    process = begin(0, tmp_path / "nowhere", tmp_path / "runs")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert f"Error: {tmp_path / 'nowhere'}: " in output, output
    assert output.count("Traceback") == 1, output  # torchrun's own
    assert "another process of this training has ended" in output or "got signal" in output


def test_config_for_one_process_is_refused_by_torchrun(phantom_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun sets it
    with pytest.raises(RuntimeError) as error:
        workflow(phantom_dir, tmp_path / "runs")
    assert "started as 2 processes, but the config is for one" in str(error.value.__cause__)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mlruns.db"]  # which `workflow` put there


@pytest.mark.parametrize("name", ["t1w", "flair"])
def test_config_passes_check_properties_without_torchrun(name, phantom_dir, tmp_path):
    files = [str(BUNDLES / f"{file}.json") for file in (name, "multi_gpu_train")]
    settings = {**SMALL, "dataset_dir": str(phantom_dir), "output_dir": str(tmp_path / "runs"), "slice_store": ""}
    made = ConfigWorkflow(files, logging_file=False, run_id="training", workflow_type="train", **settings)
    try:
        made.initialize()
        assert made.check_properties() == []
    finally:
        made.finalize()
    assert not (tmp_path / "runs").exists()


def test_override_file_adds_no_setting():
    override = json.loads((BUNDLES / "multi_gpu_train.json").read_text())
    config = json.loads((BUNDLES / "t1w.json").read_text())
    assert {key.partition("::")[0] for key in override} - set(config) == set()
