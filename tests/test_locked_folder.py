"""A folder that several processes want: real ones, killed and at the same time."""

import errno
import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from faulty_storage import faulty, needs_compiler

from mgmt_monai.cli.main import main
from mgmt_monai.cli.unlock import unlock
from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.locked_folder import KEY, LockedFolder

#: Takes and begins a folder when the file "go" is there; says how that went.
BEGIN = """
import sys, time
from pathlib import Path
from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.locked_folder import KEY, LockedFolder
folder = LockedFolder(Path(sys.argv[1]), "training", "state.json", MgmtMonaiError)
print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    pass
try:
    folder.take()
    folder.begin({"of": sys.argv[3]})
    print("begun", flush=True)
    sys.stdin.read()
except MgmtMonaiError as error:
    print(error, flush=True)
"""


def made(path: Path) -> LockedFolder:
    return LockedFolder(path, "training", "state.json", MgmtMonaiError, ("config.json",))


def started(folder: Path, go: Path, name: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", BEGIN, str(folder), str(go), name]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_of_processes_that_begin_one_folder_at_once_one_does(tmp_path: Path) -> None:
    processes = [started(tmp_path / "a", tmp_path / "go", str(i)) for i in range(3)]
    assert [said(process) for process in processes] == ["ready\n"] * 3
    (tmp_path / "go").touch()
    told = [said(process) for process in processes]
    assert sum(line == "begun\n" for line in told) == 1
    assert sum("still running in another process" in line for line in told) == 2
    winner = told.index("begun\n")
    assert made(tmp_path / "a").state == {"of": str(winner)}
    with pytest.raises(MgmtMonaiError, match=rf"\({processes[winner].pid} on {platform.node()}, since \d{{4}}-.*Z\)"):
        made(tmp_path / "a").take()
    for process in processes:
        process.communicate("")


def test_lock_ends_with_the_process_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    process = started(tmp_path / "a", tmp_path / "go", "0")
    assert [said(process), said(process)] == ["ready\n", "begun\n"]
    process.kill()
    process.communicate()
    folder = made(tmp_path / "a")
    folder.take()
    assert json.loads((tmp_path / "a" / ".owner").read_text())["process"] == os.getpid()
    with pytest.raises(MgmtMonaiError, match="there is a run of this name already"):
        folder.begin({})
    folder.close()


@pytest.mark.parametrize(
    ("names", "is_free"),
    [
        ((), True),
        ((".lock", ".owner", ".spare", "config.json", f".state.json.{'0' * 32}"), True),
        (("notes.txt",), False),
        (("state.json",), False),
    ],
    ids=["empty", "killed before its state", "somebody else's", "begun"],
)
def test_what_a_killed_process_left_is_told_from_what_is_somebodys(
    names: tuple[str, ...], is_free: bool, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert made(tmp_path).is_free == is_free


def test_place_of_a_file_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert not made(tmp_path / "a").is_free
    assert made(tmp_path / "b").is_free


def test_key_that_is_gone_or_another_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = made(tmp_path / "a")
    folder.take()
    folder.begin({"of": "1"})
    first = folder.pseudonym_key
    assert folder.pseudonym_key == first
    assert not caplog.records
    for change in (Path.unlink, lambda path: path.write_text("0" * 32)):
        change(tmp_path / "a" / KEY)
        assert folder.pseudonym_key != first
        [record] = caplog.records
        assert "other pseudonyms from now on" in record.message
        caplog.clear()
    assert first not in (tmp_path / "a" / "state.json").read_text()
    folder.close()


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\0\0", "[" * 100_000, '{"of": NaN}', '{"of": 1, "of": 2}'])
def test_state_that_is_none_is_told_in_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(MgmtMonaiError, match=r"state\.json: expected the state of a training, found"):
        made(tmp_path).state  # noqa: B018


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a small disk")
def test_full_disk_does_not_keep_the_state_from_being_noted(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        folder = made(tmp_path / "a")
        folder.take()
        folder.begin({"status": "running", "patients": ["a" * 100] * 50})
        with suppress(OSError), (tmp_path / "full").open("wb", buffering=0) as stream:
            while True:
                stream.write(b"\0" * 512)
        with pytest.raises(OSError, match="No space left"):
            folder.write_json("other.json", ["a" * 100] * 50)
        folder.update(status="failed")
        assert made(tmp_path / "a").state["status"] == "failed"
        folder.close()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@needs_compiler
@pytest.mark.parametrize(
    "number", [errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM]
)
def test_file_system_without_locks_has_a_file_instead(number: int, tmp_path: Path) -> None:
    """Held by a process that lives, given up by one that was killed here, told of one on another machine."""
    (tmp_path / "go").touch()
    begin = f"import logging; logging.basicConfig()\n{BEGIN}"

    def begun(name: str) -> tuple[subprocess.Popen[str], str]:
        words = [sys.executable, "-c", begin, str(tmp_path / "a"), str(tmp_path / "go"), name]
        pipe = subprocess.PIPE
        environment = faulty("lock", number, str(tmp_path / "a"))
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        said(process)
        return process, said(process)

    first, told = begun("0")
    assert told == "begun\n"
    second, told = begun("1")
    assert f"still running in another process ({first.pid} on {platform.node()}, since" in told
    assert f"If that process is gone: mgmt-monai unlock {tmp_path / 'a/.owner'}" in told
    with pytest.raises(MgmtMonaiError, match=rf"its process \({first.pid} on .*\) is still running\. End it first"):
        unlock(tmp_path / "a/.owner")
    second.communicate("")
    first.kill()
    assert first.communicate()[1].count("this file system has no locks") == 1
    (tmp_path / "a/state.json").unlink()
    third, told = begun("2")
    assert told == "begun\n"
    third.communicate("")
    (tmp_path / "a/state.json").unlink()
    (tmp_path / "a/.owner").write_text(json.dumps({**json.loads(OTHERS), "lock": "file"}))
    fourth, told = begun("3")
    assert "still running in another process (7 on node2, since 2026-01-01T00:00:00Z). If" in told
    fourth.communicate("")
    with pytest.raises(MgmtMonaiError, match="7 on node2"):  # also for a machine that has locks
        made(tmp_path / "a").take()
    assert main(["unlock", str(tmp_path / "a/.owner")]) == 0
    fifth, told = begun("4")
    assert told == "begun\n"
    fifth.communicate("")


WAIT = """
import logging, sys
from pathlib import Path
from mgmt_monai.locked_folder import HeldError, Lock
logging.basicConfig()
lock = Lock(Path(sys.argv[1]))
for _ in range(5):
    try:
        lock.acquire()
    except HeldError:
        print("held")
"""


@needs_compiler
def test_who_waits_for_a_lock_is_told_once_that_there_are_none(tmp_path: Path) -> None:
    (tmp_path / ".owner").write_text(json.dumps({**json.loads(OTHERS), "lock": "file"}))
    words, environment = [sys.executable, "-c", WAIT, str(tmp_path)], faulty("lock", errno.ENOSYS, str(tmp_path))
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "held\n" * 5
    assert done.stderr.count("this file system has no locks") == 1


OTHERS = '{"host": "node2", "process": 7, "since": "2026-01-01T00:00:00Z", "begun": "1 1"}'


def test_owner_that_the_systems_lock_outlived_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / ".owner").write_text(json.dumps({**json.loads(OTHERS), "lock": "system"}))
    folder = made(tmp_path)
    folder.take()
    folder.close()
    assert not (tmp_path / ".owner").exists()


def test_process_of_another_container_is_not_taken_for_dead(tmp_path: Path) -> None:
    """There it has a number that says nothing here, though both call themselves by one host's name."""
    folder = made(tmp_path)
    folder.take()
    owner = json.loads((tmp_path / ".owner").read_text())
    folder.close()
    gone = {**owner, "process": 2**22, "lock": "file"}
    (tmp_path / ".owner").write_text(json.dumps({**gone, "numbered_in": "pid:[1]"}))
    with pytest.raises(MgmtMonaiError, match=f"{2**22} on "):
        folder.take()
    (tmp_path / ".owner").write_text(json.dumps(gone))
    folder.take()
    folder.close()


@pytest.mark.parametrize("content", ["", "[]", '{"process": 1}', OTHERS.replace("{", "[").replace("}", "]")])
def test_what_is_no_lock_is_not_given_up(content: str, tmp_path: Path) -> None:
    (tmp_path / ".owner").write_text(content)
    with pytest.raises(MgmtMonaiError, match=r"\.owner: expected the file that says who holds a lock, found"):
        unlock(tmp_path / ".owner")
    (tmp_path / "owner").write_text(OTHERS)
    with pytest.raises(MgmtMonaiError, match="found another"):
        unlock(tmp_path / "owner")
    assert {path.name for path in tmp_path.iterdir()} == {".owner", "owner"}


def test_lock_of_the_system_is_not_given_up(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    process = started(tmp_path / "a", tmp_path / "go", "0")
    assert [said(process), said(process)] == ["ready\n", "begun\n"]
    owner = tmp_path / "a/.owner"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "host": "node2"}))
    with pytest.raises(MgmtMonaiError, match="still running"):
        unlock(owner)
    process.communicate("")
