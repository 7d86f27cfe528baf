import logging
import multiprocessing
import os
import tempfile
from pathlib import Path

import pytest

from mgmt_monai.cohort.errors import CohortFaultsError
from mgmt_monai.cohort.layouts.tree import every_unreadable, walk
from mgmt_monai.machine import MachineError


def _walked(root, max_depth=None):
    findings = []
    return {str(path.relative_to(root)): files for path, files in walk(root, findings, max_depth)}, findings


def test_names_sorted_hidden_ones_passed_over(tmp_path):
    (tmp_path / "a b/ü").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name in ("2", "1", ".hidden", "a b/ü/患者"):
        (tmp_path / name).touch()
    assert _walked(tmp_path) == ({".": ["1", "2"], "a b": [], "a b/ü": ["患者"]}, [])


def test_depth(tmp_path):
    (tmp_path / "a/b/c").mkdir(parents=True)
    assert list(_walked(tmp_path, 2)[0]) == [".", "a", "a/b"]


def test_linked_folder_entered_once(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").touch()
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "outside")
    assert _walked(tmp_path / "data") == ({".": [], "one": ["x"]}, [])


def test_own_path_goes_before_a_link(tmp_path):
    (tmp_path / "z").mkdir()
    (tmp_path / "z/x").touch()
    (tmp_path / "a").symlink_to("z")
    assert _walked(tmp_path) == ({".": [], "z": ["x"]}, [])


@pytest.mark.parametrize("target", [".", "..", "/"], ids=["itself", "above", "the root of all"])
def test_loop_ends_and_is_logged(tmp_path, caplog, target):
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/loop").symlink_to(target)
    with caplog.at_level(logging.INFO):
        assert _walked(tmp_path / "data") == ({".": [], "a": []}, [])
    assert "leads back" in caplog.text


def test_loop_through_another_folder_ends(tmp_path):
    for name in ("data", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "data/to").symlink_to("../other")
    (tmp_path / "other/back").symlink_to("../data")
    (tmp_path / "other/x").touch()
    assert _walked(tmp_path / "data") == ({".": [], "to": ["x"]}, [])


@pytest.mark.parametrize("target", ["nowhere", "link"], ids=["broken", "to itself"])
def test_link_that_leads_nowhere_is_a_finding(tmp_path, target):
    (tmp_path / "link").symlink_to(target)
    _, findings = _walked(tmp_path)
    assert [(finding.id, finding.path) for finding in findings] == [("D019", str(tmp_path / "link"))]
    found = "a link to nowhere" if target == "nowhere" else "a link that cannot be followed (Too many levels"
    assert f"expected a file or a folder, found {found}" in findings[0].text


def test_named_pipe_is_a_finding(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (finding,) = _walked(tmp_path)[1]
    assert (finding.id, finding.text) == ("D019", "expected a file or a folder, found neither of them")


def test_vanished_folder_is_a_finding(tmp_path):
    (tmp_path / "a").mkdir()
    findings = []
    for path, _ in walk(tmp_path, findings):
        if path == tmp_path:
            (tmp_path / "a").rmdir()
    assert [(finding.id, finding.path) for finding in findings] == [("D001", str(tmp_path / "a"))]
    assert "No such file" in findings[0].text


def test_folder_without_the_right_to_read_ends_the_walk(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)  # a mode would not stop the superuser, who runs many tests
    with pytest.raises(MachineError, match=r"locked: Permission denied"):
        _walked(tmp_path)


def test_name_that_is_no_text_comes_back_as_bytes(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe"
    try:
        with open(path, "wb"):  # noqa: PTH123 (a path of bytes)
            pass
    except OSError:
        pytest.skip("this file system takes names of valid text only")
    walked, _ = _walked(tmp_path)
    assert os.fsencode(walked["."][0]) == b"\xff\xfe"


def _told(root: Path) -> list[str]:
    try:
        with every_unreadable(root):
            list(walk(root, []))
            (root / "a/1").open().close()
    except (CohortFaultsError, MachineError) as error:
        return list(getattr(error, "faults", [str(error)]))
    return []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_everything_that_a_user_may_not_read_is_told_at_once():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for path in ("a/1", "a/2", "b/1", "c/1"):
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).touch()
        root.chmod(0o755)
        with multiprocessing.get_context("fork").Pool(1, os.setuid, [65534]) as pool:
            assert pool.apply(_told, [root]) == []
            (root / "a/1").chmod(0)
            (line,) = pool.apply(_told, [root])
            assert line.startswith(f"{root}/a/1: Permission denied; the machine is at fault, not the file: give ")
            (root / "a/2").chmod(0)
            (root / "b").chmod(0o700)
            (root / "c").chmod(0o444)  # its names alone
            (line,) = pool.apply(_told, [root])
    assert line.startswith("4 x Permission denied; the machine is at fault, not the file: give this user the right to")
    assert line.endswith(f": {root}/a/1, {root}/a/2, {root}/b, {root}/c/1")
