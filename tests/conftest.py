"""Miniature DICOM files, written independently of the package, and the real data beside the checkout."""

import gc
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import numpy as np
import pytest
import sqlalchemy
import torch
from phantom_runs import train
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless, generate_uid
from written_layouts import thin_out

from mgmt_monai.exchange.export import export_bundle
from mgmt_monai.exchange.run_source import open_source
from mgmt_monai.phantom import write_phantom
from mgmt_monai.tracking.store_file import make_store

SHARED_DATA = Path(__file__).parents[1] / "../shared/data"
SLOW_LIMIT_S = 7200


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    """No test loses the power; on a slow disk MLflow would wait for seconds in each training."""
    if isinstance(connection, Connection):
        connection.execute("PRAGMA synchronous=OFF")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests get longer than ``timeout`` of setup.cfg; a file's tests stay together, so that they set up once."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT_S))
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def pytest_collection_finish() -> None:
    """What stays to the end, thousands of tests and all libraries, is not searched for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def browser():
    """Chromium, where it is."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def view(browser):
    """Opens a page and gathers what it says and asks for: ``view(path, width) -> page, .complaints, .asked``."""
    pages = []

    def opened(path, width=1280, **options):
        page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        pages.append(page)
        page.goto(path.as_uri())
        return page

    yield opened
    for page in pages:
        page.close()


@pytest.fixture(autouse=True)
def own_process_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a training sets for the whole process is put back; what the developer's shell sets is not seen."""
    for name in ("MLFLOW_TRACKING_URI", "MGMT_DATA_DIR", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "TORCH_INDEX"):
        monkeypatch.delenv(name, raising=False)
    hook, handlers, level = sys.excepthook, logging.root.handlers[:], logging.root.level
    yield
    sys.excepthook, logging.root.handlers[:] = hook, handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with nothing in it, to be copied: MLflow takes seconds to make one. Umask 002."""
    path = tmp_path_factory.mktemp("dose 50% x, what?") / "runs" / "mlruns.db"
    before = os.umask(0o002)
    try:
        make_store(path)
    finally:
        os.umask(before)
    return path


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data of ../shared/data beside the checkout")
    return SHARED_DATA


@pytest.fixture
def real_slices(shared_data: Path, tmp_path: Path) -> Path:
    """The real slices of RSNA-MICCAI in a folder that may be written to; they themselves are not."""
    data_dir = tmp_path / "rsna_t1wce_slices"
    data_dir.mkdir()
    for name in ("train", "train_labels.csv"):
        (data_dir / name).symlink_to((shared_data / "rsna_t1wce_slices" / name).resolve())
    return data_dir


@pytest.fixture(scope="session")
def make_dicom() -> Callable[..., Path]:
    """Writes one slice: ``make_dicom(path, pixels, position=..., rle=..., <attribute>=...)``; None leaves one out."""

    def make(
        path: Path,
        pixels: np.ndarray,
        position: tuple[float, float, float] = (0, 0, 0),
        rle: bool = False,
        **attributes: Any,
    ) -> Path:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = MRImageStorage
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
        dataset.Modality = "MR"
        dataset.PatientName = "Doe^Jane"
        dataset.PatientID = "secret-id"
        dataset.PatientBirthDate = "19700102"
        dataset.ImagePositionPatient = list(position)
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [0.5, 0.75]
        dataset.SliceThickness = 2
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
        for name, value in attributes.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)
        if rle:
            dataset.compress(RLELossless)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return make


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom of 16 patients in which there is something to find. Not to be changed: copy it."""
    return write_phantom(tmp_path_factory.mktemp("phantom") / "phantom", n_patients=16, effect=3.0, seed=0)


@pytest.fixture(scope="session")
def forty_heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty made heads of a third of the rows, columns and slices. Not to be changed: copy them."""
    heads = write_phantom(tmp_path_factory.mktemp("forty") / "phantom", n_patients=40, effect=3.0, seed=1)
    thin_out(heads, 3)
    return heads


@pytest.fixture(scope="session")
def finished_run(phantom_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training of the phantom's T1w with seed 3."""
    for name in ("MLFLOW_TRACKING_URI", "MGMT_DATA_DIR", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "TORCH_INDEX"):
        os.environ.pop(name, None)
    torch.set_num_threads(1)  # as in the processes that the tests start, so that figures are equal to the last bit
    return train(phantom_dir, tmp_path_factory.mktemp("finished") / "runs", seed=3)


@pytest.fixture(scope="session")
def exported_bundle(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run's bundle, a folder. Not to be changed: copy it."""
    with open_source(finished_run, "", finished_run.parents[1]) as source:
        return export_bundle(source, tmp_path_factory.mktemp("exported"))
