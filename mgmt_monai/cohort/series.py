"""One series of one patient: which files hold it and which of its slices are meant."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mgmt_monai.cohort.errors import CohortError

#: The modalities, as RSNA-MICCAI 2021 spells its folders.
MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")


def is_nifti(name: str) -> bool:
    """Whether a file is NIfTI by its name."""
    return name.lower().endswith((".nii", ".nii.gz"))


def is_inside(path: str) -> bool:
    """Whether a path, with ``/``, stays in the folder it is relative to and is one that a file can have.

    By the letters alone: a link that the user made below the folder may lead elsewhere.

    Args:
        path: As a manifest or a table writes it.
    """
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\0" not in path


def middle_slices(n_slices: int, fraction: float) -> slice:
    """The ``k = max(1, round(fraction * n_slices))`` slices around the middle of a series.

    Halves round up (2.5 -> 3), unlike Python's ``round``. When ``n_slices - k`` is odd the block cannot be
    centred and lies half a slice towards the first one: one slice more is left off at the end.

    Args:
        n_slices: How many slices the series has, at least 1.
        fraction: Share of the slices to keep, 0 < fraction <= 1.

    Returns:
        Start and stop within the series, in geometric order.

    Raises:
        CohortError: ``n_slices`` is below 1.

    Example:
        >>> middle_slices(190, 0.2)
        slice(76, 114, None)
        >>> middle_slices(4, 0.2)
        slice(1, 2, None)

    Source:
        The paper's "20 % of the slices around the midsection", read as 20 % in all (``docs/``, the comparison
        with the paper).
    """
    if n_slices < 1:
        raise CohortError(f"expected a series of at least 1 slice, found {n_slices}; leave the series out")
    # 0.29 * 50 is 14.499999999999998 in floating point: without the inner rounding halves would not round up.
    k = max(1, math.floor(round(fraction * n_slices, 9) + 0.5))
    start = (n_slices - k) // 2
    return slice(start, start + k)


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
        digests: Of each slice stored, as the manifest has them, which what is read must have; empty where it has none.
    """

    patient_id: str
    modality: str
    files: tuple[Path, ...]
    slices: range
    frames: tuple[int, ...] | None = None
    geometry_fault: str = ""
    digests: tuple[str, ...] = ()

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
