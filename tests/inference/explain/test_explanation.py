"""A study explained from the command line, and where its maps lie on the scan."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from mgmt_monai.cli.main import main
from mgmt_monai.inference.explain.explanation import Map, SeriesExplanation, explain_series, write_explanation
from mgmt_monai.inference.explain.sanity import Sanity
from mgmt_monai.inference.explain.share import Share, share_inside
from mgmt_monai.inference.model import BundleModel
from mgmt_monai.inference.study import read_study

pytestmark = pytest.mark.xdist_group("training")


LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def patient(phantom_dir: Path) -> Path:
    return min((phantom_dir / "train").iterdir())


@pytest.fixture(scope="module")
def explained(t1w_model: BundleModel, patient: Path) -> SeriesExplanation:
    series = read_study(patient, modalities=["T1w"])[0].series
    assert series is not None
    return explain_series(t1w_model, series, ["gradcam"])


def tumour(phantom_dir: Path, patient_id: str, path: Path) -> Path:
    """The planted tumour as a sphere, 1 mm voxels, made from truth.json alone."""
    patients = json.loads((phantom_dir / "truth.json").read_text())["patients"]
    truth = next(each for each in patients if each["patient_id"] == patient_id)
    centre = np.array(truth["tumour_centre_mm"]) * [-1, -1, 1]
    offset = np.indices((61, 61, 61)) - 30
    inside = (offset**2).sum(axis=0) <= truth["tumour_radius_mm"] ** 2
    affine = np.eye(4)
    affine[:3, 3] = centre - 30
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), path)
    return path


def test_nifti_has_the_geometry_that_simpleitk_reads(
    explained: SeriesExplanation, patient: Path, tmp_path: Path
) -> None:
    write_explanation(explained, tmp_path)
    image = nib.load(tmp_path / "gradcam.nii.gz")
    files = list((patient / "T1w").iterdir())
    along = np.cross(*np.reshape(pydicom.dcmread(files[0]).ImageOrientationPatient, (2, 3)))
    files.sort(key=lambda path: float(np.dot(pydicom.dcmread(path).ImagePositionPatient, along)))
    theirs = sitk.ReadImage([str(path) for path in files])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(theirs.GetDirection(), (3, 3)) * theirs.GetSpacing()
    affine[:3, 3] = theirs.GetOrigin()
    np.testing.assert_allclose(image.affine, LPS_TO_RAS @ affine, atol=1e-3)
    assert image.shape == theirs.GetSize()


def test_nifti_holds_a_hot_pixel_where_the_network_saw_it(explained: SeriesExplanation, tmp_path: Path) -> None:
    k, row, column = 1, 11, 30
    values = np.zeros_like(explained.maps[0].values)
    values[k, row, column] = 1
    hot = replace(explained, maps=(replace(explained.maps[0], values=values),))
    write_explanation(hot, tmp_path)
    laid = np.asarray(nib.load(tmp_path / "gradcam.nii.gz").dataobj)
    n_columns, n_rows, _ = laid.shape
    side = values.shape[1]
    expected = [(column + 0.5) * n_columns / side - 0.5, (row + 0.5) * n_rows / side - 0.5]
    where = np.array(np.nonzero(laid > 0.5 * laid.max()))
    np.testing.assert_allclose(where[:2].mean(axis=1), expected, atol=0.51)
    assert set(where[2]) == {explained.seen.slice_indices[k]}


def test_nifti_is_not_written_for_a_series_without_a_place(explained: SeriesExplanation, tmp_path: Path) -> None:
    fault = "2 slices are missing inside the stack"
    write_explanation(replace(explained, seen=replace(explained.seen, geometry_fault=fault)), tmp_path)
    assert not list(tmp_path.glob("*.nii.gz"))
    assert (tmp_path / "gradcam.png").is_file()
    assert json.loads((tmp_path / "explain.json").read_text())["no_nifti_because"] == fault


def test_a_map_that_is_zero_everywhere_is_said_to_be_so(explained: SeriesExplanation, tmp_path: Path) -> None:
    nothing = Sanity(math.nan, (math.nan,), (0,))
    zero = Map("gradcam", np.zeros_like(explained.maps[0].values), nothing, None)
    write_explanation(replace(explained, maps=(zero,)), tmp_path / "zero")
    write_explanation(explained, tmp_path / "other")
    empty, other = (np.asarray(Image.open(tmp_path / each / "gradcam.png")) for each in ("zero", "other"))
    assert (empty[..., 0] == empty[..., 2]).all(), "grey alone, and white words"
    assert not (other[..., 0] == other[..., 2]).all()


def test_page_says_how_coarse_the_map_is_and_whether_it_depends_on_the_model(
    explained: SeriesExplanation, patient: Path, tmp_path: Path
) -> None:
    header = pydicom.dcmread(next((patient / "T1w").iterdir()))
    sides = header.Rows * header.PixelSpacing[0], header.Columns * header.PixelSpacing[1]
    cell = max(sides) / 2  # of a picture that is padded to a square
    unchanged = Sanity(0.9, (0.9,), (0,))
    maps = (replace(explained.maps[0], sanity=unchanged, share=Share(0.25, 0.125, 9)),)
    write_explanation(replace(explained, maps=maps, resolution=(2, 2)), tmp_path)
    page = (tmp_path / "explain.html").read_text()
    assert f"it tells 2 x 2 cells of a slice apart, each {cell:.0f} x {cell:.0f} mm, no finer" in page
    assert "there is no evidence that the model tells methylated" in page and "Trained on: " in page
    assert page.count('<path d="M') == 2, "one line down, one across"
    assert "THE MAP HARDLY CHANGES when the weights are random" in page
    assert "in the segmentation: 25.0%; of an even map: 12.5%" in page
    assert page.count('src="data:image/jpeg;base64,') == 1 and not re.findall("(?:src|href)=.(?!data:)", page)


@pytest.mark.parametrize("width", [1280, 400])
def test_page_fits_a_screen_in_a_browser(
    view: Callable[..., Any], explained: SeriesExplanation, tmp_path: Path, width: int
) -> None:
    write_explanation(replace(explained, abstained=("b" * 300,)), tmp_path)
    shown = view(tmp_path / "explain.html", width)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    picture = shown.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert picture == Image.open(tmp_path / "gradcam.png").width


def test_share_counts_the_positive_part_within_the_head() -> None:
    laid = np.array([[4.0, 1.0, -3.0], [3.0, 2.0, 9.0]])
    region = np.array([[True, False, True], [False, False, True]])
    head = np.array([[True, True, True], [True, True, False]])
    found = share_inside(laid, region, head)
    assert (found.inside, found.uniform, found.n_voxels) == (0.4, 0.4, 2)
    assert share_inside(-abs(laid), region, head).inside is None


@pytest.mark.slow
def test_explain_command_writes_maps_checks_and_shares(
    t1w_bundle: Path, phantom_dir: Path, patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segmentation = tumour(phantom_dir, patient.name, tmp_path / "tumour.nii.gz")
    words = ["explain", str(patient), "--bundle", str(t1w_bundle), "--out", str(tmp_path / "out")]

    assert main([*words, "--segmentation", str(segmentation)]) == 0

    folder = tmp_path / "out" / patient.name / "mgmt_t1w"
    document = json.loads((folder / "explain.json").read_text())
    assert [each["method"] for each in document["maps"]] == ["gradcam", "occlusion"]
    for each in document["maps"]:
        assert len(each["similarity_with_random_weights"]) == 3
        share = each["share_in_segmentation"]
        assert 0.02 < share["uniform"] < 0.5, "a sphere of 20 to 27 mm in slices through the middle of a head"
        assert share["n_voxels"] > 0
        assert (folder / f"{each['method']}.nii.gz").is_file()
    pictures = sorted(path.name for path in folder.glob("gradcam-slice-*.png"))
    assert pictures == [f"gradcam-slice-{index + 1:03d}.png" for index in document["slice_indices"]]
    assert "in the segmentation: " in capsys.readouterr().out

    assert main([*words, "--method", "gradcam"]) == 1
    assert "found another, which would be lost" in capsys.readouterr().err
    assert main([*words, "--method", "gradcam", "--overwrite"]) == 0
    assert not list(folder.glob("occlusion*")), "nothing of the older explanation stays beside the new one"
    told = (folder / "explain.json").read_bytes()
    assert main([*words, "--method", "gradcam"]) == 0  # the same again
    assert (folder / "explain.json").read_bytes() == told


@pytest.mark.parametrize(
    ("made", "told"),
    [("none", "no such file"), ("text", "not gzip"), ("far", "nothing annotated in it lies within")],
)
def test_explain_refuses_a_segmentation_of_something_else(
    made: str, told: str, t1w_bundle: Path, patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "seg.nii.gz"
    if made == "text":
        path.write_text("no image")
    elif made == "far":
        affine = np.eye(4)
        affine[:3, 3] = 5000
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), dtype=np.uint8), affine), path)
    out = tmp_path / "out"
    words = ["explain", str(patient), "--bundle", str(t1w_bundle), "--out", str(out), "--method", "gradcam"]
    assert main([*words, "--segmentation", str(path)]) == 1
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_explain_writes_nothing_that_names_the_patient(
    t1w_bundle: Path, patient: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planted = {"PatientName": "Musterfrau^Erika", "PatientID": "ID-4711", "PatientBirthDate": "19610203",
               "AccessionNumber": "ACC-0815", "StudyDate": "20210405"}  # fmt: skip
    study = tmp_path / "case"
    shutil.copytree(patient / "T1w", study / "T1w")
    for path in (study / "T1w").iterdir():
        dataset = pydicom.dcmread(path)
        for keyword, value in planted.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    with caplog.at_level("DEBUG"):
        words = ["explain", str(study), "--bundle", str(t1w_bundle), "--out", str(tmp_path / "out")]
        assert main([*words, "--method", "gradcam"]) == 0
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for path in (tmp_path / "out").rglob("*.nii.gz"):
        image = nib.load(path)
        written += image.header.binaryblock
    for value in planted.values():
        assert value.encode() not in written
        assert value not in caplog.text


@pytest.mark.parametrize(
    "axes", ["LPS", "PIR", *(pytest.param(axes, marks=pytest.mark.slow) for axes in ["RAS", "LSA"])]
)
def test_map_of_a_nifti_series_lies_on_its_own_voxels(
    axes: str, t1w_model: BundleModel, patient: Path, tmp_path: Path
) -> None:
    files = list((patient / "T1w").iterdir())
    along = np.cross(*np.reshape(pydicom.dcmread(files[0]).ImageOrientationPatient, (2, 3)))
    files.sort(key=lambda path: float(np.dot(pydicom.dcmread(path).ImagePositionPatient, along)))
    source = sitk.DICOMOrient(sitk.ReadImage([str(path) for path in files]), axes)
    study = tmp_path / "case"
    study.mkdir()
    sitk.WriteImage(source, str(study / "scan.nii.gz"))
    series = read_study(study, {"T1w": study / "scan.nii.gz"}, ["T1w"])[0].series
    assert series is not None

    explained = explain_series(t1w_model, series, ["gradcam"])
    values = np.ones_like(explained.maps[0].values)
    ones = replace(explained, maps=(replace(explained.maps[0], values=values),))
    write_explanation(ones, tmp_path / "out")

    scan, laid = nib.load(study / "scan.nii.gz"), nib.load(tmp_path / "out" / "gradcam.nii.gz")
    assert laid.shape == scan.shape
    np.testing.assert_array_equal(laid.affine, scan.affine)
    assert [laid.header[code] for code in ("qform_code", "sform_code")] == [
        scan.header[code] for code in ("qform_code", "sform_code")
    ]
    # Slices of NIfTI are axial: those seen are planes of the axis that runs to superior, in the middle of it.
    axis = nib.orientations.io_orientation(scan.affine)[:, 0].tolist().index(2)
    shown = np.flatnonzero(np.asarray(laid.dataobj).any(axis=tuple(other for other in range(3) if other != axis)))
    assert len(shown) == len(values)
    assert abs(shown.mean() - (scan.shape[axis] - 1) / 2) <= 0.5


def test_a_focal_map_is_not_called_zero(explained: SeriesExplanation, tmp_path: Path) -> None:
    values = np.zeros_like(explained.maps[0].values)
    values[:, 20:22, 20:22] = 1
    write_explanation(replace(explained, maps=(replace(explained.maps[0], values=values),)), tmp_path)
    picture = np.asarray(Image.open(tmp_path / "gradcam.png")).astype(int)
    assert (picture[..., 0] - picture[..., 2] > 60).any(), "orange"


def test_explain_says_that_the_model_abstains_and_gives_no_probability(
    t1w_bundle: Path, patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", str(patient), "--bundle", str(t1w_bundle), "--out", str(tmp_path), "--method", "gradcam"]

    assert main([*words, "--series", f"T1w={patient / 'FLAIR'}"]) == 0

    assert "the model abstains, so the maps mean little: " in capsys.readouterr().out
    document = json.loads((tmp_path / patient.name / "mgmt_t1w" / "explain.json").read_text())
    assert document["abstained"]
    assert document["slice_probabilities"] == []
