"""Free text of a header stands in none of the files that the doctor and the manifest leave behind."""

import json
import sqlite3
import zlib

import numpy as np
import pytest

from mgmt_monai.cohort.build import Sources, build_manifest
from mgmt_monai.cohort.doctor.visit import Visit, visit
from mgmt_monai.cohort.examination.scan_cache import ScanCache
from mgmt_monai.cohort.manifest import write_manifest
from mgmt_monai.cohort.splits.plans import External

SECRET = "Zebrafink"
#: Before and after contrast under names that say the opposite, two of one kind, one by an unknown word, one left out.
SERIES = (
    ("T1 {} post", 1, {"AcquisitionTime": "090000"}),
    ("T1 {} nativ", 2, {"AcquisitionTime": "100000", "ContrastBolusAgent": f"Gadavist {SECRET}"}),
    ("T2 {}", 3, {"ProtocolName": SECRET}),
    ("T2 {} b", 4, {"ImageType": ["ORIGINAL", "PRIMARY", "M", SECRET.upper()]}),
    ("{} DWI", 5, {}),
    ("{}", 6, {"EchoTime": 10, "RepetitionTime": 4000, "ScanningSequence": "SE", "BodyPartExamined": "XSPINE"}),
    ("{} FLAIR", 7, {}),
)


@pytest.fixture
def data_dir(tmp_path, make_dicom):
    data_dir = tmp_path / "data"
    for text, number, tags in SERIES:
        for index in range(2):
            path = data_dir / f"s{number}" / f"{index}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(10 * number + index).integers(0, 99, (8, 8)).astype(np.uint16)
            uids = {"StudyInstanceUID": "1.1", "SeriesInstanceUID": f"1.1.{number}", "SeriesNumber": number}
            tags = {"SeriesDescription": text.format(SECRET), "PatientID": "P1", **uids, **tags}
            make_dicom(path, pixels, position=(0, 0, 5 * index), **tags)
    (data_dir / "labels.csv").write_text("patient_id,label\nP1,1\n")
    return data_dir


def test_nothing_written_quotes_a_description(data_dir, tmp_path):
    diagnosis = visit(data_dir, tmp_path / "report", Visit(workers=1))
    assert {"D034", "D037", "D038"} <= {finding.id for finding in diagnosis.findings}
    built = build_manifest(data_dir, Sources(), External("", ()), workers=1)
    write_manifest(built.manifest, tmp_path / "manifest.json")
    with sqlite3.connect(data_dir / ".mgmt-monai-scan.sqlite") as connection:
        kept = [zlib.decompress(body).decode() for (body,) in connection.execute("select body from exam")]
    assert len(kept) == 4
    texts = [path.read_text() for path in (diagnosis.report_path, diagnosis.page_path, tmp_path / "manifest.json")]
    lines = [finding.line for finding in (*diagnosis.findings, *built.findings)]
    for text in (*texts, *kept, *lines):
        assert SECRET.lower() not in text.lower()
    reasons = {m: record.reason for m, record in built.manifest.patients[0].series.items()}
    assert reasons["T1wCE"] == "T1 by its name; contrast agent by ContrastBolusAgent"
    assert reasons["T1w"] == "T1 by its name; taken before series 2 with contrast agent"


def test_equal_descriptions_are_still_the_same_fact(data_dir, tmp_path):
    report = json.loads(visit(data_dir, tmp_path / "report", Visit(workers=1)).report_path.read_text())
    told = {series["modality"]: series["tags"]["SeriesDescription"] for series in report["series"]}
    assert len(set(told.values())) == 4
    assert all(text.startswith("text ") and len(text) == 11 for text in told.values())


def test_what_an_older_version_kept_is_removed(data_dir):
    path = data_dir / ".mgmt-monai-scan.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table exam (key text primary key, state text, body blob)")
        connection.executemany("insert into exam values (?, '', ?)", [(str(n), SECRET * 99) for n in range(50)])
    connection.close()
    ScanCache(data_dir).close()
    assert SECRET.encode() not in path.read_bytes()
