"""A bundle's zip file is unpacked where it can harm nothing."""

import stat
import warnings
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest
from made_bundles import write_bundle

from mgmt_monai.exchange import bundle_archive
from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.errors import ExchangeError


def zipped(tmp_path: Path, prefix: str = "mine/", **settings: object) -> Path:
    folder = write_bundle(tmp_path / "written", **settings)
    path = tmp_path / "mine.zip"
    with ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("prefix", ["", "mine/", "a/b/"])
def test_bundle_in_a_zip_file_is_read_and_removed_afterwards(tmp_path: Path, prefix: str) -> None:
    with open_bundle(zipped(tmp_path, prefix, threshold=0.25)) as bundle:
        assert (bundle.name, bundle.settings["threshold"], bundle.is_ours) == ("mine", 0.25, True)
        unpacked = bundle.path
    assert not unpacked.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "mine/../../evil",
        "/evil",
        "C:/evil",
        "C:evil",
        "..\\evil",
        "\\\\server\\evil",
        "mine/a/../../../evil",
    ],
)
def test_member_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path)
    with ZipFile(path, "a") as archive:
        member = ZipInfo("x")
        member.filename = name
        archive.writestr(member, "evil")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ExchangeError, match="stay in their folder"), open_bundle(path):
        pass
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_member_that_is_no_file_is_refused(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path)
    member = ZipInfo("mine/models/reference.safetensors")
    member.create_system, member.external_attr = 3, (kind | 0o777) << 16
    with ZipFile(path, "a") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(ExchangeError, match=r"link or device 'mine/models/reference\.safetensors'"), open_bundle(path):
        pass


def test_member_named_twice_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    with warnings.catch_warnings(), ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("mine/configs/inference.json", "{}")
    with pytest.raises(ExchangeError, match=r"'mine/configs/inference\.json' twice"), open_bundle(path):
        pass


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path)
    with ZipFile(path, "a", ZIP_DEFLATED) as archive:
        archive.writestr("mine/zeros", bytes(2**24))
    monkeypatch.setattr(bundle_archive, "SIZE_LIMIT", 2**23)
    monkeypatch.setattr(ZipFile, "extractall", lambda *_: pytest.fail("it was unpacked"))
    assert path.stat().st_size < 2**20
    with pytest.raises(ExchangeError, match="GiB unpacked"), open_bundle(path):
        pass


def test_member_that_claims_to_be_smaller_than_it_is_does_not_unpack(tmp_path: Path) -> None:
    path = tmp_path / "lying.zip"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("mine/zeros", bytes(2**20))
        archive.filelist[0].file_size = 10  # the directory at the end of the file tells this
    with pytest.raises(ExchangeError, match="cannot be unpacked"), open_bundle(path):
        pass


def test_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_archive, "MEMBERS_LIMIT", 3)
    path = zipped(tmp_path)
    with ZipFile(path, "a") as archive:
        archive.writestr("mine/one-more", "")
    with pytest.raises(ExchangeError, match="at most 3 members, found 4"), open_bundle(path):
        pass


@pytest.mark.parametrize("second", ["other/configs/metadata.json", "mine/docs/inner/configs/metadata.json"])
def test_two_bundles_in_one_file_are_refused(tmp_path: Path, second: str) -> None:
    path = zipped(tmp_path)
    with ZipFile(path, "a") as archive:
        archive.writestr(second, "{}")
    with pytest.raises(ExchangeError, match=r"expected one bundle .* found 2"), open_bundle(path):
        pass


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"text"], ids=["empty", "cut short", "text"])
def test_file_that_is_no_zip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.zip"
    path.write_bytes(content)
    with pytest.raises(ExchangeError, match="cannot be unpacked"), open_bundle(path):
        pass


def test_zip_file_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("mine/readme", "")
    with pytest.raises(ExchangeError, match="found 0"), open_bundle(tmp_path / "mine.zip"):
        pass
