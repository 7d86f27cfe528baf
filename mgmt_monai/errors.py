"""The error every room derives its own from, and how a user meets it: one line, exit code 1."""

from __future__ import annotations

import ast
import errno
import logging
import os
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, TextIO

from mgmt_monai.own_process import is_own_process, prepare

FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
"""A write that failed for want of room: on the disk, or in the user's share of it."""

FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
"""A path that may not be read or written: by its permissions, or because its disk is read-only."""

#: Characters that end a line, steer a terminal, turn the direction of writing, or are no text at all.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LAYOUT = "\n\r\t"

#: Characters of a message, and of a word in it, such as a path: of longer ones the middle is left out.
_LONGEST, _LONGEST_WORD = 2000, 500
REMEDIES = {
    errno.EIO: "have the disk or the file server looked at",
    errno.ESTALE: "the file server has lost the file: mount the folder again",
    errno.ENOTCONN: "the file server was lost: mount the folder again",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.ETIMEDOUT: "the file server does not answer: wait for it",
    errno.EMFILE: "allow more open files (ulimit -n) or ask for fewer --workers",
    errno.ENFILE: "the system has too many open files: end other programs",
    errno.ENOMEM: "ask for more memory or fewer --workers",
    errno.EAGAIN: "allow more processes (ulimit -u) or ask for fewer --workers",
    errno.ENOLCK: "have the file system's lock service looked at",
    errno.EBUSY: "wait until nothing else holds it",
}
"""What to do about what a machine did, by errno."""


#: torch's words for a loader's process that was killed, or that the shared memory has no room for.
_LOST = re.compile(
    r"DataLoader worker \(pid[^)]+\)+ (exited unexpectedly|is killed by signal: [\w ]+)"
    r"|(?<=[< ])/torch_\d+_\d+_\d+\S* .+\)"
)


#: The words of the system's loader, after a library's path.
_NOT_LOADED = re.compile(
    r"(\S+): ((?:cannot (?:open|stat) shared object file|cannot read file data|failed to map segment|file too short).*)"
)


class MgmtMonaiError(ValueError):
    """Something the user can mend: the message names what, where, what was expected and what to do.

    The command line shows the message alone, without a traceback, and ends with exit code 1. What was found may be a
    text of thousands of letters: its middle is left out.
    """

    def __str__(self) -> str:
        """The message."""
        return shortened(super().__str__())


def shortened(text: str) -> str:
    """A message whose middle is left out where it is very long, and that of very long words in it.

    Example:
        >>> len(shortened("x" * 9999)), len(shortened("x y" * 9999))
        (203, 2005)
    """
    text = re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda found: f"{found[0][:100]}...{found[0][-100:]}", text)
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} ... {text[-half:]}"


def one_line(error: BaseException) -> str | None:
    """What a user should be told about an error they can mend.

    Looked for, in this order, in the error and in what it was raised from: a library that the storage does not give, a
    `MgmtMonaiError`, what the machine did, a mistake in a bundle's config.

    Args:
        error: What was raised, outermost; MONAI wraps what a component raises in a ``RuntimeError``.

    Returns:
        One `printable` line without a leading ``Error:``, or None for an error that nobody foresaw: it keeps its
        traceback.
    """
    for describe in (_library, _own, _system, _config):
        for cause in causes(error, handled=describe is _library):
            message = describe(cause)
            if message is not None:
                return shortened(printable(" ".join(message.split())))
    return None


def printable(text: str, keep: str = "") -> str:
    r"""Text for messages and tables, a line each: control characters, and bytes that are no text, as their number.

    Args:
        text: From a header, or a file name as `os.fsdecode` gives it.
        keep: Control characters that stay.

    Example:
        >>> printable("P\n1 \udcff 影像")
        'P<0a>1 <dcff> 影像'
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else f"<{ord(found[0]):02x}>", text)


class PrintableStream:
    """A terminal or file on which control characters come out as their number, but for those of lines and bars.

    Args:
        stream: Where it goes on to; what it has besides, this has too.
        name: What an error is told of; "": what cannot be written is lost, and no error.
    """

    def __init__(self, stream: TextIO, name: str = "") -> None:
        self._stream, self._name = stream, name

    def write(self, text: str | bytes) -> int:
        """Write text, which click hands over as bytes for a shell's completion; its length."""
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        with self._told():
            self._stream.write(printable(text, keep=_LAYOUT))
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        with self._told():
            self._stream.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._name:
                error.filename = error.filename or self._name
                raise

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """As of the other stream; bytes would go past this one."""
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)


class PrintableRecord(logging.LogRecord):
    """A line of the log, wherever it is written to."""

    def getMessage(self) -> str:  # noqa: N802 (the base class' own manner)
        """The message, its control characters as their number."""
        return printable(super().getMessage(), keep=_LAYOUT)


@contextmanager
def printable_console() -> Iterator[None]:
    """While the block runs, no control character of this process reaches the terminal or a log."""
    before = sys.stdout, sys.stderr, logging.getLogRecordFactory()
    _make_console_printable()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before[:2]
        logging.setLogRecordFactory(before[2])


def one_line_errors() -> None:
    """From now on, end this process on an error the user can mend with one line; others keep their traceback.

    Nor does anything reach its terminal or log from now on but what is `printable`.

    In a process that is not ours (`is_own_process`) nothing changes: how its errors are shown is its own matter. A
    bundle's ``initialize`` calls it first, for ``python -m monai.bundle run`` knows nothing of `MgmtMonaiError`. The
    exit code of an uncaught error stays Python's own: 1, and 130 for Ctrl-C.
    """
    if is_own_process():
        prepare()
        sys.excepthook = _excepthook
        _make_console_printable()


def _make_console_printable() -> None:
    sys.stdout, sys.stderr = (
        one if isinstance(one, PrintableStream) else PrintableStream(one, name)
        for one, name in ((sys.stdout, "the standard output"), (sys.stderr, ""))
    )
    logging.setLogRecordFactory(PrintableRecord)


def why(error: OSError) -> str:
    """What the system says of a call that failed, and what to do where another place is no remedy."""
    said = error.strerror or str(error) or type(error).__name__
    return f"{said}: {REMEDIES[error.errno]}" if error.errno in REMEDIES else said


def full_disk(error: BaseException) -> OSError | None:
    """The full disk that an error comes of; None where it comes of something else."""
    return next((e for e in causes(error) if isinstance(e, OSError) and e.errno in FULL_DISK), None)


def causes(error: BaseException, handled: bool = False) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first, each once: an error may be its own cause.

    Args:
        error: As it was caught.
        handled: Whether what was being handled counts too. Else it is followed to a full disk alone, where the
            clean-up fails too.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        context = current.__context__
        full = isinstance(context, OSError) and context.errno in FULL_DISK
        current = current.__cause__ or (context if full or handled else None)


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    message = "Interrupted." if issubclass(kind, KeyboardInterrupt) else one_line(error)
    if message is None:
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(f"{message}\n" if issubclass(kind, KeyboardInterrupt) else f"Error: {message}\n")


def _library(error: BaseException) -> str | None:
    """What to say where an import failed because the storage does not give a library's file."""
    unlisted = _unlisted(error)
    path, said = (getattr(unlisted or error, name, None) for name in ("filename", "strerror"))
    if found := _NOT_LOADED.match(str(error)):
        path, said = found.groups()
    step, imports = error.__traceback__, False
    while step is not None:
        frame, step = step.tb_frame, step.tb_next
        if frame.f_code.co_filename == "<frozen importlib._bootstrap_external>":
            imports, path = True, path or frame.f_locals.get("path")
    if not found and not unlisted and not (imports and isinstance(error, OSError)):
        return None
    return (
        f"{path}: {said}; this file of Python's environment cannot be read: have its storage and permissions "
        "looked at, or install the environment again, and run again"
    )


def _unlisted(error: BaseException) -> OSError | None:
    """Why a folder cannot be listed that Python did not find a module in: it takes such a folder for an empty one."""
    module = getattr(error, "name", None) if isinstance(error, ImportError) else None
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        module = error.obj.__name__
    for entry in sys.path if module else ():
        folder = Path(entry)
        for part in ("", *str(module).split(".")):
            folder /= part
            try:
                os.scandir(folder).close()
            except (FileNotFoundError, NotADirectoryError):
                break
            except OSError as unlisted:
                return unlisted
    return None


def _own(error: BaseException) -> str | None:
    """A `MgmtMonaiError`'s message; of the last in the text, where a worker sent a traceback."""
    if str(error).startswith("Caught "):  # torch's words for an error in a worker process
        sent = re.findall(r"^(?:Original )?mgmt_monai(?:\.\w+)+: (.+)$", str(error), flags=re.MULTILINE)
        if sent:
            return str(sent[-1])
    if isinstance(error, MgmtMonaiError):
        return str(error) or type(error).__name__
    return None


def _system(error: BaseException) -> str | None:
    """What the machine did, whichever library met it: a full disk, a forbidden path, no memory."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return f"{error.filename or 'a file'} could not be written: the disk is full; free some space and run again"
    if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
        return "a database could not be written: the disk is full; free some space and run again"
    if isinstance(error, RuntimeError) and "inline_container.cc" in str(error) and "unexpected pos" in str(error):
        # torch.save's way to say that the file is shorter than what it wrote
        return "a checkpoint could not be written whole: the disk is full; free some space and run again"
    if isinstance(error, OSError) and error.errno in FORBIDDEN and error.filename is not None:
        return f"{error.filename}: {error.strerror}; choose another path or change its permissions"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG and error.filename is not None:
        name = str(error.filename)
        return (
            f"{name[:60]}...: expected a path, found one too long for this system ({len(name)} characters); shorten it"
        )
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return f"{error.filename or 'a file'}: {error.strerror}; {REMEDIES[error.errno]}, and run again"
    if isinstance(error, RuntimeError) and (lost := _LOST.search(str(error))):
        return (
            f"a process that hands out slices was lost ({lost[0]}): start fewer with --num_workers, or none with 0, or "
            "allow more memory, in a container more shared memory (--shm-size)"
        )
    if isinstance(error, MemoryError):
        return f"not enough memory; {REMEDIES[errno.ENOMEM]}, and run again"
    return None


def _config(error: BaseException) -> str | None:
    """A mistake in a bundle's config, as MONAI 1.6 words it, with the text it is in; None when in doubt."""
    text, cause = str(error), error.__cause__
    if isinstance(error, ValueError) and (found := re.match(r"the referring item `(@.+)` is not defined", text)):
        return f"the config refers to {found[1]}, which it does not define"
    if isinstance(error, ValueError) and text.startswith("detected circular references"):
        return text
    if isinstance(error, ValueError) and (found := re.match(r"run ID '(.+)' doesn't exist", text)):
        return f"the config has no key {found[1]!r} to run"
    if isinstance(error, KeyError) and (found := re.search(r"id='(.+)' is not found in the config", text)):
        return f"the config has no key {found[1]!r}"
    if isinstance(error, ModuleNotFoundError) and text.startswith("Cannot locate class or function path"):
        return f"config: {text}"
    if not isinstance(error, RuntimeError) or cause is None:
        return None
    depth = _depth(cause)
    if (found := re.match("Failed to instantiate component '(.+?)'", text)) and isinstance(cause, TypeError):
        # at depth 1 nothing of the component ran: the call itself did not fit its signature
        return f"config component {found[1]!r}: {cause}" if depth == 1 else None
    if (found := re.match(r"Failed to evaluate ConfigExpression:\s*(.+)", text, flags=re.DOTALL)) and depth <= 2:
        # nothing that the expression calls ran: the expression itself is wrong
        return f"config expression {ast.literal_eval(found[1])!r}: {type(cause).__name__}: {cause}"
    return None


def _depth(error: BaseException) -> int:
    """How many calls deep the error was raised, counted from where it was caught."""
    depth, step = 0, error.__traceback__
    while step is not None:
        depth, step = depth + 1, step.tb_next
    return depth
