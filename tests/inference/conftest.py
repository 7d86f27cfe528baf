"""A bundle of the finished training, its model, and studies to ask it about."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_bundles import write_bundle

from mgmt_monai.inference.model import BundleModel, open_models


@pytest.fixture(scope="session")
def t1w_bundle(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the finished training. Not to be changed: copy it."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "mgmt_t1w", finished_run)


@pytest.fixture(scope="session")
def flair_bundle(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights for FLAIR, by a bundle that knows neither its training data nor how good it is."""
    folder = write_bundle(
        tmp_path_factory.mktemp("bundles") / "mgmt_flair", finished_run, metadata={"version": "2"}, modality="FLAIR"
    )
    (folder / "models" / "reference.safetensors").unlink()
    return folder


@pytest.fixture(scope="session")
def t1w_model(t1w_bundle: Path) -> Iterator[BundleModel]:
    with open_models([t1w_bundle]) as models:
        yield models[0]


@pytest.fixture(scope="session")
def flair_model(flair_bundle: Path) -> Iterator[BundleModel]:
    with open_models([flair_bundle]) as models:
        yield models[0]


@pytest.fixture
def study(phantom_dir: Path, tmp_path: Path) -> Path:
    """A study with T1w and FLAIR that may be changed."""
    patient = min((phantom_dir / "train").iterdir())
    for modality in ("T1w", "FLAIR"):
        shutil.copytree(patient / modality, tmp_path / "study-1" / modality)
    return tmp_path / "study-1"
