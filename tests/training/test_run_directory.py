import errno
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from faulty_storage import faulty, needs_compiler

from mgmt_monai import __version__
from mgmt_monai.machine import MachineError
from mgmt_monai.packaged_configs import packaged_config
from mgmt_monai.training import RunDirectory
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.run_directory import check_whole


def begun(tmp_path, name="", config=None) -> RunDirectory:
    made = RunDirectory(tmp_path, "T1w", name, resume=False)
    made.claim(config or {"seed": 0})
    made.open("hash")
    return made


def ended(directory: RunDirectory) -> RunDirectory:
    """As after its process has ended: the lock is gone."""
    directory.close()
    return directory


def test_unnamed_runs_get_names_no_other_run_has(tmp_path):
    names = {begun(tmp_path).name for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"t1w-\d{8}-\d{6}-[0-9a-f]{6}", name) for name in names)


def test_nothing_is_written_before_open(tmp_path):
    RunDirectory(tmp_path / "runs", "T1w", "", resume=False)
    assert not (tmp_path / "runs").exists()


def test_name_that_is_taken_is_refused(tmp_path):
    begun(tmp_path, "a")
    with pytest.raises(TrainingError, match="there is a run of this name already"):
        RunDirectory(tmp_path, "T1w", "a", resume=False)


@pytest.mark.parametrize("resume", [True, "true", "True"])
def test_newest_unfinished_run_is_resumed(tmp_path, resume):
    ended(begun(tmp_path, "a"))
    second = ended(begun(tmp_path, "b"))
    third = ended(begun(tmp_path, "c"))
    third.update(status="finished")
    second.update(mlflow_run_id="m")
    resumed = RunDirectory(tmp_path, "T1w", "", resume)
    assert resumed.name == "b" and resumed.mlflow_run_id == "m"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("finished", "there is nothing to resume"), ("typo", "no training of this name"), ("", "no unfinished training")],
)
def test_what_cannot_be_resumed_is_refused(tmp_path, name, expected):
    ended(begun(tmp_path, "finished")).update(status="finished")
    with pytest.raises(TrainingError, match=expected):
        RunDirectory(tmp_path, "T1w", name, resume=True)


@pytest.mark.parametrize(
    ("config", "manifest_hash", "expected"),
    [({"seed": 1}, "hash", "other settings: seed"), ({"seed": 0}, "other", "another cohort, split")],
    ids=["setting", "cohort"],
)
def test_resume_with_another_setting_or_cohort_is_refused(tmp_path, config, manifest_hash, expected):
    ended(begun(tmp_path, "a"))
    resumed = RunDirectory(tmp_path, "T1w", "a", resume=True)
    with pytest.raises(TrainingError, match=expected):
        resumed.claim(config)
        resumed.open(manifest_hash)
    resumed.close()


@pytest.mark.parametrize(("begun_with", "goes_on_with"), [("", "b"), ("a", "b"), ("a", "")])
def test_resume_with_other_segmentations_is_refused(tmp_path, begun_with, goes_on_with):
    first = RunDirectory(tmp_path, "T1w", "a", resume=False)
    first.claim({"seed": 0})
    first.open("hash", begun_with)
    ended(first)
    resumed = RunDirectory(tmp_path, "T1w", "a", resume=True)
    resumed.claim({"seed": 0})
    with pytest.raises(TrainingError, match="another cohort, split or segmentations"):
        resumed.open("hash", goes_on_with)
    again = RunDirectory(tmp_path, "T1w", "a", resume=True)
    again.claim({"seed": 0})
    again.open("hash", begun_with)
    again.close()


def without_setting(config: dict, name: str) -> dict:
    """A config as a version wrote it that did not have a setting."""
    kept = {key: value for key, value in config.items() if key != name and value != f"@{name}"}
    return {key: without_setting(value, name) if isinstance(value, dict) else value for key, value in kept.items()}


def test_new_setting_at_its_default_does_not_hinder_a_resume_and_is_told(tmp_path, caplog):
    now = packaged_config("t1w")
    before = without_setting(now, "transfer_least_steps")
    assert before != now and "transfer_least_steps" not in json.dumps(before)
    ended(begun(tmp_path, "a", before))
    resumed = RunDirectory(tmp_path, "T1w", "a", resume=True)
    with pytest.raises(TrainingError, match="another version or config of mgmt_monai"):
        resumed.claim({**now, "transfer_least_steps": 3})
    resumed.claim(now)
    resumed.close()
    assert "started without transfer_least_steps, which this version has, at the default now" in caplog.text


def test_run_of_another_version_is_not_resumed(tmp_path):
    ended(begun(tmp_path, "a")).update(software={"mgmt_monai": "0.0.1"})
    resumed = RunDirectory(tmp_path, "T1w", "a", resume=True)
    with pytest.raises(
        TrainingError, match=rf"mgmt_monai \(0.0.1, here {__version__}\), and may come to another result"
    ):
        resumed.claim({"seed": 0})


def test_run_whose_config_had_other_sections_is_not_resumed(tmp_path):
    now = packaged_config("t1w")
    ended(begun(tmp_path, "a", {key: value for key, value in now.items() if key != "opening"}))
    resumed = RunDirectory(tmp_path, "T1w", "a", resume=True)
    with pytest.raises(TrainingError, match=r"\(opening\).*Resume it with those that it was started with"):
        resumed.claim(now)


def test_run_that_still_runs_is_not_resumed(tmp_path):
    running = begun(tmp_path, "a")
    with pytest.raises(TrainingError, match="still running in another process"):
        RunDirectory(tmp_path, "T1w", "a", resume=True).claim({"seed": 0})
    running.close()
    resumed = RunDirectory(tmp_path, "T1w", "a", resume=True)
    resumed.claim({"seed": 0})
    resumed.close()


def test_name_that_leaves_the_folder_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="expected the name of a folder"):
        RunDirectory(tmp_path, "T1w", "../elsewhere", resume=False)


def test_what_a_killed_process_left_half_written_is_cleared_up(tmp_path):
    killed = ended(begun(tmp_path, "a"))
    left = killed.path / "transfer" / f".last.pt.{'0' * 32}"
    left.parent.mkdir()
    left.write_bytes(b"half")
    torch.save({}, left.parent / "last.pt")
    resumed = RunDirectory(tmp_path, "T1w", "a", resume=True)
    resumed.claim({"seed": 0})
    resumed.open("hash")
    resumed.close()
    assert [path.name for path in left.parent.iterdir()] == ["last.pt"]


def test_resume_that_is_neither_true_nor_false_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="expected true or false, found 'yes'"):
        RunDirectory(tmp_path, "T1w", "", resume="yes")


def test_state_is_json(tmp_path):
    directory = begun(tmp_path, "a")
    state = json.loads((directory.path / "run.json").read_text())
    assert state["status"] == "running"


def test_key_of_the_pseudonyms_is_for_nobody_else(tmp_path):
    directory = begun(tmp_path, "a")
    key = directory.pseudonym_key
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert directory.pseudonym_key == key
    holding = [path for path in directory.path.iterdir() if key.encode() in path.read_bytes()]
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in holding] == [("pseudonyms.key", 0o600)]


def test_key_of_a_run_of_an_earlier_version_is_still_its_key(tmp_path):
    directory = begun(tmp_path, "a")
    directory.update(pseudonym_key="0" * 32)
    assert directory.pseudonym_key == "0" * 32


@pytest.mark.parametrize("left", [(), (".lock",), (".lock", ".owner", "config.json")], ids=len)
@pytest.mark.parametrize(("name", "resume"), [("a", False), ("a", True), ("", True)])
def test_run_that_was_killed_while_it_began_begins_anew(tmp_path, left, name, resume):
    folder = tmp_path / "t1w" / "a"
    folder.mkdir(parents=True)
    for file in left:
        (folder / file).touch()
    again = RunDirectory(tmp_path, "T1w", name, resume)
    again.claim({"seed": 0})
    again.open("hash")
    again.close()
    assert again.path == folder and again.state["status"] == "running"
    assert json.loads((folder / "config.json").read_text()) == {"seed": 0}


def test_folder_of_somebody_else_is_neither_begun_nor_resumed(tmp_path):
    (tmp_path / "t1w" / "a").mkdir(parents=True)
    (tmp_path / "t1w" / "a" / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="there is a run of this name already"):
        RunDirectory(tmp_path, "T1w", "a", resume=False)
    with pytest.raises(TrainingError, match="no training of this name"):
        RunDirectory(tmp_path, "T1w", "a", resume=True)


def test_name_that_another_process_took_meanwhile_is_refused(tmp_path):
    slower = RunDirectory(tmp_path, "T1w", "a", resume=False)
    slower.claim({})
    faster = begun(tmp_path, "a")
    with pytest.raises(TrainingError, match="still running in another process"):
        slower.open("hash")
    faster.close()
    with pytest.raises(TrainingError, match="there is a run of this name already"):
        slower.open("hash")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux' file of which no byte can be read")
def test_checkpoint_that_the_machine_does_not_give_is_not_called_damaged():
    """Whoever were told so would delete it."""
    with pytest.raises(MachineError, match="Input/output error; the machine is at fault, not the file"):
        check_whole(Path("/proc/self/mem"))


@needs_compiler
@pytest.mark.parametrize("name", ["config.json", "fine_tune/best.pt"])
def test_file_to_be_exported_that_the_machine_does_not_give(tmp_path, name):
    (tmp_path / "fine_tune").mkdir()
    (tmp_path / name).write_bytes(b"{}")
    code = "import sys; from pathlib import Path; from mgmt_monai.training.run_directory import digests; "
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}digests(Path(sys.argv[1]))", str(tmp_path)],
        env=faulty("read", errno.EINVAL, name), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"MachineError: {tmp_path / name}: Invalid argument; the machine is at fault" in ran.stderr
