"""A comparison's folder: one process at a time, one plan, one cohort."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from made_records import made_manifest, made_patient, made_series

from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.folder import ComparisonFolder
from mgmt_monai.comparison.plan import ComparisonPlan
from mgmt_monai.training import RunDirectory

PLAN = ComparisonPlan(("resnet-10",), ("T1w",), "resnet-10", "T1w")
ENVIRONMENT = {"mlflow.source.git.commit": "abc"}
TRAINING = PLAN.trainings()[0]
MANIFEST = made_manifest(made_patient("00001", T1w=made_series()))


@pytest.fixture
def folder(tmp_path):
    made = ComparisonFolder(tmp_path / "comparison")
    made.open(PLAN, "/data", ENVIRONMENT)
    yield made
    made.close()


def test_state_is_kept_over_a_second_start(folder):
    key = folder.pseudonym_key
    folder.update(mlflow_run_id="abc")
    folder.close()

    again = ComparisonFolder(folder.path)
    again.open(PLAN, "/data", {"mlflow.source.git.commit": "def"})

    assert again.pseudonym_key == key
    assert again.state["mlflow_run_id"] == "abc"
    assert again.state["commits"] == ["abc", "def"]  # the report names both
    assert again.state["environment"] == ENVIRONMENT
    again.close()


def test_two_processes_do_not_run_one_comparison(folder):
    with pytest.raises(ComparisonError, match="still running in another process"):
        ComparisonFolder(folder.path).open(PLAN, "/data", ENVIRONMENT)


def test_a_killed_process_leaves_no_lock_and_no_temporary_file(folder):
    folder.keep_manifest(MANIFEST)
    folder.close()
    code = f"""
import os, signal
from pathlib import Path
from mgmt_monai.atomic import atomic_file
from mgmt_monai.comparison.folder import ComparisonFolder
from mgmt_monai.comparison.plan import ComparisonPlan
from mgmt_monai.training import RunDirectory
folder = ComparisonFolder(Path({str(folder.path)!r}))
folder.open({PLAN!r}, "/data", {ENVIRONMENT!r})
folder.update(mlflow_run_id="abc")
writings = []  # held, so that nothing clears up behind them
for path in (folder.path / "comparison.json", folder.path / "record" / "about.json"):
    path.parent.mkdir(exist_ok=True)
    writings.append(atomic_file(path))
    writings[-1].__enter__().write_text("half of i")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list(folder.path.rglob(".*.json.*"))) == 2

    again = ComparisonFolder(folder.path)
    again.open(PLAN, "/data", ENVIRONMENT)
    again.keep_manifest(MANIFEST)

    assert list(folder.path.rglob(".*.json.*")) == []
    assert again.state["mlflow_run_id"] == "abc"
    again.close()


def test_other_data_are_another_comparison(folder):
    folder.close()

    with pytest.raises(ComparisonError, match="started with another dataset_dir"):
        ComparisonFolder(folder.path).open(PLAN, "/other", ENVIRONMENT)


def test_what_was_set_beforehand_is_not_left_out_at_the_second_start(tmp_path):
    first = ComparisonFolder(tmp_path / "comparison")
    first.open(replace(PLAN, bound=0.7, clinical=("age",), site="scanner"), "/data", ENVIRONMENT)
    first.close()

    with pytest.raises(ComparisonError, match="started with another bound, clinical, site"):
        ComparisonFolder(first.path).open(PLAN, "/data", ENVIRONMENT)


def test_another_manifest_is_refused(folder):
    folder.keep_manifest(MANIFEST)
    folder.keep_manifest(MANIFEST)

    with pytest.raises(ComparisonError, match="another cohort or split"):
        folder.keep_manifest(made_manifest(made_patient("00002", T1w=made_series())))


def test_training_is_begun_with_a_state_and_done_when_that_says_so(folder):
    run = folder.run_folder(TRAINING)
    assert (folder.is_begun(TRAINING), folder.is_done(TRAINING)) == (False, False)

    run.mkdir(parents=True)
    state = {"mlflow_run_id": "0a", "manifest_hash": "0b", "described": True}
    (run / "run.json").write_text(json.dumps({**state, "status": "killed"}))
    assert (folder.is_begun(TRAINING), folder.is_done(TRAINING)) == (True, False)

    (run / "run.json").write_text(json.dumps({**state, "status": "finished"}))
    assert folder.is_done(TRAINING)


def test_a_folder_without_a_run_in_it_is_begun_by_the_training(folder):
    run = folder.run_folder(TRAINING)
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")

    assert not folder.is_begun(TRAINING)
    begun = RunDirectory(folder.path, TRAINING.modality, TRAINING.name, resume=False)
    begun.claim({})
    begun.open("hash")
    begun.close()
    assert folder.is_begun(TRAINING)


def test_a_place_that_cannot_be_written_to_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ComparisonError, match="cannot be written to"):
        ComparisonFolder(tmp_path / "file" / "comparison").open(PLAN, "/data", ENVIRONMENT)
