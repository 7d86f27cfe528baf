"""A folder that one process at a time writes: how it is begun, held, gone on with and let go of.

A folder is begun when its state file is there, which comes last: what a process leaves that was killed before that
counts as nothing, and whoever begins it next clears it away. The lock is the system's, so that it ends with the
process, however that ends.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any

from filelock import FileLock, Timeout

from mgmt_monai.atomic import is_temporary, remove_leftovers, secret, write_text
from mgmt_monai.errors import FULL_DISK, MgmtMonaiError

_LOCK, _OWNER, _SPARE = ".lock", ".owner", ".spare"

#: Bytes that are given back where a full disk would keep the state from being noted.
_SPARE_SIZE = 16384

KEY = "pseudonyms.key"
"""The file of `LockedFolder.pseudonym_key`."""


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
        self._lock: FileLock | None = None

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.name

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.path / self._state_file).is_file()

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

        It is in a file of its own that only the user may read, made when it is first asked for.
        """
        key = str(self.state.get("pseudonym_key") or secret(self.path / KEY))  # the first: of earlier versions
        if re.fullmatch("[0-9a-f]{32}", key) is None:
            raise self._damaged(KEY, "32 hexadecimal digits", "something else")
        return key

    def read_json(self, name: str, what: str) -> dict[str, Any]:
        """A JSON file of the folder.

        Args:
            name: Of the file.
            what: Is in it, in words.

        Raises:
            MgmtMonaiError: It is absent or damaged, or holds no object.
        """
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
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
        lock = FileLock(self.path / _LOCK)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
            since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            self.write_json(_OWNER, {"host": platform.node(), "process": os.getpid(), "since": since})
            remove_leftovers(self.path)
            (self.path / _SPARE).write_bytes(secrets.token_bytes(_SPARE_SIZE))
        except Timeout as error:
            raise self._error(
                f"{self.path}: this {self._what} is still running in another process{self._owner()}."
            ) from error
        except (OSError, NotImplementedError) as error:  # the second: a file system without locks
            lock.release()
            reason = getattr(error, "strerror", None) or error
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
            for name in (_OWNER, _SPARE):
                (self.path / name).unlink(missing_ok=True)
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

    def _owner(self) -> str:
        """Who holds it, in words; "" where that is not noted yet."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            owner = json.loads((self.path / _OWNER).read_text(encoding="utf-8"))
            return f" ({owner['process']} on {owner['host']}, since {owner['since']})"
        return ""
