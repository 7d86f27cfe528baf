import json
import math
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr import EnhancedSR, srread
from highdicom.sr.utils import find_content_items
from pydicom.dataset import Dataset
from sr_content import concept, items

from mgmt_monai.cohort.series import Series
from mgmt_monai.inference.prediction import SeriesPrediction, StudyPrediction
from mgmt_monai.inference.study import StudySeries
from mgmt_monai.pacs import codes
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.result import write_object
from mgmt_monai.pacs.structured_report import structured_report
from mgmt_monai.pacs.study_source import SourceSeries

Say = Callable[..., SeriesPrediction]


@pytest.fixture
def report_file(prediction: StudyPrediction, sources: list[SourceSeries], tmp_path: Path) -> Path:
    return write_object(structured_report(prediction, sources), tmp_path / "sr.dcm")


def numbers(dataset: Dataset, code: str) -> list[float]:
    return [float(one.MeasuredValueSequence[0].NumericValue) for one in items(dataset, code)]


def texts(dataset: Dataset, code: str) -> list[str]:
    return [str(one.TextValue) for one in items(dataset, code)]


def of_one(say: Say, sources: list[SourceSeries], **different: object) -> EnhancedSR:
    """The report of an answer on the T1w alone."""
    study = StudyPrediction("case", (say("T1w", **different),), {}, "2026-01-02T03:04:05+00:00")
    return structured_report(study, sources[1:])


def test_fusions_answer_takes_the_place_of_the_mean_and_tells_what_each_series_adds(
    prediction: StudyPrediction, sources: list[SourceSeries]
) -> None:
    modalities = [one.modality for one in prediction.series]
    fusion = {"probability": 0.7, "used": modalities, "missing": [], "stage": "fine_tune", "sha256": "0" * 64,
              "addends": dict(zip(modalities, (0.25, -0.5), strict=True)),
              "evaluation": {"auc": {"value": 0.62, "low": 0.5, "high": 0.74}, "n": 59}}  # fmt: skip
    report = structured_report(replace(prediction, fusion=fusion), sources)

    assert numbers(report, "MM015") == [0.7] and numbers(report, "MM010") == []
    given = [one.modality for one in prediction.series if one.probability is not None]
    assert numbers(report, "MM016") == [fusion["addends"][name] for name in given]
    assert 0.62 in numbers(report, "MM040") and 59 in numbers(report, "MM043")


def test_report_reads_back_with_highdicom(report_file: Path) -> None:
    report = srread(report_file)

    assert isinstance(report, EnhancedSR)
    images = find_content_items(report, value_type=highdicom.sr.ValueTypeValues.IMAGE, recursive=True)
    assert len(images) == 8
    assert {str(uid) for *_, uid, _ in report.get_evidence()} == {str(image.value[1]) for image in images}


def test_report_tells_the_probabilities_and_their_mean(report_file: Path) -> None:
    report = pydicom.dcmread(report_file)

    assert numbers(report, "MM010") == [(0.625 + 0.25) / 2]
    assert numbers(report, "MM011") == [0.625, 0.25]
    assert numbers(report, "MM012") == [0.5, 0.5]
    assert numbers(report, "MM013") == [0.25, 0.5, 0.5]  # of the models; of the slices of each
    assert numbers(report, "MM014") == [0.625, 0.75, 0.75]
    units = items(report, "MM011")[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
    assert (units.CodeValue, units.CodingSchemeDesignator) == ("1", "UCUM")


def test_report_tells_the_models_own_figures(report_file: Path) -> None:
    report = pydicom.dcmread(report_file)

    assert [numbers(report, code)[0] for code in ("MM040", "MM041", "MM042", "MM043")] == [0.75, 0.5, 0.875, 40]
    assert [numbers(report, code)[0] for code in ("MM030", "MM031")] == [1.25, 2.5]
    assert "Images of 59 patients." in texts(report, "MM044")


def test_report_identifies_each_algorithm(report_file: Path) -> None:
    report = pydicom.dcmread(report_file)

    assert texts(report, "111001") == ["mgmt_flair", "mgmt_t1w"]
    assert texts(report, "111003") == ["1.2.3", "1.2.3"]
    assert f"SHA-256 of the model: {'0123456789abcdef' * 4}" in texts(report, "111002")


def test_report_refers_to_the_slices_used_in_geometric_order(report_file: Path, study_dir: Path) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in (study_dir / "T1w").iterdir()]
    normal = np.cross(*np.reshape(headers[0].ImageOrientationPatient, (2, 3)).astype(float))
    ordered = sorted(headers, key=lambda header: float(np.dot(normal, header.ImagePositionPatient)))
    expected = [str(ordered[index].SOPInstanceUID) for index in (3, 4, 5, 9)]

    report = pydicom.dcmread(report_file)

    [_, _, t1w] = items(report, "125007")
    assert [str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for image in items(t1w, "121112")] == expected
    assert texts(t1w, "MM021") == ["4-6, 10"]
    assert numbers(t1w, "MM022") == [4]


def test_report_is_for_research_unverified_and_preliminary(report_file: Path) -> None:
    report = pydicom.dcmread(report_file)

    assert texts(report, "MM002") == ["Research use only. Not for diagnosis or treatment."]
    assert {one.ConceptCodeSequence[0].CodeMeaning for one in items(report, "121071")} == {
        "MGMT promoter methylation, research use only"
    }
    assert "research use only" in report.SeriesDescription
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_report_belongs_to_the_patient_and_study_of_its_source(report_file: Path, study_dir: Path) -> None:
    source = pydicom.dcmread(next((study_dir / "T1w").iterdir()), stop_before_pixels=True)

    report = pydicom.dcmread(report_file)

    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
        assert report[keyword].value == source[keyword].value
    assert report.PatientName == "Müller^Jürgen"
    assert report.SeriesInstanceUID != source.SeriesInstanceUID


def test_report_is_in_utf_8_down_to_nested_sequences(report_file: Path) -> None:
    report = pydicom.dcmread(report_file)

    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert report.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "Klinikum Süd"
    written = report_file.read_bytes()
    assert "Müller".encode() in written
    assert "Klinikum Süd".encode("latin-1") not in written


def test_report_has_new_identifiers_each_time(prediction: StudyPrediction, sources: list[SourceSeries]) -> None:
    one, other = (structured_report(prediction, sources) for _ in range(2))

    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SeriesNumber > 0


def test_report_of_one_model_and_one_slice_tells_no_range(say: Say, sources: list[SourceSeries]) -> None:
    report = of_one(say, sources, slice_indices=(3,), slice_probabilities=(0.625,))

    assert numbers(report, "MM010") == [0.625]
    assert numbers(report, "MM013") == numbers(report, "MM014") == []


def test_report_of_an_abstention_has_reasons_and_no_probability(say: Say, sources: list[SourceSeries]) -> None:
    report = of_one(say, sources, probability=None, abstained=("too far", "no brain"), distance=9.0)

    assert texts(report, "MM032") == ["too far", "no brain"]
    assert numbers(report, "MM010") == numbers(report, "MM011") == []
    assert numbers(report, "MM030") == [9.0]


def test_report_of_an_abstention_before_any_slice_refers_to_the_series(say: Say, sources: list[SourceSeries]) -> None:
    report = of_one(say, sources, probability=None, abstained=("damaged",), slice_indices=(), distance=None)

    assert items(report, "121112") == items(report, "MM030") == []
    assert [str(series) for _, series, *_ in report.get_evidence()] == [str(sources[1].first.SeriesInstanceUID)]


def test_report_of_a_model_whose_series_is_missing_refers_to_the_other(
    prediction: StudyPrediction, sources: list[SourceSeries], say: Say
) -> None:
    missing = say("T2w", probability=None, abstained=("no T2w",), slice_indices=(), n_slices=0)
    study = replace(prediction, series=(missing, *prediction.series))

    report = structured_report(study, [None, *sources])

    assert texts(report, "MM032") == ["no T2w"]
    assert len(items(report, "121112")) == 8


@pytest.mark.parametrize(
    "evaluation",
    [
        pytest.param({}, id="unknown"),
        pytest.param({"auc": {"value": None, "low": None, "high": None}}, id="undefined"),
        pytest.param({"auc": {"value": math.nan}}, id="not a number"),
        pytest.param({"auc": 0.7}, id="another form"),
    ],
)
def test_report_leaves_out_an_auc_it_does_not_have(
    say: Say, sources: list[SourceSeries], evaluation: dict[str, object]
) -> None:
    assert items(of_one(say, sources, evaluation=evaluation), "MM040") == []


def test_report_tells_the_findings_of_the_checks(say: Say, sources: list[SourceSeries]) -> None:
    finding = {"id": "D017", "severity": "warning", "title": "Slices are missing", "text": "a path"}

    assert texts(of_one(say, sources, findings=(finding,)), "MM033") == ["D017: Slices are missing"]


def test_report_of_a_reformatted_series_refers_to_all_its_images(
    say: Say, found: list[StudySeries], sources: list[SourceSeries]
) -> None:
    coronal = replace(sources[1], plane="coronal")

    report = of_one(say, [sources[0], coronal], slice_indices=(90, 91))

    assert len(items(report, "121112")) == found[1].series.n_slices
    assert texts(report, "MM021") == ["91-92"]


def test_report_of_a_multi_frame_series_refers_to_its_frames(say: Say, sources: list[SourceSeries]) -> None:
    header = sources[1].first
    series = Series("case", "T1w", (Path("one.dcm"),), range(4), frames=(3, 2, 1, 0))
    multi_frame = SourceSeries(series, (header,), "native")

    report = of_one(say, [sources[0], multi_frame], slice_indices=(0, 1), n_slices=4)

    [image] = items(report, "121112")
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert list(image.ReferencedSOPSequence[0].ReferencedFrameNumber) == [3, 4]  # counted from 1


def test_report_of_slices_that_are_not_there_is_refused(say: Say, sources: list[SourceSeries]) -> None:
    with pytest.raises(PacsError, match=r"T1w: expected slices below .* found 0 to 500"):
        of_one(say, sources, slice_indices=(0, 500))


def test_report_of_two_patients_is_refused(prediction: StudyPrediction, sources: list[SourceSeries]) -> None:
    other = deepcopy(sources[1].first)
    other.PatientID = "4712"

    with pytest.raises(PacsError, match=r"more than one PatientID \(FLAIR in .*, T1w in .*\)"):
        structured_report(prediction, [sources[0], replace(sources[1], headers=(other, *sources[1].headers[1:]))])


def test_report_without_a_source_is_refused(prediction: StudyPrediction) -> None:
    with pytest.raises(PacsError, match="expected a series to refer to, found none"):
        structured_report(prediction, [None, None])


def test_private_codes_are_unique_and_fit_their_attributes() -> None:
    own = [one for one in [*vars(codes).values(), *codes.SEQUENCES.values()] if isinstance(one, Dataset)]
    private = {one.CodeValue: one.CodeMeaning for one in own if one.CodingSchemeDesignator == codes.SCHEME}

    assert len(private) == sum(one.CodingSchemeDesignator == codes.SCHEME for one in own) > 15
    assert max(len(meaning) for meaning in private.values()) <= 64  # VR LO, PS3.5 table 6.2-1


def test_dsrdump_prints_the_report(report_file: Path) -> None:
    if shutil.which("dsrdump") is None:
        pytest.skip("needs dsrdump (Debian: dcmtk)")

    printed = subprocess.run(["dsrdump", str(report_file)], capture_output=True, text=True, check=True)

    assert printed.stdout.startswith("Enhanced SR Document")
    assert 'Probability of MGMT promoter methylation, mean over the slices")="0.625"' in printed.stdout
    assert 'Algorithm Name")="mgmt_t1w"' in printed.stdout
    assert "E:" not in printed.stderr


def test_report_is_tid_1500_with_a_group_and_tracking_for_the_study_and_each_model(report_file: Path) -> None:
    report = pydicom.dcmread(report_file)

    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert concept(report) == "126000"
    assert texts(report, "112039") == ["study", "mgmt_flair: FLAIR", "mgmt_t1w: T1w"]
    assert len({one.UID for one in items(report, "112040")}) == 3
    [scheme] = report.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99MGMTMONAI"


def test_dcmqi_reads_the_probabilities(report_file: Path, tmp_path: Path) -> None:
    reader = shutil.which("tid1500reader")
    if reader is None:
        pytest.skip("needs tid1500reader (pip: dcmqi)")

    out = tmp_path / "read.json"
    subprocess.run([reader, "--inputDICOM", str(report_file), "--outputMetadata", str(out)], check=True)

    groups = json.loads(out.read_text())["Measurements"]
    found = [
        (item["quantity"]["CodeValue"], float(item["value"])) for one in groups for item in one["measurementItems"]
    ]
    assert ("MM010", 0.4375) in found and ("MM011", 0.625) in found and ("MM011", 0.25) in found


def test_dciodvfy_finds_no_error_in_the_report(report_file: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (Debian: dicom3tools)")

    said = subprocess.run(["dciodvfy", str(report_file)], capture_output=True, text=True, check=False)

    assert "EnhancedSR" in said.stderr
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []
