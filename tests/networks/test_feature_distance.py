"""Held against a dense covariance, scipy's Gaussian and scikit-learn's; files against damage."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from scipy.spatial.distance import mahalanobis
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.feature_distance import FORMAT, FeatureDistance, series_needed


def made_features(n: int, d: int, seed: int = 0) -> np.ndarray:
    """A few strong directions over noise, off centre."""
    rng = np.random.default_rng(seed)
    return 5 + rng.normal(size=(n, 3)) @ rng.normal(size=(3, d)) * 4 + rng.normal(size=(n, d)) * 0.5


def dense_covariance(features: np.ndarray, k: int) -> np.ndarray:
    """Of PPCA from the eigenvectors of the sample covariance, none of it left out."""
    values, vectors = np.linalg.eigh(np.cov(features, rowvar=False))
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[k:].mean()
    return (vectors[:, :k] * (values[:k] - noise)) @ vectors[:, :k].T + noise * np.eye(features.shape[1])


@pytest.fixture
def reference() -> FeatureDistance:
    return FeatureDistance.fit(made_features(60, 12), 4, n_slices=300).calibrated(np.arange(1.0, 20.0), 0.95)


def each(reference: FeatureDistance, features: np.ndarray) -> list[float]:
    """Of series of one slice each."""
    return [reference.distance(row[None]) for row in features]


@pytest.mark.parametrize(("n", "d"), [(200, 10), (30, 80)], ids=["more series than features", "fewer"])
def test_distance_is_that_of_the_dense_covariance(n, d):
    features, new = made_features(n, d), made_features(7, d, seed=1)
    inverse = np.linalg.inv(dense_covariance(features, 3))
    expected = [mahalanobis(row, features.mean(axis=0), inverse) ** 2 / d for row in new]
    found = FeatureDistance.fit(features, 3)
    np.testing.assert_allclose(each(found, new), expected, rtol=1e-8)
    of_all = mahalanobis(new.mean(axis=0), features.mean(axis=0), inverse) ** 2 / d
    assert found.distance(new) == pytest.approx(of_all, rel=1e-8)


def test_distance_ranks_as_scipys_density_of_the_gaussian_does():
    features, new = made_features(200, 10), made_features(50, 10, seed=1)
    density = multivariate_normal(features.mean(axis=0), dense_covariance(features, 3))
    constant = density.logpdf(features.mean(axis=0))
    expected = -2 * (density.logpdf(new) - constant) / 10
    np.testing.assert_allclose(each(FeatureDistance.fit(features, 3), new), expected, rtol=1e-8)


def test_precision_is_scikit_learns_where_series_are_many():
    features, new = made_features(200, 10), made_features(5, 10, seed=1)
    pca = PCA(3).fit(features)
    centred = new - pca.mean_
    expected = np.einsum("ij,jk,ik->i", centred, pca.get_precision(), centred) / 10
    np.testing.assert_allclose(each(FeatureDistance.fit(features, 3), new), expected, rtol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(200, 10), (30, 80)], ids=["more series than features", "fewer"])
def test_series_it_was_fitted_to_lie_at_one_on_average(n, d):
    # The trace of the sample covariance times the inverse of the model's is D; the sample's divides by n - 1.
    features = made_features(n, d)
    assert np.mean(each(FeatureDistance.fit(features, 3), features)) == pytest.approx((n - 1) / n)


def test_components_are_fewer_than_half_of_the_series_and_than_the_features():
    assert len(FeatureDistance.fit(made_features(21, 50), 32).variances) == 10
    assert len(FeatureDistance.fit(made_features(200, 6), 32).variances) == 5


def test_float32_tensors_on_a_graph_are_taken():
    features = torch.as_tensor(made_features(60, 12), dtype=torch.float32).requires_grad_()
    found = FeatureDistance.fit(features, 4)
    exact = FeatureDistance.fit(features.detach().double().numpy(), 4)
    assert found.mean.dtype == np.float64 and found.distance(features[:3]) == exact.distance(features[:3])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
def test_series_with_a_feature_beyond_all_bounds_is_infinitely_far(reference, value):
    features = made_features(5, 12, seed=1)
    features[2, 3] = value
    assert reference.distance(features) == math.inf > reference.threshold
    assert math.isfinite(reference.distance(np.delete(features, 2, axis=0)))


def test_threshold_is_the_conformal_order_statistic():
    distances = np.random.default_rng(0).permutation(np.arange(1.0, 40.0))  # 39: ceil(40 * 0.9) = 36, by hand
    found = FeatureDistance.fit(made_features(60, 12), 4).calibrated(distances, 0.9)
    assert (found.threshold, found.quantile, found.n_calibration) == (36.0, 0.9, 39)


def test_threshold_holds_its_quantile_over_many_draws():
    rng = np.random.default_rng(0)
    start = FeatureDistance.fit(made_features(60, 12), 4)
    within = [rng.gamma(2.0) <= start.calibrated(rng.gamma(2.0, size=19), 0.95).threshold for _ in range(4000)]
    # Exactly 0.95 for continuous distances; 4 standard errors.
    assert np.mean(within) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_too_few_series_give_the_largest_and_a_warning(caplog):
    start = FeatureDistance.fit(made_features(60, 12), 4)
    assert start.calibrated([3.0, 1.0, 2.0], 0.95).threshold == 3.0
    assert "the largest of 3 series; 19 are needed before 0.95" in caplog.text


def test_enough_series_give_no_warning(caplog):
    assert FeatureDistance.fit(made_features(60, 12), 4).calibrated(range(19), 0.95).threshold == 18
    assert caplog.text == ""


@pytest.mark.parametrize(("quantile", "n"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.01, 1)])
def test_series_needed_by_hand(quantile, n):
    assert series_needed(quantile) == n


def test_nothing_is_beyond_the_threshold_before_calibration():
    assert FeatureDistance.fit(made_features(60, 12), 4).threshold == math.inf


@pytest.mark.parametrize("quantile", [0, 1, -0.1, 1.5, math.nan])
def test_quantile_out_of_range_is_refused(quantile):
    with pytest.raises(NetworkError, match="above 0, below 1"):
        FeatureDistance.fit(made_features(60, 12), 4).calibrated([1.0], quantile)


@pytest.mark.parametrize("distances", [[], [1.0, math.nan], [math.inf]], ids=["none", "nan", "infinite"])
def test_calibration_without_finite_distances_is_refused(distances):
    with pytest.raises(NetworkError, match="calibration distances: expected finite numbers"):
        FeatureDistance.fit(made_features(60, 12), 4).calibrated(distances, 0.95)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        pytest.param(made_features(2, 12), "found 2 series", id="two series"),
        pytest.param(made_features(9, 1), "1 features", id="one feature"),
        pytest.param(np.ones((9, 12)), "that they vary, found that they do not", id="all alike"),
        pytest.param(np.arange(9.0)[:, None] * np.ones(12) / 7, "more directions than 3", id="one direction"),
        pytest.param(np.full((9, 12), math.nan), "found 9 series with others", id="nan"),
        pytest.param(np.zeros((9, 12, 1)), r"found \(9, 12, 1\)", id="three axes"),
    ],
)
def test_features_that_allow_no_distance_are_refused(features, message):
    with pytest.raises(NetworkError, match=message):
        FeatureDistance.fit(features, 3)


def test_features_of_another_network_are_refused(reference):
    with pytest.raises(NetworkError, match="expected 12 a slice, found 13"):
        reference.distance(np.zeros((2, 13)))


def test_series_without_slices_is_refused(reference):
    with pytest.raises(NetworkError, match="1 slice or more, found none"):
        reference.distance(np.zeros((0, 12)))


def test_saved_and_loaded_is_the_same_to_the_last_bit(reference, tmp_path):
    reference.save(tmp_path / "reference.safetensors")
    again, new = FeatureDistance.load(tmp_path / "reference.safetensors"), made_features(5, 12, seed=1)
    assert again.distance(new) == reference.distance(new)
    assert (again.threshold, again.quantile, again.n_calibration) == (19.0, 0.95, 19)
    assert (again.n_series, again.n_slices, again.n_features) == (60, 300, 12)


def test_file_holds_summaries_alone_and_no_series(reference, tmp_path):
    reference.save(tmp_path / "reference.safetensors")
    tensors = load_file(tmp_path / "reference.safetensors")
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert shapes == {
        "mean": (12,), "components": (4, 12), "variances": (4,), "noise_variance": (1,), "threshold": (1,),
        "quantile": (1,), "n_slices": (1,), "n_series": (1,), "n_calibration": (1,),
    }  # fmt: skip
    rows = np.vstack([tensors["mean"], tensors["components"]])
    assert min(np.abs(rows - sample).max() for sample in made_features(60, 12)[:, None]) > 0.01


def test_distance_without_threshold_is_not_saved(tmp_path):
    with pytest.raises(NetworkError, match="without a threshold"):
        FeatureDistance.fit(made_features(60, 12), 4).save(tmp_path / "reference.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_not_there_is_told_in_one_line(tmp_path):
    with pytest.raises(NetworkError, match=r"absent\.safetensors: expected the distance of a training") as error:
        FeatureDistance.load(tmp_path / "absent.safetensors")
    assert "\n" not in str(error.value)


def test_pickle_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"mean": Evil()}, tmp_path / "reference.safetensors")
    with pytest.raises(NetworkError, match="none that can be read"):
        FeatureDistance.load(tmp_path / "reference.safetensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"mean": None}, id="tensor missing"),
        pytest.param({"samples": np.zeros(3)}, id="tensor too many"),
        pytest.param({"mean": np.zeros(11)}, id="other length"),
        pytest.param({"mean": np.zeros((12, 1))}, id="other axes"),
        pytest.param({"mean": np.zeros(12, dtype=np.float32)}, id="other type"),
        pytest.param({"components": np.zeros((4, 12))}, id="not orthonormal"),
        pytest.param({"variances": np.array([3.0, 2.0, 1.0, 0.0])}, id="no variance"),
        pytest.param({"noise_variance": np.array([-1.0])}, id="noise below 0"),
        pytest.param({"noise_variance": np.zeros(())}, id="noise without an axis"),
        pytest.param({"variances": np.zeros(()), "mean": np.zeros(())}, id="no axes"),
        pytest.param({"threshold": np.array([math.nan])}, id="threshold nan"),
        pytest.param({"threshold": np.array([math.inf])}, id="threshold infinite"),
        pytest.param({"threshold": np.zeros(0)}, id="threshold empty"),
        pytest.param({"quantile": np.array([1.0])}, id="quantile 1"),
        pytest.param({"n_slices": np.array([-1])}, id="count below 0"),
    ],
)
def test_file_with_other_content_is_refused_in_one_line(reference, tmp_path, change):
    path = tmp_path / "reference.safetensors"
    reference.save(path)
    tensors = {name: tensor for name, tensor in {**load_file(path), **change}.items() if tensor is not None}
    save_file(tensors, path, metadata={"format": FORMAT})
    with pytest.raises(NetworkError, match="expected a file of format") as error:
        FeatureDistance.load(path)
    assert "\n" not in str(error.value)


def test_file_of_another_format_is_refused(reference, tmp_path):
    path = tmp_path / "reference.safetensors"
    reference.save(path)
    save_file(load_file(path), path)
    with pytest.raises(NetworkError, match="found format None"):
        FeatureDistance.load(path)


def test_cut_or_altered_file_gives_a_distance_or_one_line(reference, tmp_path):
    path = tmp_path / "reference.safetensors"
    reference.save(path)
    whole = path.read_bytes()
    refused = 0
    for content in damaged(whole):
        path.write_bytes(content)
        try:
            assert FeatureDistance.load(path).threshold >= 0  # what is altered inside a number cannot be seen
        except NetworkError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50


def damaged(whole: bytes) -> list[bytes]:
    """Cut at many places; single bytes changed all over."""
    rng = np.random.default_rng(0)
    cut = [whole[:n] for n in range(0, len(whole), max(1, len(whole) // 40))]
    changed = []
    for place in rng.integers(0, len(whole), 200):
        content = bytearray(whole)
        content[place] ^= int(rng.integers(1, 256))
        changed.append(bytes(content))
    return cut + changed
