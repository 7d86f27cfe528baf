"""Slices to feed a network with: made ones, seeded, and real ones where they are at hand."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from torch import Tensor

from mgmt_monai.networks.backbones import BACKBONES
from mgmt_monai.networks.calibrate import calibrate_batchnorm
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.weights import load_backbone_weights

SHARED_DATA = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(20240501)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that does not belong to the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no data to test with in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def made_slices() -> Tensor:
    """12 smooth random pictures, (12, 1, 96, 96), in [0, 1]."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(12, 1, 9, 9, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="session")
def real_slices(shared_data: Path) -> Tensor:
    """12 real T1wCE slices of 12 patients, (12, 1, 128, 128), in [0, 1]."""
    patient_dirs = sorted((shared_data / "rsna_t1wce_slices/train").iterdir())[:12]
    pictures = []
    for patient_dir in patient_dirs:
        files = sorted(patient_dir.glob("*/*.dcm"))
        pixels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(files[len(files) // 2]))).astype(np.float32)
        picture = torch.from_numpy(pixels.reshape(1, 1, *pixels.shape[-2:]))
        picture = torch.nn.functional.interpolate(picture, size=(128, 128), mode="bilinear")[0]
        pictures.append(((picture - picture.min()) / (picture.max() - picture.min())).clamp(0, 1))
    return torch.stack(pictures)


@pytest.fixture
def pretrained() -> MGMTClassifier:
    """The classifier with the packaged ImageNet weights."""
    classifier = MGMTClassifier()
    load_backbone_weights(classifier, "imagenet")
    return classifier


@pytest.fixture(params=BACKBONES)
def calibrated(request: pytest.FixtureRequest, made_slices: Tensor) -> MGMTClassifier:
    """The classifier with each of the backbones, random but calibrated."""
    classifier = MGMTClassifier(request.param)
    calibrate_batchnorm(classifier, [made_slices])
    return classifier
