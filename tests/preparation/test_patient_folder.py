"""A prepared patient's folder: read back by other libraries, and replaced only where that is asked for."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from faulty_storage import faulty, needs_compiler

from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.patient_folder import is_prepared, record_of, write_patient
from mgmt_monai.preparation.prepare import Prepared, PreparedSeries, Settings

INPUTS = "a" * 64


def head() -> Prepared:
    z, y, x = np.indices((12, 14, 16))
    inside = ((z > 2) & (z < 9) & (y > 2) & (y < 11) & (x > 2) & (x < 13)).astype(np.uint8)
    mask = sitk.GetImageFromArray(inside)
    image = sitk.GetImageFromArray((inside * (100 + x + 2 * y + 3 * z)).astype(np.float32))
    for one in (mask, image):
        one.SetSpacing([2.0, 2.0, 2.0])
        one.SetOrigin([-11.5, 7.25, 30.0])
    transform = sitk.Euler3DTransform((1.0, 2.0, 3.123456789012345), 0.1, -0.2, 1 / 3, (4.0, 5.0, 1e-17))
    return Prepared("T1w", {"T1w": PreparedSeries()}, {"T1w": image}, {"T1w": image}, mask, {"T1w": transform})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written = tmp_path / "Münch 1"
    write_patient(head(), written.name, written, record_of(head(), Settings(2.0), INPUTS, {}))
    return written


def test_what_is_written_is_what_other_libraries_read(folder: Path) -> None:
    made = head()
    read = sitk.ReadImage(str(folder / "Münch 1_t1.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(made.images["T1w"]))
    assert read.GetPixelID() == sitk.sitkFloat32
    assert np.allclose(read.GetOrigin(), (-11.5, 7.25, 30.0))
    assert np.allclose(read.GetDirection(), np.eye(3).ravel())
    mask = nib.load(folder / "Münch 1_brain_mask.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert np.allclose(mask.affine, [[-2, 0, 0, 11.5], [0, -2, 0, -7.25], [0, 0, 2, 30], [0, 0, 0, 1]])
    transform = sitk.ReadTransform(str(folder / "transforms/t1.tfm"))
    point = (10.0, -20.0, 30.0)
    assert transform.TransformPoint(point) == made.transforms["T1w"].TransformPoint(point)


def test_the_same_is_kept_and_another_replaced_only_when_asked(folder: Path) -> None:
    record = is_prepared(folder, Settings(2.0), INPUTS)
    assert record is not None
    assert record == is_prepared(folder, Settings(2.0))
    for settings, inputs, told in (
        (Settings(3.0), INPUTS, "other settings"),
        (Settings(2.0), "b" * 64, "other images"),
    ):
        with pytest.raises(PreparationError, match=f"{told}.*--overwrite"):
            is_prepared(folder, settings, inputs)
        assert is_prepared(folder, settings, inputs, overwrite=True) is None


def test_a_folder_with_a_volume_gone_is_not_taken_for_whole(folder: Path) -> None:
    (folder / "Münch 1_t1.nii.gz").unlink()
    with pytest.raises(PreparationError, match="files missing"):
        is_prepared(folder, Settings(2.0), INPUTS)
    assert is_prepared(folder, Settings(2.0), INPUTS, overwrite=True) is None


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_what_somebody_else_put_there_is_never_replaced(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "T1w").mkdir()
    if content is not None:
        (tmp_path / "prepare.json").write_text(content)
    with pytest.raises(PreparationError, match=r"without a prepare\.json that can be read"):
        is_prepared(tmp_path, Settings(), overwrite=True)


def test_a_mask_of_the_users_own_in_the_folder_is_not_lost(folder: Path) -> None:
    (folder / "mine.nii.gz").touch()
    with pytest.raises(PreparationError, match=r"found mine\.nii\.gz, which would be lost"):
        is_prepared(folder, Settings(3.0), overwrite=True)


def test_the_older_one_stays_where_the_new_one_fails(folder: Path) -> None:
    before = (folder / "prepare.json").read_bytes()
    with pytest.raises(TypeError):
        write_patient(head(), folder.name, folder, {**json.loads(before), "software": {"a": object()}})
    assert (folder / "prepare.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.slow
@needs_compiler
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from pathlib import Path; from test_patient_folder import *\n"
        "write_patient(head(), 'a', Path(sys.argv[3]), record_of(head(), Settings(2.0), INPUTS, {}))"
    )
    here = Path(__file__).parent
    words = [sys.executable, "-c", code, str(here), str(here.parent), str(tmp_path / "a")]
    ran = subprocess.run(words, env=faulty("write", errno.ENOSPC, str(tmp_path)), capture_output=True, check=False)
    assert b"No space left on device" in ran.stderr
    assert list(tmp_path.iterdir()) == []
