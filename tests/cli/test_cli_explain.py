"""The commands of docs/how-to/explain.md, as they stand there."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from page_commands import commands_of

from mgmt_monai.cli.main import main
from mgmt_monai.inference.study import read_study
from mgmt_monai.transforms import LoadSeries

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "explain.md"

pytestmark = pytest.mark.xdist_group("training")


@pytest.mark.slow
def test_commands_of_the_page_run(
    exported_bundle: Path, phantom_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "phantom").symlink_to(phantom_dir)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mgmt_t1w").symlink_to(exported_bundle)
    volume = LoadSeries()(read_study(phantom_dir / "train" / "90000", modalities=["T1w"])[0].series)
    brain = (np.moveaxis(volume.numpy(), 0, 2) > 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(brain, volume.affine.numpy()), tmp_path / "tumour.nii.gz")
    monkeypatch.chdir(tmp_path)

    commands = commands_of(PAGE.read_text(), "mgmt-monai")
    assert len(commands) == 3
    assert [main([*words[1:], "--dicom-seg"]) for words in commands] == [0, 0, 0]

    for folder in ("explanation", "quick", "shares"):
        assert (tmp_path / folder / "90000" / "mgmt_t1w" / "gradcam.nii.gz").is_file()
        assert pydicom.dcmread(tmp_path / folder / "90000" / "mgmt_t1w" / "gradcam.dcm").Modality == "SEG"
    assert (tmp_path / "explanation" / "90000" / "mgmt_t1w" / "occlusion.png").is_file()
