"""A bundle is whole or not there, the same each time, and tells nothing of patients, machine or keys."""

import dataclasses
import json
import re
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch

from mgmt_monai.exchange import export
from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.export import export_bundle, zip_bundle
from mgmt_monai.exchange.run_source import open_source

pytestmark = pytest.mark.xdist_group("training")

FILES = {
    "LICENSE", "configs/metadata.json", "configs/train.json", "configs/inference.json", "configs/evaluate.json",
    "configs/multi_gpu_train.json", "configs/logging.conf", "models/model.pt", "models/reference.safetensors",
    "docs/README.md", "docs/data_license.txt",
}  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_bundle_has_the_files_of_monais_specification(exported_bundle):
    assert {name for name in files_of(exported_bundle) if not name.startswith("scripts/")} == FILES


def test_bundle_is_ours(exported_bundle):
    with open_bundle(exported_bundle) as bundle:
        assert bundle.is_ours
        assert bundle.settings["image_size"] == 48


def test_model_is_the_best_checkpoint(exported_bundle, finished_run):
    exported = torch.load(exported_bundle / "models" / "model.pt", weights_only=True)
    trained = torch.load(finished_run / "fine_tune" / "best.pt", weights_only=True)

    assert list(exported) == list(trained)
    assert all(torch.equal(exported[name], trained[name]) for name in trained)
    reference = (exported_bundle / "models" / "reference.safetensors").read_bytes()
    assert reference == (finished_run / "reference.safetensors").read_bytes()


@pytest.mark.parametrize("stage", ["transfer", "plain"])
def test_stage_before_the_last_and_plain_model_are_exported_with_their_own_figures(stage, finished_run, tmp_path):
    with open_source(finished_run / stage / "best.pt", "", tmp_path) as source:
        bundle = export_bundle(source, tmp_path)

    exported = torch.load(bundle / "models" / "model.pt", weights_only=True)
    trained = torch.load(finished_run / stage / "best.pt", weights_only=True)
    assert all(torch.equal(exported[name], trained[name]) for name in trained)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    figures = json.loads((finished_run / "metrics.json").read_text())[stage]["test"]["patient"]
    assert metadata["evaluation"]["stage"] == stage
    assert metadata["evaluation"]["accuracy"]["value"] == figures["accuracy"]["value"]
    assert not (bundle / "models" / "reference.safetensors").exists()


def test_same_run_gives_the_same_bytes(exported_bundle, source, tmp_path):
    again = export_bundle(source, tmp_path)
    copied = shutil.copytree(exported_bundle, tmp_path / "other" / exported_bundle.name)
    one, other = zip_bundle(again), zip_bundle(copied)

    assert files_of(again) == files_of(exported_bundle)
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"mgmt_t1w"}
        assert {name: archive.read(f"mgmt_t1w/{name}") for name in files_of(again)} == files_of(again)
    with open_bundle(one) as bundle:
        assert bundle.is_ours
    assert zip_bundle(again) == one
    one.write_bytes(b"another")
    with pytest.raises(ExchangeError, match=r"mgmt_t1w\.zip: expected a free place"):
        zip_bundle(again)
    assert one.read_bytes() == b"another"


def test_bundle_of_that_name_stays_unless_it_may_be_replaced(source, tmp_path):
    bundle = export_bundle(source, tmp_path, "mine")
    (bundle / "note.txt").write_text("mine")

    with pytest.raises(ExchangeError, match="expected a free place"):
        export_bundle(source, tmp_path, "mine")
    assert (bundle / "note.txt").read_text() == "mine"

    export_bundle(source, tmp_path, "mine", overwrite=True)
    assert not (bundle / "note.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("is_put_aside", [False, True], ids=["writing", "replacing"])
def test_export_that_was_killed_is_done_by_the_same_command(is_put_aside, exported_bundle, source, tmp_path):
    bundle = shutil.copytree(exported_bundle, tmp_path / "mgmt_t1w")
    if is_put_aside:  # between the two renames
        bundle.rename(tmp_path / f".mgmt_t1w.{'1' * 32}.old")
    (tmp_path / f".mgmt_t1w.{'0' * 32}" / "configs").mkdir(parents=True)
    (tmp_path / f".mgmt_t1w.zip.{'0' * 32}").write_bytes(b"PK half")
    (tmp_path / f".mgmt_t1w_other.{'0' * 32}").mkdir()  # of another bundle

    assert zip_bundle(export_bundle(source, tmp_path)).is_file()
    assert files_of(bundle) == files_of(exported_bundle)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f".mgmt_t1w_other.{'0' * 32}",
        "mgmt_t1w",
        "mgmt_t1w.zip",
    ]


def test_folder_that_is_no_bundle_is_never_replaced(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")

    with pytest.raises(ExchangeError, match="expected a bundle to overwrite"):
        export_bundle(source, tmp_path, "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", "a b", "ünd", "-x"])
def test_name_that_is_no_plain_word_is_refused(source, tmp_path, name):
    with pytest.raises(ExchangeError, match="name: expected"):
        export_bundle(source, tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_export_that_fails_leaves_what_was_there(source, tmp_path, monkeypatch):
    bundle = export_bundle(source, tmp_path, "mine")
    before = files_of(bundle)

    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(export, "model_card", full)
    with pytest.raises(OSError, match="disk full"):
        export_bundle(source, tmp_path, "mine", overwrite=True)

    assert files_of(bundle) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_checkpoint_of_another_network_is_refused(source, tmp_path):
    other = tmp_path / "best.pt"
    torch.save({"x": torch.zeros(1)}, other)

    with pytest.raises(ExchangeError, match="expected the state of the network"):
        export_bundle(dataclasses.replace(source, checkpoint=other), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_checkpoint_with_code_in_it_is_not_unpickled(source, tmp_path):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    other = tmp_path / "best.pt"
    torch.save({"x": Harm()}, other)

    with pytest.raises(ExchangeError, match="expected the state of the network"):
        export_bundle(dataclasses.replace(source, checkpoint=other), tmp_path / "out")
    assert not (tmp_path / "harm").exists()


def test_key_of_the_run_in_a_setting_is_refused(source, tmp_path):
    secret = source.secrets[1]
    config = json.loads(json.dumps(source.config))
    config["test"]["dataset"]["description"] = f"with {secret}"

    with pytest.raises(ExchangeError, match=r"configs/train\.json: expected nothing of the machine"):
        export_bundle(dataclasses.replace(source, config=config), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bundle_holds_no_patient_no_path_and_no_key(exported_bundle, page_exports, finished_run, phantom_dir):
    patients = set(pd.read_csv(finished_run / "predictions.csv", dtype=str)["patient_id"])
    assert len(patients) == 8
    words = [
        (finished_run / "pseudonyms.key").read_text(), str(phantom_dir), str(finished_run), finished_run.name,
        str(finished_run.parents[2]),
        str(exported_bundle.parent), str(page_exports), str(Path(__file__).parents[2]), str(Path.home()) + "/",
    ]  # fmt: skip
    # an identifier of digits by itself, not among the digits of some figure
    ids = [rb"(?<![\w.])" + patient.encode() + rb"(?![\w.])" for patient in patients]
    forms = page_exports / "exported" / "mgmt_t1w_forms"

    for name, content in {**files_of(forms), **files_of(exported_bundle)}.items():
        assert [word for word in words if word.encode() in content] == [], name
        if not name.startswith("models/") and not name.endswith(".safetensors"):
            assert [found for found in ids if re.search(found, content)] == [], name
