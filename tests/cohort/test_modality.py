import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mgmt_monai.cohort import modality as modality_module
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.manifest import read_manifest, write_manifest
from mgmt_monai.cohort.modality import ModalityCohort


@pytest.fixture
def cohort_of(tmp_path):
    def make(data_dir, **settings):
        chosen = {
            "modality": "T1w",
            "dataset_dir": data_dir,
            "labels_csv": data_dir / "train_labels.csv",
            "manifest": "",
            "output_dir": tmp_path / "runs",
            "test_fraction": 0.1,
            "train_fraction": 0.8,
            "split_seed": 0,
            "exclusions": "default",
            "repeat": 0,
            "fold": None,
            "inner_fold": None,
            **settings,
        }
        return ModalityCohort(**chosen)

    return make


@pytest.fixture
def unwritable(monkeypatch):
    """Makes one folder look unwritable, also to the superuser that tests may run as."""

    def forbid(folder):
        really = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and really(path, mode))

    return forbid


def refused(make) -> str:
    with pytest.raises(CohortError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_items_of_each_split_partition_the_patients(make_cohort, cohort_of):
    data_dir = make_cohort()
    cohort = cohort_of(data_dir)
    items = {split: cohort.items(split) for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in items.items()} == {"train": 14, "validation": 4, "test": 2}
    everyone = [item for found in items.values() for item in found]
    assert sorted(item["patient_id"] for item in everyone) == [f"{i:05d}" for i in range(1, 21)]
    for item in everyone:
        assert item["label"] == int(item["patient_id"]) % 2
        directory = data_dir / "train" / item["patient_id"] / "T1w"
        assert item["image"].files == (directory / "Image-2.dcm", directory / "Image-1.dcm")


def test_manifest_is_built_beside_the_data_and_read_again(make_cohort, cohort_of, monkeypatch):
    data_dir = make_cohort()
    built = cohort_of(data_dir).manifest
    assert read_manifest(data_dir / "manifest.json") == built
    monkeypatch.setattr(modality_module, "build_manifest", None)
    assert cohort_of(data_dir).manifest == built


def test_manifest_of_a_read_only_data_directory_goes_to_the_output(make_cohort, cohort_of, unwritable, tmp_path):
    data_dir = make_cohort(name="my data")
    unwritable(data_dir)
    built = cohort_of(data_dir).manifest
    assert not (data_dir / "manifest.json").exists()
    assert read_manifest(tmp_path / "runs/manifest-my data.json") == built
    assert cohort_of(data_dir).manifest == built


def test_named_manifest_is_built_where_it_is_absent(make_cohort, cohort_of, tmp_path):
    data_dir = make_cohort()
    built = cohort_of(data_dir, manifest=tmp_path / "splits/own.json").manifest
    assert read_manifest(tmp_path / "splits/own.json") == built
    assert not (data_dir / "manifest.json").exists()


@pytest.mark.parametrize("output_dir", ["file", "file/runs"])
def test_no_place_for_the_manifest_refused(make_cohort, cohort_of, unwritable, tmp_path, output_dir):
    data_dir = make_cohort()
    unwritable(data_dir)
    (tmp_path / "file").touch()
    message = refused(lambda: cohort_of(data_dir, output_dir=tmp_path / output_dir))
    assert "cannot make this folder for the manifest" in message
    assert "--output_dir" in message


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"test_fraction": 0.2}, "another split: test_fraction 0.1 (asked: 0.2). Build it again"),
        ({"train_fraction": 0.7}, "another split: train_fraction 0.8 (asked: 0.7). Build it again"),
        ({"split_seed": 1}, "another split: seed 0 (asked: 1). Build it again"),
    ],
    ids=["test_fraction", "train_fraction", "split_seed"],
)
def test_other_split_settings_than_the_manifests_refused(make_cohort, cohort_of, settings, expected):
    data_dir = make_cohort()
    cohort_of(data_dir)
    message = refused(lambda: cohort_of(data_dir, **settings))
    assert message.startswith(f"{data_dir / 'manifest.json'}: ")
    assert expected in message


def test_split_of_another_method_is_taken_as_it_is(make_cohort, cohort_of, tmp_path):
    data_dir = make_cohort()
    manifest = cohort_of(data_dir).manifest
    own = replace(manifest, split={"method": "by site"})
    write_manifest(own, tmp_path / "own.json")
    assert cohort_of(data_dir, manifest=tmp_path / "own.json", split_seed=9).manifest == own


def test_labels_changed_since_the_manifest_refused(make_cohort, cohort_of):
    data_dir = make_cohort()
    cohort_of(data_dir)
    labels = data_dir / "train_labels.csv"
    labels.write_text(labels.read_text().replace("00001,1", "00001,0"))
    assert f"made with other labels than {labels} now has" in refused(lambda: cohort_of(data_dir))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("none", "list", "patient 00002 is in it, although listed"),
        ("list", "none", "patient 00002 is left out, although"),
    ],
    ids=["more excluded", "less excluded"],
)
def test_other_exclusions_than_the_manifests_refused(make_cohort, cohort_of, tmp_path, before, after, expected):
    data_dir = make_cohort()
    listed = tmp_path / "exclusions.csv"
    listed.write_text("patient_id,reason\n00002,motion\n")
    exclusions = {"none": "none", "list": listed}
    cohort_of(data_dir, exclusions=exclusions[before])
    assert expected in refused(lambda: cohort_of(data_dir, exclusions=exclusions[after]))


def test_patient_without_the_modality_refused_by_name(make_cohort, cohort_of):
    data_dir = make_cohort(modalities=("T1w", "T2w"))
    for path in (data_dir / "train/00006/T2w").iterdir():
        path.unlink()
    (data_dir / "train/00006/T2w").rmdir()
    assert len(cohort_of(data_dir).items("train")) == 14
    message = refused(lambda: cohort_of(data_dir, modality="T2w"))
    assert "patient 00006: expected a T2w series, found none" in message


def test_split_of_the_users_own_without_a_class_refused(make_cohort, cohort_of, tmp_path):
    data_dir = make_cohort()
    manifest = cohort_of(data_dir).manifest
    patients = [replace(p, split="train") if p.split == "test" and p.label else p for p in manifest.patients]
    write_manifest(replace(manifest, split={"method": "own"}, patients=patients), tmp_path / "own.json")
    message = refused(lambda: cohort_of(data_dir, manifest=tmp_path / "own.json"))
    assert "no methylated patient in the test split" in message


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"modality": "t1w"}, "modality: expected one of FLAIR, T1w, T1wCE, T2w, found 't1w'"),
        ({"test_fraction": "tenth"}, "test_fraction: expected a number, found 'tenth'"),
        ({"split_seed": None}, "split_seed: expected a number, found None"),
        ({"labels_csv": "absent.csv"}, "absent.csv: no label file"),
    ],
    ids=["modality", "fraction", "seed", "labels"],
)
def test_setting_that_cannot_be_refused(make_cohort, cohort_of, settings, expected):
    data_dir = make_cohort()
    assert refused(lambda: cohort_of(data_dir, **settings)).startswith(expected)
    assert not (data_dir / "manifest.json").exists()


def test_no_data_directory_refused_with_what_to_do(cohort_of, tmp_path):
    message = refused(lambda: cohort_of(tmp_path / "absent"))
    assert message.startswith(f"{tmp_path / 'absent'}: no such data directory. Make the phantom with")


def test_many_warnings_are_shown_in_part_and_counted(make_cohort, cohort_of, caplog):
    data_dir = make_cohort()
    with (data_dir / "train_labels.csv").open("a") as stream:
        stream.writelines(f"0090{i},1\n" for i in range(7))
    with caplog.at_level(logging.WARNING):
        cohort_of(data_dir)
    left_out, found = caplog.messages[:6], caplog.messages[6:]  # each of the 20 series has two slices: too few
    assert left_out[0] == "left out: patient 00900: in the label file, but without images"
    assert left_out[-1].startswith("left out: 2 more")
    assert (len(found), found[-1]) == (6, "found: 15 more, all shown by 'mgmt-monai doctor'")


def test_reachable_auc_of_a_phantom_and_of_real_data(make_cohort, cohort_of):
    data_dir = make_cohort()
    cohort = cohort_of(data_dir)
    assert cohort.reachable_auc() is None
    (data_dir / "truth.json").write_text('{"reachable_auc": 0.983}')
    assert cohort.reachable_auc() == 0.983


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"reachable_auc": "high"}'])
def test_broken_truth_refused(make_cohort, cohort_of, text):
    data_dir = make_cohort()
    (data_dir / "truth.json").write_text(text)
    assert "expected a phantom's truth with 'reachable_auc'" in refused(cohort_of(data_dir).reachable_auc)
