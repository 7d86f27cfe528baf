"""The SQLite file that MLflow keeps runs in: its address, and how it is made whole, once, whoever comes first."""

import fcntl
import logging
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

from mgmt_monai.atomic import place_first, sync
from mgmt_monai.locked_folder import NO_LOCKS, HeldError, Lock
from mgmt_monai.tracking.errors import TrackingError

logger = logging.getLogger(__name__)

#: Seconds that another process is waited for. On a busy machine MLflow takes 20 to make its store.
_PATIENCE_S = 300

#: Tables with nothing in them as long as nothing was recorded.
_RECORDS = ("runs", "logged_models", "registered_models")

#: Stores that this process does not wait for, as SQLite names them.
_not_waited_for: set[str] = set()


def store_uri(path: Path) -> str:
    """The address of a store's file, as MLflow takes it.

    Raises:
        TrackingError: The installed SQLAlchemy cannot address a name like this.

    Example:
        >>> store_uri(Path("/data/runs/mlruns.db"))
        'sqlite:////data/runs/mlruns.db'
        >>> store_uri(Path("/data/50% of what?/mlruns.db"))
        'sqlite+pysqlite:////data/50%25 of what%3F/mlruns.db'
    """
    from sqlalchemy import URL, make_url

    plain, named = f"sqlite:///{path}", URL.create("sqlite", database=str(path)).render_as_string()
    if make_url(named).database != str(path):
        raise TrackingError(f"{path}: MLflow's store cannot have this name. Take an --output_dir without ? and %.")
    # Of "sqlite:///" MLflow cuts the path off as it stands and makes its folder, which has another name where
    # something is quoted. The driver's name makes it leave that.
    return plain if named == plain else named.replace("sqlite", "sqlite+pysqlite", 1)


def file_of(uri: str) -> Path | None:
    """The file that a SQLite store is in; None of a server, and of another database."""
    if not uri.startswith(("sqlite:", "sqlite+")):
        return None
    from sqlalchemy import make_url

    database = make_url(uri).database
    return Path(database) if database and database != ":memory:" else None


def make_store(path: Path) -> None:
    """Make the store where it is absent or not whole, bring an older MLflow's up to date; nothing where it is ready.

    One process at a time does it, in a temporary file that takes its place when it is whole. So a kill at any moment
    leaves none or the old one, and its permissions are those of any other file (SQLite's own are 0644).

    Raises:
        TrackingError: The file is damaged, another's, of a newer MLflow, or in the hands of a process that hangs.
        OSError: It cannot be written.
    """
    if path.exists() and _is_whole(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if path.exists() and _is_whole(path):
            return
        for left in path.parent.glob(".*"):  # of a process that was killed
            if re.fullmatch(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}(-journal)?", left.name):
                left.unlink(missing_ok=True)
        made = path.with_name(f".{path.name}.{uuid4().hex}")
        made.touch()  # with the permissions that the umask gives; SQLite takes what is there
        try:
            if path.exists() and any(_asked(path, f"SELECT 1 FROM {table} LIMIT 1") for table in _RECORDS):
                _upgrade(path, made)
            else:
                _fill(made)
            if path.exists():
                _copy(made, path)  # in one transaction, for whoever has it open
            else:
                place_first(made, path)
        finally:
            made.unlink(missing_ok=True)
            _not_waited_for.discard(os.path.realpath(made))


def check_storage(path: Path) -> None:
    """Refuse a place where SQLite waits for locks in vain; where it could not wait for the disk, it shall not.

    A file of its own is asked: SQLite would lose its locks on one that this process opens and closes.

    Args:
        path: Of a store, in a folder that is there.

    Raises:
        TrackingError: Its file system has no locks.
    """
    with suppress(OSError), TemporaryFile(dir=path.parent) as probe:
        if not sync(probe.fileno()):
            _do_not_wait_for(path)
        try:
            fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise TrackingError(
                    f"{path}: MLflow's store needs a file system with locks, found one without ({error.strerror}). Set "
                    "MLFLOW_TRACKING_URI to a server, or to sqlite:////FOLDER/mlruns.db on another disk; 'mgmt-monai "
                    "record RUN_FOLDER' records there what was trained."
                ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock, until = Lock(path.parent, f"{path.name}."), time.monotonic() + _PATIENCE_S
    while True:
        try:
            lock.acquire()
            break
        except HeldError as error:
            if time.monotonic() > until:
                raise TrackingError(
                    f"{path}: another process{error.holder} has been making MLflow's store for {_PATIENCE_S} seconds. "
                    f"End it, then run again.{error.remedy}"
                ) from error
        time.sleep(0.5)
    try:
        yield
    finally:
        lock.release()


def _is_whole(path: Path) -> bool:
    """Whether a store has the layout of the installed MLflow; its last step sets the version that is asked here."""
    import mlflow
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations")).get_current_head()
    return _asked(path, "SELECT version_num FROM alembic_version") == [(newest,)]


def _asked(path: Path, question: str) -> list[tuple[Any, ...]]:
    """The answer; nothing where there is no such table."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60)) as store:
            return store.execute(question).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        owner = "" if os.access(path, os.W_OK) else f"; it belongs to user {path.stat().st_uid}, who may chmod it"
        raise TrackingError(f"{path}: MLflow's store cannot be opened ({error}{owner}).") from error
    except sqlite3.DatabaseError as error:
        raise TrackingError(
            f"{path}: expected MLflow's store, found a damaged file ({error}). Move it away; a new one is made, and "
            "'mgmt-monai record RUN_FOLDER' records what was trained."
        ) from error


def _fill(made: Path) -> None:
    """Let MLflow make its tables: without waiting for the disk at each of some hundred steps, but once at the end."""
    from mlflow.tracking import MlflowClient

    _do_not_wait_for(made)
    MlflowClient(store_uri(made.absolute())).search_experiments()
    with made.open("rb") as stream:
        sync(stream.fileno())


def _do_not_wait_for(path: Path) -> None:
    """From now on, let this process's connections to a store not wait for the disk; the host's own stay as they are."""
    from sqlalchemy import Engine, event

    _not_waited_for.add(os.path.realpath(path))
    if not event.contains(Engine, "connect", _connected):
        event.listen(Engine, "connect", _connected)


def _connected(connection: object, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        ((_, _, file),) = connection.execute("PRAGMA database_list").fetchall()
        if file in _not_waited_for:
            connection.execute("PRAGMA synchronous=OFF")


def _upgrade(path: Path, made: Path) -> None:
    _copy(path, made)
    call = [sys.executable, "-m", "mlflow", "db", "upgrade", store_uri(made.absolute())]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode or not _is_whole(made):
        reason = (done.stderr.strip().splitlines() or ["no reason told"])[-1][:200]
        raise TrackingError(
            f"{path}: expected a store of the installed MLflow, found one of another version that cannot be brought up "
            f"to date ({reason}). Install the MLflow that made it, or name another --output_dir."
        )
    before = path.with_name(f"{path.name}.before-upgrade")
    with suppress(FileExistsError), before.open("xb") as kept, path.open("rb") as old:
        shutil.copyfileobj(old, kept)
    logger.warning(f"{path}: brought up to date for the installed MLflow; as it was: {before.name}")


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source, timeout=60)) as old, closing(sqlite3.connect(target, timeout=60)) as new:
        old.backup(new)
