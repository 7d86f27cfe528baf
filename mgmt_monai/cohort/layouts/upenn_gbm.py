"""UPENN-GBM's NIfTI files (TCIA): ``images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1GD.nii.gz``."""

import re
from pathlib import Path

from mgmt_monai.cohort.layouts.found import Found
from mgmt_monai.cohort.layouts.nifti_names import Scan, find_named, named_as

NAME = "upenn-gbm"
EXPECTS = "images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_{T1,T1GD,T2,FLAIR}.nii.gz"

# T1CE and T1C are not the collection's words, but plain in copies that were renamed by hand.
_MODALITIES = {"FLAIR": "FLAIR", "T1": "T1w", "T1GD": "T1wCE", "T1CE": "T1wCE", "T1C": "T1wCE", "T2": "T2w"}
# The two digits are the visit: 11 before surgery, 21 a follow-up.
_CASE = r"(?P<patient>UPENN-GBM-\d+)_(?P<visit>\d\d)"
_FILE = re.compile(_CASE + r"_(?P<said>FLAIR|T1|T1GD|T1CE|T1C|T2)\.nii(\.gz)?", re.IGNORECASE)
_FOLDER = re.compile(_CASE, re.IGNORECASE)
_CLINICAL = "UPENN-GBM_clinical_info*.csv"


def recognises(data_dir: Path) -> bool:
    """Whether a file has such a name."""
    return bool(named_as(data_dir, {NAME: parse}))


def labels_file(data_dir: Path) -> Path:
    """The clinical table in the data directory, the newest version of several by its name."""
    return max(data_dir.glob(_CLINICAL), default=data_dir / "UPENN-GBM_clinical_info_v2.1.csv")


def find(data_dir: Path) -> Found:
    """The four modalities of each patient's first visit.

    Args:
        data_dir: The collection's folder, or ``images_structural``, or a folder of visits.
    """
    return find_named(Path(data_dir), parse, _parse_folder)


def parse(name: str) -> Scan | None:
    """What a file's name says; None for a name of another kind."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    return Scan(match["patient"], match["visit"], _MODALITIES[match["said"].upper()], "_" + match["said"])


def _parse_folder(name: str) -> str | None:
    match = _FOLDER.fullmatch(name)
    return match["patient"] if match else None
