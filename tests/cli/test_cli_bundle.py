"""``mgmt-monai bundle``: what is written is told, what cannot be is told in one line."""

import hashlib
import json
import shutil
from zipfile import ZipFile

import pytest

from mgmt_monai.cli.main import main

pytestmark = pytest.mark.xdist_group("training")


def test_export_tells_where_the_bundle_is(finished_run, tmp_path, capsys):
    assert main(["bundle", "export", str(finished_run), "--out", str(tmp_path), "--name", "mine", "--zip"]) == 0

    told = capsys.readouterr()
    assert told.out.splitlines() == [str(tmp_path / "mine"), str(tmp_path / "mine.zip")]
    with ZipFile(tmp_path / "mine.zip") as archive:
        names = archive.namelist()
    code = [name for name in names if name.startswith("mine/scripts/")]
    assert told.err.splitlines()[-1] == f"{len(names)} files, {len(code)} of them its code"
    assert (tmp_path / "mine" / "configs" / "metadata.json").is_file()
    assert (tmp_path / "mine.zip").is_file()


def test_export_of_one_of_a_comparisons_trainings_says_so(finished_run, tmp_path, capsys):
    shutil.copytree(finished_run, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "parent_run_id": "0" * 32, "seed": 7}))
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    state["files"]["config.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "run" / "run.json").write_text(json.dumps(state))

    assert main(["bundle", "export", str(tmp_path / "run"), "--out", str(tmp_path)]) == 0

    said = "It is one training of a comparison (seed 7)"
    assert said in capsys.readouterr().err
    (bundle,) = tmp_path.glob("mgmt_*")
    assert said in json.loads((bundle / "configs" / "metadata.json").read_text())["description"]
    assert said in (bundle / "docs" / "README.md").read_text()


def test_export_of_an_identifier_looks_into_the_folder_of_the_trainings(finished_run, tmp_path, capsys, monkeypatch):
    run_id = json.loads((finished_run / "run.json").read_text())["mlflow_run_id"]
    monkeypatch.chdir(finished_run.parents[2])  # the folder of the trainings is called runs, as the default says

    assert main(["bundle", "export", run_id, "--out", str(tmp_path), "--data-source", "ours"]) == 0

    metadata = json.loads((tmp_path / "mgmt_t1w" / "configs" / "metadata.json").read_text())
    assert metadata["training"]["mlflow_run_id"] == run_id


def test_export_of_an_identifier_takes_the_store_that_is_named(finished_run, tmp_path, capsys):
    run_id = json.loads((finished_run / "run.json").read_text())["mlflow_run_id"]
    uri = f"sqlite:///{finished_run.parents[1] / 'mlruns.db'}"
    words = ["bundle", "export", run_id, "--out", str(tmp_path), "--output-dir", str(tmp_path), "--tracking-uri", uri]

    assert main([*words, "--data-source", "ours"]) == 0

    metadata = json.loads((tmp_path / "mgmt_t1w" / "configs" / "metadata.json").read_text())
    assert metadata["data_source"].startswith("A made cohort") and metadata["data_source"].endswith(" ours")
    assert metadata["training"]["patients"]["train"] == {"unmethylated": 4, "methylated": 4}


@pytest.mark.parametrize(
    ("taken", "words"),
    [pytest.param("mgmt_t1w", [], id="folder"), pytest.param("mgmt_t1w.zip", ["--zip"], id="zip")],
)
def test_export_to_a_taken_place_is_one_line(finished_run, tmp_path, capsys, taken, words):
    (tmp_path / taken).mkdir()

    assert main(["bundle", "export", str(finished_run), "--out", str(tmp_path), *words]) == 1

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{tmp_path / taken}: expected a free place" in error
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_export_of_what_is_no_run_is_one_line(tmp_path, capsys):
    assert main(["bundle", "export", "gone", "--out", str(tmp_path)]) == 1

    assert capsys.readouterr().err.startswith("Error: gone: expected a run's folder")


def test_export_without_a_place_is_wrong_usage(capsys):
    assert main(["bundle", "export", "x"]) == 2
    assert "--out" in capsys.readouterr().err


def test_help_needs_no_heavy_library(capsys):
    assert main(["bundle", "export", "--help"]) == 0
    assert "a run's folder, a best.pt in one" in " ".join(capsys.readouterr().out.split())
