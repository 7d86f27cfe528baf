"""A real raw head with a tumour, held against what another toolkit made of it; slow: four registrations."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from mgmt_monai.preparation.brain_mask import dice
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
