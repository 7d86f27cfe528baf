"""A stranger's reading: the probability of a series from metadata.json and the ONNX file, with none of our code."""

import json
import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mgmt_monai.inference.model import open_models
from mgmt_monai.inference.study import read_study

pytestmark = pytest.mark.xdist_group("training")


def gaussian(sigma):
    tail = int(max(4 * sigma, 0.5) + 0.5)
    scale = math.sqrt(0.5) / sigma if sigma else math.inf
    ends = np.arange(-tail, tail + 2) - 0.5
    return np.diff([math.erf(scale * end) / 2 for end in ends])


def along(images, axis, function):
    return np.apply_along_axis(function, axis, images)


def resized(images, size):
    for axis, after in ((1, size[0]), (2, size[1])):
        sigma = max(0.0, (images.shape[axis] / after - 1) / 2)
        if min(size) < max(images.shape[1:]):
            weights = gaussian(sigma)
            images = along(images, axis, lambda line, weights=weights: np.convolve(line, weights, mode="same"))
    for axis, after in ((1, size[0]), (2, size[1])):
        before = images.shape[axis]
        at = (np.arange(after) + 0.5) * before / after - 0.5
        images = along(images, axis, lambda line, at=at: np.interp(at, np.arange(len(line)), line))
    return images


def parted(volume, numbers):
    """Which pixels are foreground, and which become 0 whatever lies below, by the rule of ``scale``."""
    inner = np.zeros(volume.shape, bool)
    inner[:, 1:-1, 1:-1] = True
    edge, lowest = volume[~inner], volume.min()

    def filling(values):
        found = sorted(values)[len(values) // 2] if len(values) else None
        return found if found is not None and np.mean(values == found) >= numbers["edge_share"] else None

    def zeros_stand_out(values):
        n, beside = np.sum(values == 0), [0]
        for side in (values[values > 0], -values[values < 0]):
            beside.append(np.sum(side == side.min()) if len(side) else 0)
        few = n >= numbers["few_zeros_share"] * len(values) and n >= numbers["zero_times"] * max(beside)
        return n >= numbers["zero_share"] * len(values) or few

    others, n_lowest = volume[volume != lowest], np.sum(volume == lowest)
    is_mask = lowest < 0 and others.min() - lowest >= numbers["mask_gap"] * (volume.max() - lowest)
    is_mask = is_mask and n_lowest >= max(numbers["mask_share"] * volume.size, numbers["mask_least"])
    is_common, found = np.mean(edge == lowest) >= numbers["lowest_share"], None
    if is_mask:
        left = edge[edge != lowest]
        found = filling(left) if len(left) >= numbers["lowest_share"] * len(edge) else None
        if found is None and zeros_stand_out(others):
            found = 0
        is_mask = found is not None
    else:
        fills = filling(edge)
        if fills is not None and (not is_common or (fills == 0 and lowest < 0)):
            found = fills
        elif not is_common and lowest < 0 and zeros_stand_out(volume.ravel()):
            found = 0
    if found is None:
        return volume > lowest, np.zeros(volume.shape, bool)
    weighed = others if is_mask or is_common else volume
    below, above = np.sum(np.maximum(found - weighed, 0)), np.sum(np.maximum(weighed - found, 0))
    if below < numbers["weight_below"] * above:
        return volume > found, np.zeros(volume.shape, bool)
    return (volume != found) & ~(is_mask & (volume == lowest)), volume == found


def z_scored(pixels):
    return np.where(pixels > 0, pixels - np.sum(pixels) / max(np.sum(pixels > 0), 1), 0)


def masked(pixels):
    out = z_scored(pixels)
    out[20:24, 20:24] = -3000
    return out


def padded(pixels):
    out = pixels.copy()
    out[:, :6] = -2000
    return out


SERIES = {
    "square": lambda pixels: pixels,
    "wide": lambda pixels: pixels[:40],
    "noise as air": lambda pixels: pixels + np.arange(pixels.size).reshape(pixels.shape) % 37,
    "z-scored": z_scored,
    "z-scored, cropped": lambda pixels: z_scored(pixels)[10:-10, 10:-10],
    "z-scored, a part masked": masked,
    "padded": padded,
}


def of_nifti(path, tolerance):
    """Turned by the rule of ``read``."""
    image = sitk.ReadImage(str(path))
    spacing, size = np.array(image.GetSpacing()), range(3)
    differs = [all(abs(spacing[i] - spacing[j]) > tolerance * max(spacing[i], spacing[j]) for j in size if j != i)
               for i in size]  # fmt: skip
    directions = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    axis = int(np.argmax(np.where(differs, spacing, 0))) if any(differs) else int(np.argmax(directions[2]))
    code = {0: "PIR", 1: "LIP", 2: "LPS"}[int(np.argmax(directions[:, axis]))]
    return sitk.DICOMOrient(image, code)


def probability(bundle, folder):
    import onnxruntime

    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    steps = {step["step"]: step for step in metadata["preprocessing"]}
    if folder.is_dir():
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()  # rescaled, in geometric order
    else:
        image = of_nifti(folder, steps["read"]["spacing_tolerance"])
    volume, (column_mm, row_mm, _) = sitk.GetArrayFromImage(image).astype(np.float64), image.GetSpacing()
    n = len(volume)
    k = max(1, math.floor(steps["slices"]["fraction"] * n + 0.5))
    volume = volume[(n - k) // 2 : (n - k) // 2 + k]
    scale = steps["scale"]
    foreground, air = parted(volume, scale["background"])
    low, high = np.percentile(volume[foreground], [scale["lower_percentile"], scale["upper_percentile"]])
    volume = np.clip((volume - low) / (high - low), scale["minimum"], scale["maximum"])
    volume[air] = 0
    _, rows, columns = volume.shape
    height, width = rows * row_mm, columns * column_mm
    more = [round(max(1, width / height) * rows) - rows, round(max(1, height / width) * columns) - columns]
    if "pad" in steps:
        volume = np.pad(volume, ((0, 0), *((extra // 2, extra - extra // 2) for extra in more)))
    images = resized(volume, steps["resize"]["size"]).astype(steps["round"]["dtype"]).astype(np.float32)
    session = onnxruntime.InferenceSession(bundle / "models" / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": images[:, None]})
    return float(np.mean(1 / (1 + np.exp(-logits.astype(np.float64)))))


@pytest.mark.parametrize("changed", SERIES.values(), ids=SERIES)
def test_metadata_and_the_onnx_file_give_the_probability(page_exports, phantom_dir, tmp_path, changed):
    import pydicom

    bundle = page_exports / "exported" / "mgmt_t1w_forms"
    series = min((phantom_dir / "train").iterdir()) / "T1w"
    (tmp_path / "study" / "T1w").mkdir(parents=True)
    for path in series.iterdir():
        slice_ = pydicom.dcmread(path)
        pixels = changed(slice_.pixel_array.astype(int))
        slice_.PixelRepresentation, slice_.BitsStored, slice_.HighBit = 1, 16, 15
        slice_.PixelData, (slice_.Rows, slice_.Columns) = pixels.astype("<i2").tobytes(), pixels.shape
        slice_.save_as(tmp_path / "study" / "T1w" / path.name)
    # What `predict` answers where it does not abstain: the pictures of another shape lie far from the training's.
    (read,) = read_study(tmp_path / "study", modalities=["T1w"])
    with open_models([bundle]) as (model,):
        expected = np.mean(model.probabilities(model.features(model.slices(read.series))))
    assert probability(bundle, tmp_path / "study" / "T1w") == pytest.approx(expected, abs=1e-3)


def turned(image, order):
    """The same voxels with other axes of the body: what was from slice to slice goes along another of them."""
    out = sitk.GetImageFromArray(sitk.GetArrayFromImage(image))
    out.SetSpacing(image.GetSpacing())
    out.SetDirection(np.eye(3)[:, order].ravel().tolist())
    return out


@pytest.mark.parametrize("stored", ["LPS", "RAS", "SAL", "PIR"])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", "of equal spacing"])
def test_metadata_tell_how_a_nifti_file_is_read(page_exports, phantom_dir, tmp_path, plane, stored):
    bundle = page_exports / "exported" / "mgmt_t1w_forms"
    reader = sitk.ImageSeriesReader()
    series = min((phantom_dir / "train").iterdir()) / "T1w"
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    image = reader.Execute()
    if plane == "of equal spacing":
        image.SetSpacing([1.0, 1.0, 1.0])
    else:
        image = turned(image, {"axial": [0, 1, 2], "coronal": [0, 2, 1], "sagittal": [2, 1, 0]}[plane])
    path = tmp_path / "P1" / "P1_t1.nii.gz"
    path.parent.mkdir()
    sitk.WriteImage(sitk.DICOMOrient(image, stored), str(path))
    (read,) = read_study(path.parent, modalities=["T1w"])
    with open_models([bundle]) as (model,):
        expected = np.mean(model.probabilities(model.features(model.slices(read.series))))
    assert probability(bundle, path) == pytest.approx(expected, abs=1e-3)
