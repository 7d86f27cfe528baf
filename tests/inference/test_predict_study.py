"""From a study to what is said of it: the training's own numbers, or why there are none."""

import hashlib
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from made_bundles import write_bundle
from packaging.version import Version

from mgmt_monai.cohort.records import SeriesRecord
from mgmt_monai.cohort.series import Series
from mgmt_monai.inference.model import BundleModel, open_models
from mgmt_monai.inference.predict_study import _n_along, predict_study, software
from mgmt_monai.inference.study import read_study
from mgmt_monai.transforms import LoadSeries
from mgmt_monai.transforms.reformat import ReformatPlane


@pytest.fixture(scope="module")
def trained(finished_run: Path) -> pd.DataFrame:
    """The training's own probability of each slice of its validation and test patients."""
    table = pd.read_csv(finished_run / "slice_predictions.csv", dtype={"patient_id": str})
    return table[table["stage"] == "fine_tune"].sort_values("slice_index")


def far_away(model: BundleModel) -> BundleModel:
    """The same model for which everything lies within its limit."""
    return replace(model, reference=replace(model.reference, threshold=1e6))


def test_numbers_are_those_of_the_training(t1w_model: BundleModel, phantom_dir: Path, trained: pd.DataFrame) -> None:
    model = far_away(t1w_model)
    for patient, rows in trained.groupby("patient_id"):
        one = predict_study(phantom_dir / "train" / patient, [model], progress_bar=False).prediction.series[0]

        assert one.abstained == ()
        assert np.allclose(one.slice_probabilities, rows["probability"], rtol=0, atol=1e-6)
        assert one.probability == pytest.approx(rows["probability"].mean(), abs=1e-6)
        n = len(list((phantom_dir / "train" / patient / "T1w").iterdir()))
        first = (n - len(rows)) // 2
        assert (one.n_slices, one.slice_indices) == (n, tuple(range(first, first + len(rows))))


def test_exported_bundle_is_ours_and_gives_the_same_numbers(
    exported_bundle: Path, phantom_dir: Path, trained: pd.DataFrame
) -> None:
    patient, rows = next(iter(trained[trained["split"] == "validation"].groupby("patient_id")))
    with open_models([exported_bundle]) as models:
        assert models[0].bundle.is_ours
        one = predict_study(phantom_dir / "train" / patient, models, progress_bar=False).prediction.series[0]

    assert np.allclose(one.slice_probabilities, rows["probability"], rtol=0, atol=1e-6)
    assert one.evaluation["auc"].keys() == {"value", "low", "high"}


def test_validation_patients_lie_within_the_limit_and_abstention_follows_it(
    t1w_model: BundleModel, phantom_dir: Path, trained: pd.DataFrame
) -> None:
    limit = t1w_model.reference.threshold
    for (split, patient), _ in trained.groupby(["split", "patient_id"]):
        one = predict_study(phantom_dir / "train" / patient, [t1w_model], progress_bar=False).prediction.series[0]

        assert one.distance_limit == limit
        assert (one.probability is None) == (one.distance > limit * (1 + 1e-6))
        assert split != "validation" or one.probability is not None
        assert one.probability is not None or "unlike the training data" in one.abstained[0]


def test_answer_far_from_the_training_data_is_not_given_but_its_slices_are_shown(
    t1w_model: BundleModel, study: Path
) -> None:
    near = replace(t1w_model, reference=replace(t1w_model.reference, threshold=1e-9))
    answer = predict_study(study, [near], progress_bar=False).answers[0]

    assert answer.prediction.probability is None
    assert answer.prediction.slice_probabilities == ()
    assert len(answer.prediction.slice_indices) == len(answer.images)


def test_study_mean_is_over_the_models_that_answer(
    t1w_model: BundleModel, flair_model: BundleModel, study: Path
) -> None:
    shutil.rmtree(study / "T1w")
    prediction = predict_study(study, [t1w_model, flair_model], progress_bar=False).prediction

    t1w, flair = prediction.series
    assert t1w.abstained == ("the study has no T1w series, only FLAIR",)
    assert (t1w.n_slices, t1w.distance) == (0, None)
    assert prediction.probability == flair.probability
    assert flair.distance_limit is None
    assert 0 < flair.probability < 1


def test_constant_series_is_not_shown_to_the_network(t1w_model: BundleModel, study: Path) -> None:
    for file in (study / "T1w").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(file)
    answer = predict_study(study, [t1w_model], progress_bar=False).answers[0]

    assert answer.images is None
    assert answer.prediction.abstained[0].startswith("constant series (D021)")
    assert answer.prediction.findings[0]["severity"] == "error"


def test_blank_middle_slice_is_told(t1w_model: BundleModel, study: Path) -> None:
    series = predict_study(study, [far_away(t1w_model)], progress_bar=False).answers[0].series.series
    dataset = pydicom.dcmread(series.files[len(series.files) // 2])
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(series.files[len(series.files) // 2])
    one = predict_study(study, [far_away(t1w_model)], progress_bar=False).prediction.series[0]

    assert one.probability is None
    assert one.abstained == ("1 slice of the middle 20 % blank, expected anatomy in all",)


def test_tags_of_another_sequence_are_told(t1w_model: BundleModel, study: Path) -> None:
    for file in (study / "T1w").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SeriesDescription = "AX T2"
        dataset.save_as(file)
    one = predict_study(study, [far_away(t1w_model)], progress_bar=False).prediction.series[0]

    assert one.probability is None
    assert one.abstained[0].startswith("tags of another sequence (D018): expected tags of T1w")


def test_origin_is_told(t1w_model: BundleModel, t1w_bundle: Path, study: Path) -> None:
    prediction = predict_study(study, [t1w_model], progress_bar=False).prediction
    one = prediction.series[0]

    assert one.model_sha256 == hashlib.sha256((t1w_bundle / "models" / "model.pt").read_bytes()).hexdigest()
    assert (one.bundle, one.bundle_version, one.evaluation["n"]) == ("mgmt_t1w", "0.1.0", 24)
    assert Version(prediction.software["torch"]).public == Version(torch.__version__).public
    assert set(software()) >= {"mgmt_monai", "monai", "numpy", "SimpleITK", "pydicom", "nibabel", "python"}


def test_models_with_the_same_chain_are_shown_the_same_slices(
    t1w_model: BundleModel, finished_run: Path, study: Path, tmp_path: Path
) -> None:
    paths = [
        write_bundle(tmp_path / "threshold", finished_run, threshold=0.3),
        write_bundle(tmp_path / "smaller", finished_run, image_size=40),
    ]
    with open_models(paths) as (threshold, smaller):
        predicted = predict_study(study, [t1w_model, threshold, smaller], progress_bar=False)

    first, second, third = predicted.answers
    assert first.images is second.images
    assert first.images.shape[1:] == (1, 48, 48)
    assert third.images.shape == (len(first.images), 1, 40, 40)
    assert second.prediction.distance == first.prediction.distance


def test_engine_is_told(t1w_model: BundleModel, t1w_bundle: Path, study: Path) -> None:
    with open_models([t1w_bundle], engine="onnxruntime") as models:
        mixed = predict_study(study, [t1w_model, *models], progress_bar=False).prediction.software

    assert mixed["engine"] == "onnxruntime, pytorch"
    assert mixed["onnxruntime"] == version("onnxruntime")
    assert Version(mixed["torch"]).public == Version(torch.__version__).public


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_number_of_slices_in_a_plane_is_that_of_the_reformatted_stack(study: Path, plane: str) -> None:
    for studied in read_study(study):
        series: Series = studied.series
        record: SeriesRecord = studied.exam.record
        stack = ReformatPlane(plane)(LoadSeries()(series))
        assert _n_along(record, plane) == len(stack)
        assert _n_along(record, "native") == series.n_slices
