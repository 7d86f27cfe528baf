"""Who takes part in a fusion, with which series, and what is refused."""

import logging
import shutil
from pathlib import Path

import pytest
from made_cohorts import write_cohort

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.cohort.patients import FUSION, PatientCohort, fused_modalities, items_of
from mgmt_monai.cohort.splits.plans import Holdout
from mgmt_monai.training.origin import origin_of

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def built(tmp_path_factory, make_dicom) -> tuple[Path, Manifest]:
    """20 patients; 00001 lacks T2w, 00002 lacks T1w, 00003 has FLAIR alone. Not to be changed."""
    data_dir = write_cohort(tmp_path_factory.mktemp("built") / "data", make_dicom, 20, ("T1w", "T2w", "FLAIR"))
    for lacking in ("00001/T2w", "00002/T1w", "00003/T1w", "00003/T2w"):
        shutil.rmtree(data_dir / "train" / lacking)
    return data_dir, build_manifest(data_dir, Sources(), Holdout(0.1, 0.8, seed=0), workers=1).manifest


def test_patient_takes_part_with_what_is_there(built, caplog):
    data_dir, manifest = built
    with caplog.at_level(logging.INFO):
        cohort = PatientCohort(manifest, "T1w+T2w", data_dir)

    items = {item["patient_id"]: item for split in SPLITS for item in cohort.items(split)}
    assert cohort.modality == FUSION and cohort.modalities == ("T1w", "T2w")
    assert len(items) == 19 and "00003" not in items
    assert list(items["00001"]["image"]) == ["T1w"] and list(items["00002"]["image"]) == ["T2w"]
    assert items["00004"]["image"]["T2w"].files[0].parent == data_dir / "train/00004/T2w"
    assert caplog.messages == [
        "19 patients with a series of T1w+T2w; T1w missing in 1, T2w missing in 1",
        "left out: 1 patients without any series of T1w+T2w",
    ]
    assert origin_of(cohort)["patients"] == 19


def test_series_of_one_modality_are_those_of_its_own_training(built):
    data_dir, manifest = built
    cohort, alone = PatientCohort(manifest, "T1w+FLAIR", data_dir), ModalityCohort(manifest, "FLAIR", data_dir)

    for split in SPLITS:
        assert items_of(cohort.items(split), "FLAIR") == alone.items(split)
    own = [item for item in cohort.series_items() if item["modality"] == "FLAIR"]
    assert own == [item for split in SPLITS for item in alone.items(split)]


def test_labels_are_dealt_out_once_a_patient(built):
    data_dir, manifest = built
    told = PatientCohort(manifest, "T1w+FLAIR", data_dir).items("train")
    dealt = PatientCohort(manifest, "T1w+FLAIR", data_dir, permutation_seed=1).items("train")

    labels = [[item["label"] for item in items] for items in (told, dealt)]
    assert labels[0] != labels[1] and sorted(labels[0]) == sorted(labels[1])
    assert [i["image"] for i in told] == [i["image"] for i in dealt]


@pytest.mark.parametrize("wrong", ["T1w", "T1w+T1w", "T1w+T3w", "", "T1w, FLAIR"])
def test_modalities_that_are_none_are_refused(wrong):
    with pytest.raises(CohortError, match=r"modalities: expected two or more of FLAIR.*Name them as T1wCE\+FLAIR"):
        fused_modalities(wrong)


def test_modality_that_nobody_has_is_refused(built):
    data_dir, manifest = built
    with pytest.raises(CohortError, match=r"expected series of T1w\+T1wCE, found none of T1wCE. Leave it out of"):
        PatientCohort(manifest, "T1w+T1wCE", data_dir)
