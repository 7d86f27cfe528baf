"""Volumes in one anatomical plane, against nibabel, scipy and places worked out by hand; SimpleITK is the product's."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from phantom_runs import BUNDLES, train

from mgmt_monai.cli.main import main
from mgmt_monai.cohort.files.geometry import slice_normal
from mgmt_monai.cohort.files.headers import read_headers
from mgmt_monai.cohort.series import Series
from mgmt_monai.transforms.crop import CropMiddleSlices
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.load import LoadSeries
from mgmt_monai.transforms.reformat import ReformatPlane, ReformatPlaned

PLANES = ["axial", "coronal", "sagittal"]

# Of an array whose axes run to right, anterior, superior: which axis is the slices, rows, columns, and which of them
# are reversed. Axial: slices to superior, rows to posterior, columns to left, and so on.
BY_HAND = {
    "axial": ((2, 1, 0), (1, 2)),
    "coronal": ((1, 2, 0), (0, 1, 2)),
    "sagittal": ((0, 2, 1), (1, 2)),
}

# The unit steps of (row, column, slice) in RAS.
STEPS = {
    "axial": [[0, -1, 0], [-1, 0, 0], [0, 0, 1]],
    "coronal": [[0, 0, -1], [-1, 0, 0], [0, -1, 0]],
    "sagittal": [[0, 0, -1], [0, -1, 0], [1, 0, 0]],
}


def made(shape, steps, origin=(0.0, 0.0, 0.0), voxels=None) -> MetaTensor:
    """A volume (slices, rows, columns) with the steps (row, column, slice) in RAS mm given as rows."""
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(steps)
    affine[:3, 3] = origin
    if voxels is None:
        voxels = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    return MetaTensor(torch.from_numpy(voxels), affine=torch.from_numpy(affine))


def canonical(volume: MetaTensor) -> nib.Nifti1Image:
    """nibabel's closest canonical image (right, anterior, superior) of a volume."""
    image = nib.Nifti1Image(volume.numpy().transpose(1, 2, 0), volume.affine.numpy())
    return nib.as_closest_canonical(image)


def by_hand(volume: MetaTensor, plane: str) -> tuple[np.ndarray, np.ndarray]:
    """The volume in a plane by permuting nibabel's canonical array: voxels and affine, neither resampled nor padded."""
    image = canonical(volume)
    axes, reverse = BY_HAND[plane]
    voxels = np.flip(image.get_fdata(dtype=np.float32).transpose(axes), reverse)
    index = np.eye(4)  # (row, column, slice) to (right, anterior, superior) indices
    index[:3, :3] = 0
    for new, place in ((0, 1), (1, 2), (2, 0)):
        old = axes[place]
        index[old, new] = -1 if place in reverse else 1
        index[old, 3] = image.shape[old] - 1 if place in reverse else 0
    return voxels, image.affine @ index


def at(volume: MetaTensor, ras_mm) -> np.ndarray:
    """(row, column, slice) of a place, in fractions of a voxel."""
    return (np.linalg.inv(volume.affine.numpy()) @ [*ras_mm, 1])[:3]


def brightest(volume: MetaTensor) -> tuple[int, ...]:
    """(row, column, slice) of the brightest voxel."""
    slice_index, row, column = np.unravel_index(volume.numpy().argmax(), volume.shape)
    return int(row), int(column), int(slice_index)


def squared_by_hand(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coarser side interpolated by scipy to the finer one's spacing, about the middle of the slices."""
    spacing_mm = np.linalg.norm(affine[:3, :2], axis=0)
    step = spacing_mm.min() / spacing_mm  # in old pixels
    if step.min() > 0.99:
        return voxels, affine
    old = np.array(voxels.shape[1:])
    new = np.floor(old / step + 1e-6).astype(int)
    first = (old - 1) / 2 - (new - 1) / 2 * step
    grid = np.meshgrid(*(f + np.arange(n) * s for f, n, s in zip(first, new, step, strict=True)), indexing="ij")
    to_old = np.diag([*step, 1, 1])
    to_old[:2, 3] = first
    image = np.stack([scipy.ndimage.map_coordinates(one, grid, order=1, mode="nearest") for one in voxels])
    return image, affine @ to_old


def padded_by_hand(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shorter side padded with the minimum to the longer, an odd pixel at its end."""
    missing = max(voxels.shape[1:]) - np.array(voxels.shape[1:])
    before = missing // 2
    to_old = np.eye(4)
    to_old[:2, 3] = -before
    width = [(0, 0), *zip(before, missing - before, strict=True)]
    return np.pad(voxels, width, constant_values=voxels.min()), affine @ to_old


def dicom_series(directory: Path) -> Series:
    """Every slice of a folder, ordered by its own header."""
    placed = []
    for path in directory.iterdir():
        header = read_headers(path)[0]
        placed.append((float(header.position @ slice_normal(header.orientation)), path))
    files = tuple(path for _, path in sorted(placed))
    return Series("00001", "T1w", files, range(len(files)))


def nifti_series(path: Path) -> Series:
    return Series("00001", "T1wCE", (path,), range(nib.load(path).shape[2]))


@pytest.fixture(scope="module")
def real_volumes():
    """Loads each real volume once."""
    cache: dict[str, MetaTensor] = {}

    def load(name: str, shared_data: Path) -> MetaTensor:
        if name not in cache:
            path = shared_data / name
            cache[name] = LoadSeries()(dicom_series(path) if path.is_dir() else nifti_series(path))
        return cache[name]

    return load


GE, PAPAYA = "dicom/GE_T1w", "dicom/papaya_FSE_PD_axial"
BRATS = "nifti/BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz"


@pytest.mark.parametrize(
    ("name", "acquired", "plane", "interpolated"),
    [
        pytest.param(GE, "sagittal", "axial", True, id="GE-axial"),
        pytest.param(GE, "sagittal", "coronal", True, id="GE-coronal"),
        pytest.param(GE, "sagittal", "sagittal", False, id="GE-as-acquired"),
        pytest.param(BRATS, "axial", "axial", False, id="BraTS-as-stored"),
        pytest.param(BRATS, "axial", "coronal", False, id="BraTS-coronal"),
        pytest.param(BRATS, "axial", "sagittal", False, id="BraTS-sagittal"),
        pytest.param(PAPAYA, "axial", "axial", False, id="tilted-7-mm-as-acquired"),
        pytest.param(PAPAYA, "axial", "coronal", True, id="tilted-7-mm-coronal"),
        pytest.param(PAPAYA, "axial", "sagittal", True, id="tilted-7-mm-sagittal"),
    ],
)
def test_real_volume_equals_nibabels_permuted_by_hand(name, acquired, plane, interpolated, real_volumes, shared_data):
    volume = real_volumes(name, shared_data)
    reformatted = ReformatPlane(plane)(volume)
    expected, affine = by_hand(volume, plane)
    if plane != acquired:
        expected, affine = padded_by_hand(*squared_by_hand(expected, affine))
    np.testing.assert_allclose(reformatted.affine.numpy(), affine, atol=1e-4)
    if interpolated:
        np.testing.assert_allclose(reformatted.numpy(), expected, atol=expected.max() * 1e-5)
    else:
        np.testing.assert_array_equal(reformatted.numpy(), expected)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("acquired", PLANES)
def test_landmark_lands_where_its_millimetres_say(acquired, plane):
    # 1 mm voxels; the origin and the sides are all different, so that no mistaken axis or flip goes unseen.
    volume = made((11, 13, 17), STEPS[acquired], origin=(4.0, -7.0, 20.0))
    volume[2, 5, 11] = 1000
    place = (volume.affine.numpy() @ [5, 11, 2, 1])[:3]
    reformatted = ReformatPlane(plane)(volume)
    np.testing.assert_allclose(at(reformatted, place), brightest(reformatted), atol=1e-6)
    np.testing.assert_allclose(reformatted.affine[:3, :3].numpy(), np.transpose(STEPS[plane]), atol=1e-9)


@pytest.mark.parametrize(
    ("plane", "row", "column", "slice_index"),
    [
        # An axial volume of 20 x 20 x 20 mm from the origin: 16 mm to the left of the first column, 3 mm below the
        # first row, 5 mm above the first slice.
        pytest.param("axial", 3, 16, 5, id="axial"),
        pytest.param("coronal", 19 - 5, 16, 3, id="coronal-top-is-superior-first-is-anterior"),
        pytest.param("sagittal", 19 - 5, 3, 19 - 16, id="sagittal-first-is-left-face-is-left"),
    ],
)
def test_landmark_by_hand(plane, row, column, slice_index):
    voxels = np.zeros((20, 20, 20), dtype=np.float32)
    voxels[5, 3, 16] = 1
    volume = made(None, STEPS["axial"], voxels=voxels)
    assert brightest(ReformatPlane(plane)(volume)) == (row, column, slice_index)


@pytest.mark.parametrize("angle_deg", [5, 15, 29, -29])
@pytest.mark.parametrize("plane", PLANES)
def test_oblique_volume_goes_to_the_closest_axes(plane, angle_deg):
    turn = np.radians(angle_deg)
    about_right = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    volume = made((9, 9, 9), np.array(STEPS["axial"]) @ about_right.T)
    expected, affine = by_hand(volume, plane)
    reformatted = ReformatPlane(plane)(volume)
    np.testing.assert_array_equal(reformatted.numpy(), expected)
    np.testing.assert_allclose(reformatted.affine.numpy(), affine, atol=1e-9)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("slices_run", [1, -1], ids=["along", "against"])
def test_volume_acquired_in_the_plane_keeps_its_pixels(plane, slices_run):
    # Neither square slices nor square pixels: none of it is touched, as with 'native'.
    steps = np.array(STEPS[plane]) * [[0.5], [0.9], [6.0 * slices_run]]
    volume = made((5, 12, 10), steps)
    reformatted = ReformatPlane(plane)(volume)
    np.testing.assert_array_equal(reformatted.numpy(), volume.numpy()[::slices_run])
    np.testing.assert_allclose(np.linalg.norm(reformatted.affine[:3, :3].numpy(), axis=0), [0.5, 0.9, 6])


@pytest.mark.parametrize(("plane", "n_slices"), [("coronal", 64), ("sagittal", 48)])
def test_thick_slices_become_square_pixels_where_the_landmark_was(plane, n_slices):
    spacing_mm = np.array([[0.9], [0.9], [5.0]])
    volume = made((20, 64, 48), np.array(STEPS["axial"]) * spacing_mm, origin=(30.0, 40.0, -50.0))
    volume[:] = 0
    volume[7, 20, 31] = 100
    place = (volume.affine.numpy() @ [20, 31, 7, 1])[:3]
    reformatted = ReformatPlane(plane)(volume)
    assert reformatted.shape == (n_slices, 111, 111)  # 20 x 5 mm in steps of 0.9 mm, rounded down
    pixel_mm = np.linalg.norm(reformatted.affine[:3, :3].numpy(), axis=0)
    np.testing.assert_allclose(pixel_mm, 0.9)
    assert np.abs(at(reformatted, place) - brightest(reformatted)).max() <= 0.5


def test_interpolated_ramp_is_read_at_its_millimetres():
    # Intensity = height in mm: linear interpolation gives it back exactly between the first and the last slice.
    volume = made((10, 8, 8), np.array(STEPS["axial"]) * [[1.0], [1.0], [4.0]])
    volume[:] = torch.arange(10.0)[:, None, None] * 4
    coronal = ReformatPlane("coronal")(volume)
    assert coronal.shape == (8, 40, 40)
    height_mm = [(coronal.affine.numpy() @ [row, 0, 0, 1])[2] for row in range(40)]
    np.testing.assert_allclose(coronal[3, :, 20].numpy(), np.clip(height_mm, 0, 36), atol=1e-4)


def test_padding_is_centred_and_the_minimum():
    volume = made((4, 10, 7), STEPS["axial"])
    volume += 1000
    coronal = ReformatPlane("coronal")(volume)
    assert coronal.shape == (10, 7, 7)
    assert torch.all(coronal[:, :1] == volume.min()) and torch.all(coronal[:, 5:] == volume.min())
    np.testing.assert_array_equal(coronal.numpy()[:, 1:5], volume.numpy()[::-1].transpose(1, 0, 2))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("acquired", PLANES)
def test_middle_slices_are_those_of_a_crop_afterwards(acquired, plane):
    # Even differences and odd ones: the block that cannot be centred lies towards the first slice of the new order.
    volume = made((9, 10, 13), np.array(STEPS[acquired]) * [[1.0], [1.0], [-1.0]])
    volume[:, 0, 0] = 0  # some of the minimum in every slice, so that the padding is the same
    volume[0] = 0
    volume[:, :, 5] = 0
    kept, cropped = ReformatPlane(plane, 0.4)(volume), CropMiddleSlices(0.4)(ReformatPlane(plane)(volume))
    np.testing.assert_array_equal(kept.numpy(), cropped.numpy())
    np.testing.assert_allclose(kept.affine.numpy(), cropped.affine.numpy(), atol=1e-9)


def test_input_is_left_alone_and_other_meta_is_kept():
    volume = made((4, 5, 6), STEPS["axial"])
    before, affine = volume.numpy().copy(), volume.affine.clone()
    reformatted = ReformatPlane("sagittal")(volume)
    reformatted += 1
    np.testing.assert_array_equal(volume.numpy(), before)
    assert torch.equal(volume.affine, affine)
    assert {**reformatted.meta, "affine": 0} == {**volume.meta, "affine": 0}
    assert reformatted.affine.dtype == torch.float64 and reformatted.dtype == torch.float32


@pytest.mark.parametrize("plane", ["native", "Axial", "", None])
def test_unknown_plane_is_refused(plane):
    with pytest.raises(TransformError, match="'plane' must be one of axial, coronal, sagittal"):
        ReformatPlaned("image", plane)


@pytest.mark.parametrize("fraction", [0, 1.1])
def test_fraction_outside_range_is_refused(fraction):
    with pytest.raises(TransformError, match="'fraction' must be above 0 and at most 1"):
        ReformatPlane("axial", fraction)


@pytest.mark.parametrize(
    "value", [np.zeros((3, 4, 5)), torch.zeros(3, 4, 5), MetaTensor(torch.zeros(4, 5)), "path"],
    ids=["numpy", "tensor", "2d", "str"],
)  # fmt: skip
def test_input_without_an_affine_is_refused(value):
    with pytest.raises(TransformError, match=r"expected a volume \(slices, rows, columns\) with an affine"):
        ReformatPlane("axial")(value)


def test_single_slice_in_another_plane_is_refused_by_name():
    item = {"image": made((1, 8, 8), STEPS["axial"]), "patient_id": "00042", "modality": "T1w"}
    with pytest.raises(TransformError) as caught:
        ReformatPlaned("image", "coronal")(item)
    message = str(caught.value)
    assert message.startswith("patient 00042, T1w: its axial slices cannot be reformatted to coronal: ")
    assert "a single slice" in message and "--plane native" in message and "\n" not in message


def test_single_slice_in_its_own_plane_is_kept():
    volume = made((1, 8, 9), STEPS["coronal"])
    np.testing.assert_array_equal(ReformatPlane("coronal")(volume).numpy(), volume.numpy())


def test_stack_with_a_geometry_fault_is_refused_only_for_another_plane():
    volume = made((4, 8, 8), STEPS["axial"])
    volume.meta["geometry_fault"] = "3 slices are missing inside the stack"
    np.testing.assert_array_equal(ReformatPlane("axial")(volume).numpy(), volume.numpy())
    with pytest.raises(TransformError, match=r"its axial slices .* sagittal: 3 slices are missing inside the stack"):
        ReformatPlane("sagittal")(volume)


def test_damaged_spacing_is_refused_before_memory_is_taken():
    volume = made((4, 8, 8), np.array(STEPS["axial"]) * [[1e-6], [1.0], [5.0]])
    with pytest.raises(TransformError, match="expected at most 2048 pixels a side in sagittal slices"):
        ReformatPlane("sagittal")(volume)


@pytest.mark.parametrize(
    "steps",
    [
        [[0, -1, 0], [-1, 0, 0], [0, 0, 0]],
        [[0, -1, 0], [-1, 0, 0], [0, 2, 0]],
        [[0, -1, 0], [-1e-300, 0, 0], [0, 0, 1]],
        [[0, -1, 0], [-1, 0, 0], [0, 0, np.nan]],
        [[0, -1, 0], [-1, 0, 0], [0, 0, np.inf]],
    ],
    ids=["no-step", "step-within-the-slice", "vanishing", "nan", "infinite"],
)
def test_affine_without_three_directions_is_refused(steps):
    with pytest.raises(TransformError, match="expected an affine with three directions"):
        ReformatPlaned("image", "coronal")({"image": made((4, 8, 8), steps)})


def test_missing_key_follows_monai():
    with pytest.raises(KeyError):
        ReformatPlaned("image", "axial")({})
    assert ReformatPlaned("image", "axial", allow_missing_keys=True)({"label": 1}) == {"label": 1}


@pytest.fixture
def bundle_chain():
    """The deterministic transforms that the training and the validation of a bundle config come to."""

    def chain(config: str = "t1w.json", **overrides):
        parser = ConfigParser()
        parser.read_config(BUNDLES / config)
        parser.update(overrides)
        parser.parse()
        training = parser.get_parsed_content("train::deterministic_transforms")
        validation = parser.get_parsed_content("validate::preprocessing").transforms
        assert [type(step) for step in training] == [type(step) for step in validation]
        return parser.get_parsed_content("validate::preprocessing")

    return chain


def steps(chain) -> list[str]:
    return [type(step).__name__ for step in chain.transforms]


@pytest.mark.parametrize("config", ["t1w.json", "t1wce.json", "t2w.json", "flair.json"])
def test_bundle_reads_slices_as_acquired_by_default(config, bundle_chain):
    expected = ["CropMiddleSlicesd", "LoadSeriesd", "ScaleIntensityRobustd", "PadToSquared", "Resized", "CastToTyped"]
    assert steps(bundle_chain(config)) == expected


def test_bundle_default_opens_only_the_kept_files(bundle_chain, make_series):
    series = make_series(np.random.default_rng(0).integers(0, 999, (10, 20, 20)).astype(np.uint16))
    for index in {*range(10)} - {4, 5}:
        series.files[index].unlink()
    assert bundle_chain(image_size=32)({"image": series})["image"].shape == (2, 32, 32)


@pytest.mark.parametrize("plane", PLANES)
def test_bundle_reformats_the_whole_volume_before_it_keeps_the_middle(plane, bundle_chain, make_series):
    # Axial slices 2 mm apart, rows 0.5 mm, columns 0.75 mm.
    series = make_series(np.random.default_rng(0).integers(0, 999, (10, 40, 30)).astype(np.uint16))
    chain = bundle_chain(plane=plane, image_size=32, slice_fraction=0.2)
    assert steps(chain) == [
        "LoadSeriesd",
        "ReformatPlaned",
        "ScaleIntensityRobustd",
        "PadToSquared",
        "Resized",
        "CastToTyped",
    ]
    middle = {"axial": 2, "coronal": 8, "sagittal": 6}[plane]
    volume = chain({"image": series})["image"]
    assert volume.shape == (middle, 32, 32) and volume.dtype == torch.float16
    step = {"axial": [0, 0, 2], "coronal": [0, -0.5, 0], "sagittal": [0.75, 0, 0]}[plane]
    np.testing.assert_allclose(volume.affine[:3, 2].numpy(), step, atol=1e-9)


@pytest.mark.xdist_group("training")
def test_bundle_refuses_an_unknown_plane_in_one_line(tmp_path, capfd):
    words = ["--plane", "oblique", "--dataset_dir", str(tmp_path), "--output_dir", str(tmp_path / "runs")]
    assert main(["train", str(BUNDLES / "t1w.json"), *words]) == 1
    assert capfd.readouterr().err.splitlines()[-1] == (
        "Error: plane: expected one of native, axial, coronal, sagittal, found 'oblique'."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.xdist_group("training")
def test_phantom_of_mixed_planes_trains_in_one_plane(phantom_dir, tmp_path):
    epochs = {"transfer_epochs": 1, "fine_tune_epochs": 1}
    run = train(phantom_dir, tmp_path / "runs", plane="axial", image_size=32, slice_fraction=0.05, **epochs)
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert json.loads((run / "config.json").read_text())["plane"] == "axial"
    # The same patients; a reformatted one brings its pixels along the new axis as slices, so some have more.
    rows = list(csv.DictReader((run / "predictions.csv").open()))
    planes = {
        patient["patient_id"]: patient["series"]["T1w"]["plane"]
        for patient in json.loads((phantom_dir / "truth.json").read_text())["patients"]
    }
    n_slices = {row["patient_id"]: int(row["n_slices"]) for row in rows}
    assert {planes[p] for p in n_slices} > {"axial"}
    assert max(n for p, n in n_slices.items() if planes[p] == "axial") <= 2
    assert min(n for p, n in n_slices.items() if planes[p] != "axial") >= 7
