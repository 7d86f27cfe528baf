"""Processes that read for this one, so that what a file does to its reader, a crash too, harms nothing else.

They are started as programs of their own and spoken to through pipes: they need no socket in TMPDIR, nothing of the
caller's main module (a here-document has none), and may be had where a process may have no children of
``multiprocessing`` (in its workers, in joblib's).
"""

import atexit
import os
import pickle
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from mgmt_monai.machine import MachineError

R = TypeVar("R")

#: What a reader's data may take beyond what it has at its start, in bytes; slices pass through it one by one.
MEMORY_LIMIT = 4 * 2**30

#: What the libraries may take to be imported, in seconds: a file server may be slow at it.
_START_TIMEOUT_S = 300.0

#: Readers that live on for the next scan of this process: as many as a study has modalities.
_MOST_KEPT = 4

#: The caller's import path, so that it finds what the caller found; complaints from C go nowhere.
_PROGRAM = """
import os, pickle, sys
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
sys.path[:], name = pickle.load(sys.stdin.buffer)
try:
    module = __import__(name, fromlist=["serve"])
except BaseException as error:
    pickle.dump(f"{type(error).__name__}: {error}", answers)
    sys.exit(1)
module.serve(sys.stdin.buffer, answers)
"""


class ReaderDiedError(Exception):
    """A reader ended before it answered.

    Args:
        exitcode: Of its process; negative for a signal.
    """

    def __init__(self, exitcode: int) -> None:
        super().__init__(exitcode)
        self.exitcode = exitcode


class _Reader:
    """One process.

    Raises:
        MachineError: It cannot be had.
    """

    def __init__(self) -> None:
        self._killed = False
        one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=one_thread | os.environ,
            )
        except OSError as error:
            raise _unobtainable(error.strerror or type(error).__name__) from error
        try:
            self._send((sys.path, __name__))
            fault = self._receive(_START_TIMEOUT_S)
        except (ReaderDiedError, TimeoutError) as error:
            self.end()
            code = f" (exit code {error.exitcode})" if isinstance(error, ReaderDiedError) else ""
            raise _unobtainable(f"it {'ended' if code else 'did not begin'} at its start{code}") from error
        if fault:
            self.end()
            raise _unobtainable(fault)

    def call(self, function: Callable[..., R], args: tuple[Any, ...], timeout_s: float) -> R:
        self._send((function, args))
        answer, error = self._receive(timeout_s)
        if error is not None:
            raise error
        result: R = answer
        return result

    @property
    def is_alive(self) -> bool:
        return not self._killed and self._process.poll() is None

    def kill(self) -> None:
        self._killed = True
        self._process.kill()

    def end(self) -> None:
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was not sent is not wanted any more
                pipe.close()  # type: ignore[union-attr]

    def _send(self, message: Any) -> None:
        try:
            pickle.dump(message, self._process.stdin)  # type: ignore[arg-type]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except OSError as error:
            raise ReaderDiedError(self._process.wait()) from error

    def _receive(self, timeout_s: float) -> Any:
        # Seconds are counted one by one: those for which this process was stopped are none of them.
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)  # type: ignore[arg-type]
        left_s = timeout_s
        while not poll.poll(1000 * min(1.0, left_s)):
            left_s -= 1.0
            if left_s <= 0:
                raise TimeoutError
        try:
            return pickle.load(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise ReaderDiedError(self._process.wait()) from error


_kept: list[_Reader] = []


class Readers:
    """Up to so many processes, each started when it is first needed; a few live on for the next, until `end_kept`.

    Args:
        n: Processes; where the machine gives fewer, those do the work.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...], float] | None] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._readers: set[_Reader] = set()
        self._lock, self._closed = threading.Lock(), False

    def submit(self, function: Callable[..., R], *args: Any, timeout_s: float) -> Future[R]:
        """Have a function called by one of them.

        Args:
            function: One that is found by its name.
            args: What can be pickled.
            timeout_s: What it may take; time for which this process is stopped does not count.

        Returns:
            Its result, or what it raised; `ReaderDiedError`, ``TimeoutError``; `MachineError` where not one process
            can be had.

        Raises:
            MachineError: Not one thread can be had.
        """
        future: Future[R] = Future()
        self._tasks.put((future, function, args, timeout_s))
        with self._lock:
            if len(self._threads) < self._n:
                thread = threading.Thread(target=self._work, daemon=True)
                self._threads.add(thread)
                try:
                    thread.start()
                except RuntimeError as error:
                    self._threads.discard(thread)
                    self._n = len(self._threads)
                    if not self._n:
                        raise _unobtainable(str(error)) from error
        return future

    def close(self) -> None:
        """End what is running, and the processes beyond those that live on."""
        with self._lock:
            self._closed = True
            for reader in self._readers:
                reader.kill()
            threads = list(self._threads)
        for _ in threads:
            self._tasks.put(None)
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        """What a thread does for its reader."""
        reader: _Reader | None = None
        while (task := self._tasks.get()) is not None:
            future, function, args, timeout_s = task
            if self._closed:
                continue
            try:
                reader = reader or self._started()
            except Exception as error:
                if isinstance(error, MachineError) and self._is_dispensable():
                    self._tasks.put(task)  # to those who have a reader
                    return
                future.set_exception(error)
                continue
            with self._lock:
                if self._closed:
                    continue
                self._readers.add(reader)
            try:
                future.set_result(reader.call(function, args, timeout_s))
            except Exception as error:
                if isinstance(error, (ReaderDiedError, TimeoutError, MemoryError)):  # memory: also what others left
                    reader.kill()
                future.set_exception(error)
            with self._lock:
                self._readers.discard(reader)
            if not reader.is_alive:
                reader.end()
                reader = None
        if reader is not None:
            if len(_kept) < _MOST_KEPT:
                _kept.append(reader)
            else:
                reader.end()

    def _started(self) -> _Reader:
        while _kept:
            with suppress(IndexError):  # another thread was quicker
                if (reader := _kept.pop()).is_alive:
                    return reader
                reader.end()
        return _Reader()

    def _is_dispensable(self) -> bool:
        """Whether other threads go on when the one that asks ends."""
        with self._lock:
            others = self._threads - {threading.current_thread()}
            if others:
                self._threads.discard(threading.current_thread())
                self._n = len(others)
            return bool(others)


def serve(questions: Any, answers: Any) -> None:
    """What a reader does: call what it is told to, until nobody is there to tell.

    Args:
        questions: Binary stream of pickled functions with their arguments.
        answers: Binary stream of pickled results with None, or of None with what was raised.
    """
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    _limit_memory()
    answer: Any = ""
    while True:
        try:
            pickle.dump(answer, answers)
            answers.flush()
            function, args = pickle.load(questions)
        except (EOFError, OSError):
            return
        try:
            answer = (function(*args), None)
        except Exception as error:
            answer = (None, _sendable(error))


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _limit_memory() -> None:
    try:
        import resource

        # Of data alone: PyTorch for CUDA has 3 GiB of addresses for its libraries.
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        limit = pages * resource.getpagesize() + MEMORY_LIMIT
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    except (ImportError, OSError, ValueError):
        return  # no Linux: claimed sizes are still held against their limits


def _unobtainable(reason: str) -> MachineError:
    return MachineError(
        f"no process to read files in can be had ({reason}); the machine is at fault, not the files: allow more "
        "processes (ulimit -u) and memory, and run again"
    )


def end_kept() -> None:
    """End the processes that are kept for the next scan."""
    while _kept:
        _kept.pop().end()


atexit.register(end_kept)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.clear)  # they answer the process that started them
