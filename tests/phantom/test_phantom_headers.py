"""No header tells the class: by construction, and by trying."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mgmt_monai.phantom.appearance import MODALITIES
from mgmt_monai.phantom.dicom import SCANNERS, series_headers
from mgmt_monai.phantom.effect import draw_labels
from mgmt_monai.phantom.made_cohort import plan_patient, write_patient

TRUTH_OF_THE_LATENT = {"latent", "core_share"}


@pytest.fixture(scope="module")
def two_looks(tmp_path_factory):
    """The same patient written as clearly unmethylated and as clearly methylated."""
    folders = [tmp_path_factory.mktemp(name) for name in ("low", "high")]
    looks = [dict.fromkeys(MODALITIES, latent) for latent in (-3.0, 3.0)]
    truths = [write_patient(folder, 0, latents, seed=5) for folder, latents in zip(folders, looks, strict=True)]
    return folders, truths


def test_headers_of_two_latent_values_are_equal_element_by_element(two_looks):
    (low, high), _ = two_looks
    names = sorted(path.relative_to(low) for path in low.rglob("*.dcm"))
    assert names == sorted(path.relative_to(high) for path in high.rglob("*.dcm"))
    assert len(names) > 80
    for name in names:
        one, other = (pydicom.dcmread(root / name, stop_before_pixels=True) for root in (low, high))
        assert one == other, name
        assert one.file_meta == other.file_meta, name


def test_file_sizes_of_two_latent_values_are_equal(two_looks):
    (low, high), _ = two_looks
    for path in low.rglob("*.dcm"):
        assert path.stat().st_size == (high / path.relative_to(low)).stat().st_size


def test_pixels_of_two_latent_values_differ_only_inside_the_brain(two_looks):
    (low, high), _ = two_looks
    changed = 0
    for path in low.rglob("*.dcm"):
        one = pydicom.dcmread(path).pixel_array
        other = pydicom.dcmread(high / path.relative_to(low)).pixel_array
        np.testing.assert_array_equal(one == 0, other == 0)
        changed += int((one != other).any())
    assert changed > 20


def test_truth_of_two_latent_values_differs_only_in_the_look(two_looks):
    _, (low, high) = two_looks
    differing = {key for key in low if low[key] != high[key]}
    assert differing == {*TRUTH_OF_THE_LATENT, "series"}
    for one, other in zip(low["series"].values(), high["series"].values(), strict=True):
        assert {key for key in one if one[key] != other[key]} == TRUTH_OF_THE_LATENT


def _features(index: int) -> list[float]:
    plan = plan_patient(index, seed=0)
    found: list[float] = [float(plan.scanner == scanner) for scanner in SCANNERS]
    for series in plan.series:
        first_slice = replace(series, numbers=series.numbers[:1])
        (first,) = series_headers(first_slice, plan.patient_id, plan.scanner, 0)
        numbers = series.numbers
        size = len(numbers) * first.Rows * first.Columns
        found += [first.Rows, first.Columns, len(numbers), size, min(numbers), numbers[0] - numbers[-1]]
        found += [first.SliceThickness, first.SpacingBetweenSlices, first.PixelSpacing[0]]
        found += [first.RepetitionTime, first.EchoTime, *first.ImagePositionPatient]
        found += [*first.ImageOrientationPatient]
    return [float(value) for value in found]


def test_logistic_regression_on_headers_does_not_find_the_class():
    n_patients = 200
    labels = draw_labels(n_patients, seed=0)
    features = np.array([_features(index) for index in range(n_patients)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")[:, 1]
    auc = roc_auc_score(labels, scores)
    # Under no effect the Mann-Whitney standard error is sqrt((2n + 1) / (12 n n)), n to a class.
    n = n_patients // 2
    half_interval = 1.96 * np.sqrt((2 * n + 1) / (12 * n * n))
    assert abs(auc - 0.5) < half_interval
