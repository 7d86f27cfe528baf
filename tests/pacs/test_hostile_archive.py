"""An archive that means harm: each thing that it may do ends in one line, in time, with 1 GiB of memory."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

STUDY, SERIES, INSTANCE = "1.2.3", "1.2.3.4", "1.2.3.4.5"
OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/dicom+json\r\n"
IMAGE = OK + b'Content-Type: multipart/related; type="application/dicom"; boundary=B\r\n'

#: Fetches a study from each of the archives whose URLs it is given; its memory is limited once all is imported.
FETCH = """
import resource, sys, time
from pathlib import Path
from mgmt_monai.errors import one_line
from mgmt_monai.pacs import dicomweb
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for limit, url in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
    dicomweb.ANSWER_S = float(limit)
    began = time.monotonic()
    try:
        dicomweb.fetch_study(dicomweb.open_archive(url), "1.2.3", Path(sys.argv[1]))
        print("fetched", flush=True)
    except Exception as error:
        print(f"{time.monotonic() - began:.1f}\\t{one_line(error) or repr(error)}", flush=True)
"""


def whole(head: bytes, body: bytes) -> bytes:
    return head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def rows(**values: str) -> bytes:
    tags = {"series": "0020000E", "instance": "00080018", "modality": "00080060"}
    return json.dumps([{tags[name]: {"vr": "UI", "Value": [value]} for name, value in values.items()}]).encode()


def for_ever(head: bytes, part: bytes, pause_s: float = 0) -> Iterator[bytes]:
    yield head
    while True:
        yield part
        time.sleep(pause_s)


def in_an_archive(image: Callable[[], bytes | Iterator[bytes]]) -> Callable[[str], bytes | Iterator[bytes]]:
    """An archive with one image."""

    def answer(path: str) -> bytes | Iterator[bytes]:
        if "/instances?" in path:
            return whole(JSON, rows(instance=INSTANCE))
        return whole(JSON, rows(series=SERIES, modality="MR")) if "/series?" in path else image()

    return answer


def part(dataset_file: bytes) -> bytes:
    return whole(IMAGE, b"--B\r\nContent-Type: application/dicom\r\n\r\n" + dataset_file + b"\r\n--B--")


def one_more_series(path: str) -> bytes:
    offset = re.search(r"offset=(\d+)", path)
    return whole(JSON, rows(series=f"1.2.{offset[1] if offset else 0}"))


def bomb() -> bytes:
    """4 GiB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return (packer.compress(bytes(1 << 24)) + packer.flush()) * 256


@pytest.fixture(scope="module")
def files(make_dicom: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("images")
    uids = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": "1.2.9", "SOPInstanceUID": INSTANCE}
    path = make_dicom(folder / "image.dcm", np.zeros((4, 4), np.uint16), **uids)
    deflated = pydicom.dcmread(path)
    deflated.SeriesInstanceUID = SERIES
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated.save_as(folder / "deflated.dcm")
    return {"other": path.read_bytes(), "deflated": (folder / "deflated.dcm").read_bytes()}


def behaviours(files: dict[str, bytes]) -> dict[str, tuple[Callable[[str], bytes | Iterator[bytes]], str]]:
    """What each archive answers, and what is told of it."""
    elsewhere = b"HTTP/1.1 302 Found\r\nLocation: /dicom-web/studies\r\n"
    return {
        "endless JSON": (lambda path: for_ever(JSON + b"\r\n[", b"1," * 9999), "more than 16 MiB"),
        "gzip bomb": (lambda path: whole(JSON + b"Content-Encoding: gzip\r\n", bomb()), "a compressed one"),
        "deep JSON": (lambda path: whole(JSON, b"[" * 5_000_000), r"not DICOMweb \(RecursionError\)"),
        "long number": (lambda path: whole(JSON, b"9" * 5_000_000), "found no|not DICOMweb"),
        "body of drops": (lambda path: for_ever(JSON + b"\r\n[", b"1", 0.05), "none in time"),
        "headers of drops": (lambda path: for_ever(OK + b"X: ", b"x", 0.05), "none in time"),
        "endless headers": (lambda path: for_ever(OK, b"X: y\r\n"), "no connection"),
        "endless pages": (one_more_series, "more series or images than a study has"),
        "redirections": (lambda path: whole(elsewhere, b""), "a redirection"),
        "for ever busy": (
            lambda path: whole(b"HTTP/1.1 503 Busy\r\nRetry-After: 99999\r\n", b""), "none in time"
        ),
        "hostile reason": (
            lambda path: whole(b"HTTP/1.1 500 \x1b[2J\x07Doe\r\n", b""), r"HTTP 500 \(<1b>\[2J<07>Doe\)"
        ),
        "hostile modality": (
            lambda path: whole(JSON, rows(series=SERIES, modality="\x1b[2JDoe^Jane")), "found another. Name a study"
        ),
        "endless image": (in_an_archive(lambda: for_ever(IMAGE + b"\r\n--B\r\n", bytes(1 << 20))), "more than 256 MiB"),
        "another series' image": (in_an_archive(lambda: part(files["other"])), "found another one"),
        "deflated image": (in_an_archive(lambda: part(files["deflated"])), "found a deflated image"),
    }  # fmt: skip


def serve(answer: Callable[[str], bytes | Iterator[bytes]]) -> socket.socket:
    """A server of raw bytes on loopback, until its socket is closed."""
    listening = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as asked:
            while line := asked.readline():
                while asked.readline().strip():
                    pass
                told = answer(line.decode("latin-1").split()[1])
                try:
                    for one in [told] if isinstance(told, bytes) else told:
                        connection.sendall(one)
                except OSError:  # who asked has gone
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listening


def test_each_ends_in_one_line_in_time_and_within_memory(files: dict[str, bytes], tmp_path: Path) -> None:
    expected = behaviours(files)
    servers = [serve(answer) for answer, _ in expected.values()]
    try:
        words = [sys.executable, "-c", FETCH, str(tmp_path / "out")]
        for server, (_, told) in zip(servers, expected.values(), strict=True):
            words += ["0.5" if told == "none in time" else "50", f"HTTP://127.0.0.1:{server.getsockname()[1]}/dicom"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    finally:
        for server in servers:
            server.close()
    lines = done.stdout.splitlines()
    assert len(lines) == len(expected), done.stderr
    for (name, (_, told)), line in zip(expected.items(), lines, strict=True):
        seconds, message = line.split("\t")
        assert re.search(told, message), f"{name}: {message}"
        assert message.isprintable() and len(message) < 500, name
        assert float(seconds) < 60, name
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr
    assert list(tmp_path.rglob("*.dcm")) == []
