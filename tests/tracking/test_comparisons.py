"""Comparisons are found in a real store, by name, by identifier, or as the newest."""

import pytest
from mlflow.tracking import MlflowClient

from mgmt_monai.tracking import tracked_run
from mgmt_monai.tracking.comparisons import COMPARISON_TAG, fetch_files, find_comparison, n_judged
from mgmt_monai.tracking.errors import TrackingError
from mgmt_monai.tracking.tracked_run import TEST_TAG

pytestmark = pytest.mark.xdist_group("tracking")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a training and two comparisons, of which the older has files."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlruns.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("mgmt", artifact_location=(folder / "files").as_uri())
    runs = {
        "training": client.create_run(experiment, start_time=1).info.run_id,
        "old": client.create_run(experiment, start_time=2, tags={COMPARISON_TAG: "old"}).info.run_id,
        "new": client.create_run(experiment, start_time=3, tags={COMPARISON_TAG: "new"}).info.run_id,
    }
    (folder / "comparison.json").write_text("{}")
    client.log_artifact(runs["old"], str(folder / "comparison.json"), "comparison")
    return uri, runs


@pytest.mark.parametrize(("named", "found"), [("", "new"), ("old", "old"), ("new", "new")])
def test_a_comparison_is_found_by_its_name_or_as_the_newest(store, named, found):
    uri, runs = store

    assert find_comparison(uri, named) == runs[found]


def test_whatever_judged_the_same_test_patients_is_counted(store):
    """Deleted runs have judged them too; another label is another patient."""
    uri, runs = store
    same = tracked_run.tested([("00001", 1), ("00002", 0)])
    for name in ("old", "training"):
        MlflowClient(uri).set_tag(runs[name], TEST_TAG, same)

    assert same == tracked_run.tested([("00002", 0), ("00001", 1)]) != tracked_run.tested([("00001", 1), ("00002", 1)])
    assert [n_judged(uri, runs[name]) for name in ("old", "new")] == [2, 0]
    MlflowClient(uri).delete_run(runs["training"])
    assert n_judged(uri, runs["old"]) == 2
    MlflowClient(uri).restore_run(runs["training"])


def test_a_comparison_is_found_by_its_run(store):
    uri, runs = store

    assert find_comparison(uri, runs["old"]) == runs["old"]


def test_its_files_are_fetched(store, tmp_path):
    uri, runs = store

    assert (fetch_files(uri, runs["old"], "comparison", tmp_path / "here") / "comparison.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("absent", "expected a comparison 'absent', found none"),
        ("0" * 32, "cannot be searched"),
        ("x' OR '1'='1", "searched"),
    ],
)
def test_what_is_no_comparison_is_told_in_one_line(store, named, told):
    with pytest.raises(TrackingError, match=told) as refused:
        find_comparison(store[0], named)
    assert "\n" not in str(refused.value)


def test_the_run_of_a_training_is_no_comparison(store):
    uri, runs = store

    with pytest.raises(TrackingError, match="expected the run of a comparison"):
        find_comparison(uri, runs["training"])


def test_a_comparison_that_has_not_come_to_its_end_has_no_files(store, tmp_path):
    uri, runs = store

    with pytest.raises(TrackingError, match="has not come to its end"):
        fetch_files(uri, runs["new"], "comparison", tmp_path / "here")


def test_a_folder_without_a_store_is_left_as_it_is(tmp_path):
    with pytest.raises(TrackingError, match="no recorded runs"):
        find_comparison(f"sqlite:///{tmp_path / 'mlruns.db'}", "")
    assert not list(tmp_path.iterdir())
