"""An atlas' space: the user's own template, and the affine way from it to a head."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from mgmt_monai.cohort.files.nifti import read_nifti
from mgmt_monai.cohort.series import Series
from mgmt_monai.machine import machine_fault
from mgmt_monai.preparation.brain_mask import brain_mask, check_brain, dice
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.images import as_image
from mgmt_monai.preparation.registration import FINE_MM, MIDDLE_MM, MIN_OVERLAP, Brain, refined, register
from mgmt_monai.transforms.load import LoadSeries

#: What the affine way is held to: both ways agree over the brain (root mean square), and no side of a head is further
#: from an atlas' than by this factor. Two heads are never the same, so the ways differ by more than within one.
MAX_DISAGREEMENT_MM = 4.0
MAX_STRETCH = 1.4

#: The affine metric sees the brain and this much around it: two people differ in their skulls otherwise than in brains.
_AROUND_MM = 8.0


@dataclass(frozen=True)
class Template:
    """A head that others are brought to.

    Args:
        brain: The template and the brain in it.
        sha256: Of its voxels and their place.
    """

    brain: Brain
    sha256: str

    @property
    def spacing_mm(self) -> float:
        """The shortest side of its voxels, in whole micrometres."""
        return round(float(min(self.brain.image.GetSpacing())), 3)


@dataclass(frozen=True)
class Alignment:
    """Where a template's points lie in a head.

    Args:
        transform: From points of the template to those of the head, in mm (LPS).
        disagreement_mm: Root mean square distance, over the brain, between the way there and the way back.
        overlap: Dice coefficient of the two brains, 0 to 1.
        stretch: The largest factor by which a direction grows or shrinks.
    """

    transform: sitk.AffineTransform
    disagreement_mm: float
    overlap: float
    stretch: float

    @property
    def reason(self) -> str:
        """Why it is refused; "" where it is accepted."""
        if self.disagreement_mm > MAX_DISAGREEMENT_MM:
            expected = f"the way to the template and the way back within {MAX_DISAGREEMENT_MM:g} mm of each other"
            return f"expected {expected}, found {self.disagreement_mm:.1f} mm"
        if self.stretch > MAX_STRETCH:
            return f"expected a head that fits the template within a factor {MAX_STRETCH:g}, found {self.stretch:.2f}"
        if self.overlap < MIN_OVERLAP:
            expected = f"a brain that overlaps the template's by {MIN_OVERLAP:g} (Dice)"
            return f"expected {expected}, found {self.overlap:.3f}"
        return ""


def align(template: Brain, head: Brain) -> Alignment:
    """Register a head to a template: rigidly first, then affinely, each way by itself."""
    rigid = register(template, head).transform
    forth = _affine(template, head, rigid)
    back = _affine(head, template, rigid.GetInverse()).GetInverse()
    ways = [np.array([way.TransformPoint(point) for point in template.points]) for way in (forth, back)]
    carried = sitk.Resample(head.mask, template.mask, forth, sitk.sitkNearestNeighbor)
    factors = np.linalg.svd(np.array(forth.GetMatrix()).reshape(3, 3), compute_uv=False)
    return Alignment(
        forth,
        float(np.sqrt(np.mean(np.sum((ways[0] - ways[1]) ** 2, axis=1)))),
        dice(carried, template.mask),
        float(max(factors.max(), 1 / max(factors.min(), 1e-6))),
    )


@cache
def read_template(path: Path) -> Template:
    """A user's template, such as SRI24 or ICBM, with or without its skull.

    Raises:
        PreparationError: No such file, no NIfTI of three axes, or no whole brain in it.
        MachineError: The machine cannot read it.
    """
    image = sitk.DICOMOrient(read_volume(path, "template"), "LPS")  # all that is made is axial
    try:
        mask = brain_mask(image)
        check_brain(image, mask)
    except PreparationError as error:
        raise PreparationError(f"template {path}: {error}. Name another.") from error
    return Template(Brain(image, mask), hashlib.sha256(content("template", image)).hexdigest())


def read_volume(path: Path, what: str) -> sitk.Image:
    """A NIfTI file of the user's own, float32.

    Args:
        path: The file.
        what: It is, for messages.

    Raises:
        PreparationError: No such file, no NIfTI of three axes, or one that a brain has no room in.
        MachineError: The machine cannot read it.
    """
    try:
        n_slices = read_nifti(path).n_slices
        return as_image(LoadSeries()(Series(what, what, (path,), range(n_slices))))
    except PreparationError as error:
        raise PreparationError(f"{what} {path}: {error}. Name another.") from error
    except (ValueError, OSError) as error:
        fault = machine_fault(error)
        if fault is not None:
            raise fault from error
        found = "a file that cannot be read so" if path.is_file() else "no such file"
        raise PreparationError(
            f"{what} {path}: expected a NIfTI file of three axes, found {found}. Name another."
        ) from error


def content(name: str, image: sitk.Image) -> bytes:
    """What a digest of an image is made of: its name, place and voxels."""
    place = (image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    return f"{name} {place}".encode() + sitk.GetArrayViewFromImage(image).tobytes()


def _affine(fixed: Brain, moving: Brain, rigid: sitk.Transform) -> sitk.AffineTransform:
    euler = sitk.Euler3DTransform(rigid)
    start = sitk.AffineTransform(3)
    start.SetCenter([float(value) for value in fixed.points.mean(axis=0)])
    start.SetMatrix(euler.GetMatrix())
    centre = np.array(start.GetCenter())
    start.SetTranslation([float(value) for value in np.array(euler.TransformPoint(centre.tolist())) - centre])
    for spacing_mm in (MIDDLE_MM, FINE_MM):
        start = refined(fixed, moving, start, spacing_mm, _AROUND_MM)
    return start
