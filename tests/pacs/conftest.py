"""A study of a patient with a name, what could be said of it, and an archive for it."""

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydicom.dataset import Dataset
from real_orthanc import PASSWORD, USER, Orthanc, run_orthanc

from mgmt_monai.inference.prediction import SeriesPrediction, StudyPrediction
from mgmt_monai.inference.study import StudySeries, read_study
from mgmt_monai.pacs.study_source import SourceSeries, read_source

NAME, BIRTH_DATE, STUDY_DATE, HOSPITAL = "Müller^Jürgen", "19610203", "20210405", "Klinikum Süd"


@pytest.fixture(scope="session")
def study_dir(phantom_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """T1w and FLAIR of a phantom whose headers name a patient, in Latin 1, down to a nested sequence."""
    patient = sorted((phantom_dir / "train").iterdir())[0]
    study = tmp_path_factory.mktemp("study") / "case"
    for modality in ("T1w", "FLAIR"):
        (study / modality).mkdir(parents=True)
        for path in (patient / modality).iterdir():
            dataset = pydicom.dcmread(path)
            dataset.PatientName = NAME
            dataset.PatientID = "4711"
            dataset.PatientBirthDate = BIRTH_DATE
            dataset.PatientSex = "M"
            dataset.StudyDate = STUDY_DATE
            dataset.AccessionNumber = "ACC-99"
            issuer = Dataset()
            issuer.LocalNamespaceEntityID = HOSPITAL
            dataset.IssuerOfAccessionNumberSequence = [issuer]
            dataset.save_as(study / modality / path.name)
    return study


@pytest.fixture(scope="session")
def found(study_dir: Path) -> list[StudySeries]:
    return read_study(study_dir)


@pytest.fixture(scope="session")
def sources(found: list[StudySeries]) -> list[SourceSeries]:
    return [read_source(one.series) for one in found]


@pytest.fixture(scope="session")
def say() -> Callable[..., SeriesPrediction]:
    """A model's answer; what matters to a test is given by name."""

    def make(modality: str = "T1w", **different: object) -> SeriesPrediction:
        values = {
            "modality": modality,
            "bundle": f"mgmt_{modality.lower()}",
            "bundle_version": "1.2.3",
            "model_sha256": "0123456789abcdef" * 4,
            "probability": 0.625,
            "abstained": (),
            "slice_indices": (3, 4, 5, 9),
            "slice_probabilities": (0.5, 0.5, 0.75, 0.75),
            "distance": 1.25,
            "distance_limit": 2.5,
            "findings": (),
            "n_slices": 20,
            "threshold": 0.5,
            "evaluation": {
                "trained_on": "Images of 59 patients.",
                "n": 40,
                "auc": {"value": 0.75, "low": 0.5, "high": 0.875},
            },
        }
        return SeriesPrediction(**{**values, **different})

    return make


@pytest.fixture(scope="session")
def prediction(found: list[StudySeries], say: Callable[..., SeriesPrediction]) -> StudyPrediction:
    """Of the study: FLAIR 0.625, T1w 0.25."""
    flair, t1w = found
    return StudyPrediction(
        "case",
        (
            say("FLAIR", n_slices=flair.series.n_slices),
            say("T1w", n_slices=t1w.series.n_slices, probability=0.25),
        ),
        {},
        "2026-01-02T03:04:05+00:00",
    )


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-made certificate for localhost (``ca.pem``) and the same with its key (``server.pem``)."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    own_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(pem)
    (folder / "server.pem").write_bytes(own_key + pem)
    return folder


@pytest.fixture
def known_to_orthanc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGMT_DICOMWEB_USER", USER)
    monkeypatch.setenv("MGMT_DICOMWEB_PASSWORD", PASSWORD)


@pytest.fixture(autouse=True)
def own_network_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the developer's shell and home say of archives and networks is not seen."""
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MGMT_DICOMWEB_{name}", raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
