"""What a person decided about prepared patients is heard, and what is no decision is refused."""

from pathlib import Path

import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.review import add_to_review, left_out, read_review


def written(tmp_path: Path, *rows: str) -> Path:
    (tmp_path / "review.csv").write_text("\n".join(["patient_id,decision,detail", *rows]) + "\n", encoding="utf-8")
    return tmp_path


def test_decisions_by_patient(tmp_path: Path) -> None:
    written(tmp_path, "a,,", "b,accept,", "c,Exclude,half a head", "d,mask,masks/d.nii.gz")
    assert read_review(tmp_path) == {
        "b": ("accept", ""), "c": ("exclude", "half a head"), "d": ("mask", "masks/d.nii.gz")
    }  # fmt: skip


def test_no_table_is_no_decision(tmp_path: Path) -> None:
    assert read_review(tmp_path) == {}


def test_those_excluded_join_the_exclusion_list(tmp_path: Path) -> None:
    written(tmp_path, "c,exclude,half a head", "d,accept,")
    listed = tmp_path / "listed.csv"
    listed.write_text("patient_id,reason\ne,withdrew\n")
    assert left_out(tmp_path, listed, ["c", "d", "e"]) == {"c": "half a head", "e": "withdrew"}


def test_patients_join_the_table_and_what_a_person_wrote_stays(tmp_path: Path) -> None:
    add_to_review(tmp_path, ["b", "=a"])
    assert (tmp_path / "review.csv").read_text() == "patient_id,decision,detail\n'=a,,\nb,,\n"
    kept = "\ufeffreader,patient_id,decision,detail\r\nme,b,,look again\r\n,\u00e4,exclude,half".encode()
    (tmp_path / "review.csv").write_bytes(kept)
    add_to_review(tmp_path, ["b", "a\u0308"])  # the same name, as a Mac writes it
    assert (tmp_path / "review.csv").read_bytes() == kept
    add_to_review(tmp_path, ["c", "b"])
    assert (tmp_path / "review.csv").read_bytes() == kept + b"\n,c,,\n"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["a,drop,why"], "expected a decision of accept, exclude, mask or none"),
        (["a,exclude,"], "expected a detail for a, found none"),
        (["a,mask,"], "expected a detail for a, found none"),
        (["a,accept,", "a,exclude,twice"], "found several for a"),
        ([",exclude,nobody"], "expected a patient_id in every row"),
    ],
)
def test_what_is_no_decision_is_refused(tmp_path: Path, rows: list[str], told: str) -> None:
    with pytest.raises(CohortError, match=told):
        read_review(written(tmp_path, *rows))
