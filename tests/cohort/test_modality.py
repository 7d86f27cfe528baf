import json
import logging
import math
import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_cohorts import write_cohort
from pydicom import dcmread
from scipy.stats import norm
from textures import texture

from mgmt_monai.cli.main import main
from mgmt_monai.cohort import build as build_module
from mgmt_monai.cohort import check as check_module
from mgmt_monai.cohort import open_cohort as open_module
from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.manifest import Manifest, read_manifest, write_manifest
from mgmt_monai.cohort.modality import Fold, ModalityCohort
from mgmt_monai.cohort.open_cohort import open_cohort
from mgmt_monai.cohort.splits.plans import Holdout
from mgmt_monai.comparison.collect import cohort_summary
from mgmt_monai.training.origin import origin_of


def build_again(message):
    """Runs the command that a message ends with, as it is printed."""
    program, *words = shlex.split(message.partition("build it again: ")[2])
    assert (program, main(words)) == ("mgmt-monai", 0)


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
            "permute_labels": False,
            "permutation_seed": 0,
            **settings,
        }
        return open_cohort(**chosen)

    return make


@pytest.fixture(scope="module")
def built(tmp_path_factory, make_dicom) -> tuple[Path, Manifest]:
    """20 patients of T1w, all but 00001 and 00002 of T2w too, and their manifest; not to be changed."""
    data_dir = write_cohort(tmp_path_factory.mktemp("built") / "data", make_dicom, 20, ("T1w", "T2w"))
    for patient_id in ("00001", "00002"):
        shutil.rmtree(data_dir / "train" / patient_id / "T2w")
    return data_dir, build_manifest(data_dir, Sources(), Holdout(0.1, 0.8, seed=0), workers=1).manifest


@pytest.fixture
def of_manifest(built, cohort_of, tmp_path):
    """``of_manifest(change, <settings>)``: the cohort of the built manifest after ``change`` made another of it."""

    def make(change=None, data_dir=None, **settings):
        manifest = change(built[1]) if change else built[1]
        write_manifest(manifest, tmp_path / "changed.json")
        return cohort_of(data_dir or built[0], manifest=tmp_path / "changed.json", **settings)

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


def test_cohort_of_a_manifest_alone_reads_and_writes_nothing(built, tmp_path):
    nowhere = tmp_path / "absent"
    cohort = ModalityCohort(folded()(built[1]), "T1w", nowhere, Fold(1, 3), permutation_seed=0)
    assert cohort.fold_number == 7
    assert len(cohort.items("test")) == 6
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("built_first", [False, True], ids=["built here", "read"])
def test_what_was_just_scanned_is_not_scanned_again(make_cohort, cohort_of, monkeypatch, built_first):
    data_dir = make_cohort()
    if built_first:
        cohort_of(data_dir)
    scans = []
    for module in (build_module, check_module):

        def counting(found, *args, really=module.scan, **settings):
            scans.append(len(found))
            return really(found, *args, **settings)

        monkeypatch.setattr(module, "scan", counting)
    cohort_of(data_dir)
    assert scans == [20]


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
    monkeypatch.setattr(open_module, "build_manifest", None)
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


@pytest.fixture
def listed_cohort(tmp_path, make_dicom) -> Path:
    """20 patients whose series and labels ``cohort.csv`` names."""
    data_dir = write_cohort(tmp_path / "listed", make_dicom, 20)
    (data_dir / "train").rename(data_dir / "scans")
    (data_dir / "train_labels.csv").unlink()
    rows = "".join(f"{n:05d},{n % 2},scans/{n:05d}/T1w\n" for n in range(1, 21))
    (data_dir / "cohort.csv").write_text("patient_id,label,T1w\n" + rows)
    return data_dir


def test_labels_that_are_not_named_are_the_layouts_own(listed_cohort, make_cohort, cohort_of):
    of_table = cohort_of(listed_cohort, labels_csv="")
    of_folders = cohort_of(make_cohort(), labels_csv="")
    labels = [{p.patient_id: p.label for p in made.manifest.patients} for made in (of_table, of_folders)]
    assert labels == [{f"{n:05d}": n % 2 for n in range(1, 21)}] * 2


def test_layouts_own_table_that_changed_since_the_manifest_is_refused(listed_cohort, cohort_of):
    cohort_of(listed_cohort, labels_csv="")
    table = listed_cohort / "cohort.csv"
    table.write_text(table.read_text().replace("00001,1", "00001,0"))
    assert f"made with other labels than {table} now has" in refused(lambda: cohort_of(listed_cohort, labels_csv=""))


def test_layouts_own_table_without_labels_is_not_asked(listed_cohort, cohort_of):
    table = listed_cohort / "cohort.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("".join(f"{row[0]},{row[2]}\n" for row in rows))
    named = listed_cohort / "status.csv"
    named.write_text("".join(f"{row[0]},{row[1]}\n" for row in rows))
    made = cohort_of(listed_cohort, labels_csv=named).manifest
    assert cohort_of(listed_cohort, labels_csv="").manifest == made


def test_layout_without_its_label_table_is_told_which_and_how_to_name_another(make_cohort, cohort_of):
    data_dir = make_cohort()
    (data_dir / "train_labels.csv").unlink()
    told = refused(lambda: cohort_of(data_dir, labels_csv=""))
    assert f"{data_dir / 'train_labels.csv'}: no label file" in told and "--labels_csv" in told


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"test_fraction": 0.2}, "another split: test_fraction 0.1 (asked: 0.2)."),
        ({"train_fraction": 0.7}, "another split: train_fraction 0.8 (asked: 0.7)."),
        ({"split_seed": 1}, "another split: seed 0 (asked: 1)."),
    ],
    ids=["test_fraction", "train_fraction", "split_seed"],
)
def test_other_split_settings_than_the_manifests_refused(make_cohort, cohort_of, settings, expected):
    data_dir = make_cohort()
    cohort_of(data_dir)
    message = refused(lambda: cohort_of(data_dir, **settings))
    assert message.startswith(f"{data_dir / 'manifest.json'}: ")
    assert expected in message
    build_again(message)
    cohort_of(data_dir, **settings)


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
    message = refused(lambda: cohort_of(data_dir, exclusions=exclusions[after]))
    assert expected in message
    build_again(message)
    cohort_of(data_dir, exclusions=exclusions[after])


def test_patient_without_the_modality_refused_by_name(make_cohort, cohort_of):
    data_dir = make_cohort(modalities=("T1w", "T2w"))
    for path in (data_dir / "train/00006/T2w").iterdir():
        path.unlink()
    (data_dir / "train/00006/T2w").rmdir()
    assert len(cohort_of(data_dir).items("train")) == 14
    message = refused(lambda: cohort_of(data_dir, modality="T2w"))
    assert "patient 00006: expected a T2w series, found none (D030)" in message
    assert f"'mgmt-monai manifest build {data_dir} --exclude FILE --overwrite'" in message
    assert "'--exclusions FILE'" in message


def test_cohort_without_the_modality_is_told_what_it_has(make_cohort, cohort_of):
    data_dir = make_cohort(modalities=("T1wCE",))
    message = refused(lambda: cohort_of(data_dir, modality="T1w"))
    assert message == (
        f"{data_dir}: expected T1w series, found T1wCE alone. Train what is there ('mgmt-monai train t1wce'), or add "
        "them and build the manifest again with --overwrite."
    )


def test_several_patients_without_the_modality_are_all_named(of_manifest):
    assert "patient 00001, patient 00002: expected a T2w series" in refused(lambda: of_manifest(modality="T2w"))


def test_accepted_patients_without_the_modality_are_left_out_of_it(of_manifest, caplog):
    decisions = [{"finding": "D030", "patient_id": p, "reason": "never acquired"} for p in ("00001", "00002")]
    cohort = of_manifest(lambda manifest: replace(manifest, ignored=decisions), modality="T2w")
    assert "left out: 2 patients without T2w, as the ignore list accepts" in caplog.messages
    items = [item["patient_id"] for split in ("train", "validation", "test") for item in cohort.items(split)]
    assert sorted(items) == [f"{i:05d}" for i in range(3, 21)]


def test_accepting_one_of_two_names_the_other(of_manifest):
    decisions = [{"finding": "D030", "patient_id": "00001", "reason": "never acquired"}]
    message = refused(lambda: of_manifest(lambda manifest: replace(manifest, ignored=decisions), modality="T2w"))
    assert "patient 00002: expected a T2w series" in message
    assert "00001" not in message


def folded(n_inner_folds=0):
    """The change that deals the patients by hand, pair by pair (one of each label), into 4 folds, twice."""

    def change(manifest):
        patients = []
        for patient in manifest.patients:
            pair = (int(patient.patient_id) - 1) // 2
            folds = [pair % 4, pair * 3 % 4]
            inner = [[None if outer == fold else (pair // 4 + outer) % 2 for outer in range(4)] for fold in folds]
            patients.append(replace(patient, folds=folds, inner_folds=inner if n_inner_folds else []))
        settings = {"method": "kfold", "n_folds": 4, "n_repeats": 2, "n_inner_folds": n_inner_folds, "seed": 0}
        return replace(manifest, patients=patients, folds=settings)

    return change


def numbers(cohort):
    """The patients of each split, as numbers."""
    return {
        split: [int(item["patient_id"]) for item in cohort.items(split)] for split in ("train", "validation", "test")
    }


def test_fold_is_the_test_and_the_next_the_validation(of_manifest):
    cohort = of_manifest(folded(), fold=1)
    # pairs 0 to 9 are in the folds 0 1 2 3 0 1 2 3 0 1
    assert numbers(cohort) == {
        "train": [1, 2, 7, 8, 9, 10, 15, 16, 17, 18],
        "validation": [5, 6, 13, 14],
        "test": [3, 4, 11, 12, 19, 20],
    }
    assert cohort.fold_number == 1


def test_fold_of_a_later_repeat_is_numbered_over_all(of_manifest):
    cohort = of_manifest(folded(), repeat=1, fold=3)
    # pairs 0 to 9 are in the folds 0 3 2 1 0 3 2 1 0 3; after the last fold comes the first
    assert numbers(cohort) == {
        "train": [5, 6, 7, 8, 13, 14, 15, 16],
        "validation": [1, 2, 9, 10, 17, 18],
        "test": [3, 4, 11, 12, 19, 20],
    }
    assert cohort.fold_number == 7


def test_inner_fold_is_the_validation_within_an_outer_fold(of_manifest):
    cohort = of_manifest(folded(2), fold=1, inner_fold=0)
    # outside fold 1: pairs 0 2 3 4 6 7 8, of which 4 6 7 (one of the fours is odd, and so is the outer fold) are in 0
    assert numbers(cohort) == {
        "train": [1, 2, 5, 6, 7, 8, 17, 18],
        "validation": [9, 10, 13, 14, 15, 16],
        "test": [3, 4, 11, 12, 19, 20],
    }
    assert cohort.fold_number == 1


def test_hash_is_that_of_the_file_whatever_the_fold(of_manifest, built):
    cohorts = [of_manifest(folded(), fold=fold) for fold in (None, 2)]
    assert {cohort.manifest_hash for cohort in cohorts} == {folded()(built[1]).content_hash}


def test_without_a_fold_the_hold_out_split_is_taken(of_manifest, built):
    assert of_manifest(folded()).manifest.counts() == built[1].counts()


@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        (None, {"fold": 0}, "the manifest has no folds. Make them with 'mgmt-monai manifest split --folds K'"),
        (folded(), {"fold": 4}, "fold: expected 0 to 3, found 4"),
        (folded(), {"fold": -1}, "fold: expected 0 to 3, found -1"),
        (folded(), {"fold": 0, "repeat": 2}, "repeat: expected 0 to 1, found 2"),
        (folded(), {"fold": 0, "inner_fold": 0}, "inner_fold 0: expected nested folds, found none"),
        (folded(2), {"fold": 0}, "inner_fold: expected which inner fold is for validation, found none"),
        (folded(2), {"fold": 0, "inner_fold": 2}, "inner_fold: expected 0 to 1, found 2"),
        (folded(), {"fold": "all"}, "fold: expected a whole number, found 'all'"),
        (folded(), {"fold": 1.5}, "fold: expected a whole number, found 1.5"),
        (folded(), {"inner_fold": 1}, "inner_fold 1: expected a fold with it, found none"),
        (folded(), {"repeat": 1}, "repeat 1: expected a fold with it, found none"),
    ],
    ids=[
        "no folds", "too high", "negative", "repeat", "not nested", "nested", "inner too high", "text", "fraction",
        "inner alone", "repeat alone",
    ],
)  # fmt: skip
def test_fold_that_is_not_there_refused(of_manifest, change, settings, expected):
    assert expected in refused(lambda: of_manifest(change, **settings))


def same_images(manifest, one, other):
    """The manifest with the T1w images of one patient in the other too."""
    digests = next(p for p in manifest.patients if p.patient_id == one).series["T1w"].digests
    patients = [
        replace(p, series={**p.series, "T1w": replace(p.series["T1w"], digests=digests)})
        if p.patient_id == other
        else p
        for p in manifest.patients
    ]
    return replace(manifest, patients=patients)


@pytest.fixture
def twins(built) -> tuple[str, str]:
    """A patient in training and one in the test."""
    return tuple(next(p.patient_id for p in built[1].patients if p.split == split) for split in ("train", "test"))


def test_same_images_in_two_splits_refused_by_name(of_manifest, twins):
    one, other = sorted(twins)
    message = refused(lambda: of_manifest(lambda manifest: same_images(manifest, *twins)))
    assert message.startswith(f"patient {one}: expected images of one patient, found 2 identical slices in T1w")
    assert f"as patient {other} (one in t" in message
    assert "identical images under two patients (D040)" in message


def test_same_images_in_two_splits_pass_where_somebody_decided_so(of_manifest, twins):
    decision = {"finding": "D040", "patient_id": twins[1], "reason": "a phantom scanned twice"}
    cohort = of_manifest(lambda manifest: replace(same_images(manifest, *twins), ignored=[decision]))
    assert len(cohort.manifest.patients) == 20


def test_same_images_in_two_folds_refused(of_manifest):
    def change(manifest):
        manifest = same_images(folded()(manifest), "00001", "00003")  # pairs 0 and 1
        return replace(manifest, patients=[replace(p, split="test") for p in manifest.patients])

    assert "as patient 00003 (in different folds)" in refused(lambda: of_manifest(change, fold=0))


@pytest.mark.parametrize("change", ["added", "gone", "exchanged"])
def test_files_that_changed_since_the_manifest_refused(of_manifest, built, tmp_path, make_dicom, change):
    data_dir = tmp_path / "data"
    shutil.copytree(built[0], data_dir)
    folder = data_dir / "train/00003/T1w"
    if change == "gone":
        (folder / "Image-1.dcm").unlink()
    else:
        name, z = ("Image-3.dcm", 4.0) if change == "added" else ("Image-1.dcm", 2.0)
        make_dicom(folder / name, texture("new", (8, 12)), position=(0, 0, z))
    message = refused(lambda: of_manifest(data_dir=data_dir))
    assert message.startswith(f"patient 00003, T1w: {folder}: expected the 2 files of the manifest, found others (")
    assert "files changed since the manifest (D046)" in message


def test_many_changed_files_name_the_command_that_lists_them_all(of_manifest, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refused(lambda: of_manifest(data_dir=tmp_path / "empty"))
    assert message.endswith(" And 17 more: 'mgmt-monai manifest check MANIFEST' lists them all.")


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
        ({"split_seed": 0.5}, "split_seed: expected a whole number, found 0.5"),
        ({"test_fraction": "tenth"}, "test_fraction: expected a number, found 'tenth'"),
        ({"split_seed": None}, "split_seed: expected a whole number, found None"),
        ({"labels_csv": "absent.csv"}, "absent.csv: no label file"),
    ],
    ids=["modality", "half", "fraction", "seed", "labels"],
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


def test_phantom_is_known_from_its_manifest_where_its_truth_is_gone(phantom_dir, tmp_path):
    copy = shutil.copytree(phantom_dir, tmp_path / "copy")
    (copy / "manifest.json").unlink(missing_ok=True)
    manifest = build_manifest(copy, Sources(), Holdout(0.25, 0.67, 0)).manifest
    (copy / "truth.json").unlink()
    cohort = ModalityCohort(manifest, "T1w", copy)
    assert cohort.reachable_auc() == pytest.approx(norm.cdf(3 / math.sqrt(2)))
    assert cohort.manifest.content_hash == replace(manifest, made={}).content_hash


@pytest.mark.parametrize(
    ("phantoms", "is_made", "counted"), [(8, True, {"T1w": 8}), (1, True, {"T1w": 1}), (0, False, {})]
)
def test_phantom_is_known_by_its_headers_where_its_truth_did_not_go_along(
    phantom_dir, tmp_path, phantoms, is_made, counted
):
    chosen = sorted((phantom_dir / "train").iterdir())[:8]
    for number, patient in enumerate(chosen):
        shutil.copytree(patient / "T1w", tmp_path / "train" / patient.name / "T1w")
        for path in (tmp_path / "train" / patient.name).rglob("*.dcm") if number >= phantoms else ():
            header = dcmread(path)
            header.ManufacturerModelName = "Achieva"
            header.save_as(path)
    shutil.copy(phantom_dir / "train_labels.csv", tmp_path)
    manifest = build_manifest(tmp_path, Sources(), Holdout(0.25, 0.67, 0)).manifest
    assert {name: of["made"] for name, of in manifest.heads.items() if "made" in of} == counted
    origin = origin_of(ModalityCohort(manifest, "T1w", tmp_path))
    assert (origin["made"], origin["text"].startswith("A made cohort (mgmt-monai phantom), 8 patients")) == (
        is_made,
        is_made,
    )
    assert cohort_summary(manifest, with_folds=False)["made"] == is_made
    write_manifest(manifest, tmp_path / "manifest.json")
    assert read_manifest(tmp_path / "manifest.json") == manifest


@pytest.mark.parametrize(
    "value",
    ['"high"', "NaN", "1e999", "2", "9" * 400, "9" * 5000, "null", "[" * 100_000, "0.9}, {", ""],
    ids=lambda value: value[:9],
)
def test_broken_truth_refused(make_cohort, cohort_of, value):
    data_dir = make_cohort()
    (data_dir / "truth.json").write_text(f'{{"reachable_auc": {value}}}' if value else value)
    assert "expected a phantom's truth with 'reachable_auc'" in refused(lambda: cohort_of(data_dir))


def test_reachable_auc_is_the_modalitys_own_where_effects_differ(make_cohort, cohort_of):
    data_dir = make_cohort()
    truth = {"reachable_auc": 0.9, "reachable_auc_of": {"FLAIR": 0.5, "T1w": 0.76}}
    (data_dir / "truth.json").write_text(json.dumps(truth))
    assert cohort_of(data_dir).reachable_auc() == 0.76


@pytest.mark.parametrize("of", [{"T1": 0.76}, {"T1w": 1.2}, {"T1w": None}, [0.76], 0.76])
def test_broken_reachable_auc_of_the_modalities_is_refused(make_cohort, cohort_of, of):
    data_dir = make_cohort()
    (data_dir / "truth.json").write_text(json.dumps({"reachable_auc": 0.9, "reachable_auc_of": of}))
    assert "expected a phantom's truth" in refused(lambda: cohort_of(data_dir))


def labels_of(cohort: ModalityCohort, split: str) -> list[int]:
    return [item["label"] for item in cohort.items(split)]


def test_permuted_labels_keep_the_classes_and_leave_the_test_alone(of_manifest):
    true, permuted = of_manifest(), of_manifest(permute_labels=True, permutation_seed=3)
    for split in ("train", "validation", "test"):
        assert [item["patient_id"] for item in permuted.items(split)] == [i["patient_id"] for i in true.items(split)]
        assert sorted(labels_of(permuted, split)) == sorted(labels_of(true, split))
    assert labels_of(permuted, "train") != labels_of(true, "train")
    assert labels_of(permuted, "test") == labels_of(true, "test")
    assert permuted.manifest == true.manifest


def test_permutation_is_its_seeds(of_manifest):
    found = [labels_of(of_manifest(permute_labels=True, permutation_seed=seed), "train") for seed in (0, 0, 1, 2, 3)]
    assert found[0] == found[1]
    assert len(set(map(tuple, found))) > 2


def test_permutation_reaches_every_patient_alike(of_manifest):
    """Over 200 seeds each patient is methylated as often as chance says."""
    drawn = np.array(
        [labels_of(cohort, "train") for cohort in permutations(of_manifest(permute_labels=True), range(200))]
    )
    share = drawn.sum(axis=1)[0] / drawn.shape[1]
    assert np.abs(drawn.mean(axis=0) - share).max() < 4 * np.sqrt(share * (1 - share) / 200)


def permutations(cohort: ModalityCohort, seeds):
    for seed in seeds:
        cohort.permutation_seed = seed
        yield cohort


@pytest.mark.parametrize("seed", [1.5, "one"])
def test_permutation_seed_that_is_no_number_is_refused(of_manifest, seed):
    assert "permutation_seed" in refused(lambda: of_manifest(permute_labels=True, permutation_seed=seed))
