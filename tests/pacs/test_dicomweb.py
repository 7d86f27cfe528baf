"""What an archive may do wrong, each from a real HTTP server on loopback; Orthanc does none of it."""

import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from real_orthanc import free_port

from mgmt_monai.inference.prediction import StudyPrediction
from mgmt_monai.pacs.dicomweb import fetch_study, open_archive, store
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.structured_report import structured_report
from mgmt_monai.pacs.study_source import SourceSeries

JSON = {"Content-Type": "application/dicom+json"}
Answer = tuple[int, dict[str, str], bytes]
FAILED = json.dumps({"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0122]}}]}})
STUDY, SERIES, INSTANCE = "1.2.3", "1.2.3.4", "1.2.3.4.5"


@contextmanager
def serving(answer: Callable[[str], Answer]) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A server that answers each path; its URL, and what it was asked: request line, headers, body."""
    asked: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.requestline, {key.lower(): value for key, value in self.headers.items()}, body))
            status, headers, content = answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 (the base class' own manner)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web", asked
        server.shutdown()


def found(**values: str) -> dict[str, dict[str, object]]:
    tags = {"series": "0020000E", "instance": "00080018", "modality": "00080060"}
    return {tags[name]: {"vr": "UI", "Value": [value]} for name, value in values.items()}


def answers(*rows: dict) -> Answer:
    return 200, JSON, json.dumps(rows).encode()


def archive_of(file: bytes = b"", series: dict | None = None, instance: dict | None = None) -> Callable[[str], Answer]:
    """An archive with one image, which ignores offsets."""

    def answer(path: str) -> Answer:
        if path.startswith(f"/dicom-web/studies/{STUDY}/series?"):
            return answers(series or found(series=SERIES, modality="MR"))
        if path.startswith(f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances?"):
            return answers(instance or found(instance=INSTANCE))
        body = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n--B--"
        return 200, {"Content-Type": 'multipart/related; type="application/dicom"; boundary=B'}, body

    return answer


@pytest.fixture
def image(make_dicom: Callable[..., Path], tmp_path: Path) -> bytes:
    path = tmp_path / "image.dcm"
    uids = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": INSTANCE}
    return make_dicom(path, np.arange(16, dtype=np.uint16).reshape(4, 4), **uids).read_bytes()


def test_image_is_fetched_from_an_archive_that_ignores_offsets(image: bytes, tmp_path: Path) -> None:
    with serving(archive_of(image)) as (url, asked):
        fetched = fetch_study(open_archive(f"{url}/"), STUDY, tmp_path / "out")

    path = fetched / SERIES / f"{INSTANCE}.dcm"
    assert pydicom.dcmread(path).PixelData == pydicom.dcmread(io.BytesIO(image)).PixelData
    assert [line.split("?")[0].split()[1] for line, *_ in asked] == [
        *[f"/dicom-web/studies/{STUDY}/series"] * 2,
        *[f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances"] * 2,
        f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}",
    ]


def test_archive_that_tells_one_series_at_a_time_is_asked_for_all(image: bytes, tmp_path: Path) -> None:
    def answer(path: str) -> Answer:
        if path.startswith(f"/dicom-web/studies/{STUDY}/series?"):
            offset = int(path.split("offset=")[1])
            return answers(
                *[found(series=f"1.2.3.{number}", modality="CT") for number in range(3)][offset : offset + 1]
            )
        return archive_of(image)(path)

    with serving(answer) as (url, asked), pytest.raises(PacsError, match="found CT"):
        fetch_study(open_archive(url), STUDY, tmp_path)

    assert [line.split("offset=")[1].split()[0] for line, *_ in asked] == ["0", "1", "2", "3"]


def test_host_header_has_the_port(image: bytes, tmp_path: Path) -> None:
    with serving(archive_of(image)) as (url, asked):
        fetch_study(open_archive(url), STUDY, tmp_path)

    assert {headers["host"] for _, headers, _ in asked} == {url.split("/")[2]}


def test_proxy_of_the_environment_is_not_used_for_this_machine(
    image: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    with serving(archive_of(image)) as (url, _):
        assert fetch_study(open_archive(url), STUDY, tmp_path).is_dir()


@pytest.mark.parametrize("uid", ["../../../../evil", "..", "1.2/../..", "", "1.2\n"])
@pytest.mark.parametrize("which", ["series", "instance"])
def test_uid_that_would_leave_the_folder_is_refused(image: bytes, tmp_path: Path, which: str, uid: str) -> None:
    out = tmp_path / "out" / "deep"
    with (
        serving(archive_of(image, **{which: found(**{which: uid})})) as (url, _),
        pytest.raises(PacsError, match="expected a UID for each series and image"),
    ):
        fetch_study(open_archive(url), STUDY, out)

    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "image.dcm"] == []


@pytest.mark.parametrize("uid", ["", "..", "../1", "1.2.3/series", "abc"])
def test_study_that_is_no_uid_is_refused(tmp_path: Path, uid: str) -> None:
    with pytest.raises(PacsError, match="expected a StudyInstanceUID"):
        fetch_study(open_archive("http://localhost:1/dicom-web"), uid, tmp_path)


def test_another_image_than_was_asked_for_is_refused(make_dicom: Callable[..., Path], tmp_path: Path) -> None:
    other = make_dicom(
        tmp_path / "other.dcm", np.zeros((4, 4), np.uint16), StudyInstanceUID="1.9.9", SOPInstanceUID=INSTANCE
    )
    with (
        serving(archive_of(other.read_bytes())) as (url, _),
        pytest.raises(PacsError, match=f"expected image {INSTANCE}, found another one"),
    ):
        fetch_study(open_archive(url), STUDY, tmp_path / "out")

    assert list((tmp_path / "out").rglob("*.dcm")) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param((401, {}, b""), r"HTTP 401 .*Set MGMT_DICOMWEB_USER and MGMT_DICOMWEB_PASSWORD", id="401"),
        pytest.param((403, {}, b""), "HTTP 403 .*administrator", id="403"),
        pytest.param((404, {}, b""), r"HTTP 404 .*Check the URL", id="404"),
        pytest.param((500, {}, b"Traceback"), r"HTTP 500 .*administrator", id="500"),
        pytest.param((302, {"Location": "http://elsewhere.example/"}, b""), "found a redirection", id="redirection"),
        pytest.param((200, {"Content-Type": "text/html"}, b"<html>Hello</html>"), "found no DICOM JSON", id="page"),
        pytest.param((200, JSON, b"[1, 2"), "found no DICOM JSON", id="broken"),
        pytest.param((200, JSON, b"[1, 2]"), "expected a UID", id="other JSON"),
        pytest.param((200, JSON, b"3"), "not DICOMweb", id="number"),
        pytest.param((200, JSON, b""), "found no series of it", id="nothing"),
    ],
)
def test_answer_of_another_kind_is_one_line(tmp_path: Path, answer: Answer, expected: str) -> None:
    with serving(lambda _: answer) as (url, _), pytest.raises(PacsError, match=expected) as refused:
        fetch_study(open_archive(url), STUDY, tmp_path)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"not DICOM", b"\0" * 128 + b"DICM\xff"])
def test_image_of_another_kind_is_one_line(tmp_path: Path, content: bytes) -> None:
    with serving(archive_of(content)) as (url, _), pytest.raises(PacsError, match=r"expected an answer|expected image"):
        fetch_study(open_archive(url), STUDY, tmp_path)

    assert list(tmp_path.rglob("*.dcm")) == []


def test_image_that_breaks_off_is_not_kept(image: bytes, tmp_path: Path) -> None:
    def answer(path: str) -> Answer:
        status, headers, content = archive_of(image)(path)
        if "offset" in path:
            return status, headers, content
        return status, {**headers, "Content-Length": str(len(content))}, content[:-30]

    with serving(answer) as (url, _), pytest.raises(PacsError, match=r"fetching an image: .* no connection"):
        fetch_study(open_archive(url), STUDY, tmp_path / "out")

    assert list((tmp_path / "out").rglob("*.dcm")) == []


def test_busy_archive_is_asked_again(image: bytes, tmp_path: Path) -> None:
    turned_away = iter([True, False])

    def answer(path: str) -> Answer:
        return (503, {"Retry-After": "0"}, b"") if next(turned_away, False) else archive_of(image)(path)

    with serving(answer) as (url, _):
        assert (fetch_study(open_archive(url), STUDY, tmp_path) / SERIES / f"{INSTANCE}.dcm").is_file()


def test_nobody_at_the_port_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PacsError, match=r"found no connection \(Connection refused\)"):
        fetch_study(open_archive(f"http://localhost:{free_port()}/dicom-web"), STUDY, tmp_path)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param((409, JSON, b"{}"), "HTTP 409", id="all refused"),
        # PS3.18 table I.2-2: 0122 (hexadecimal), SOP class not supported
        pytest.param((202, JSON, FAILED.encode()), r"object 1 of 1 .* refused \(failure reason 0122\)", id="refused"),
        pytest.param((413, {}, b""), "HTTP 413", id="too large"),
    ],
)
def test_object_that_is_not_stored_is_told_of(
    prediction: StudyPrediction, sources: list[SourceSeries], answer: Answer, expected: str
) -> None:
    report = structured_report(prediction, sources)

    with serving(lambda _: answer) as (url, _), pytest.raises(PacsError, match=expected):
        store(open_archive(url), [report])


def test_large_object_is_sent_whole(prediction: StudyPrediction, sources: list[SourceSeries]) -> None:
    large = Dataset()
    large.update(structured_report(prediction, sources))
    large.file_meta = structured_report(prediction, sources).file_meta
    large.add_new("EncapsulatedDocument", "OB", bytes(3_000_000))

    with serving(lambda _: (200, JSON, b"{}")) as (url, asked):
        store(open_archive(url), [large])

    [(line, headers, body)] = asked
    assert line.startswith(f"POST /dicom-web/studies/{large.StudyInstanceUID} ")
    assert "transfer-encoding" not in headers
    assert len(body) > 3_000_000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://archive.example/dicom-web", "expected https, found http to archive.example"),
        ("http://localhost.evil.example/", "expected https"),
        ("http://192.168.1.7:8042/dicom-web", "expected https"),
        ("http://0.0.0.0/", "expected https"),
        ("https://me:planted-secret@archive.example/", "without a user or password"),
        ("https://planted-secret@archive.example/", "without a user or password"),
        ("http://localhost:1\\@evil.example/planted-secret", "without a user or password"),
        ("https://archive.example/?token=planted-secret", "expected a URL as"),
        ("https://archive.example/#planted-secret", "expected a URL as"),
        ("ftp://archive.example/", "expected a URL as"),
        ("archive.example/dicom-web", "expected a URL as"),
        ("https://", "expected a URL as"),
        ("https://archive.example:port/", "expected a URL as"),
        ("https://[::1/", "expected a URL as"),
        ("https://archive.example/\r\nX: planted-secret", "expected a URL as"),
        ("", "expected a URL as"),
    ],
)
def test_url_of_another_kind_is_refused_without_being_told(url: str, expected: str) -> None:
    with pytest.raises(PacsError, match=expected) as refused:
        open_archive(url)

    assert "planted-secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://archive.example/dicom-web", "http://localhost:8042", "http://127.0.0.1/", "http://[::1]:8042/x"]
)
def test_encrypted_and_local_urls_are_taken(url: str) -> None:
    assert open_archive(url).base_url == url.rstrip("/")


def test_credentials_are_not_in_the_text_of_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGMT_DICOMWEB_TOKEN", "planted-secret")

    assert "planted-secret" not in repr(open_archive("https://archive.example/"))
