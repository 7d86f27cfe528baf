import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from made_cohorts import write_cohort

from mgmt_monai.cohort.examination import readers
from mgmt_monai.cohort.examination import scan_cache as scan_cache_module
from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.examination.scan_cache import ScanCache, state_of, user_cache
from mgmt_monai.cohort.layouts.found import FoundSeries


@pytest.fixture(autouse=True)
def own_user_cache(tmp_path, monkeypatch):
    """The user's cache is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data_dir(tmp_path, make_dicom) -> Path:
    return write_cohort(tmp_path / "data", make_dicom, n_patients=3)


def series(data_dir: Path, patient: int = 1, files: tuple[str, ...] | None = None) -> FoundSeries:
    return FoundSeries(f"{patient:05d}", "T1w", data_dir / f"train/{patient:05d}/T1w", files, "folder T1w")


def keep(data_dir: Path, found: FoundSeries, pixels: bool):
    """Examine a series and put it into the cache, closed after; the exam."""
    exam = examine_series(found, data_dir, pixels)
    cache = ScanCache(data_dir)
    cache.put(found, pixels, state_of(found), exam)
    cache.close()
    return exam


def kept(data_dir: Path, found: FoundSeries, pixels: bool):
    """What a new cache has of a series as it is now."""
    cache = ScanCache(data_dir)
    try:
        return cache.get(found, pixels, state_of(found))
    finally:
        cache.close()


def ruin(path: Path) -> None:
    """Other content of the same size and time: who reads it finds no image, who trusts the cache does not look."""
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def scanned(data_dir: Path, patients=(1, 2, 3), pixels: bool = True, **settings):
    cache = ScanCache(data_dir)
    try:
        return list(
            scan([series(data_dir, n) for n in patients], data_dir, pixels=pixels, cache=cache, workers=1, **settings)
        )
    finally:
        cache.close()


def test_second_scan_reads_nothing_and_tells_the_same(data_dir, monkeypatch):
    first = scanned(data_dir)
    for path in data_dir.rglob("*.dcm"):
        ruin(path)
    monkeypatch.setattr(readers, "_Reader", None)  # and no worker is started
    assert scanned(data_dir) == first
    assert all(exam.record is not None for exam in first)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: (folder / "Image-1.dcm").write_bytes(b"short"), id="size"),
        pytest.param(lambda folder: os.utime(folder / "Image-1.dcm", ns=(0, 0)), id="time"),
        pytest.param(lambda folder: shutil.copy(folder / "Image-1.dcm", folder / "Image-9.dcm"), id="added"),
        pytest.param(lambda folder: (folder / "Image-1.dcm").unlink(), id="removed"),
        pytest.param(lambda folder: (folder / "Image-1.dcm").rename(folder / "Image-9.dcm"), id="renamed"),
    ],
)
def test_changed_series_is_no_longer_known(data_dir, change):
    found = series(data_dir)
    exam = keep(data_dir, found, pixels=True)
    assert kept(data_dir, found, pixels=True) == exam
    change(found.directory)
    assert kept(data_dir, found, pixels=True) is None


def test_only_the_changed_series_is_read_again(data_dir):
    first = scanned(data_dir)
    for number in (1, 2, 3):
        ruin(data_dir / f"train/{number:05d}/T1w/Image-1.dcm")
    os.utime(data_dir / "train/00002/T1w/Image-1.dcm", ns=(0, 0))
    again = scanned(data_dir)
    assert (again[0], again[2]) == (first[0], first[2])
    assert (first[1].record is None, again[1].record is None) == (False, True)


def test_series_of_named_files_is_known_by_these_alone(data_dir):
    found = series(data_dir, files=("Image-1.dcm", "Image-2.dcm"))
    state = state_of(found)
    shutil.copy(found.directory / "Image-1.dcm", found.directory / "Image-3.dcm")
    assert state_of(found) == state
    os.utime(found.directory / "Image-2.dcm", ns=(0, 0))
    assert state_of(found) != state


@pytest.mark.parametrize("files", [None, ("Image-1.dcm", "gone.dcm")], ids=["folder", "file"])
def test_series_that_is_not_there_has_no_state(data_dir, files):
    found = series(data_dir, patient=4 if files is None else 1, files=files)
    assert state_of(found) == ""


@pytest.mark.parametrize(
    ("put", "asked", "served"),
    [(True, True, True), (True, False, True), (False, False, True), (False, True, False)],
    ids=["pixels for pixels", "pixels for headers", "headers for headers", "headers for pixels"],
)
def test_exam_with_pixels_serves_headers_and_not_the_other_way(data_dir, put, asked, served):
    exam = keep(data_dir, series(data_dir), put)
    assert (exam.content is not None) == put
    assert kept(data_dir, series(data_dir), asked) == (exam if served else None)


def test_newer_exam_of_another_depth_counts(data_dir):
    found = series(data_dir)
    keep(data_dir, found, pixels=True)
    (found.directory / "Image-1.dcm").unlink()
    headers = keep(data_dir, found, pixels=False)
    assert kept(data_dir, found, pixels=False) == headers
    assert kept(data_dir, found, pixels=True) is None


@pytest.mark.parametrize(
    "other",
    [{"patient_id": "1"}, {"modality": "FLAIR"}, {"reason": "guessed"}, {"files": ("Image-1.dcm", "Image-2.dcm")}],
    ids=lambda other: next(iter(other)),
)
def test_series_found_otherwise_is_another_one(data_dir, other):
    # what is told of a series names its patient, modality and reason
    keep(data_dir, series(data_dir), pixels=True)
    assert kept(data_dir, replace(series(data_dir), **other), pixels=True) is None


def test_moved_cohort_is_still_known(data_dir, tmp_path):
    exam = keep(data_dir, series(data_dir), pixels=True)
    moved = data_dir.rename(tmp_path / "elsewhere")
    assert kept(moved, series(moved), pixels=True) == exam


def test_exam_of_another_version_is_not_known(data_dir, monkeypatch):
    keep(data_dir, series(data_dir), pixels=True)
    monkeypatch.setattr(scan_cache_module, "VERSION", scan_cache_module.VERSION + 1)
    assert kept(data_dir, series(data_dir), pixels=True) is None


@pytest.mark.parametrize("body", [b"", b"no zlib", b"x\x9cK\xcb\xcf\x07\x00\x02\x82\x01E", None, "text"])
def test_damaged_entry_is_read_again(data_dir, body):
    keep(data_dir, series(data_dir), pixels=True)
    with sqlite3.connect(data_dir / ".mgmt-monai-scan.sqlite") as connection:
        assert connection.execute("update exam set body = ?", [body]).rowcount == 1
    connection.close()
    assert kept(data_dir, series(data_dir), pixels=True) is None


def test_entry_of_another_user_is_read_again(data_dir, tmp_path, monkeypatch):
    """A cohort from elsewhere brings the file along; here it has what this user's own would have, but for the key."""
    exam = keep(data_dir, series(data_dir), pixels=True)
    assert kept(data_dir, series(data_dir), pixels=True) == exam
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user's"))
    assert kept(data_dir, series(data_dir), pixels=True) is None


@pytest.mark.parametrize("column", ["key", "state", "body"])
def test_entry_put_in_the_place_of_another_is_read_again(data_dir, column):
    first, second = series(data_dir, 1), series(data_dir, 2)
    exam = keep(data_dir, first, pixels=True)
    keep(data_dir, second, pixels=True)
    with sqlite3.connect(data_dir / ".mgmt-monai-scan.sqlite") as connection:
        rows = {tuple(row) for row in connection.execute("select key, state, body from exam")}
        assert len(rows) == 2
        (one, other), place = rows, ("key", "state", "body").index(column)
        connection.execute("delete from exam")
        mixed = (*one[:place], other[place], *one[place + 1 :])
        connection.execute("insert into exam values (?, ?, ?)", mixed)
    connection.close()
    assert [kept(data_dir, found, pixels=True) for found in (first, second)] == [None, None]
    assert exam.record is not None


def test_exam_larger_than_any_is_not_kept(data_dir, monkeypatch):
    monkeypatch.setattr(scan_cache_module, "LIMIT", 100)
    keep(data_dir, series(data_dir), pixels=True)
    monkeypatch.undo()
    assert kept(data_dir, series(data_dir), pixels=True) is None


@pytest.mark.parametrize(
    "made",
    [
        "create view exam as select 1",
        "create table exam (key, state, body); create trigger t before delete on exam begin select 1; end",
    ],
    ids=["view", "trigger"],
)
def test_database_that_does_something_is_gone_on_without(data_dir, made):
    with sqlite3.connect(data_dir / ".mgmt-monai-scan.sqlite") as connection:
        connection.executescript(made)
    connection.close()
    exam = keep(data_dir, series(data_dir), pixels=True)
    assert kept(data_dir, series(data_dir), pixels=True) == exam
    assert user_cache(data_dir).is_file()


def test_key_of_the_cache_is_for_nobody_else(data_dir, tmp_path):
    keep(data_dir, series(data_dir), pixels=True)
    key = tmp_path / "cache/mgmt-monai/scan.key"
    assert (key.stat().st_mode & 0o777, len(key.read_text())) == (0o600, 32)


def test_file_that_is_no_database_is_gone_on_without(data_dir, caplog):
    path = data_dir / ".mgmt-monai-scan.sqlite"
    path.write_bytes(b"no database " * 1000)
    exam = keep(data_dir, series(data_dir), pixels=True)
    assert kept(data_dir, series(data_dir), pixels=True) == exam
    assert user_cache(data_dir).is_file()
    assert path.read_bytes() == b"no database " * 1000  # it may be anybody's
    assert caplog.messages == []


def test_database_with_damaged_pages_is_gone_on_without(data_dir, caplog):
    cache = ScanCache(data_dir)
    found, exam = series(data_dir), examine_series(series(data_dir), data_dir, True)
    for number in range(200):
        cache.put(replace(found, patient_id=str(number)), True, "state", exam)
    cache.close()
    path = data_dir / ".mgmt-monai-scan.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))  # the first pages say that it is one
    cache = ScanCache(data_dir)
    got = [cache.get(replace(found, patient_id=str(number)), True, "state") for number in range(200)]
    for number in range(200, 400):
        cache.put(replace(found, patient_id=str(number)), True, "state", exam)
    cache.close()
    assert None in got
    assert all(served in (None, exam) for served in got)
    assert all("what is read is no longer kept" in message for message in caplog.messages)


def test_no_place_at_all_is_told_once_and_gone_on_without(data_dir, tmp_path, caplog):
    (data_dir / ".mgmt-monai-scan.sqlite").mkdir()
    (tmp_path / "cache").write_text("a file where the cache's folder should be")
    found = series(data_dir)
    exam = examine_series(found, data_dir, True)
    cache = ScanCache(data_dir)
    cache.put(found, True, state_of(found), exam)
    assert cache.get(found, True, state_of(found)) is None
    cache.close()
    (message,) = caplog.messages
    assert message.startswith(f"{data_dir}: what is read is not kept for the next scan (")


def test_user_without_a_home_goes_on_without(data_dir, monkeypatch, caplog):
    (data_dir / ".mgmt-monai-scan.sqlite").mkdir()
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert kept(data_dir, series(data_dir), pixels=True) is None
    assert "Could not determine home directory." in caplog.text


def test_data_directory_that_cannot_be_written_is_kept_in_the_users_cache(data_dir, tmp_path):
    (data_dir / ".mgmt-monai-scan.sqlite").mkdir()  # as for a read-only place, also to the superuser
    exam = keep(data_dir, series(data_dir), pixels=True)
    assert kept(data_dir, series(data_dir), pixels=True) == exam
    assert [path.parent for path in (tmp_path / "cache").rglob("*.sqlite")] == [tmp_path / "cache/mgmt-monai"]
    assert sorted(path.name for path in data_dir.iterdir()) == [".mgmt-monai-scan.sqlite", "train", "train_labels.csv"]


def test_two_data_directories_share_no_user_cache(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert user_cache(tmp_path / "one") != user_cache(tmp_path / "two")
    assert user_cache(tmp_path / "one") == user_cache(tmp_path / "link") == user_cache(tmp_path / "two/../one")


def test_second_scan_at_the_same_time_does_not_wait_for_the_first(data_dir):
    first = ScanCache(data_dir)
    try:
        exam = keep(data_dir, series(data_dir), pixels=True)  # in the user's cache meanwhile
        assert first.get(series(data_dir), True, state_of(series(data_dir))) is None
        assert user_cache(data_dir).is_file()
    finally:
        first.close()
    assert exam.record is not None


def test_stopped_scan_goes_on_where_it_was(data_dir):
    cache = ScanCache(data_dir)
    exams = scan([series(data_dir, n) for n in (1, 2, 3)], data_dir, pixels=True, cache=cache, workers=1)
    first = next(exams)
    exams.close()
    cache.close()
    ruin(data_dir / "train/00001/T1w/Image-1.dcm")
    again = scanned(data_dir)
    assert again[0] == first
    assert [exam.patient_id for exam in again] == ["00001", "00002", "00003"]
