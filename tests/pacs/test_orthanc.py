"""The whole way through a real archive: images in by C-STORE, out by DICOMweb, results back in and out again."""

import hashlib
import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from real_orthanc import PASSWORD, USER, Orthanc, behind_tls

from mgmt_monai.inference.prediction import StudyPrediction
from mgmt_monai.inference.study import StudySeries, read_study
from mgmt_monai.pacs.dicomweb import fetch_study, open_archive, store
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.result import write_object
from mgmt_monai.pacs.secondary_capture import secondary_captures
from mgmt_monai.pacs.structured_report import structured_report
from mgmt_monai.pacs.study_source import SourceSeries

pytestmark = pytest.mark.xdist_group("orthanc")


@pytest.fixture(scope="module")
def filled(orthanc: Orthanc, study_dir: Path) -> Orthanc:
    """The archive with the study, sent by C-STORE."""
    c_store(orthanc, study_dir)
    return orthanc


def c_store(archive: Orthanc, path: Path) -> None:
    if shutil.which("storescu") is None:
        pytest.skip("needs storescu (Debian: dcmtk)")
    scan = ["--scan-directories", "--recurse"] if path.is_dir() else []
    subprocess.run(
        ["storescu", "--required", *scan, "localhost", str(archive.dicom_port), str(path)],
        check=True,
        capture_output=True,
    )


def study_uid(sources: list[SourceSeries]) -> str:
    return str(sources[0].first.StudyInstanceUID)


def instances(folder: Path) -> dict[str, bytes]:
    """The pixels of every file by SOPInstanceUID."""
    read = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    return {str(one.SOPInstanceUID): one.PixelData for one in read if "PixelData" in one}


def reread(instance: pydicom.Dataset, folder: Path) -> dict:
    """What a file of the object has in it."""
    return pydicom.dcmread(write_object(instance, folder / "local.dcm")).to_json_dict()


def test_fetched_study_has_the_images_that_were_sent(
    filled: Orthanc, known_to_orthanc: None, study_dir: Path, sources: list[SourceSeries], tmp_path: Path
) -> None:
    fetched = fetch_study(open_archive(filled.url), study_uid(sources), tmp_path)

    assert fetched == tmp_path / f"study-{hashlib.sha256(study_uid(sources).encode()).hexdigest()[:12]}"
    assert instances(fetched) == instances(study_dir)
    assert not [path for path in fetched.rglob("*") if path.is_file() and path.suffix != ".dcm"]


def test_fetched_study_is_read_as_the_same_series(
    filled: Orthanc, known_to_orthanc: None, found: list[StudySeries], sources: list[SourceSeries], tmp_path: Path
) -> None:
    fetched = read_study(fetch_study(open_archive(filled.url), study_uid(sources), tmp_path))

    def order(studied: list[StudySeries]) -> dict[str, list[str]]:
        return {
            one.modality: [str(pydicom.dcmread(path).SOPInstanceUID) for path in one.series.files] for one in studied
        }

    assert order(fetched) == order(found)


def test_fetching_again_fetches_only_what_is_missing(
    filled: Orthanc, known_to_orthanc: None, study_dir: Path, sources: list[SourceSeries], tmp_path: Path
) -> None:
    archive = open_archive(filled.url)
    files = sorted(fetch_study(archive, study_uid(sources), tmp_path).rglob("*.dcm"))
    files[0].write_bytes(b"kept")
    files[1].unlink()
    leftover = files[1].with_name(f".{files[1].name}.{'0' * 32}")
    leftover.write_bytes(b"half")

    fetch_study(archive, study_uid(sources), tmp_path)

    assert files[0].read_bytes() == b"kept"
    assert pydicom.dcmread(files[1]).SOPInstanceUID == files[1].stem
    assert not leftover.exists()


def test_results_stored_by_dicomweb_come_back_as_they_were(
    filled: Orthanc,
    known_to_orthanc: None,
    prediction: StudyPrediction,
    sources: list[SourceSeries],
    tmp_path: Path,
) -> None:
    archive = open_archive(filled.url)
    report = structured_report(prediction, sources)
    large = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), dtype=np.uint8)  # more than one packet holds
    pages = secondary_captures([large], prediction, sources)

    store(archive, [report, *pages])

    fetched = fetch_study(archive, study_uid(sources), tmp_path, modalities=("SR", "OT"))
    [back] = [srread(path) for path in fetched.rglob(f"{report.SOPInstanceUID}.dcm")]
    [page] = [pydicom.dcmread(path) for path in fetched.rglob(f"{pages[0].SOPInstanceUID}.dcm")]
    assert back.to_json_dict() == reread(report, tmp_path)
    assert np.array_equal(page.pixel_array, large)
    assert str(back.PatientName) == "Müller^Jürgen"


def test_results_sent_by_c_store_come_back_as_they_were(
    filled: Orthanc,
    known_to_orthanc: None,
    prediction: StudyPrediction,
    sources: list[SourceSeries],
    tmp_path: Path,
) -> None:
    report = structured_report(prediction, sources)
    [page] = secondary_captures([np.full((20, 31, 3), 7, np.uint8)], prediction, sources)
    for one in (report, page):
        c_store(filled, write_object(one, tmp_path / f"{one.SOPInstanceUID}.dcm"))

    fetched = fetch_study(open_archive(filled.url), study_uid(sources), tmp_path / "back", modalities=("SR", "OT"))

    read = {path.stem: pydicom.dcmread(path) for path in fetched.rglob("*.dcm")}
    assert read[report.SOPInstanceUID].to_json_dict() == reread(report, tmp_path)
    assert read[page.SOPInstanceUID].PixelData == page.PixelData


def test_results_of_an_earlier_run_are_not_fetched(
    filled: Orthanc, known_to_orthanc: None, prediction: StudyPrediction, sources: list[SourceSeries], tmp_path: Path
) -> None:
    archive = open_archive(filled.url)
    store(archive, [structured_report(prediction, sources)])

    fetched = fetch_study(archive, study_uid(sources), tmp_path)

    assert {pydicom.dcmread(path).Modality for path in fetched.rglob("*.dcm")} == {"MR"}


def test_unknown_study_is_refused(filled: Orthanc, known_to_orthanc: None, tmp_path: Path) -> None:
    with pytest.raises(PacsError, match=r"expected study 1\.2\.3, found no series of it"):
        fetch_study(open_archive(filled.url), "1.2.3", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_study_without_mr_is_refused(
    filled: Orthanc, known_to_orthanc: None, sources: list[SourceSeries], tmp_path: Path
) -> None:
    with pytest.raises(PacsError, match=r"expected a series of modality CT in study .* found .*MR"):
        fetch_study(open_archive(filled.url), study_uid(sources), tmp_path, modalities=("CT",))


def test_without_credentials_the_variables_are_named(filled: Orthanc, tmp_path: Path) -> None:
    with pytest.raises(PacsError, match=r"HTTP 401 .* MGMT_DICOMWEB_USER and MGMT_DICOMWEB_PASSWORD"):
        fetch_study(open_archive(filled.url), "1.2.3", tmp_path)


def test_netrc_opens_the_archive(
    filled: Orthanc, sources: list[SourceSeries], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine localhost login {USER} password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(netrc))

    fetched = fetch_study(open_archive(filled.url), study_uid(sources), tmp_path)

    assert len(list(fetched.rglob("*.dcm"))) == sum(len(source.headers) for source in sources)


def test_neither_password_nor_patient_is_told(
    filled: Orthanc,
    known_to_orthanc: None,
    prediction: StudyPrediction,
    sources: list[SourceSeries],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "dicomweb_client", "highdicom", "pydicom"):
        caplog.set_level(logging.DEBUG, logger=name)

    archive = open_archive(filled.url)
    fetch_study(archive, study_uid(sources), tmp_path)
    store(archive, [structured_report(prediction, sources)])

    streams = capfd.readouterr()
    told = "\n".join([caplog.text, streams.out, streams.err, *(str(one.message) for one in recwarn), repr(archive)])
    assert "/dicom-web/studies" in told  # urllib3 was heard
    encoded = "cmVhZGVyOnBsYW50ZWQtUGE1NXdvcmQ="  # printf reader:planted-Pa55word | base64
    assert [secret for secret in (PASSWORD, encoded, "Müller", "19610203", "20210405", "4711") if secret in told] == []


@pytest.fixture(scope="module")
def encrypted(orthanc: Orthanc, certificate: Path) -> Iterator[Orthanc]:
    with behind_tls(orthanc, certificate / "server.pem") as archive:
        yield archive


def test_certificate_of_an_unknown_authority_is_refused(
    encrypted: Orthanc, known_to_orthanc: None, tmp_path: Path
) -> None:
    with pytest.raises(PacsError, match=r"a certificate that is not trusted .*self.signed.* REQUESTS_CA_BUNDLE"):
        fetch_study(open_archive(encrypted.url), "1.2.3", tmp_path)


def test_certificate_of_a_named_authority_is_trusted(
    encrypted: Orthanc,
    known_to_orthanc: None,
    certificate: Path,
    prediction: StudyPrediction,
    sources: list[SourceSeries],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "ca.pem"))
    archive = open_archive(encrypted.url)
    report = structured_report(prediction, sources)

    store(archive, [report])

    fetched = fetch_study(archive, study_uid(sources), tmp_path, modalities=("SR",))
    assert report.SOPInstanceUID in {path.stem for path in fetched.rglob("*.dcm")}


def test_certificate_of_another_host_is_refused(
    encrypted: Orthanc, known_to_orthanc: None, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "ca.pem"))

    with pytest.raises(PacsError, match="a certificate that is not trusted"):
        fetch_study(open_archive(encrypted.url.replace("localhost", "127.0.0.1")), "1.2.3", tmp_path)


def test_authorities_that_are_not_there_are_told_of(
    encrypted: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))

    with pytest.raises(PacsError, match="REQUESTS_CA_BUNDLE: expected a file of certificates"):
        fetch_study(open_archive(encrypted.url), "1.2.3", tmp_path)


def test_encryption_cannot_be_left_out(encrypted: Orthanc, known_to_orthanc: None, tmp_path: Path) -> None:
    with pytest.raises(PacsError, match="expected an answer"):
        fetch_study(open_archive(encrypted.url.replace("https", "http")), "1.2.3", tmp_path)
