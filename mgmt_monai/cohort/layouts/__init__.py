"""Where the series of a data directory are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from mgmt_monai.cohort.errors import CohortError

#: The modalities, as RSNA-MICCAI 2021 spells its folders.
MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")

HOW_TO_GET_DATA = (
    "Make the phantom with 'mgmt-monai phantom data/phantom', or name your own data with "
    "MGMT_DATA_DIR or --dataset_dir DIR (DIR/train/<patient>/<modality>/*.dcm and DIR/train_labels.csv)."
)


class SeriesFolder(NamedTuple):
    """One series as the layout names it."""

    patient_id: str
    modality: str
    directory: Path


def patient_folders(data_dir: Path) -> list[Path]:
    """The patients' folders in Kaggle's layout, ``train/<patient>``, sorted; hidden ones are passed over.

    Args:
        data_dir: The cohort's folder, which holds ``train``.

    Raises:
        CohortError: No such folder, or no ``train`` in it.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise CohortError(f"{data_dir}: no such data directory. {HOW_TO_GET_DATA}")
    train_dir = data_dir / "train"
    if not train_dir.is_dir():
        raise CohortError(f"{data_dir}: expected a folder 'train' in it, found none. {HOW_TO_GET_DATA}")
    return sorted(path for path in train_dir.iterdir() if path.is_dir() and not path.name.startswith("."))


def find_series(data_dir: Path) -> list[SeriesFolder]:
    """Series folders in Kaggle's layout, ``train/<patient>/<modality>``, sorted.

    Args:
        data_dir: The cohort's folder, which holds ``train``.

    Raises:
        CohortError: No such folder, no ``train`` in it, or no series in that.
    """
    train_dir = Path(data_dir) / "train"
    found = [
        SeriesFolder(patient_dir.name, modality, patient_dir / modality)
        for patient_dir in patient_folders(data_dir)
        for modality in MODALITIES
        if os.path.lexists(patient_dir / modality)  # a broken link is a fault of the series, not its absence
    ]
    if not found:
        raise CohortError(
            f"{train_dir}: expected <patient>/<modality> folders with modality one of {', '.join(MODALITIES)}, "
            f"found none. {HOW_TO_GET_DATA}"
        )
    return found
