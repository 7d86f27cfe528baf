"""Known displacements are refound; what is no match is refused by name."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from made_brain import made_brain

from mgmt_monai.preparation.registration import Brain, Registration, register


def displaced(brain: Brain, transform: sitk.Euler3DTransform) -> Brain:
    """The same voxels elsewhere in the scanner."""
    turned = np.array(transform.GetMatrix()).reshape(3, 3)
    moved = []
    for image in (sitk.Image(brain.image), sitk.Image(brain.mask)):
        image.SetOrigin(transform.TransformPoint(image.GetOrigin()))
        image.SetDirection((turned @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
        moved.append(image)
    return Brain(*moved)


def test_a_displacement_is_refound_across_contrasts() -> None:
    fixed = made_brain(1.0)
    known = sitk.Euler3DTransform()
    known.SetCenter([96, 108, 90])
    known.SetRotation(0.3, -0.2, 0.25)
    known.SetTranslation([12.0, -9.0, 14.0])
    found = register(fixed, displaced(made_brain(-0.7), known))
    errors = [
        np.linalg.norm(np.subtract(found.transform.TransformPoint(point), known.TransformPoint(point)))
        for point in fixed.points
    ]
    assert found.reason == ""
    assert max(errors) < 0.5
    assert found.translation_mm == pytest.approx(np.linalg.norm([12, 9, 14]), abs=0.5)
    angle = np.degrees(np.arccos((np.trace(np.array(known.GetMatrix()).reshape(3, 3)) - 1) / 2))
    assert found.rotation_deg == pytest.approx(angle, abs=0.5)


def test_another_head_is_refused() -> None:
    other = made_brain(1.0)
    noise = np.random.default_rng(8).normal(300, 80, sitk.GetArrayFromImage(other.image).shape).astype(np.float32)
    image = sitk.GetImageFromArray(noise)
    image.CopyInformation(other.image)
    assert register(made_brain(1.0), Brain(image, other.mask)).reason


GOOD = Registration(sitk.Euler3DTransform(), 3.0, 2.0, 0.2, 0.95, 0.3)


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({}, ""),
        ({"disagreement_mm": 1.06}, "within 1 mm of each other, found 1.06 mm"),
        ({"translation_mm": 61.0}, "found 61 mm and 2 degrees"),
        ({"rotation_deg": 46.0}, "found 3 mm and 46 degrees"),
        ({"overlap": 0.84}, "found 0.840"),
        ({"gain": -0.01}, "found a worse one"),
    ],
)
def test_what_is_refused_and_why(figures: dict[str, float], reason: str) -> None:
    found = replace(GOOD, **figures).reason
    assert found == reason if not reason else reason in found
