import csv
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

from mgmt_monai.cohort.splits.holdout import LISTED_COLUMNS, read_split
from mgmt_monai.cohort.tables.exclusions import read_exclusions

FOLDER = Path(__file__).parents[1] / "data_manifests"
TABLE = FOLDER / "rsna_miccai_2021.csv"
SCRIPT = FOLDER / "make_rsna_miccai_2021.py"
LABELS = Path(__file__).parents[1] / "../shared/data/tables/train_labels.csv"
needs_labels = pytest.mark.skipif(not LABELS.is_file(), reason="RSNA-MICCAI's train_labels.csv is not there")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="ascii", newline="") as stream:
        return list(csv.DictReader(stream))


def test_columns_are_those_of_a_split_and_no_label(rows):
    assert all(tuple(row) == LISTED_COLUMNS for row in rows)


def test_585_patients_once_each_in_order(rows):
    patients = [row["patient_id"] for row in rows]
    assert len(patients) == 585
    assert patients == sorted(set(patients))
    assert all(re.fullmatch(r"\d{5}", patient) for patient in patients)


def test_the_packaged_exclusions_with_their_reasons(rows):
    excluded = {row["patient_id"]: row["reason"] for row in rows if row["excluded"] == "yes"}
    assert excluded == read_exclusions("default")
    assert len(excluded) == 3


def test_split_and_folds_of_582_patients_have_their_sizes(rows):
    kept = [row for row in rows if row["excluded"] == "no"]
    # 582: a tenth, rounded up, for the test; of 523 others 85 %, rounded down, for training
    assert Counter(row["split"] for row in kept) == {"train": 444, "validation": 79, "test": 59}
    # 582 = 5 x 116 + 2
    assert sorted(Counter(row["fold"] for row in kept).values()) == [116, 116, 116, 117, 117]
    assert {row["fold"] for row in kept} == set("01234")


def test_table_reads_back_as_a_split(rows):
    listed = read_split(TABLE)
    kept = [row for row in rows if row["excluded"] == "no"]
    assert listed.split == {row["patient_id"]: row["split"] for row in kept}
    assert listed.fold == {row["patient_id"]: int(row["fold"]) for row in kept}


@needs_labels
def test_script_makes_the_committed_bytes_again(tmp_path):
    out = tmp_path / "again.csv"
    runpy.run_path(str(SCRIPT))["main"]([str(LABELS), "--out", str(out)])
    assert out.read_bytes() == TABLE.read_bytes()


@needs_labels
def test_labels_are_even_in_every_part(rows):
    with LABELS.open(encoding="utf-8", newline="") as stream:
        label = {row["BraTS21ID"]: int(row["MGMT_value"]) for row in csv.DictReader(stream)}
    assert sorted(label) == [row["patient_id"] for row in rows]
    kept = [row for row in rows if row["excluded"] == "no"]
    # 306 of 582 methylated
    for column in ("split", "fold"):
        for name, size in Counter(row[column] for row in kept).items():
            methylated = sum(label[row["patient_id"]] for row in kept if row[column] == name)
            assert abs(methylated - size * 306 / 582) < 1.5, (column, name)
