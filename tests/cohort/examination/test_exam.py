"""The site that headers tell is a letter; the hospital's name stands nowhere."""

import pytest
from made_cohorts import write_labels, write_patient

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.examination.exam import SITE_COLUMN, with_sites
from mgmt_monai.cohort.files.person import place_of
from mgmt_monai.cohort.splits.plans import Holdout

NAMES = {0: ("Xyloburg Clinic", "MRQUAGGA"), 1: ("St. Zebulon", "MRQUAGGA")}


def sites(*places):
    """The site of patients 1, 2, ... whose series are of these (institution, station)."""
    told = [(str(n), place_of([{"InstitutionName": i, "StationName": s}])) for n, (i, s) in enumerate(places, 1)]
    return [with_sites({}, told).get(str(n), {}).get(SITE_COLUMN, "") for n in range(1, len(places) + 1)]


@pytest.mark.parametrize(
    ("places", "told"),
    [
        pytest.param(
            [("North  A", ""), ("South", ""), ("NORTH a ", ""), ("south", "")],
            "ABAB",
            id="institutions, however written",
        ),
        pytest.param(
            [("North", "1"), ("North", "2"), ("North", "1"), ("North", "2")], "ABAB", id="one institution: its stations"
        ),
        pytest.param([("", "1"), ("", "2"), ("", "1"), ("", "2")], "ABAB", id="stations alone"),
        pytest.param(
            [("North", ""), ("South", ""), ("North", ""), ("South", ""), ("", "")], "ABAB ", id="one patient without"
        ),
        pytest.param([("North", "1"), ("North", "1"), ("North", "1")], "   ", id="one site is none"),
        pytest.param([("a", ""), ("b", ""), ("c", ""), ("c", "")], "    ", id="nearly as many as patients"),
        pytest.param([("removed", ""), ("Anonymized", ""), ("", ""), ("North", "")], "    ", id="nobody's"),
        pytest.param([("a", "")] * 2 + [("b", "")] * 2 + [("", "")] * 5, " " * 9, id="of the fewer patients"),
    ],
)
def test_sites_are_letters(places, told):
    assert sites(*places) == [f"site {letter}" if letter.strip() else "" for letter in told]


def test_sites_beyond_the_alphabet_have_two_letters():
    found = set(sites(*[(str(number // 2), "") for number in range(56)]))
    assert {f"site {letters}" for letters in ("A", "Z", "AA", "AB")} <= found
    assert len(found) == 28


def test_a_patients_series_are_of_one_site_though_one_was_converted():
    places = [("1", ("x", "")), ("1", ("", "")), ("2", ("y", "")), ("3", ("x", "")), ("4", ("y", ""))]
    assert with_sites({"1": {"age": "60"}}, places)["1"] == {"age": "60", SITE_COLUMN: "site A"}


def test_the_manifest_has_the_site_and_nothing_written_has_its_name(tmp_path, make_dicom):
    patients = [f"{number:05d}" for number in range(1, 17)]
    for patient_id in patients:
        name, station = NAMES[int(patient_id) % 2]
        write_patient(tmp_path / "data", make_dicom, patient_id, InstitutionName=name, StationName=station)
    data_dir = write_labels(tmp_path / "data", {patient_id: int(patient_id) // 2 % 2 for patient_id in patients})

    manifest = build_manifest(data_dir, Sources(), Holdout(0.25, 0.67, seed=0), workers=1).manifest

    assert [p.columns for p in manifest.patients] == [{SITE_COLUMN: f"site {'AB'[n % 2]}"} for n in range(16)]
    written = [p for p in data_dir.rglob("*") if p.is_file() and p.suffix != ".dcm"]
    assert any("scan" in path.name for path in written)
    assert not any(word in path.read_bytes() for path in written for word in (b"Xyloburg", b"Zebulon", b"QUAGGA"))
