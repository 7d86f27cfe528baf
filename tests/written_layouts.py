"""The same heads, written as every layout has them: DICOM copied, NIfTI converted by SimpleITK alone."""

import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK

MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")

_NIFTI: dict[str, Callable[[str, str], str]] = {
    "brats-nifti": lambda p, m: "BraTS2021_{0}/BraTS2021_{0}_{1}.nii.gz".format(p, _said(m, "flair t1 t1ce t2")),
    "upenn-gbm": lambda p, m: "UPENN-GBM-{0}_11/UPENN-GBM-{0}_11_{1}.nii.gz".format(p, _said(m, "FLAIR T1 T1GD T2")),
    "ucsf-pdgm": lambda p, m: "UCSF-PDGM-{0}_nifti/UCSF-PDGM-{0}_{1}.nii.gz".format(p, _said(m, "FLAIR T1 T1c T2")),
    "bids": lambda p, m: "sub-{0}/anat/sub-{0}_{1}.nii.gz".format(p, _said(m, "FLAIR T1w ce-gd_T1w T2w")),
    "csv": lambda p, m: f"images/{p}-{m}.nii.gz",
    "folders": lambda p, m: f"{p}/{p}_{_said(m, 'flair t1 t1_post t2')}.nii.gz",
}

LAYOUTS = ("rsna-miccai-2021", "dicom", *_NIFTI, "bids with sessions")
"""What `write_layout` writes; a name of the package's layouts, and BIDS with a second session of other heads."""


def write_layout(layout: str, heads: Path, labels: dict[str, int], data_dir: Path) -> dict[str, str]:
    """Write heads as a layout has them.

    Args:
        layout: One of `LAYOUTS`.
        heads: Kaggle's layout.
        labels: By patient; these are written.
        data_dir: Made.

    Returns:
        What each patient is called there.
    """
    data_dir.mkdir(parents=True)
    if layout == "rsna-miccai-2021":
        for patient in labels:
            shutil.copytree(heads / "train" / patient, data_dir / "train" / patient)
    elif layout == "dicom":  # all files beside each other
        for number, path in enumerate(sorted(p for name in labels for p in (heads / "train" / name).rglob("*.dcm"))):
            shutil.copy(path, data_dir / f"IM{number:05d}")
    else:
        for patient, other in zip(labels, reversed(list(labels)), strict=True):
            for modality in MODALITIES:
                if layout == "bids with sessions":
                    stem = f"{_said(modality, 'FLAIR T1w ce-gd_T1w T2w')}.nii.gz"
                    for session, shown in (("2", patient), ("10", other)):
                        name = f"sub-{patient}/ses-{session}/anat/sub-{patient}_ses-{session}_{stem}"
                        _convert(heads / "train" / shown / modality, data_dir / name)
                else:
                    _convert(heads / "train" / patient / modality, data_dir / _NIFTI[layout](patient, modality))
    called, file, columns, words = _TABLES[layout]
    cells = [columns] + [[called.format(p), words[label]] for p, label in labels.items()]
    if layout == "csv":
        cells = [cells[0] + list(MODALITIES)] + [
            [*row, *(_NIFTI["csv"](row[0], modality) for modality in MODALITIES)] for row in cells[1:]
        ]
    separator = "\t" if file.endswith(".tsv") else ","
    (data_dir / file).write_text("".join(separator.join(row) + "\n" for row in cells))
    return {patient: called.format(patient) for patient in labels}


def thin_out(heads: Path, step: int) -> None:
    """Leave each so many-th row, column and slice of heads in Kaggle's layout: forty of them are read nine times."""
    for series_dir in (heads / "train").glob("*/*"):
        slices = {path: pydicom.dcmread(path) for path in series_dir.iterdir()}
        normal = np.cross(*np.reshape(next(iter(slices.values())).ImageOrientationPatient, (2, 3)))
        along = sorted(slices, key=lambda path: normal @ np.array(slices[path].ImagePositionPatient, float))
        for number, path in enumerate(along):
            if number % step:
                path.unlink()
                continue
            image = slices[path]
            pixels = image.pixel_array[::step, ::step]
            image.Rows, image.Columns = pixels.shape
            image.PixelSpacing = [spacing * step for spacing in image.PixelSpacing]
            image.SpacingBetweenSlices *= step
            image.PixelData = pixels.tobytes()
            image.save_as(path)


_DIGITS = ("0", "1")
_TABLES: dict[str, tuple[str, str, list[str], tuple[str, str]]] = {
    "rsna-miccai-2021": ("{}", "train_labels.csv", ["BraTS21ID", "MGMT_value"], _DIGITS),
    "dicom": ("{}", "labels.csv", ["patient_id", "label"], _DIGITS),
    "brats-nifti": ("{}", "train_labels.csv", ["BraTS21ID", "MGMT_value"], _DIGITS),
    "upenn-gbm": (
        "UPENN-GBM-{}", "UPENN-GBM_clinical_info_v2.1.csv", ["ID", "MGMT"], ("Unmethylated", "Methylated"),
    ),
    "ucsf-pdgm": ("UCSF-PDGM-{}", "UCSF-PDGM-metadata_v5.csv", ["ID", "MGMT status"], ("negative", "positive")),
    "bids": ("sub-{}", "participants.tsv", ["participant_id", "MGMT"], ("unmethylated", "methylated")),
    "bids with sessions": ("sub-{}", "participants.tsv", ["participant_id", "label"], _DIGITS),
    "csv": ("{}", "cohort.csv", ["patient_id", "label"], _DIGITS),
    "folders": ("{}", "labels.csv", ["patient_id", "label"], _DIGITS),
}  # fmt: skip


def _said(modality: str, words: str) -> str:
    return words.split()[MODALITIES.index(modality)]


def _convert(series_dir: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_converted(series_dir))


@lru_cache(maxsize=200)  # every layout has the same ones
def _converted(series_dir: Path) -> bytes:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series_dir)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.nii.gz"
        SimpleITK.WriteImage(reader.Execute(), str(path))
        return path.read_bytes()
