"""Ways in which a comparison can go wrong, planted into a phantom: what its negative controls are there to find."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from scipy.ndimage import rotate

ECHO_TIME_MS = 10.0
"""Of unmethylated patients; that of the methylated ones is longer by a hair, which nobody would see in a table."""

HAIR_MS = 0.01

MARK = 1 / 12
"""Side of a burned-in mark, and its distance from the edges, as a share of the image's shorter side: as large as
letters are, and far enough inside to stay in view when the image is enlarged by the augmentation."""

BRIGHTNESS = 0.8
"""Of the mark, as a share of the series' highest value: bright, and nothing that looks clipped."""

TURN_DEG = 10.0
"""Beyond what the search for nearly identical images finds (docs/explanation/duplicates.md)."""

DIMMED = 0.85


def plant_shortcut(data_dir: Path, modality: str) -> None:
    """Let one header tag, EchoTime, go with the label in every file of the modality.

    Args:
        data_dir: A written phantom; it is changed.
        modality: Whose series.
    """
    for patient, label in read_labels(data_dir).items():
        for path in _files(data_dir, patient, modality):
            dataset = dcmread(path)
            dataset.EchoTime = ECHO_TIME_MS + HAIR_MS * label
            dataset.save_as(path)


def plant_burned_in(data_dir: Path, modality: str) -> None:
    """Burn a small bright mark into the top left corner of every image of the methylated patients, and of no other.

    Args:
        data_dir: A written phantom; it is changed.
        modality: Whose series.
    """
    for patient, label in read_labels(data_dir).items():
        if label != 1:
            continue
        datasets = {path: dcmread(path) for path in _files(data_dir, patient, modality)}
        brightest = max(int(dataset.pixel_array.max()) for dataset in datasets.values())
        for path, dataset in datasets.items():
            pixels = dataset.pixel_array.copy()
            side = round(MARK * min(pixels.shape))
            pixels[side : 2 * side, side : 2 * side] = round(BRIGHTNESS * brightest)
            dataset.PixelData = pixels.tobytes()
            dataset.save_as(path)


def plant_leakage(data_dir: Path, modality: str, share: float = 0.5) -> dict[str, str]:
    """Put patients into the cohort a second time: new name and identifiers, the image turned and dimmed, all else kept.

    Args:
        data_dir: A written phantom; it is changed.
        modality: Whose series is copied; a copy has no other.
        share: Of the patients of each class, rounded up.

    Returns:
        The original's name by that of its copy.
    """
    labels = read_labels(data_dir)
    chosen = []
    for label in (0, 1):
        of_class = sorted(patient for patient in labels if labels[patient] == label)
        chosen += of_class[: math.ceil(share * len(of_class))]
    first = max(int(patient) for patient in labels) + 1
    copies = {str(first + index): patient for index, patient in enumerate(sorted(chosen))}
    for copy, original in copies.items():
        _copy_series(data_dir, original, copy, modality)
    with (data_dir / "train_labels.csv").open("a", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([copy, labels[source]] for copy, source in copies.items())
    return copies


def read_labels(data_dir: Path) -> dict[str, int]:
    """Label by patient."""
    with (data_dir / "train_labels.csv").open(encoding="utf-8") as stream:
        return {row["BraTS21ID"]: int(row["MGMT_value"]) for row in csv.DictReader(stream)}


def only(data_dir: Path, modality: str, source: Path) -> Path:
    """A copy of a phantom with one modality and without what was built beside it; it may be changed.

    Args:
        data_dir: Where to.
        modality: The one that stays.
        source: A written phantom.
    """
    others = {"FLAIR", "T1w", "T1wCE", "T2w"} - {modality}
    shutil.copytree(source, data_dir, ignore=shutil.ignore_patterns(*others, "manifest.json", ".*"))
    return data_dir


def _copy_series(data_dir: Path, original: str, copy: str, modality: str) -> None:
    source, target = (data_dir / "train" / patient / modality for patient in (original, copy))
    target.mkdir(parents=True)
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    for path in sorted(source.iterdir()):
        dataset = dcmread(path)
        for name, uid in uids.items():
            setattr(dataset, name, uid)
        dataset.PatientID = copy
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        _turn(dataset)
        dataset.save_as(target / path.name)


def _turn(dataset: Dataset) -> None:
    turned = rotate(dataset.pixel_array.astype(np.float32), TURN_DEG, reshape=False, order=1)
    dataset.PixelData = np.round(np.clip(turned * DIMMED, 0, 65535)).astype(np.uint16).tobytes()


def _files(data_dir: Path, patient: str, modality: str) -> list[Path]:
    return sorted((data_dir / "train" / patient / modality).iterdir())
