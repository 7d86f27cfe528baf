"""A real Orthanc (Debian: orthanc, orthanc-dicomweb) on loopback, with ports, storage and users of its own."""

import contextlib
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

ORTHANC = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "reader", "planted-Pa55word"
STARTS_WITHIN_S = 30


@dataclass(frozen=True)
class Orthanc:
    """A running archive that asks for `USER` and `PASSWORD`."""

    url: str
    dicom_port: int


@contextmanager
def run_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start an archive, wait until it answers, end it."""
    if ORTHANC is None or not PLUGIN.is_file():
        pytest.skip("needs Orthanc with its DICOMweb plugin (Debian: orthanc, orthanc-dicomweb)")
    http_port, dicom_port = free_port(), free_port()
    config = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        wait_for(http_port, process, folder / "orthanc.log")
        yield Orthanc(f"http://localhost:{http_port}/dicom-web", dicom_port)
    finally:
        process.terminate()
        process.wait(STARTS_WITHIN_S)


@contextmanager
def behind_tls(archive: Orthanc, certificate: Path) -> Iterator[Orthanc]:
    """The archive behind a proxy that ends TLS, as hospitals run it; Debian 12's own TLS does not work with OpenSSL 3.

    Args:
        archive: Without encryption.
        certificate: PEM, with its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    inner = urlsplit(archive.url)

    class Proxy(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),  # who asks may refuse the certificate, or go
                context.wrap_socket(self.request, server_side=True) as outside,
                socket.create_connection((inner.hostname, inner.port)) as inside,
            ):
                back = threading.Thread(target=pass_on, args=(inside, outside), daemon=True)
                back.start()
                pass_on(outside, inside)
                back.join(STARTS_WITHIN_S)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Orthanc(f"https://localhost:{server.server_address[1]}{inner.path}", archive.dicom_port)
        server.shutdown()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    """Until something answers at the port; the log is in the message where nothing does."""
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            requests.get(f"http://127.0.0.1:{port}/", timeout=1)
            return
        except requests.ConnectionError:
            time.sleep(0.1)
    process.kill()
    pytest.fail(f"Orthanc does not answer:\n{log.read_text()[-2000:]}")
