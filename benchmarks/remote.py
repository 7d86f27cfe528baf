"""A way that runs in a process of its own, which waits while the others have their turn.

So what one way sets for its process (threads, how freed memory is kept) is not another's, and both stay warm. As a
program, this is that process: it calls ``WORK(turn, size, **arguments)``, and ``turn(figure)`` tells the figure, waits
for the next turn and returns what it is asked for; the first, before anything is measured, tells None.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from measurement import Size, Way

FOLDER = Path(__file__).parent

Turn = Callable[[float | None], str]

Ask = Callable[[str], float]
"""The figure of what is asked for."""


class RemoteError(RuntimeError):
    """The process of a way ended."""


@contextmanager
def remote(name: str, work: str, size: Size, *, warm: bool = False, **arguments: Any) -> Iterator[Way]:
    """A way that a process does and nothing else.

    Args:
        name: Of the way.
        work: ``module.function``, a module beside this one.
        size: Of the work.
        warm: Whether the work warms up before it tells that it is ready.
        arguments: Of `remote_process`.

    Yields:
        The way, ready to run.
    """
    with remote_process(work, size, **arguments) as ask:
        yield Way(name, lambda: ask(name), warm)


@contextmanager
def remote_process(
    work: str, size: Size, n_processes: int = 1, environment: Mapping[str, str] | None = None, **arguments: Any
) -> Iterator[Ask]:
    """Start a process that waits to be asked; it ends with the block.

    Args:
        work: ``module.function``, a module beside this one.
        size: Of the work.
        n_processes: More than one are started by ``torchrun``; the figure is that of rank 0.
        environment: More variables for the process.
        arguments: More of the function's, as JSON can hold them.

    Yields:
        What asks it, when it is ready.

    Raises:
        RemoteError: The process ended; what it wrote last is in the message.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(folder / "turns"))
        server.listen()
        server.settimeout(0.5)
        log = folder / "log"
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_processes}"]
        command = [sys.executable, *(torchrun if n_processes > 1 else [])]
        command += [str(Path(__file__)), work, size.as_json(), json.dumps(arguments), str(folder / "turns")]
        variables = {**os.environ, "TMPDIR": str(folder), **(environment or {})}
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=variables)
        stack.callback(_end, process)
        streams = [stack.enter_context(_accepted(server, process, log)) for _ in range(n_processes)]
        by_rank = {int(_heard(stream, log)): stream for stream in streams}

        def ask(what: str) -> float:
            for stream in by_rank.values():
                stream.write(f"{what}\n")
                stream.flush()
            told = {rank: float(_heard(stream, log)) for rank, stream in by_rank.items()}
            return told[0]

        for stream in by_rank.values():
            _heard(stream, log)
        yield ask


@contextmanager
def _accepted(server: socket.socket, process: subprocess.Popen[bytes], log: Path) -> Iterator[TextIO]:
    while True:
        try:
            connection = server.accept()[0]
            break
        except TimeoutError:
            if process.poll() is not None:
                raise RemoteError(_last_words(log)) from None
    connection.settimeout(None)
    with connection, connection.makefile("rw") as stream:
        yield stream


def _heard(stream: TextIO, log: Path) -> str:
    try:
        line = stream.readline()
    except ConnectionError:
        line = ""
    if not line:
        time.sleep(0.5)  # its last words are still being written
        raise RemoteError(_last_words(log))
    return str(json.loads(line))


def _last_words(log: Path) -> str:
    return "the process of a way ended:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:])


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(30)  # its stream is closed: it ends by itself
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _main(work: str, size: str, arguments: str, address: str) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    stream = connection.makefile("rw")

    def tell(value: object) -> None:
        stream.write(json.dumps(value) + "\n")
        stream.flush()

    def turn(figure: float | None) -> str:
        tell(figure)
        asked = stream.readline()
        if not asked:
            os._exit(0)  # at once: whoever started it clears up
        return asked.rstrip("\n")

    tell(int(os.environ.get("RANK", "0")))
    module, _, function = work.partition(".")
    getattr(importlib.import_module(module), function)(turn, Size.from_json(size), **json.loads(arguments))


if __name__ == "__main__":
    _main(*sys.argv[1:])
