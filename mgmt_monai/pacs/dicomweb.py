"""Studies from an archive and objects into it, over DICOMweb: encrypted, and to nobody but the URL that was named."""

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from mgmt_monai.atomic import atomic_file, remove_leftovers
from mgmt_monai.pacs.credentials import PASSWORD, TOKEN, USER, credentials
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.study_source import is_uid, quietly

TIMEOUT_S = (10.0, 120.0)
"""To connect, and between two packets: archives take images from tape or another site before they answer."""

ANSWER_S = 600.0
"""For a whole answer, retries and all: who sends a byte a minute would otherwise keep us for ever."""

JSON_BYTES, IMAGE_BYTES = 1 << 24, 1 << 28
"""Of an answer to a search (some ten thousand images; parsed, it takes twenty times the memory) and of one image."""

MOST_SERIES, MOST_IMAGES, MOST_PAGES = 1000, 100_000, 1000
"""Of a study, and of a search that is answered in parts."""

RETRIES = 3
"""Of a request that a busy archive turned away."""

BUSY = (429, 502, 503, 504)

WHOLE_BYTES = 1 << 30
"""Objects up to this size are sent with their length: not every archive takes the chunked kind of request."""

MODALITIES = ("MR",)
"""Of the series that are fetched: an archive's study also has reports, pages and what else was made of it."""

DIGEST_DIGITS = 12
"""Hexadecimal, of the SHA-256 of a StudyInstanceUID."""

_SERIES, _INSTANCE, _MODALITY = "0020000E", "00080018", "00080060"
_FAILED, _REASON = "FailedSOPSequence", "FailureReason"
_CODE = re.compile("[A-Z]{2,4}")
_PART_BYTES, _SHOWN_CHARACTERS = 1 << 16, 200
#: Deflated explicit VR (PS3.5 A.5), which MR images are not stored in: a small file may become any size.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_ASK_FOR_WHO = f"Set {USER} and {PASSWORD}, or {TOKEN}, or write the host into your netrc."


class _TooMuchError(Exception):
    """An answer beyond the limits: what was found, in words."""


def open_archive(url: str) -> DICOMwebClient:
    """Make ready to speak to an archive; nothing is sent yet.

    Certificates are verified, against the authorities of ``REQUESTS_CA_BUNDLE`` where it is set, and that cannot be
    turned off. Redirections are not followed.

    Args:
        url: Of the service, below which ``/studies`` lies. ``https``, or ``http`` to this machine.

    Raises:
        PacsError: Another URL, one with a user or password in it, or credentials in the environment that do not fit.
    """
    checked = _checked_url(url)
    session = requests.Session()
    session.auth = credentials()
    session.max_redirects = 0
    session.headers["Accept"] = "application/dicom+json"
    # 0: who does not answer at all would not do so a second later; the command may simply be run again.
    busy = Retry(
        RETRIES, connect=0, read=0, other=0, status_forcelist=BUSY, backoff_factor=0.5, raise_on_status=False,
        respect_retry_after_header=False,
    )  # fmt: skip
    session.headers["Accept-Encoding"] = "identity"  # a few bytes could otherwise become any number
    session.mount("https://", _BoundedAdapter(max_retries=busy))
    session.mount("http://", _DirectAdapter(max_retries=busy))
    client = DICOMwebClient(checked, session=session, chunk_size=WHOLE_BYTES, timeout=TIMEOUT_S)
    client.set_http_retry_params(retry=False)  # its own would repeat everything, also what a certificate forbids
    client.host = urlsplit(checked).netloc  # goes into the Host header, where its own lacks the port
    return client


def fetch_study(archive: DICOMwebClient, study_uid: str, folder: Path, modalities: Sequence[str] = MODALITIES) -> Path:
    """Copy the images of a study into ``FOLDER/study-<digest>/<series UID>/<instance UID>.dcm``.

    The study's folder, which is returned and after which a prediction is named, is called by a digest of the UID:
    results that are not DICOM hold no identifier.

    Each file is whole or absent, and one that is there is not fetched again: after an interruption, call it again. No
    one else may be writing in the folder.

    Args:
        archive: From where.
        study_uid: StudyInstanceUID.
        folder: Made if absent.
        modalities: Of the series that are wanted; one without a modality is taken, too.

    Raises:
        PacsError: A UID that is none, no such study or series, or an archive that does not answer as it should.
    """
    if not is_uid(study_uid):
        raise PacsError(
            f"--study {study_uid}: expected a StudyInstanceUID (digits and points). Copy it from the archive."
        )
    study_dir = folder / f"study-{hashlib.sha256(study_uid.encode()).hexdigest()[:DIGEST_DIGITS]}"
    remove_leftovers(study_dir)
    wanted = _instances(archive, study_uid, modalities)
    for series, instance in tqdm(wanted, desc="Fetching the study", unit="image"):
        path = study_dir / series / f"{instance}.dcm"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset = _fetched(archive, study_uid, series, instance)
            with _told(archive, "keeping an image"), atomic_file(path) as temporary, quietly():
                dataset.save_as(temporary, enforce_file_format=True)
    return study_dir


def store(archive: DICOMwebClient, objects: Sequence[Dataset]) -> None:
    """Put objects, with file meta information, into an archive, each sent for itself.

    Raises:
        PacsError: It took not all of them; those before it has.
    """
    for number, one in enumerate(objects, start=1):
        with _told(archive, f"storing object {number} of {len(objects)}"), quietly():
            answer = archive.store_instances([one], study_instance_uid=str(one.StudyInstanceUID))
            if failed := answer.get(_FAILED):
                reason = failed[0].get(_REASON)
                raise PacsError(
                    f"{archive.base_url}: expected object {number} of {len(objects)} to be stored, found it refused "
                    f"(failure reason {'unknown' if reason is None else f'{reason:04X}'}). Ask the archive's "
                    "administrator."
                )


class _BoundedAdapter(HTTPAdapter):
    """Reads each answer whole, within limits of size and time; one that is larger or slower is none."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        done: list[requests.Response | BaseException] = []

        def answer() -> None:
            try:
                done.append(self._whole(request, *args, **options))
            except BaseException as error:
                done.append(error)

        # In a thread, since a server may keep us at any step: of the connection, of the headers, of the body.
        thread = Thread(target=answer, daemon=True)
        thread.start()
        thread.join(ANSWER_S)
        if not done:
            raise requests.ReadTimeout(f"no whole answer within {ANSWER_S:g} s")
        if isinstance(done[0], BaseException):
            raise done[0]
        return done[0]

    def _whole(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        response = super().send(request, *args, **{**options, "stream": True})
        limit = JSON_BYTES if "json" in str(request.headers.get("Accept")) else IMAGE_BYTES
        body = BytesIO()
        try:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise _TooMuchError("a compressed one, which nobody asked for")
            while part := response.raw.read(_PART_BYTES, decode_content=False):
                body.write(part)
                if body.tell() > limit:
                    raise _TooMuchError(f"one of more than {limit >> 20} MiB")
        except HTTPError as error:
            raise requests.ConnectionError(error) from error
        finally:
            response.close()
        if _DEFLATED in body.getvalue():
            raise _TooMuchError("a deflated image")
        body.seek(0)
        response.raw = body
        return response


class _DirectAdapter(_BoundedAdapter):
    """Speaks to this machine itself: a proxy that the environment names would get everything in the clear."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        options["proxies"] = None
        return super().send(request, *args, **options)


def _checked_url(url: str) -> str:
    """The URL without a slash at its end, if it is one that may be spoken to."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment or not url.isprintable():
        raise PacsError(
            "--dicomweb: expected a URL as https://archive.example/dicom-web, found another text. Correct it."
        )
    if "@" in parts.netloc:
        raise PacsError(f"--dicomweb: expected a URL without a user or password, found one of {host}. {_ASK_FOR_WHO}")
    if parts.scheme == "http" and not _is_this_machine(host):
        raise PacsError(
            f"--dicomweb: expected https, found http to {host}: patients' images would go over the network in the "
            "clear. Use https; http is for this machine alone (localhost)."
        )
    return urlunsplit(parts).rstrip("/")  # HTTPS is https


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _instances(archive: DICOMwebClient, study_uid: str, modalities: Sequence[str]) -> list[tuple[str, str]]:
    """Series and instance UID of each wanted image."""
    series = {}
    with _told(archive, "looking for the study"), quietly():
        for found in _pages(lambda offset: archive.search_for_series(study_uid, offset=offset), _SERIES, MOST_SERIES):
            series[_uid(archive, found, _SERIES)] = _text(found, _MODALITY)
    if not series:
        raise PacsError(f"{archive.base_url}: expected study {study_uid}, found no series of it. Check the UID.")
    wanted = [uid for uid, modality in sorted(series.items()) if not modality or modality in modalities]
    if not wanted:
        raise PacsError(
            f"{archive.base_url}: expected a series of modality {' or '.join(modalities)} in study {study_uid}, found "
            f"{', '.join(sorted({m if _CODE.fullmatch(m) else 'another' for m in series.values()}))}. Name a study of "
            "head MRI."
        )
    images: list[tuple[str, str]] = []
    with _told(archive, "looking for the study's images"), quietly():
        for uid in wanted:
            pages = _pages(
                lambda offset, uid=uid: archive.search_for_instances(study_uid, uid, offset=offset),
                _INSTANCE,
                MOST_IMAGES - len(images),
            )
            images += sorted((uid, _uid(archive, found, _INSTANCE)) for found in pages)
    return images


def _pages(search: Any, key: str, most: int) -> Iterator[Mapping[str, Any]]:
    """All that a search finds, however many an archive tells at once; one that ignores offsets is asked twice."""
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        page = [found for found in search(len(seen)) if _text(found, key) not in seen]
        if not page:
            return
        seen |= {_text(found, key) for found in page}
        if len(seen) > most:
            break
        yield from page
    raise _TooMuchError("more series or images than a study has")


def _text(found: Mapping[str, Any], key: str) -> str:
    """The first value of an attribute in DICOM JSON (PS3.18 F.2); empty where there is none."""
    element = found.get(key) if isinstance(found, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _uid(archive: DICOMwebClient, found: Mapping[str, Any], key: str) -> str:
    uid = _text(found, key)
    if not is_uid(uid):  # it becomes a file name
        raise PacsError(
            f"{archive.base_url}: expected a UID for each series and image, found another value. Do not use it."
        )
    return uid


def _fetched(archive: DICOMwebClient, study_uid: str, series_uid: str, instance_uid: str) -> Dataset:
    with _told(archive, "fetching an image"), quietly():
        dataset = archive.retrieve_instance(study_uid, series_uid, instance_uid)
        answered = [str(dataset.get(f"{level}InstanceUID")) for level in ("Study", "Series", "SOP")]
    if answered != [study_uid, series_uid, instance_uid]:
        raise PacsError(f"{archive.base_url}: expected image {instance_uid}, found another one. Ask its administrator.")
    return dataset


@contextmanager
def _told(archive: DICOMwebClient, doing: str) -> Iterator[None]:
    """What goes wrong between us and the archive, in one line and without what was sent."""
    try:
        yield
    except PacsError:
        raise
    except _TooMuchError as error:
        raise _problem(archive, doing, str(error), "Do not use it, or ask its administrator.") from error
    except requests.TooManyRedirects as error:
        raise _problem(archive, doing, "a redirection", "Name the URL of the DICOMweb service itself.") from error
    except requests.HTTPError as error:
        raise _refused(archive, doing, error) from error
    except requests.exceptions.SSLError as error:
        raise _problem(
            archive,
            doing,
            f"a certificate that is not trusted ({_innermost(error)})",
            "If the archive has its own authority, let REQUESTS_CA_BUNDLE name its certificate.",
        ) from error
    except requests.Timeout as error:
        raise _problem(archive, doing, "none in time", "Run the command again.") from error
    except requests.exceptions.JSONDecodeError as error:
        raise _problem(archive, doing, "no DICOM JSON", "Name the URL of the DICOMweb service itself.") from error
    except requests.RequestException as error:
        raise _problem(
            archive, doing, f"no connection ({_innermost(error)})", "Check host and port, and run the command again."
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise
        # requests has no better error for this
        raise PacsError("REQUESTS_CA_BUNDLE: expected a file of certificates, found none. Correct its path.") from error
    except Exception as error:  # whatever an answer does to those who parse it
        raise _problem(
            archive, doing, f"one that is not DICOMweb ({type(error).__name__})", "Name the URL of the service itself."
        ) from error


def _problem(archive: DICOMwebClient, doing: str, found: str, advice: str) -> PacsError:
    return PacsError(f"{archive.base_url}, {doing}: expected an answer, found {found[:_SHOWN_CHARACTERS]}. {advice}")


def _refused(archive: DICOMwebClient, doing: str, error: requests.HTTPError) -> PacsError:
    response = error.response
    status, reason = (0, "nothing") if response is None else (response.status_code, response.reason)
    advice = {
        401: _ASK_FOR_WHO,
        403: "Ask the archive's administrator for the right, or use another account.",
        404: "Check the URL and the study's UID.",
    }.get(status, "Run the command again later, or ask the archive's administrator.")
    return _problem(archive, doing, f"HTTP {status} ({reason})", advice)


def _innermost(error: BaseException) -> str:
    """What the network library says deepest down: the reason, without the request around it."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        reason = getattr(current, "reason", None) or next(
            (a for a in current.args if isinstance(a, BaseException)), None
        )
        current = reason if isinstance(reason, BaseException) else current.__cause__
    last = seen[-1]
    return (
        last.strerror
        if isinstance(last, OSError) and last.strerror
        else getattr(last, "verify_message", "") or str(last)
    )
