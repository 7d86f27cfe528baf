"""Trainings side by side, as real processes, on this machine and on a Ray cluster."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from mgmt_monai.comparison.jobs import run_local, run_on_ray
from mgmt_monai.comparison.process import NOT_RUN, Job, run_job
from mgmt_monai.ray_cluster import RayClusterError

CONFIG = {
    "imports": ["$import os", "$import pathlib", "$import slow_to_close", "$import torch"],
    "out": "",
    "seconds": 0.0,
    "fails": False,
    "closes": 0.0,
    "training": [
        "$pathlib.Path(@out).write_text(f'{os.getpid()} {torch.get_num_threads()}')",
        "$slow_to_close.sleep(@out, @seconds, @closes)",
        "$1 / 0 if @fails else None",
    ],
}


@pytest.fixture
def make_job(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    (tmp_path / "metadata.json").write_text("{}")
    shutil.copy(Path(__file__).parents[1] / "slow_to_close.py", tmp_path)  # MONAI imports from beside a config

    def make(name: str, **settings) -> Job:
        settings = {"logging_file": False, "out": str(tmp_path / f"{name}.txt"), **settings}
        return Job(name, str(config), settings, str(tmp_path / "logs" / f"{name}.log"), "sqlite:///secret")

    return make


@pytest.mark.slow
def test_local_jobs_all_run_and_tell_their_exit_codes(make_job, tmp_path):
    jobs = [make_job("first"), make_job("second", fails=True)]

    codes = {job.name: code for job, code in run_local(jobs, workers=2)}

    assert codes == {"first": 0, "second": 1}
    assert all((tmp_path / f"{name}.txt").is_file() for name in codes)
    assert "ZeroDivisionError" in (tmp_path / "logs" / "second.log").read_text()
    assert (tmp_path / "first.txt").read_text().split()[1] == "1"  # the threads of a job


@pytest.mark.slow
def test_giving_up_lets_what_runs_close_and_starts_nothing_more(make_job, tmp_path):
    jobs = [make_job("quick"), make_job("long", seconds=600, closes=3), make_job("waiting")]
    outcomes = run_local(jobs, workers=1)
    assert next(outcomes)[0].name == "quick"
    wait_for(tmp_path / "long.txt")
    child = int((tmp_path / "long.txt").read_text().split()[0])
    process = Path(f"/proc/{child}")
    assert b"secret" not in (process / "cmdline").read_bytes()
    assert b"MLFLOW_TRACKING_URI=sqlite:///secret" in (process / "environ").read_bytes()

    begun = time.monotonic()
    outcomes.close()

    assert 3 <= time.monotonic() - begun < 60
    assert (tmp_path / "long.txt").read_text() == "closed"
    assert not is_running(child)
    assert not (tmp_path / "waiting.txt").exists()


@pytest.mark.slow
def test_a_job_ends_with_the_process_that_started_it(make_job, tmp_path):
    job = make_job("orphan", seconds=600)
    code = f"from mgmt_monai.comparison.process import Job, run_job; run_job({job!r})"
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for(tmp_path / "orphan.txt")
    child = int((tmp_path / "orphan.txt").read_text().split()[0])

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    deadline = time.monotonic() + 30
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)


def test_a_job_whose_starter_has_already_ended_does_not_begin(make_job, tmp_path):
    job = json.dumps(asdict(make_job("late")))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    words = [sys.executable, "-m", "mgmt_monai.comparison.process", str(ended.pid)]
    code = subprocess.run(words, input=job.encode(), check=False).returncode

    assert code == 128 + signal.SIGKILL
    assert not (tmp_path / "late.txt").exists()


def test_a_job_that_is_killed_tells_so_and_one_that_is_no_longer_wanted_is_not_started(make_job, tmp_path):
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(run_job, make_job("killed", seconds=600), stop)
        wait_for(tmp_path / "killed.txt")
        os.kill(int((tmp_path / "killed.txt").read_text().split()[0]), signal.SIGKILL)
        assert outcome.result(30) == -signal.SIGKILL

    stop.set()
    assert run_job(make_job("late"), stop) == NOT_RUN
    assert not (tmp_path / "late.txt").exists()
    assert not (tmp_path / "logs" / "late.log").exists()


@pytest.mark.slow
def test_ray_jobs_run_in_a_cluster_and_tell_their_exit_codes(make_job, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mgmt_monai[ray]'")
    jobs = [make_job("first"), make_job("second", fails=True)]

    codes = {job.name: code for job, code in run_on_ray(jobs, "local")}

    assert codes == {"first": 0, "second": 1}
    assert (tmp_path / "first.txt").read_text().split()[1] == "1"


def test_a_ray_cluster_that_is_not_there_is_told_in_one_line(make_job):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mgmt_monai[ray]'")

    with pytest.raises(RayClusterError, match=r"--ray 127\.0\.0\.1:1: no Ray cluster there"):
        list(run_on_ray([make_job("never")], "127.0.0.1:1"))


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
