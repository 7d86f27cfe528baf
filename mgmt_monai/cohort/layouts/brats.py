"""BraTS as NIfTI, in both spellings.

``BraTS2021_00000_{flair,t1,t1ce,t2}.nii.gz`` (2021) and ``BraTS-GLI-00000-000-{t2f,t1n,t1c,t2w}.nii.gz`` (from 2023).
"""

import re
from pathlib import Path

from mgmt_monai.cohort.layouts.found import Found
from mgmt_monai.cohort.layouts.nifti_names import Scan, find_named, named_as

NAME = "brats-nifti"
EXPECTS = (
    "BraTS2021_00000/BraTS2021_00000_{flair,t1,t1ce,t2}.nii.gz or "
    "BraTS-GLI-00000-000/BraTS-GLI-00000-000-{t2f,t1n,t1c,t2w}.nii.gz"
)

_MODALITIES = {
    "flair": "FLAIR", "t1": "T1w", "t1ce": "T1wCE", "t2": "T2w",
    "t2f": "FLAIR", "t1n": "T1w", "t1c": "T1wCE", "t1gd": "T1wCE", "t2w": "T2w",
    "seg": "",
}  # fmt: skip

# 2021's number alone is the patient's name, so that RSNA-MICCAI 2021's label table (BraTS21ID) fits.
_CASE_2021 = r"BraTS2021_(?P<number>\d+)"
_CASE_2023 = r"(?P<patient>BraTS-[A-Z]{2,4}-\d+)-(?P<visit>\d+)"
# The letters' case differs between copies: the same release has -t2w and -t2W.
# Either year's word is read in both spellings: copies are renamed by hand.
_SAID = r"[-_](?P<said>flair|t1ce|t1gd|t1c|t1n|t1|t2f|t2w|t2|seg)\.nii(\.gz)?"
_FILES = (re.compile(_CASE_2021 + _SAID, re.IGNORECASE), re.compile(_CASE_2023 + _SAID, re.IGNORECASE))
_FOLDERS = (re.compile(_CASE_2021, re.IGNORECASE), re.compile(_CASE_2023, re.IGNORECASE))


def recognises(data_dir: Path) -> bool:
    """Whether a file has such a name."""
    return bool(named_as(data_dir, {NAME: parse}))


def labels_file(data_dir: Path) -> Path:
    """RSNA-MICCAI 2021's ``train_labels.csv``, whose ``BraTS21ID`` is the number in BraTS 2021's names."""
    return data_dir / "train_labels.csv"


def find(data_dir: Path) -> Found:
    """The four modalities of each patient's first time point; segmentations are passed over.

    Args:
        data_dir: The cohort's folder, files in it or in folders, one a patient.
    """
    return find_named(Path(data_dir), parse, _parse_folder)


def parse(name: str) -> Scan | None:
    """What a file's name says; None for a name of another kind."""
    match = _match(_FILES, name)
    if match is None:
        return None
    said = match["said"]
    return Scan(*_case(match), _MODALITIES[said.lower()], name[match.start("said") - 1 : match.end("said")])


def _parse_folder(name: str) -> str | None:
    match = _match(_FOLDERS, name)
    return _case(match)[0] if match else None


def _match(patterns: tuple[re.Pattern[str], ...], name: str) -> re.Match[str] | None:
    return next((match for pattern in patterns if (match := pattern.fullmatch(name))), None)


def _case(match: re.Match[str]) -> tuple[str, str]:
    parts = match.groupdict()
    return (parts["number"], "") if "number" in parts else (parts["patient"], parts["visit"])
