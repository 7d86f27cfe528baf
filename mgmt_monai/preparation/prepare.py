"""The series of one head in one space, with the brain alone: registered, masked, resampled; in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from mgmt_monai.preparation.brain_mask import brain_cm3, brain_mask, check_brain, dice, one_mask
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.hd_bet import NAME as HD_BET
from mgmt_monai.preparation.hd_bet import check_installed
from mgmt_monai.preparation.registration import Brain, Registration, register
from mgmt_monai.preparation.template import Alignment, Template, align

#: Which series the others are brought to: the first that is there, and in which a brain is found.
REFERENCE_ORDER = ("T1wCE", "T1w", "T2w", "FLAIR")

#: Of the space that all series get, in mm: BraTS' field of view.
SIZE_MM = (240.0, 240.0, 155.0)

#: A user's mask has to lie on the brain that was found, at least so far (Dice).
_MIN_MASK_OVERLAP = 0.6


@dataclass(frozen=True)
class Settings:
    """What can be chosen.

    Args:
        spacing_mm: Side of the voxels; of a template's, the shortest.
        n4: Whether the shading of the coil is taken out, by N4.
        template: SHA-256 of the template whose space is the common one; "" for that of the reference series.
        brain: What finds the brain: "" for deepbet, or ``hd-bet``.

    Raises:
        PreparationError: Not such a setting, or HD-BET is not installed.
    """

    spacing_mm: float = 1.0
    n4: bool = False
    template: str = ""
    brain: str = ""

    def __post_init__(self) -> None:
        if not 0.3 <= self.spacing_mm <= 5:
            raise PreparationError(f"spacing: expected 0.3 to 5 mm, found {self.spacing_mm:g}. Name another.")
        if self.brain not in ("", HD_BET):
            raise PreparationError(f"brain: expected deepbet or {HD_BET}, found {self.brain!r}. Name one of them.")
        if self.brain:
            check_installed()

    @property
    def told(self) -> dict[str, Any]:
        """What ``prepare.json`` says of them: no template and no tool where none is named."""
        return {name: value for name, value in asdict(self).items() if value != ""}


def settings_with(template: Template | None, spacing_mm: float, n4: bool, brain: str = "") -> Settings:
    """Settings whose voxels are a template's where there is one."""
    if template is None:
        return Settings(spacing_mm, n4, brain=brain)
    return Settings(template.spacing_mm, n4, template.sha256, brain)


@dataclass(frozen=True)
class PreparedSeries:
    """What became of one series.

    Args:
        reason: Why it was refused; "" where it was accepted.
        brain_cm3: Volume of the brain found in it; None where none was.
        registration: To the reference; None of the reference itself, and where it came to none.
        agreement: Dice coefficient of its brain and the one of all series; None where it was refused.
    """

    reason: str = ""
    brain_cm3: float | None = None
    registration: Registration | None = None
    agreement: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether it is in the patient's space."""
        return not self.reason


@dataclass(frozen=True)
class Prepared:
    """A head in one space.

    Args:
        reference: The modality that the others were brought to.
        series: By modality, the refused ones too.
        images: By modality, float32, 0 outside the brain, all on one grid along the body's axes.
        whole: The same with everything around the brain, for pictures of how well they fit.
        mask: uint8 on that grid, 1 inside the brain.
        transforms: By modality: from the common space to the series' own, in mm (LPS).
        own_mask: Whether the mask is the user's.
        alignment: How the common space, a template's, lies in the reference's; None without a template.
        template: Its image; None without one.
    """

    reference: str
    series: dict[str, PreparedSeries]
    images: dict[str, sitk.Image]
    whole: dict[str, sitk.Image]
    mask: sitk.Image
    transforms: dict[str, sitk.Transform] = field(repr=False)
    own_mask: bool = False
    alignment: Alignment | None = None
    template: sitk.Image | None = None


def prepare(
    images: Mapping[str, sitk.Image],
    settings: Settings,
    mask: sitk.Image | None = None,
    refused: Mapping[str, str] = {},
    template: Template | None = None,
) -> Prepared:
    """Bring the series of one head into one space and keep the brain alone.

    Each series' brain is found by itself; each is registered rigidly to the reference and held to the limits of
    `Registration.reason`; the brain is where at least half of the accepted series see it. A series that fails is
    refused by name, and the others go on.

    Args:
        images: By modality, as `mgmt_monai.preparation.images.as_image` gives them.
        settings: What can be chosen.
        mask: The user's own brain in the reference's space, on any grid; None to find it.
        refused: Why a series could not be read, by modality: told with the others.
        template: Whose space and grid all get, affinely; None for the reference's own space.

    Raises:
        PreparationError: No series with a brain, one that does not fit the space or the template, a mask that lies
            elsewhere, or another template than that of the settings.

    Source:
        BraTS' preparation (Bakas et al., Sci Data 2017) has the same steps: one space, 1 mm, brain alone.
    """
    if settings.template != (template.sha256 if template else ""):
        raise PreparationError(
            f"template: expected the one of the settings (SHA-256 {settings.template[:12] or 'none'}), found "
            f"{template.sha256[:12] if template else 'none'}. Name the same file in both."
        )
    series = {modality: PreparedSeries(reason) for modality, reason in refused.items()}
    brains: dict[str, Brain] = {}
    for modality, image in images.items():
        try:
            found = brain_mask(image, settings.brain)
            check_brain(image, found)
            brains[modality] = Brain(image, found)
        except PreparationError as error:
            series[modality] = PreparedSeries(str(error))
    reference = next((modality for modality in REFERENCE_ORDER if modality in brains), None)
    if reference is None:
        raise PreparationError(
            "expected a series of a whole head, found none: "
            + "; ".join(f"{modality}: {one.reason}" for modality, one in series.items())
        )
    registrations = {
        modality: register(brains[reference], brain) for modality, brain in brains.items() if modality != reference
    }
    accepted = [m for m in brains if m == reference or not registrations[m].reason]
    alignment = None if template is None else align(template.brain, brains[reference])
    if alignment is not None and alignment.reason:
        raise PreparationError(f"{reference}: {alignment.reason}")
    grid = _grid(brains[reference], settings.spacing_mm) if template is None else template.brain.mask * 0
    common: sitk.Transform = sitk.Transform() if alignment is None else alignment.transform
    own_space = {m: registrations[m].transform if m in registrations else sitk.Euler3DTransform() for m in accepted}
    transforms = (
        own_space if alignment is None else {m: sitk.CompositeTransform([own_space[m], common]) for m in accepted}
    )
    masks = {m: _moved_mask(brains[m].mask, grid, transforms[m]) for m in accepted}
    together = one_mask(list(masks.values()))
    if mask is not None:
        own, together = together, _moved_mask(mask, grid, common)
        if dice(own, together) < _MIN_MASK_OVERLAP:
            raise PreparationError(
                f"mask: expected one that lies on the brain of {reference} (Dice at least {_MIN_MASK_OVERLAP:g}), "
                f"found {dice(own, together):.2f}. Name a mask in that series' space."
            )
    for modality, brain in brains.items():
        registration = registrations.get(modality)
        fits = modality in accepted
        series[modality] = PreparedSeries(
            "" if registration is None else registration.reason,
            brain_cm3(brain.mask),
            registration,
            dice(masks[modality], together) if fits else None,
        )
    whole = {m: _resampled(brains[m].image, grid, transforms[m]) for m in accepted}
    if settings.n4:
        whole = {m: _unshaded(image, together) for m, image in whole.items()}
    stripped = {m: sitk.Mask(image, together) for m, image in whole.items()}
    told = {m: series[m] for m in REFERENCE_ORDER if m in series}
    shown = None if template is None else template.brain.image
    return Prepared(reference, told, stripped, whole, together, transforms, mask is not None, alignment, shown)


def _grid(brain: Brain, spacing_mm: float) -> sitk.Image:
    """The space that all series get: along the body's axes, the brain in its middle."""
    inside = np.argwhere(sitk.GetArrayViewFromImage(brain.mask))[:, ::-1]
    points = inside @ (np.array(brain.mask.GetDirection()).reshape(3, 3) * np.array(brain.mask.GetSpacing())).T
    low, high = points.min(axis=0), points.max(axis=0)
    if np.any(high - low > SIZE_MM):
        expected, found = (" x ".join(f"{side:.0f}" for side in sides) for sides in (SIZE_MM, high - low))
        raise PreparationError(f"expected a brain within {expected} mm, found one of {found} mm")
    n_voxels = np.rint(np.array(SIZE_MM) / spacing_mm).astype(int)
    middle = np.array(brain.mask.GetOrigin()) + (low + high) / 2
    grid = sitk.Image([int(n) for n in n_voxels], sitk.sitkUInt8)
    grid.SetSpacing([spacing_mm] * 3)
    grid.SetOrigin([float(value) for value in middle - (n_voxels - 1) / 2 * spacing_mm])
    return grid


def _resampled(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """By cubic B-splines, which overshoot at edges: held to the image's range, 0 beyond its field of view."""
    values = sitk.GetArrayViewFromImage(image)
    low, high = min(float(values.min()), 0.0), float(values.max())
    moved = sitk.Resample(image, grid, transform, sitk.sitkBSpline, 0.0, sitk.sitkFloat32)
    return sitk.Clamp(moved, sitk.sitkFloat32, low, high)


def _moved_mask(mask: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """A mask on another grid, its edge where the linear interpolation of it crosses one half."""
    soft = sitk.Cast(mask > 0, sitk.sitkFloat32)
    return sitk.Cast(sitk.Resample(soft, grid, transform, sitk.sitkLinear, 0.0) >= 0.5, sitk.sitkUInt8)


def _unshaded(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """Without the coil's shading. Source: Tustison et al., N4ITK, IEEE Trans Med Imaging 2010."""
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.Execute(sitk.Shrink(image, [4] * 3), sitk.Shrink(mask, [4] * 3))
    return sitk.Cast(image / sitk.Exp(n4.GetLogBiasFieldAsImage(image)), sitk.sitkFloat32)
