"""A training's slices around the tumour, and its images without it, beside what is known of a made cohort."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from phantom_runs import workflow

import mgmt_monai
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.transforms import LoadSeries

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def truth(phantom_dir: Path) -> dict[str, dict]:
    document = json.loads((phantom_dir / "truth.json").read_text())
    return {patient["patient_id"]: patient for patient in document["patients"]}


@pytest.fixture(scope="module")
def table(truth: dict[str, dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segmentations of every patient: a ball of 1 mm voxels where the tumour was made."""
    folder = tmp_path_factory.mktemp("segmentations")
    rows = ["patient_id,segmentation"]
    for name, of in truth.items():
        reach = int(of["tumour_radius_mm"]) + 2
        inside = ((np.indices([2 * reach + 1] * 3) - reach) ** 2).sum(axis=0) <= of["tumour_radius_mm"] ** 2
        affine = np.eye(4)
        affine[:3, 3] = np.array(of["tumour_centre_mm"]) * [-1, -1, 1] - reach  # the truth is told in LPS
        nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), folder / f"{name}.nii.gz")
        rows.append(f"{name},{folder / name}.nii.gz")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    return folder / "table.csv"


def test_slices_lie_around_the_known_tumour(phantom_dir, table, truth, tmp_path):
    made = workflow(phantom_dir, tmp_path, slices="tumour", segmentations=str(table), slice_store="")
    dataset = made.parser.get_parsed_content("train::dataset")
    steps = made.parser.get_parsed_content("train::preprocessing").transforms
    assert [type(step).__name__ for step in steps][:2] == ["LoadSeriesd", "CropTumourSlicesd"]
    middle = 0
    for item, count in zip(dataset.data, dataset.slice_counts, strict=True):
        whole = LoadSeries()(item["image"])
        kept = steps[1](steps[0](item))["image"]
        centre = np.array(truth[item["patient_id"]]["tumour_centre_mm"]) * [-1, -1, 1]
        place = (np.linalg.inv(kept.affine.numpy()) @ [*centre, 1])[2]
        assert count == len(kept) == max(1, round(0.2 * len(whole)))
        assert abs(place - (len(kept) - 1) / 2) <= 1  # half a slice by rounding, half by the ball's voxels
        middle += np.allclose(kept.affine, steps[0]({"image": item["image"]})["image"].affine)
    assert middle < len(dataset.data)


def test_slices_of_a_fusion_lie_around_it_in_each_modality(phantom_dir, table, truth, tmp_path):
    settings = {"slices": "tumour", "segmentations": str(table), "slice_store": "", "modalities": "T1w+T2w"}
    made = workflow(phantom_dir, tmp_path, config="fusion.json", **settings)
    dataset = made.parser.get_parsed_content("validate::dataset")
    steps = made.parser.get_parsed_content("validate::preprocessing").transforms
    assert [type(step).__name__ for step in steps][:2] == ["LoadSeriesd", "CropTumourSlicesd"]
    for slices, _ in dataset.parts:
        for item in slices.data:
            kept = steps[1](steps[0](item))["image"]
            centre = np.array(truth[item["patient_id"]]["tumour_centre_mm"]) * [-1, -1, 1]
            place = (np.linalg.inv(kept.affine.numpy()) @ [*centre, 1])[2]
            assert abs(place - (len(kept) - 1) / 2) <= 1


def test_known_tumour_is_gone_from_the_control(phantom_dir, table, truth, tmp_path):
    made = workflow(phantom_dir, tmp_path, control="without_tumour", segmentations=str(table), slice_store="")
    steps = made.parser.get_parsed_content("train::preprocessing").transforms
    names = [type(step).__name__ for step in steps]
    assert names[:3] == ["CropMiddleSlicesd", "LoadSeriesd", "HideTumourd"]
    item = made.parser.get_parsed_content("cohort").items("train")[0]
    seen = steps[1](steps[0](item))
    hidden = steps[2](seen)["image"].numpy()
    changed = np.argwhere(hidden != seen["image"].numpy())[:, [1, 2, 0]]
    places = (seen["image"].affine.numpy() @ np.column_stack([changed, np.ones(len(changed))]).T)[:3].T
    of = truth[item["patient_id"]]
    distances = np.linalg.norm(places - np.array(of["tumour_centre_mm"]) * [-1, -1, 1], axis=1)
    assert len(changed) > 100
    assert distances.max() <= of["tumour_radius_mm"] + 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["CropMiddleSlicesd", "LoadSeriesd"]),
        ({"slices": "tumour"}, ["LoadSeriesd", "CropTumourSlicesd"]),
        ({"slices": "tumour", "plane": "axial"}, ["LoadSeriesd", "ReformatPlaned", "CropTumourSlicesd"]),
        ({"control": "without_tumour", "plane": "axial"}, ["LoadSeriesd", "ReformatPlaned", "HideTumourd"]),
        (
            {"slices": "tumour", "control": "without_tumour"},
            ["LoadSeriesd", "CropTumourSlicesd", "HideTumourd"],
        ),
        ({"slices": "tumour", "control": "blank"}, ["LoadSeriesd", "CropTumourSlicesd", "Blankd"]),
    ],
)
def test_chain_of_each_choice(settings, expected):
    chain = mgmt_monai.slice_transforms("t1w", slice_fraction=0.3, **settings).transforms
    assert [type(step).__name__ for step in chain][: len(expected) + 1] == [*expected, "ScaleIntensityRobustd"]
    array = [getattr(step, "transform", None) for step in chain]
    fractions = [step.fraction for step in array if hasattr(step, "fraction")]
    assert fractions == ([1.0, 0.3] if settings.get("plane") and "slices" in settings else [0.3])


def test_without_segmentations_it_ends_before_anything_is_read(phantom_dir, tmp_path):
    made = workflow(phantom_dir, tmp_path, slices="tumour")
    with pytest.raises(RuntimeError) as told:
        made.parser.get_parsed_content("cohort")
    assert isinstance(told.value.__cause__, CohortError)
    assert "expected one NIfTI file for every patient, found none" in str(told.value.__cause__)


def test_other_segmentations_are_another_cohort_and_another_store(phantom_dir, table, tmp_path):
    def opened():
        made = workflow(phantom_dir, tmp_path, slices="tumour", segmentations=str(table))
        store = made.parser.get_parsed_content("store")
        return made.parser.get_parsed_content("cohort").segmentations_hash, store._files

    before = opened()
    assert opened() == before
    file = min(table.parent.glob("*.nii.gz"))
    image = nib.load(file)
    moved = np.roll(np.asarray(image.dataobj), 2, axis=0)
    nib.save(nib.Nifti1Image(moved, image.affine), file)
    after = opened()
    assert before[0] != after[0] and before[1] != after[1]
