"""MONAI's own ``--tracking``: the training runs, and is recorded once, as any other."""

import copy
import json
import logging

import pytest
from mlflow.tracking import MlflowClient
from monai.bundle import create_workflow
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from phantom_runs import BUNDLES, SMALL, newest_run, with_store, workflow

from mgmt_monai.errors import one_line
from mgmt_monai.exchange.verify import _MODULE, _run, _told
from mgmt_monai.tracking import tracking_uri

pytestmark = pytest.mark.xdist_group("training")

ALIKE = ("transfer/best.pt", "fine_tune/best.pt", "predictions.csv", "metrics.json")


def recorded(output_dir):
    """Every run of the store, its settings and tags, and the names and content of its files."""
    client = MlflowClient(tracking_uri(output_dir))
    (experiment,) = (one for one in client.search_experiments() if one.name != "Default")
    (run,) = client.search_runs([experiment.experiment_id])
    files = [path for path in (output_dir / "mlartifacts").rglob("*") if path.is_file()]
    return experiment.name, run, files


def test_training_is_as_without_it_is_recorded_once_and_resumes(finished_run, phantom_dir, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    workflow(phantom_dir, tmp_path, seed=3, tracking="mlflow").trainer.run()
    again = workflow(phantom_dir, tmp_path, seed=3, tracking="mlflow", resume=True)
    again.run()

    run = newest_run(tmp_path)
    assert [name for name in ALIKE if (run / name).read_bytes() != (finished_run / name).read_bytes()] == []
    assert (
        json.loads((run / "config.json").read_text()).keys()
        == json.loads((finished_run / "config.json").read_text()).keys()
    )
    name, record, files = recorded(tmp_path)
    assert (name, record.info.run_name, record.info.status) == ("mgmt", run.name, "FINISHED")
    texts = [json.dumps(record.data.to_dictionary()), *(path.read_bytes().decode(errors="ignore") for path in files)]
    assert [text for text in texts if str(phantom_dir) in text or str(tmp_path) in text] == []
    assert not [path for path in files if path.name.startswith("config_")]
    said = [line for line in caplog.messages if line.startswith("--tracking: ")]
    assert said == [
        f"--tracking: this training records itself in MLflow, once ({tracking_uri(tmp_path)}); MONAI's own handlers, "
        "which record this machine's paths, are left out"
    ] * 2  # fmt: skip


def settings(**configs):
    """MONAI's settings of tracking, some of them changed; ``trainer`` holds arguments of the trainer's handler."""
    made = copy.deepcopy(DEFAULT_MLFLOW_SETTINGS)
    made["configs"]["trainer"].update(configs.pop("trainer", {}))
    made["configs"].update(configs)
    return made


def created(phantom_dir, output_dir, **given):
    return create_workflow(
        config_file=str(BUNDLES / "t1w.json"), logging_file=False, run_id="training", workflow_type="train",
        **{**SMALL, "dataset_dir": str(phantom_dir), "output_dir": str(with_store(output_dir)), **given},
    )  # fmt: skip


@pytest.mark.parametrize("way", ["dict", "file", "args_file"])
def test_settings_of_ours_in_its_settings_count_unless_the_command_names_them(way, phantom_dir, tmp_path):
    asked = settings(experiment_name="ours", run_name="asked", trainer={"tracking_uri": "sqlite:///elsewhere.db"})
    given = {"tracking": asked, "run_name": "named"}
    if way != "dict":
        (tmp_path / "asked.json").write_text(json.dumps(asked))
        given["tracking"] = str(tmp_path / "asked.json")
    if way == "args_file":
        (tmp_path / "args.json").write_text(json.dumps(given))
        given = {"args_file": str(tmp_path / "args.json")}
    made = created(phantom_dir, tmp_path / "runs", **given)
    tracking = made.parser.get_parsed_content("tracking")
    assert (tracking.experiment, tracking.uri, tracking.run_name) == ("ours", "sqlite:///elsewhere.db", "named")
    config = made.parser.get_parsed_content("run_directory").config
    assert (config["experiment_name"], config["tracking_uri"]) == ("ours", "sqlite:///elsewhere.db")


@pytest.mark.parametrize(
    ("configs", "named"),
    [({"trainer": {"tag_name": "loss"}}, "tag_name"), ({"trainer": {"experiment_param": {"a": 1}}}, "experiment_param"),
     ({"team": "a"}, "team")],
)  # fmt: skip
def test_what_else_its_settings_name_is_refused(configs, named, phantom_dir, tmp_path):
    with pytest.raises(RuntimeError) as raised:
        created(phantom_dir, tmp_path / "runs", tracking=settings(**configs))
    assert one_line(raised.value) == f"tracking: expected settings of this config, found '{named}'. Leave it out."
    assert not (tmp_path / "runs" / "t1w").exists()


def test_exported_bundle_trains_scores_and_predicts_with_it(exported_bundle, finished_run, phantom_dir, tmp_path):
    study = min((phantom_dir / "train").iterdir())
    for names, run_id, data in (
        (["train"], "run", phantom_dir),
        (["train", "evaluate"], "run", phantom_dir),
        (["inference"], "run", study),
    ):
        files = str([str(exported_bundle / "configs" / f"{name}.json") for name in names])
        out = with_store(tmp_path / names[-1])
        words = [
            "--config_file",
            files,
            "--bundle_root",
            str(exported_bundle),
            "--dataset_dir",
            str(data),
            "--output_dir",
            str(out),
        ]
        done = _run(tmp_path, [_MODULE, "monai.bundle", "run", run_id, *words, "--tracking", "mlflow"])
        assert done.returncode == 0, _told(done.stderr)
        assert "--tracking: " in done.stderr + done.stdout
    run = newest_run(tmp_path / "train")
    assert [name for name in ALIKE if (run / name).read_bytes() != (finished_run / name).read_bytes()] == []
    assert recorded(tmp_path / "train")[1].info.run_name == run.name
    for name in ("evaluate/predictions.csv", "inference/prediction.json"):
        assert (tmp_path / name).is_file()
    assert not list((tmp_path / "inference").glob("mlartifacts"))
