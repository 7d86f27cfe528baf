from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_cohorts import write_cohort
from pydicom import Dataset, dcmread
from textures import texture

from mgmt_monai.cohort.layouts.found import FoundSeries


@pytest.fixture
def make_folder(tmp_path: Path, make_dicom: Callable[..., Path]) -> Callable[..., FoundSeries]:
    """Writes slices of 4 x 6 pixels, by name: ``make_folder({"b.dcm": {"position": (0, 0, 1)}}, <for all>=...)``."""

    def make(slices: dict[str, dict[str, Any]], **attributes: Any) -> FoundSeries:
        folder = FoundSeries("00042", "T1w", tmp_path / "train/00042/T1w", None, "folder T1w")
        folder.directory.mkdir(parents=True, exist_ok=True)
        for name, own in slices.items():
            settings = {**attributes, **own}
            make_dicom(folder.directory / name, texture(name, settings.pop("shape", (4, 6))), **settings)
        return folder

    return make


@pytest.fixture
def make_enhanced(make_dicom: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a multi-frame file with a place (and a complex component) for each frame in its functional groups."""

    def make(path: Path, positions: list[tuple[float, float, float]], components: list[str] | None = None) -> Path:
        shared, frames = Dataset(), []
        shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
        shared.PixelMeasuresSequence = [_item(PixelSpacing=[0.5, 0.75])]
        for index, position in enumerate(positions):
            frame = Dataset()
            frame.PlanePositionSequence = [_item(ImagePositionPatient=list(position))]
            if components:
                frame.MRImageFrameTypeSequence = [_item(ComplexImageComponent=components[index])]
            frames.append(frame)
        make_dicom(
            path,
            texture(str(path), (len(positions), 4, 6)),
            NumberOfFrames=len(positions),
            Rows=4,
            Columns=6,
            SharedFunctionalGroupsSequence=[shared],
            PerFrameFunctionalGroupsSequence=frames,
        )
        dataset = dcmread(path)
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(dataset, name)
        if components:
            dataset.ComplexImageComponent = "MIXED"
        dataset.save_as(path)
        return path

    return make


@pytest.fixture
def make_cohort(tmp_path: Path, make_dicom: Callable[..., Path]) -> Callable[..., Path]:
    """Writes patients 00001, 00002, ... (odd ones methylated) in Kaggle's layout, two slices a series."""

    def make(n_patients: int = 20, modalities: tuple[str, ...] = ("T1w",), name: str = "data") -> Path:
        return write_cohort(tmp_path / name, make_dicom, n_patients, modalities)

    return make


def _item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset
