import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_storage import faulty, needs_compiler

from mgmt_monai.atomic import atomic_file, atomic_folder, place_first, remove_leftovers, secret, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_text_makes_only_the_file(tmp_path):
    write_text(tmp_path / "größe 患者.txt", "5 µm\n")
    assert names(tmp_path) == ["größe 患者.txt"]
    assert (tmp_path / "größe 患者.txt").read_bytes() == "5 µm\n".encode()


def test_write_text_replaces_an_older_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old and longer")
    write_text(path, "new")
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "new")


def test_old_file_stays_while_the_block_writes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"


def test_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"), atomic_file(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half-way")
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "old")


def test_disk_that_fails_to_flush_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "old")


def test_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def mask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_file_of_a_library_that_makes_private_ones_is_as_the_umask_says(tmp_path, mask):
    with atomic_file(tmp_path / "a.txt") as temporary:
        os.close(os.open(temporary, os.O_CREAT, 0o600))
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask
    assert os.umask(mask) == mask  # it is as it was


def test_secret_is_made_once_and_for_nobody_else(tmp_path, mask):
    made = secret(tmp_path / "key")
    assert secret(tmp_path / "key") == made != secret(tmp_path / "other")
    assert len(bytes.fromhex(made)) == 16
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["key", "other"]


def test_a_folder_takes_the_place_of_an_older_one_whole(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "a") as partial:
            (partial / content).mkdir()
            (partial / content / "file").write_text(content)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["new"]


def test_a_folder_stays_where_the_new_one_fails(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    with pytest.raises(KeyError), atomic_folder(tmp_path / "a") as partial:
        (partial / "new").touch()
        raise KeyError
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["old"]


def test_what_a_killed_process_left_is_deleted_folders_too(tmp_path):
    (tmp_path / f".a.{'0' * 32}" / f".b.{'1' * 32}").mkdir(parents=True)
    (tmp_path / f".a.{'0' * 32}" / "half").touch()
    (tmp_path / f".c.{'2' * 32}").touch()
    (tmp_path / ".kept").mkdir()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".kept"]


def test_of_several_finished_files_the_first_keeps_its_place(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).write_text(name)
        place_first(tmp_path / name, tmp_path / "key")
    assert (tmp_path / "key").read_text() == "first"


@needs_compiler
@pytest.mark.parametrize(
    ("number", "code"), [(errno.EINVAL, 0), (errno.EOPNOTSUPP, 0), (errno.ENOSYS, 0), (errno.EIO, 1)]
)
def test_disk_that_cannot_say_when_a_file_is_on_it_takes_files(tmp_path, number, code):
    write = "import sys; from mgmt_monai.atomic import write_text; from pathlib import Path\n"
    write += "write_text(Path(sys.argv[1]), 'new')"
    command = [sys.executable, "-c", write, str(tmp_path / "a.txt")]
    ran = subprocess.run(command, env=faulty("fsync", number, str(tmp_path)), capture_output=True, check=False)
    assert (ran.returncode, names(tmp_path)) == (code, [] if code else ["a.txt"])


@needs_compiler
def test_mount_that_refuses_chmod_takes_files(tmp_path):
    write = "import sys; from mgmt_monai.atomic import write_text; from pathlib import Path\n"
    command = [sys.executable, "-c", write + "write_text(Path(sys.argv[1]), 'new')", str(tmp_path / "a.txt")]
    environment = faulty("chmod", errno.EPERM, str(tmp_path))
    subprocess.run(command, env=environment, umask=0o077, check=True)
    assert (tmp_path / "a.txt").read_text() == "new"


@needs_compiler
def test_write_that_fails_names_the_file(tmp_path):
    code = "import pathlib, sys, mgmt_monai.atomic as a; a.write_text(pathlib.Path(sys.argv[1]), 'new')"
    words = [sys.executable, "-c", code, str(tmp_path / "a.txt")]
    environment = faulty("write", errno.EIO, str(tmp_path))
    ran = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert ran.stderr.splitlines()[-1] == f"OSError: [Errno 5] Input/output error: '{tmp_path / 'a.txt'}'"
    assert names(tmp_path) == []
