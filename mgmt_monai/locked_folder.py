"""A folder that one process at a time writes: how it is begun, held, gone on with and let go of.

A folder is begun when its state file is there, which comes last: what a process leaves that was killed before that
counts as nothing, and whoever begins it next clears it away. The lock is the system's, so that it ends with the
process, however that ends.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import platform
import re
import secrets
import shlex
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any
from uuid import uuid4

from mgmt_monai.atomic import is_temporary, remove_leftovers, secret, write_text
from mgmt_monai.errors import FULL_DISK, MgmtMonaiError, why
from mgmt_monai.json_file import JsonFileError, read_json

logger = logging.getLogger(__name__)

#: What a file system answers that has no locks, or whose lock service is away.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EPERM}

_LOCK, _OWNER, _SPARE = ".lock", ".owner", ".spare"

#: Bytes that are given back where a full disk would keep the state from being noted.
_SPARE_SIZE = 16384

KEY = "pseudonyms.key"
"""The file of `LockedFolder.pseudonym_key`."""


class HeldError(Exception):
    """Another process holds a lock.

    Args:
        holder: Which one, on what host, since when; in words.
        proven: Whether the system says so, which ends with the process; else a file does, which may outlive it.
        file: What `unlock` takes where the process is known to be gone.
    """

    def __init__(self, holder: str, proven: bool, file: Path) -> None:
        super().__init__(holder)
        self.holder, self.proven, self.file = holder, proven, file

    @property
    def remedy(self) -> str:
        """What to do where the process may be gone; "" where it is not."""
        return "" if self.proven else f" If that process is gone: mgmt-monai unlock {shlex.quote(str(self.file))}"


class Lock:
    """One process at a time: by the system's lock or, where the file system has none, by a file that says who.

    Args:
        folder: Where its files lie: ``.<name>lock``, and ``.<name>owner``, which says who has it.
        name: "" for the folder itself.
    """

    def __init__(self, folder: Path, name: str = "") -> None:
        self._path, self._owner = folder / f".{name}lock", folder / f".{name}owner"
        self._file: int | None = None
        self._warned = False  # of a lock that is asked for many times, once

    def acquire(self) -> None:
        """Take it, or say who has it.

        Raises:
            HeldError: Another process has it.
            OSError: Its files cannot be written.
        """
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            proven = self._is_locked(file)
            owner = self._read_owner()
            if owner.get("lock") == "file" and not is_dead(owner):
                raise HeldError(holder_in_words(owner), False, self._owner)
            if proven:
                write_text(self._owner, json.dumps(_own_name("system")))
            else:
                self._take_by_file(owner)
            self._file = file
        finally:
            if self._file is None:
                os.close(file)

    def release(self) -> None:
        """Let another process have it."""
        if self._file is not None:
            self._owner.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def _is_locked(self, file: int) -> bool:
        """Whether the system has locked it for this process; False where it has no locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise HeldError(holder_in_words(self._read_owner()), True, self._owner) from error
            if error.errno not in NO_LOCKS:
                raise
            if not self._warned:
                logger.warning(
                    f"{self._path.parent}: this file system has no locks ({why(error)}): {self._owner.name} says who "
                    "writes here. After a job was killed on another machine, 'mgmt-monai unlock' frees it"
                )
            self._warned = True
            return False
        return True

    def _take_by_file(self, dead: dict[str, Any]) -> None:
        temporary = self._owner.with_name(f"{self._owner.name}.{uuid4().hex}")
        write_text(temporary, json.dumps(_own_name("file")))
        try:
            if dead:
                self._owner.unlink(missing_ok=True)
            os.link(temporary, self._owner)  # fails where it is there, on every file system
        except FileExistsError as error:
            raise HeldError(holder_in_words(self._read_owner()), False, self._owner) from error
        except OSError:  # no hard links here
            with self._owner.open("x", encoding="utf-8") as stream:
                stream.write(json.dumps(_own_name("file")))
        finally:
            temporary.unlink(missing_ok=True)

    def _read_owner(self) -> dict[str, Any]:
        with suppress(JsonFileError):
            owner = read_json(self._owner)
            return owner if isinstance(owner, dict) else {}
        return {}


def _own_name(lock: str) -> dict[str, Any]:
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "begun": _begun(os.getpid()),
        "numbered_in": _numbered_in(),
        "lock": lock,
    }


def _begun(pid: int) -> str:
    """Tells a process from a later one of the same number, also after the machine was started again; "" without one."""
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path(f'/proc/{pid}/stat').read_text(encoding='utf-8').rpartition(')')[2].split()[19]}"
    return ""


def is_dead(owner: dict[str, Any]) -> bool:
    """Whether a holder ran on this machine and is gone; of another machine's nothing is known."""
    return is_near(owner) and owner["begun"] != _begun(owner.get("process", 0))


def is_near(owner: dict[str, Any]) -> bool:
    """Whether the process would be seen here if it ran: on this machine, and in no container of its own."""
    same = owner.get("host") == platform.node() and owner.get("numbered_in", _numbered_in()) == _numbered_in()
    return same and bool(owner.get("begun") and _begun(os.getpid()))


def _numbered_in() -> str:
    """Tells which processes see each other by their numbers: those of one container; "" where that is not told."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def holder_in_words(owner: dict[str, Any]) -> str:
    """Who holds a lock, on what host, since when; "" where the file does not say."""
    if not {"process", "host", "since"} <= owner.keys():
        return ""
    return f" ({owner['process']} on {owner['host']}, since {owner['since']})"


class LockedFolder:
    """A folder with a state, of which nothing is written before `take`.

    Args:
        path: The folder.
        what: Is kept in it, in one word, such as ``training``.
        state_file: JSON, written in it last when it is begun, and at every change.
        error: What is raised.
        before_state: Files that may be there when it is not begun yet.
        keys: What a state has, with the kind of each value.
    """

    def __init__(
        self,
        path: Path,
        what: str,
        state_file: str,
        error: type[MgmtMonaiError],
        before_state: tuple[str, ...] = (),
        keys: Mapping[str, type | UnionType] = MappingProxyType({}),
    ) -> None:
        self.path = path
        self._what = what
        self._state_file = state_file
        self._error = error
        self._before_state = {_LOCK, _OWNER, _SPARE, *before_state}
        self._keys = keys
        self._lock: Lock | None = None

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.name

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.path / self._state_file).is_file()

    @property
    def is_held(self) -> bool:
        """Whether this process holds it."""
        return self._lock is not None

    @property
    def is_free(self) -> bool:
        """Whether there is nothing in its place, or what a process left that was killed while it began the folder."""
        if not self.path.is_dir():
            return not self.path.exists()
        return all(one.name in self._before_state or is_temporary(one) for one in self.path.iterdir())

    @property
    def state(self) -> dict[str, Any]:
        """What the state file says.

        Raises:
            MgmtMonaiError: It cannot be read.
        """
        state = self.read_json(self._state_file, f"the state of a {self._what}")
        wrong = [key for key, kind in self._keys.items() if key not in state or not isinstance(state[key], kind)]
        if wrong or not state:
            lacks = f" without {', '.join(wrong)}" if wrong else f" {state!r}"
            raise self._damaged(self._state_file, f"the state of a {self._what}", f"one{lacks}")
        return state

    @property
    def pseudonym_key(self) -> str:
        """The folder's secret: without it nobody can tell which patient a pseudonym stands for.

        It is in a file of its own that only the user may read, made when it is first asked for. A digest of it is noted
        in the state: where the file is gone, or another, the pseudonyms are others than before, which is told.
        """
        state = self.state
        key = str(state.get("pseudonym_key") or secret(self.path / KEY))  # the first: of earlier versions
        if re.fullmatch("[0-9a-f]{32}", key) is None:
            raise self._damaged(KEY, "32 hexadecimal digits", "something else")
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        if (before := state.get("pseudonyms", digest)) != digest:
            logger.warning(
                f"{self.path / KEY}: expected the key that this {self._what} began with, found none or another: its "
                "patients have other pseudonyms from now on. Put the file back from a copy to keep the first ones"
            )
        if self.is_held and (before != digest or "pseudonyms" not in state):
            self.update(pseudonyms=digest)
        return key

    def read_json(self, name: str, what: str) -> dict[str, Any]:
        """A JSON file of the folder.

        Raises:
            MgmtMonaiError: It is absent or damaged, or holds no object.
        """
        try:
            content = read_json(self.path / name)
        except JsonFileError as error:
            raise self._damaged(name, what, f"none ({error})") from error
        if not isinstance(content, dict):
            raise self._damaged(name, what, repr(content)[:40])
        return content

    def _damaged(self, name: str, what: str, found: str) -> MgmtMonaiError:
        return self._error(
            f"{self.path / name}: expected {what}, found {found}. Put the file back from a copy, or move {self.path} "
            "away and start again."
        )

    def take(self, option: str = "--output_dir") -> None:
        """Make the folder where it is absent, and hold it for this process until `close`.

        Args:
            option: Of the command line, that names another folder.

        Raises:
            MgmtMonaiError: Another process holds it, or it cannot be written to.
        """
        lock = Lock(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            remove_leftovers(self.path)
            (self.path / _SPARE).write_bytes(secrets.token_bytes(_SPARE_SIZE))
        except HeldError as held:
            raise self._error(
                f"{self.path}: this {self._what} is still running in another process{held.holder}.{held.remedy}"
            ) from held
        except OSError as error:
            lock.release()
            reason = why(error)
            raise self._error(f"{self.path}: cannot be written to ({reason}). Name another {option}.") from error
        self._lock = lock

    def begin(self, state: dict[str, Any], **files: Any) -> None:
        """Write the first state; after `take`.

        Args:
            state: What JSON can hold.
            files: Content by stem, for JSON files that are there before it.

        Raises:
            MgmtMonaiError: It is begun already.
        """
        if self.has_state:
            self.close()
            raise self._error(
                f"{self.path}: there is a run of this name already. Take another run_name, or --resume true."
            )
        for stem, content in files.items():
            self.write_json(f"{stem}.json", content)
        self.write_json(self._state_file, state)

    def close(self) -> None:
        """Let another process go on."""
        if self._lock is not None:
            (self.path / _SPARE).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def update(self, **values: Any) -> None:
        """Note something in the state, which a full disk does not keep from being true.

        Args:
            values: By name; others stay.
        """
        state = {**self.state, **values}
        try:
            self.write_json(self._state_file, state)
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            (self.path / _SPARE).unlink(missing_ok=True)
            self.write_json(self._state_file, state)

    def write_json(self, name: str, content: Any) -> Path:
        """Write a JSON file, whole or not at all.

        Args:
            name: Of the file, below the folder.
            content: What JSON can hold; anything else is written as text.

        Returns:
            The file.
        """
        path = self.path / name
        write_text(path, json.dumps(content, indent=2, default=str) + "\n")
        return path
