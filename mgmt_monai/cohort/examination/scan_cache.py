"""Exams kept between scans, so that an unchanged series is not read again and a stopped scan goes on."""

import hashlib
import hmac
import logging
import os
import sqlite3
import time
import zlib
from dataclasses import replace
from pathlib import Path

from mgmt_monai.atomic import secret
from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.layouts.found import FoundSeries

logger = logging.getLogger(__name__)

#: A change to what is read or found makes older entries unknown; they are removed from the file.
VERSION = 15

#: What is not yet on the disk when a scan is killed is read again: at most this long, in seconds.
_COMMIT_EVERY_S = 1.0

#: Of an exam, in bytes as JSON and compressed: thousands of slices stay far below it. Larger ones are not kept.
LIMIT = 1 << 24

KEY = "scan.key"
"""In the user's cache: what was not written with it is not believed."""


class ScanCache:
    """The exams of a data directory in an SQLite file: in it, or in the user's cache where it cannot be written.

    An entry is valid while the names, sizes and modification times of the series' files are the same, and if this user
    wrote it: it is signed with a key of the user's, since a cohort from elsewhere may bring such a file. A file that
    cannot be used, whatever the reason, is told once and gone on without: the cache saves time, it decides nothing.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = Path(data_dir)
        self._connection: sqlite3.Connection | None = None
        self._committed = time.monotonic()
        self._secret = b""
        for place in (_beside, user_cache):
            try:
                key = user_cache(self.data_dir).with_name(KEY)
                key.parent.mkdir(parents=True, exist_ok=True)
                self._secret = secret(key).encode()
                path = place(self.data_dir)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = _open(path)
                return
            except (OSError, RuntimeError, sqlite3.Error) as error:  # RuntimeError: a user without a home
                reason = error
        logger.warning(f"{self.data_dir}: what is read is not kept for the next scan ({reason})")

    def get(self, found: FoundSeries, pixels: bool, state: str) -> SeriesExam | None:
        """The exam of a series whose files are as they were; None otherwise.

        Args:
            found: The series.
            pixels: Whether pixels must have been read.
            state: As `state_of` tells it now.
        """
        if self._connection is None:
            return None
        try:
            for depth in (True,) if pixels else (False, True):
                key = self._key(found, depth)
                row = self._connection.execute(
                    "select state, body from exam where key = ? and length(body) <= ?", [key, LIMIT]
                ).fetchone()
                if row is not None and hmac.compare_digest(row[0], self._signed(key, state, row[1])):
                    return SeriesExam.from_json(zlib.decompress(row[1]).decode())
        except (sqlite3.Error, zlib.error, ValueError, TypeError, KeyError):
            return None  # a damaged entry is read again
        return None

    def put(self, found: FoundSeries, pixels: bool, state: str, exam: SeriesExam) -> None:
        """Keep an exam.

        Args:
            found: The series.
            pixels: Whether pixels were read.
            state: Of the files before they were read.
            exam: What they told.
        """
        if self._connection is None:
            return
        told = exam.to_json().encode()
        body = zlib.compress(told, 1)
        if max(len(told), len(body)) > LIMIT:
            return
        asked = [found]
        if exam.record is not None and exam.record.frames is not None:  # a manifest asks by the frames that were read
            asked.append(replace(found, frames=tuple(sorted(exam.record.frames))))
        rows = [(key, self._signed(key, state, body), body) for key in {self._key(one, pixels) for one in asked}]
        try:
            self._connection.executemany("replace into exam values (?, ?, ?)", rows)
            if time.monotonic() - self._committed > _COMMIT_EVERY_S:
                self._connection.execute("commit")
                self._connection.execute("begin")
                self._committed = time.monotonic()
        except sqlite3.Error as error:
            logger.warning(f"{self.data_dir}: what is read is no longer kept for the next scan ({error})")
            self._connection = None

    def close(self) -> None:
        """Put what is left on the disk."""
        if self._connection is not None:
            try:
                self._connection.execute("commit")
                self._connection.close()
            except sqlite3.Error as error:
                logger.warning(f"{self.data_dir}: what was read last is not kept ({error})")
            self._connection = None

    def _key(self, found: FoundSeries, pixels: bool) -> str:
        directory = os.path.relpath(found.directory, self.data_dir)
        parts = [str(VERSION), str(pixels), found.patient_id, found.modality, found.reason, directory]
        parts += [*(found.files or ()), *map(str, found.frames or ())]
        return hmac.new(self._secret, "\0".join(parts).encode("utf-8", "surrogatepass"), "sha256").hexdigest()

    def _signed(self, key: str, state: str, body: bytes) -> str:
        return hmac.new(self._secret, f"{key} {state} ".encode() + body, "sha256").hexdigest()


def user_cache(data_dir: Path) -> Path:
    """Where the exams of a data directory are kept that cannot be written to."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(os.fsencode(Path(data_dir).resolve())).hexdigest()[:16]
    return Path(home) / "mgmt-monai" / f"scan-{name}.sqlite"


def state_of(found: FoundSeries) -> str:
    """A digest of names, sizes and modification times of a series' files; "" where they cannot be told."""
    try:
        if found.files is None:
            with os.scandir(found.directory) as entries:
                told = sorted((e.name, s.st_size, s.st_mtime_ns) for e in entries if (s := e.stat()))
        else:
            told = [(n, s.st_size, s.st_mtime_ns) for n in found.files if (s := (found.directory / n).stat())]
    except OSError:
        return ""
    return hashlib.sha256(repr(told).encode("utf-8", "surrogateescape")).hexdigest()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=1, isolation_level=None)
    try:
        connection.execute("pragma journal_mode = truncate")
        connection.execute("pragma synchronous = off")  # what a power cut leaves is read again; some disks cannot tell
        strange = connection.execute(
            "select count(*) from sqlite_master where tbl_name != 'exam' or type in ('view', 'trigger')"
        )
        if strange.fetchone() != (0,):
            raise sqlite3.DatabaseError("it holds more than a scan")
        if connection.execute("pragma user_version").fetchone() != (VERSION,):
            # What older versions kept may quote descriptions: it shall not stand in the file's free pages either.
            connection.executescript(f"drop table if exists exam; vacuum; pragma user_version = {VERSION}")
        connection.execute("create table if not exists exam (key text primary key, state text, body blob)")
        connection.execute("begin")
        connection.execute("delete from exam where key = ''")  # tells now whether it can be written
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _beside(data_dir: Path) -> Path:
    return data_dir / ".mgmt-monai-scan.sqlite"
