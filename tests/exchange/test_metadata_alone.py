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


def probability(bundle, folder):
    import onnxruntime

    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    steps = {step["step"]: step for step in metadata["preprocessing"]}
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()  # rescaled, in geometric order
    volume, (column_mm, row_mm, _) = sitk.GetArrayFromImage(image).astype(np.float64), image.GetSpacing()
    n = len(volume)
    k = max(1, math.floor(steps["slices"]["fraction"] * n + 0.5))
    volume = volume[(n - k) // 2 : (n - k) // 2 + k]
    low, high = np.percentile(
        volume[volume > volume.min()], [steps["scale"]["lower_percentile"], steps["scale"]["upper_percentile"]]
    )
    volume = np.clip((volume - low) / (high - low), steps["scale"]["minimum"], steps["scale"]["maximum"])
    _, rows, columns = volume.shape
    height, width = rows * row_mm, columns * column_mm
    more = [round(max(1, width / height) * rows) - rows, round(max(1, height / width) * columns) - columns]
    if "pad" in steps:
        volume = np.pad(volume, ((0, 0), *((extra // 2, extra - extra // 2) for extra in more)))
    images = resized(volume, steps["resize"]["size"]).astype(steps["round"]["dtype"]).astype(np.float32)
    session = onnxruntime.InferenceSession(bundle / "models" / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": images[:, None]})
    return float(np.mean(1 / (1 + np.exp(-logits.astype(np.float64)))))


@pytest.mark.parametrize("rows", [pytest.param(None, id="square"), pytest.param(40, id="wide")])
def test_metadata_and_the_onnx_file_give_the_probability(page_exports, phantom_dir, tmp_path, rows):
    import pydicom

    bundle = page_exports / "exported" / "mgmt_t1w_forms"
    series = min((phantom_dir / "train").iterdir()) / "T1w"
    (tmp_path / "study" / "T1w").mkdir(parents=True)
    for path in series.iterdir():
        slice_ = pydicom.dcmread(path)
        if rows:
            slice_.PixelData, slice_.Rows = slice_.pixel_array[:rows].tobytes(), rows
        slice_.save_as(tmp_path / "study" / "T1w" / path.name)
    # What `predict` answers where it does not abstain: the pictures of another shape lie far from the training's.
    (read,) = read_study(tmp_path / "study", modalities=["T1w"])
    with open_models([bundle]) as (model,):
        expected = np.mean(model.probabilities(model.features(model.slices(read.series))))
    assert probability(bundle, tmp_path / "study" / "T1w") == pytest.approx(expected, abs=1e-3)
