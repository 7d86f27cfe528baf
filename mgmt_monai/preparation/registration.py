"""Rigid registration of two series of one head, and the checks that tell a right one from a wrong one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeVar

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mgmt_monai.preparation.brain_mask import dice

#: Voxel side in mm of the levels, from the search over many beginnings to the last.
_SEARCH_MM, MIDDLE_MM, FINE_MM = 8.0, 4.0, 2.0
#: Rotations about each axis, in radians, that the search begins from.
_ANGLES = (-0.45, -0.15, 0.15, 0.45)
_KEPT_STARTS = 4
_BINS = 32
#: Of the voxels at the last level; a seed, for SimpleITK moves regular samples by a random part of a voxel.
_SHARE, _SEED = 0.25, 20210713

#: The metric sees the brain and this much around it at the last two levels. Of one head: skull and scalp place a T2w
#: better than the brain alone does (with 8 mm, a tenth of a slice aside); the neck, which moves by itself, is left out.
_AROUND_MM = 20.0

Kind = TypeVar("Kind", sitk.Euler3DTransform, sitk.AffineTransform)

#: What a registration is held to. Both ways agree, as a root mean square over the brain; no larger move is plausible
#: within one examination; the brains found in both series, each by itself, lie on each other (Dice).
MAX_DISAGREEMENT_MM = 1.0
MAX_TRANSLATION_MM, MAX_ROTATION_DEG = 60.0, 45.0
MIN_OVERLAP = 0.85


@dataclass(frozen=True)
class Registration:
    """Where a series lies in another's space.

    Args:
        transform: From points of the fixed image to those of the moving one, in mm (LPS).
        translation_mm: How far it moves the brain's centre.
        rotation_deg: By what angle it turns.
        disagreement_mm: Root mean square distance, over the brain, between the way there and the way back.
        overlap: Dice coefficient of the two brains, 0 to 1.
        gain: Mutual information above that of the scanner's geometry, in nats.
    """

    transform: sitk.Euler3DTransform
    translation_mm: float
    rotation_deg: float
    disagreement_mm: float
    overlap: float
    gain: float

    @property
    def reason(self) -> str:
        """Why it is refused; "" where it is accepted."""
        if self.disagreement_mm > MAX_DISAGREEMENT_MM:
            expected = f"the way there and the way back within {MAX_DISAGREEMENT_MM:g} mm of each other"
            return f"expected {expected}, found {self.disagreement_mm:.2f} mm"
        if self.translation_mm > MAX_TRANSLATION_MM or self.rotation_deg > MAX_ROTATION_DEG:
            expected = f"a move of at most {MAX_TRANSLATION_MM:g} mm and {MAX_ROTATION_DEG:g} degrees"
            return f"expected {expected}, found {self.translation_mm:.0f} mm and {self.rotation_deg:.0f} degrees"
        if self.overlap < MIN_OVERLAP:
            return f"expected brains that overlap by {MIN_OVERLAP:g} (Dice), found {self.overlap:.3f}"
        if self.gain < 0:
            return "expected a better match than by the scanner's geometry, found a worse one"
        return ""


@dataclass(frozen=True)
class Brain:
    """A series with its brain, as a registration takes it.

    Args:
        image: 3D, float32.
        mask: uint8 on its grid, 1 inside the brain.
    """

    image: sitk.Image
    mask: sitk.Image

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Points of the brain some 10 mm apart: shape (n, 3), in mm (LPS)."""
        coarse = isotropic(self.mask, 10.0)
        indices = np.argwhere(sitk.GetArrayFromImage(coarse) > 0.5)[:, ::-1]
        return np.array([coarse.TransformIndexToPhysicalPoint([int(v) for v in index]) for index in indices])

    @cached_property
    def levels(self) -> dict[float, sitk.Image]:
        """The image by the voxel side of each level."""
        return {spacing: isotropic(self.image, spacing) for spacing in (_SEARCH_MM, MIDDLE_MM, FINE_MM)}

    @cached_property
    def _distance(self) -> sitk.Image:
        return sitk.SignedMaurerDistanceMap(self.mask, squaredDistance=False, useImageSpacing=True)

    def around(self, spacing_mm: float, around_mm: float) -> sitk.Image:
        """Where the metric looks at a level: the brain and so much around it; uint8."""
        near = sitk.Cast(self._distance < around_mm, sitk.sitkUInt8)
        return sitk.Resample(near, self.levels[spacing_mm], sitk.Transform(), sitk.sitkNearestNeighbor)


def register(fixed: Brain, moving: Brain) -> Registration:
    """Register two series of one head, in any contrast, rigidly.

    Begun from the scanner's geometry and from the brains' centres under many rotations, refined from coarse to fine by
    mutual information; each way by itself, so that one holds the other. The answer lies half way between both.

    Source:
        Mattes et al., IEEE Trans Med Imaging 2003 (mutual information); Jenkinson & Smith, Med Image Anal 2001 (many
        beginnings at a coarse level).
    """
    forth, back = _search(fixed, moving), _search(moving, fixed).GetInverse()
    there = _between(forth, back, fixed.points.mean(axis=0))
    ways = [np.array([way.TransformPoint(point) for point in fixed.points]) for way in (there, forth, back)]
    carried_mask = sitk.Resample(moving.mask, fixed.mask, there, sitk.sitkNearestNeighbor)
    scanner = _euler(fixed.points.mean(axis=0), (0, 0, 0), (0, 0, 0))
    return Registration(
        there,
        float(np.linalg.norm((ways[0] - fixed.points).mean(axis=0))),
        float(np.degrees(_turn(there).magnitude())),
        float(np.sqrt(np.mean(np.sum((ways[1] - ways[2]) ** 2, axis=1)))),
        dice(carried_mask, fixed.mask),
        _value(fixed, moving, scanner, MIDDLE_MM) - _value(fixed, moving, there, MIDDLE_MM),
    )


def isotropic(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """The image on a grid of cubes, smoothed first where it is finer than that."""
    spacing = np.array(image.GetSpacing())
    sigma = np.where(spacing < spacing_mm, np.sqrt(np.maximum(spacing_mm**2 - spacing**2, 0)) / 2.355, 0)
    image = sitk.Cast(image, sitk.sitkFloat32)
    smooth = sitk.SmoothingRecursiveGaussian(image, [max(float(s), 1e-3) for s in sigma]) if sigma.any() else image
    size = np.maximum(np.ceil(np.array(image.GetSize()) * spacing / spacing_mm).astype(int), 4)
    grid = sitk.ResampleImageFilter()
    grid.SetSize([int(n) for n in size])
    grid.SetOutputSpacing([spacing_mm] * 3)
    grid.SetOutputDirection(image.GetDirection())
    corner = image.TransformContinuousIndexToPhysicalPoint([-0.5 + 0.5 * spacing_mm / s for s in spacing])
    grid.SetOutputOrigin(corner)
    # The outermost half voxel lies between no two centres: the nearest one stands for it.
    grid.SetUseNearestNeighborExtrapolator(True)
    return grid.Execute(smooth)


def _search(fixed: Brain, moving: Brain) -> sitk.Euler3DTransform:
    centre = fixed.points.mean(axis=0)
    shift = moving.points.mean(axis=0) - centre
    starts = [_euler(centre, angles, shift) for angles in [(0, 0, 0), *product(_ANGLES, repeat=3)]]
    starts = sorted(starts, key=lambda start: _value(fixed, moving, start, _SEARCH_MM))[:_KEPT_STARTS]
    scanner = _euler(centre, (0, 0, 0), (0, 0, 0))
    better = [refined(fixed, moving, start, _SEARCH_MM) for start in [scanner, *starts]]
    better = sorted(better, key=lambda one: _value(fixed, moving, one, MIDDLE_MM))[:2]
    better = [refined(fixed, moving, start, MIDDLE_MM) for start in better]
    best = min(better, key=lambda one: _value(fixed, moving, one, MIDDLE_MM))
    return refined(fixed, moving, best, FINE_MM)


def _method(
    fixed: Brain, spacing_mm: float, transform: sitk.Transform, around_mm: float
) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # the same sums in the same order, whatever the machine
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform, True)
    if spacing_mm != _SEARCH_MM:
        method.SetMetricFixedMask(fixed.around(spacing_mm, around_mm))
    return method


def _value(fixed: Brain, moving: Brain, transform: sitk.Transform, spacing_mm: float) -> float:
    """Negative mutual information at one level; 0 where the images do not overlap."""
    method = _method(fixed, spacing_mm, sitk.Transform(transform), _AROUND_MM)
    try:
        return float(method.MetricEvaluate(fixed.levels[spacing_mm], moving.levels[spacing_mm]))
    except RuntimeError:
        return 0.0


def refined(fixed: Brain, moving: Brain, start: Kind, spacing_mm: float, around_mm: float = _AROUND_MM) -> Kind:
    """A better transform of the same kind from this one on, at one level; the same where the images do not overlap.

    The metric sees the brain and ``around_mm`` around it.
    """
    transform = type(start)(start)
    method = _method(fixed, spacing_mm, transform, around_mm)
    if spacing_mm == FINE_MM:
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(_SHARE, _SEED)
    method.SetOptimizerAsRegularStepGradientDescent(spacing_mm / 2, 1e-3, 200, 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    try:
        method.Execute(fixed.levels[spacing_mm], moving.levels[spacing_mm])
    except RuntimeError:
        return start
    return transform


def _euler(centre: Iterable[float], angles: Iterable[float], shift: Iterable[float]) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(value) for value in centre])
    transform.SetRotation(*(float(angle) for angle in angles))
    transform.SetTranslation([float(value) for value in shift])
    return transform


def _between(one: sitk.Transform, other: sitk.Transform, centre: NDArray[np.float64]) -> sitk.Euler3DTransform:
    """Half way between two rigid transforms: what pulls one of them aside pulls the other to the opposite side."""
    turn = Rotation.concatenate([_turn(one), _turn(other)]).mean()
    goal = np.mean([way.TransformPoint([float(value) for value in centre]) for way in (one, other)], axis=0)
    between = _euler(centre, (0, 0, 0), goal - centre)
    between.SetMatrix(turn.as_matrix().ravel().tolist())
    return between


def _turn(transform: sitk.Transform) -> Rotation:
    return Rotation.from_matrix(np.array(sitk.Euler3DTransform(transform).GetMatrix()).reshape(3, 3))
