"""What is exported: a run by its folder, a checkpoint or its identifier, finished and no control."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from mgmt_monai.exchange.configs import train_config
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.run_source import open_source
from mgmt_monai.tracking.comparisons import COMPARISON_TAG
from mgmt_monai.tracking.errors import TrackingError

pytestmark = pytest.mark.xdist_group("training")

NOWHERE = Path("no-such-folder")


@pytest.fixture
def store(finished_run) -> str:
    return f"sqlite:///{finished_run.parents[1] / 'mlruns.db'}"


@pytest.fixture
def run_id(finished_run) -> str:
    return json.loads((finished_run / "run.json").read_text())["mlflow_run_id"]


@pytest.fixture
def copied_run(finished_run, tmp_path):
    """A copy of the run's folder, and a function that changes one of its JSON files as if so written."""
    folder = tmp_path / "runs" / "t1w" / finished_run.name
    shutil.copytree(finished_run, folder)

    def change(name, **values):
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        if name != "run.json":
            state = json.loads((folder / "run.json").read_text())
            state["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
            (folder / "run.json").write_text(json.dumps(state))
        return folder

    return change


def opened(run, uri="", output_dir=NOWHERE):
    with open_source(run, uri, output_dir) as source:
        return source


def test_folder_of_a_run_is_its_last_stage(finished_run):
    source = opened(finished_run)

    assert source.stage == "fine_tune"
    assert source.checkpoint == finished_run / "fine_tune" / "best.pt"
    assert source.references == (finished_run / "reference.safetensors",)
    assert source.counts == {
        "train": {"unmethylated": 4, "methylated": 4},
        "validation": {"unmethylated": 2, "methylated": 2},
        "test": {"unmethylated": 2, "methylated": 2},
    }
    assert source.origin.startswith("A made cohort (mgmt-monai phantom), 16 patients, manifest ")
    assert source.software["torch"]


@pytest.mark.parametrize("n_views", [0, 2])
def test_run_of_a_version_with_cached_views_is_exported_without(n_views, finished_run, copied_run, caplog):
    config = json.loads((finished_run / "config.json").read_text())
    train = {
        **config["train"],
        "views": {"_target_": "mgmt_monai.training.CachedViews", "n_views": "@transfer_views"},
        "inferer": {"_target_": "mgmt_monai.training.FeatureInferer", "inferer": config["train"]["inferer"]},
    }
    loader = "$@train::views if @transfer_views else @train::dataloader"
    train["trainer"] = {**train["trainer"], "train_data_loader": loader}

    source = opened(copied_run("config.json", transfer_views=n_views, train=train))

    made, expected = train_config(source.config), train_config(config)
    if n_views == 0:
        assert made == {**expected, "run": "%training"}
    numbers = {key: value for key, value in expected.items() if isinstance(value, int | float)}
    assert {key: made[key] for key in numbers} == numbers
    assert not re.search("CachedViews|FeatureInferer|transfer_views", json.dumps(made))
    assert ("trained on cached views (transfer_views 2)" in caplog.text) == (n_views == 2)


def test_checkpoint_of_the_first_stage_has_no_reference(finished_run):
    source = opened(finished_run / "transfer" / "best.pt")

    assert (source.stage, source.checkpoint.parent.name, source.references) == ("transfer", "transfer", ())


def test_identifier_of_a_run_leads_to_its_folder(finished_run, run_id, store):
    assert opened(run_id, store, finished_run.parents[1]).checkpoint == finished_run / "fine_tune" / "best.pt"


def test_run_without_its_folder_is_taken_from_mlflow(finished_run, run_id, store):
    of_folder = opened(finished_run)

    with open_source(run_id, store, NOWHERE) as source:
        assert source.checkpoint.read_bytes() == of_folder.checkpoint.read_bytes()
        assert source.references[0].read_bytes() == of_folder.references[0].read_bytes()
        assert source.metrics == of_folder.metrics
        assert source.counts == of_folder.counts
        assert (source.software, source.origin) == (of_folder.software, of_folder.origin)
        assert source.heads == of_folder.heads == {"skull_stripped": True, "prepared": None}
        assert (source.manifest_hash, source.weights) == (of_folder.manifest_hash, of_folder.weights)
        assert {key for key in of_folder.config if source.config[key] != of_folder.config[key]} == {
            "dataset_dir", "output_dir",
        }  # fmt: skip


def test_what_a_run_does_not_say_is_not_known(copied_run):
    folder = copied_run("run.json", counts=None, software=None, origin=None, files=None)
    (folder / "reference.safetensors").unlink()

    source = opened(folder)

    assert (source.counts, source.software, source.origin, source.references) == ({}, {}, "", ())
    assert source.heads == {"skull_stripped": None, "prepared": None}


@pytest.mark.parametrize("status", ["running", "failed", "killed"])
def test_run_that_is_not_finished_is_refused(copied_run, status):
    with pytest.raises(ExchangeError, match=f"found one that is {status}"):
        opened(copied_run("run.json", status=status))


def test_negative_control_is_refused(copied_run):
    with pytest.raises(ExchangeError, match="negative control 'background'"):
        opened(copied_run("config.json", control="background"))


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "run.json", "fine_tune/best.pt"])
def test_missing_file_is_told(copied_run, name):
    folder = copied_run("run.json")
    (folder / name).unlink()

    with pytest.raises(ExchangeError, match=name) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("metrics.json", "{", "not a readable JSON file"),
        ("metrics.json", "[]", "the document: expected object, found"),
        ("run.json", '{"origin": "Mars"}', 'origin: expected object or null, found "Mars"'),
        ("run.json", '{"counts": [1]}', "counts: expected object or null"),
        ("run.json", '{"software": {"torch": 2}}', "software.torch: expected string, found 2"),
        ("run.json", "[" * 100_000, "not a readable JSON file"),
    ],
)
def test_damaged_file_is_told(name, content, expected, copied_run):
    folder = copied_run("run.json")
    (folder / name).write_text(content)

    with pytest.raises(ExchangeError, match=f"{re.escape(name)}: {re.escape(expected)}"):
        opened(folder)


def removed(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_training_on_slices_around_the_tumour_is_not_exported(copied_run):
    folder = copied_run("config.json", slices="tumour")
    with pytest.raises(ExchangeError, match="expected a training on the middle slices, found one on those around"):
        opened(folder)


def one_digit(path: Path) -> None:
    path.write_text(re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), path.read_text(), count=1))


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_changed_digit_of_a_config_or_a_figure_is_refused(name, copied_run):
    folder = copied_run("run.json")
    one_digit(folder / name)

    with pytest.raises(ExchangeError, match=f"{name}: expected the file that the training wrote, found another"):
        opened(folder)


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_run_of_an_earlier_version_noted_no_digest_of_them(name, copied_run):
    folder = copied_run("run.json")
    state = json.loads((folder / "run.json").read_text())
    copied_run("run.json", files={path: of for path, of in state["files"].items() if not path.endswith(".json")})
    one_digit(folder / name)

    opened(folder)


@pytest.mark.parametrize("is_noted", [True, False])
@pytest.mark.parametrize("change", [removed, cut, one_bit])
@pytest.mark.parametrize("name", ["fine_tune/best.pt", "reference.safetensors"])
def test_other_file_than_the_training_wrote_is_refused(name, change, is_noted, copied_run):
    folder = copied_run("run.json", **({} if is_noted else {"files": None}))
    opened(folder)
    change(folder / name)

    if not is_noted and name.startswith("reference"):  # of a run of an earlier version nothing is known
        opened(folder)
        return
    with pytest.raises(ExchangeError, match=f"{name}: .*expected .*, found .*(train again|Name a run's folder)"):
        opened(folder)


def test_file_that_is_no_stages_best_is_refused(finished_run):
    with pytest.raises(ExchangeError, match=r"last\.pt"):
        opened(finished_run / "fine_tune" / "last.pt")


def test_what_is_nothing_of_these_is_refused():
    with pytest.raises(ExchangeError, match="my-run: expected a run's folder"):
        opened("my-run")


def test_identifier_that_the_store_does_not_have_is_told(store):
    with pytest.raises(TrackingError, match="0" * 32):
        opened("0" * 32, store)


def test_store_that_is_not_there_is_told(tmp_path):
    with pytest.raises(TrackingError, match="no recorded runs"):
        opened("0" * 32, f"sqlite:///{tmp_path / 'mlruns.db'}")
    assert not (tmp_path / "mlruns.db").exists()


def test_study_and_run_without_files_are_refused(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlruns.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("x", artifact_location=(tmp_path / "files").as_uri())
    study = client.create_run(experiment, tags={COMPARISON_TAG: "mine"}).info.run_id
    running = client.create_run(experiment, tags={"control": "none"}).info.run_id

    with pytest.raises(TrackingError, match="found a comparison"):
        opened(study, uri)
    with pytest.raises(ExchangeError, match="found one that is running"):
        opened(running, uri)
    client.set_terminated(running)
    with pytest.raises(ExchangeError, match=r"config\.json"):
        opened(running, uri)


@pytest.mark.parametrize(
    ("image_size", "paddings", "warned"), [(300, None, True), (300, "image", False), (224, None, False)]
)
def test_checkpoint_with_paddings_of_another_size_is_told(copied_run, caplog, image_size, paddings, warned):
    copied_run("config.json", image_size=image_size)
    opened(copied_run("run.json", paddings=paddings))
    assert ("whose paddings" in caplog.text) == warned
