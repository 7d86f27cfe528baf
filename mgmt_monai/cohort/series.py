"""One series of one patient: which files hold it and which of its slices are meant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath


def is_nifti(name: str) -> bool:
    """Whether a file is NIfTI by its name.

    Args:
        name: Of the file.
    """
    return name.lower().endswith((".nii", ".nii.gz"))


def is_inside(path: str) -> bool:
    """Whether a path, with ``/``, stays in the folder it is relative to and is one that a file can have.

    By the letters alone: a link that the user made below the folder may lead elsewhere.

    Args:
        path: As a manifest or a table writes it.
    """
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\0" not in path


@dataclass(frozen=True)
class Series:
    """The slices of one modality of one patient, in geometric order; a reference, no pixels.

    Args:
        patient_id: The study's own identifier of the patient (the folder's name).
        modality: ``T1w``, ``T1wCE``, ``T2w`` or ``FLAIR``.
        files: DICOM: one file a slice, ordered along the slice normal. NIfTI, multi-frame DICOM: the one file.
        frames: Multi-frame DICOM: its frames, ordered along the slice normal.
        geometry_fault: Why the slices cannot be placed in the patient by one affine; empty when they can.
        slices: Which slices of the stored series are meant; ``range(n)`` for all of them.
    """

    patient_id: str
    modality: str
    files: tuple[Path, ...]
    slices: range
    frames: tuple[int, ...] | None = None
    geometry_fault: str = ""

    @property
    def n_slices(self) -> int:
        """How many slices are meant."""
        return len(self.slices)

    @property
    def is_nifti(self) -> bool:
        """Whether the series is one NIfTI file rather than DICOM files."""
        return is_nifti(self.files[0].name)

    def __getitem__(self, kept: slice) -> Series:
        """The same series with only the slices ``kept`` (counted within this reference)."""
        return replace(self, slices=self.slices[kept])
