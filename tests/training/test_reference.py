"""The distance from the training data at the end of a real training, computed again by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from phantom_runs import workflow
from sklearn.covariance import EmpiricalCovariance

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.feature_distance import FeatureDistance
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.reference import Reference, slices_over_series
from mgmt_monai.training.run_directory import RunDirectory
from mgmt_monai.training.settings import check_settings
from mgmt_monai.training.stage import StageProgress

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def parser(phantom_dir, tmp_path_factory):
    return workflow(phantom_dir, tmp_path_factory.mktemp("again")).parser


@pytest.fixture(scope="module")
def kept(finished_run) -> FeatureDistance:
    return FeatureDistance.load(finished_run / "reference.safetensors")


def features_by_hand(parser, finished_run: Path, split: str) -> list[np.ndarray]:
    """Of each series, from the checkpoint and the chain without augmentation, series by series."""
    network = MGMTClassifier().eval()
    network.load_state_dict(torch.load(finished_run / "fine_tune/best.pt", weights_only=True))
    chain = parser.get_parsed_content("validate::preprocessing")
    found = []
    for item in parser.get_parsed_content("cohort").items(split):
        volume = chain(item)["image"].as_tensor().float()
        with torch.no_grad():
            found.append(network.features(volume.unsqueeze(1)).double().numpy())
    return found


def test_reference_is_of_the_training_series_without_augmentation(parser, finished_run, kept):
    training = features_by_hand(parser, finished_run, "train")
    assert (kept.n_series, kept.n_slices) == (len(training), sum(map(len, training)))
    features = np.stack([series.mean(axis=0) for series in training])
    np.testing.assert_allclose(kept.mean, features.mean(axis=0), atol=1e-5)
    covariance = EmpiricalCovariance().fit(features).covariance_ * len(features) / (len(features) - 1)
    along = np.einsum("ki,ij,kj->k", kept.components, covariance, kept.components)
    np.testing.assert_allclose(along, kept.variances, rtol=1e-3)
    left = np.trace(covariance) - kept.variances.sum()
    assert kept.noise_variance == pytest.approx(left / (kept.n_features - len(kept.variances)), rel=1e-3)


def test_threshold_is_the_farthest_of_four_validation_series(parser, finished_run, kept):
    distances = [kept.distance(series) for series in features_by_hand(parser, finished_run, "validation")]
    assert (len(distances), kept.n_calibration, kept.quantile) == (4, 4, 0.95)
    assert kept.threshold == pytest.approx(max(distances), rel=1e-4)


def test_noise_and_blank_lie_beyond_the_threshold(finished_run, kept):
    network = MGMTClassifier().eval()
    network.load_state_dict(torch.load(finished_run / "fine_tune/best.pt", weights_only=True))
    for images in (torch.rand(5, 1, 48, 48, generator=torch.Generator().manual_seed(0)), torch.zeros(5, 1, 48, 48)):
        with torch.no_grad():
            assert kept.distance(network.features(images)) > 3 * kept.threshold


def test_reference_is_recorded_with_the_run(finished_run, tmp_path):
    client = MlflowClient(f"sqlite:///{finished_run.parents[1] / 'mlruns.db'}")
    run_id = json.loads((finished_run / "run.json").read_text())["mlflow_run_id"]
    recorded = Path(client.download_artifacts(run_id, "reference.safetensors", str(tmp_path)))
    assert recorded.read_bytes() == (finished_run / "reference.safetensors").read_bytes()


def remade(parser, finished_run: Path, output_dir: Path, **changes) -> tuple[Reference, StageProgress]:
    """The reference of the finished training's checkpoint, to be written elsewhere."""
    directory = RunDirectory(output_dir, "T1w", "again", resume=False)
    progress = StageProgress("fine_tune", directory)
    progress.directory.mkdir(parents=True)
    progress.best_checkpoint.symlink_to(finished_run / "fine_tune/best.pt")
    reference = parser.get_parsed_content("reference")
    made = Reference(**{**vars(reference), **changes})
    return made, progress


def test_fewer_slices_are_taken_of_every_series_and_the_same_each_time(parser, finished_run, tmp_path):
    written = []
    for name in ("a", "b"):
        reference, progress = remade(parser, finished_run, tmp_path / name, reference_slices=17)
        written.append(reference.run(progress).read_bytes())
    fitted = FeatureDistance.load(tmp_path / "b/t1w/again/reference.safetensors")
    assert (fitted.n_slices, fitted.n_series) == (16, 8)  # two of each of the 8 series
    assert written[0] == written[1]


def test_one_line_says_threshold_and_number_of_series(parser, finished_run, tmp_path, caplog):
    caplog.set_level("INFO", logger="mgmt_monai")
    reference, progress = remade(parser, finished_run, tmp_path / "runs", quantile=0.8)
    fitted = FeatureDistance.load(reference.run(progress))
    lines = [r.getMessage() for r in caplog.records if r.name == "mgmt_monai.training.reference"]
    assert lines == [
        f"distance from the training data: at most {fitted.threshold:.4g} in 80% of series, from 4 validation series; "
        f"fitted to 8 training series, {fitted.n_slices} slices"
    ]


def test_features_that_allow_no_distance_do_not_lose_the_training(parser, finished_run, tmp_path, caplog):
    class Blank:
        slice_counts = (3, 3)

        def series_slices(self, series_index):
            return torch.zeros(3, 1, 48, 48)

    reference, progress = remade(parser, finished_run, tmp_path / "runs", training=Blank())
    assert reference.run(progress) is None
    assert "no distance from the training data" in caplog.text
    assert not (tmp_path / "runs/t1w/again/reference.safetensors").exists()


@pytest.mark.parametrize(
    ("counts", "n_slices", "expected"),
    [
        pytest.param([3, 2], 9, [[0, 1, 2], [0, 1]], id="all"),
        pytest.param([3, 2], 5, [[0, 1, 2], [0, 1]], id="just all"),
        pytest.param([5, 2, 9], 8, [[0, 2, 4], [0, 1], [0, 4, 8]], id="evenly along a series"),
        pytest.param([5, 5], 3, [[2], [2]], id="the middle one"),
        pytest.param([9, 9, 9, 9, 9], 3, [[4], [], [4], [], [4]], id="more series than slices"),
        pytest.param([4, 5], 1, [[], [2]], id="one of all"),
    ],
)
def test_slices_are_taken_evenly_over_the_series(counts, n_slices, expected):
    assert [taken.tolist() for taken in slices_over_series(counts, n_slices)] == expected


@pytest.mark.parametrize("n_slices", range(3, 60, 7))
def test_no_more_slices_than_asked_for_and_none_twice(n_slices):
    counts = [1, 7, 3, 12, 30, 2]
    taken = slices_over_series(counts, n_slices)
    assert sum(map(len, taken)) <= n_slices
    assert all(len(set(slices)) == len(slices) for slices in taken)
    assert all(0 <= i < n for n, slices in zip(counts, taken, strict=True) for i in slices)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("reference_slices", 2, "a whole number from 3, found 2"),
        ("reference_slices", 10.5, "a whole number from 3, found 10.5"),
        ("abstain_quantile", 1, "a number above 0 below 1, found 1"),
        ("abstain_quantile", 0, "a number above 0 below 1, found 0"),
    ],
)
def test_settings_out_of_range_are_refused(name, value, message):
    with pytest.raises(TrainingError, match=re.escape(f"{name}: expected {message}")):
        check_settings({name: value})
