"""UCSF-PDGM's NIfTI files (TCIA): ``UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{T1,T1c,T2,FLAIR}.nii.gz``."""

import re
from pathlib import Path

from mgmt_monai.cohort.layouts.found import Found
from mgmt_monai.cohort.layouts.nifti_names import Scan, find_named, named_as

NAME = "ucsf-pdgm"
EXPECTS = "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{T1,T1c,T2,FLAIR}[_bias].nii.gz"

_MODALITIES = {"flair": "FLAIR", "t1": "T1w", "t1c": "T1wCE", "t2": "T2w"}
# FU003d is a follow-up, 3 days later; the first examination has none.
_CASE = r"(?P<patient>UCSF-PDGM-\d+)(?:_FU(?P<days>\d+)d)?"
_FILE = re.compile(_CASE + r"_(?P<said>FLAIR|T1|T1c|T2)(?P<bias>_bias)?\.nii(\.gz)?", re.IGNORECASE)
_FOLDER = re.compile(_CASE + r"(?:_nifti)?", re.IGNORECASE)
_METADATA = "UCSF-PDGM-metadata*.csv"


def recognises(data_dir: Path) -> bool:
    """Whether a file has such a name."""
    return bool(named_as(data_dir, {NAME: parse}))


def labels_file(data_dir: Path) -> Path:
    """The metadata in the data directory, the newest version of several by its name."""
    return max(data_dir.glob(_METADATA), default=data_dir / "UCSF-PDGM-metadata_v5.csv")


def find(data_dir: Path) -> Found:
    """The four modalities of each patient's first examination; ``_bias`` where there is no uncorrected file.

    Args:
        data_dir: The collection's folder, or one of patients.
    """
    return find_named(Path(data_dir), parse, _parse_folder)


def parse(name: str) -> Scan | None:
    """What a file's name says; None for a name of another kind."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    visit = f"FU{int(match['days']):03d}d" if match["days"] else ""
    said = f"_{match['said']}{match['bias'] or ''}"
    return Scan(match["patient"].upper(), visit, _MODALITIES[match["said"].lower()], said, int(bool(match["bias"])))


def _parse_folder(name: str) -> str | None:
    match = _FOLDER.fullmatch(name)
    return match["patient"].upper() if match else None
