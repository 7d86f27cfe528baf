"""What is seen across series and against the label table; the expected findings are written by hand."""

import math
from dataclasses import replace

import pytest

from mgmt_monai.cohort.doctor.checks import (
    differing_patient_tags,
    identifying_tags,
    label_findings,
    missing_modalities,
)
from mgmt_monai.cohort.doctor.confounders import confounder_findings, find_confounders
from mgmt_monai.cohort.doctor.survey import Survey


def key(finding):
    return finding.id, finding.patient_id, finding.modality


def test_modality_that_only_other_patients_have_is_missing():
    found = missing_modalities({"a": {"T1w": 1, "T2w": 1}, "b": {"T2w": 1}, "c": {}})
    assert [key(f) for f in found] == [("D030", "b", "T1w")]
    assert found[0].text == "expected T1w, T2w, found no T1w"


def test_modality_that_nobody_has_is_not_missing():
    assert missing_modalities({"a": {"T1w": 1}, "b": {"T1w": 1}}) == []


def test_patients_and_labels_are_held_against_each_other():
    found = label_findings({"00001", "00002"}, {"00002", "9"})
    assert [key(f) for f in found] == [("D031", "00001", ""), ("D032", "9", "")]


def test_stripped_zeros_are_told_on_both_sides():
    found = label_findings({"00042"}, {"42"})
    assert [f.text for f in found] == [
        "expected a label, found none (there is 42: did a spreadsheet strip leading zeros?)",
        "expected images, found none (there is 00042: did a spreadsheet strip leading zeros?)",
    ]


def test_name_that_is_no_text_here_is_told():
    """As Python reads Müller in Latin-1 where names are UTF-8."""
    (found, _) = label_findings({"M\udcfcller"}, {"M\u00fcller"})
    assert found.text == (
        "expected a label, found none (the folder's name is no text in this locale: set LC_ALL=C.UTF-8, or rename it)"
    )


def test_series_with_another_patients_id_is_named_without_the_id():
    (found,) = differing_patient_tags({"a": {"T1w": "aaaa", "T2w": "bbbb", "FLAIR": "aaaa"}, "b": {"T1w": "aaaa"}})
    assert key(found) == ("D033", "a", "")
    assert found.text == "expected one PatientID in all series, found 2: FLAIR and T1w against T2w"


def test_absent_patient_id_differs_from_nothing():
    assert differing_patient_tags({"a": {"T1w": "aaaa", "T2w": ""}}) == []


def test_identifying_tags_are_counted_for_the_patient():
    (found,) = identifying_tags(
        {"a": {"T1w": ("PatientName",), "T2w": ("PatientName", "private tags")}, "b": {"T1w": ()}}
    )
    assert key(found) == ("D044", "a", "")
    assert found.text == "expected no identifying tags in 2 series, found PatientName (2), private tags (1)"


def test_survey_finds_one_study_and_equal_images_under_two_patients(make_exam):
    survey = Survey()
    survey.add(make_exam("a", study="111111111111"))
    survey.add(make_exam("b", study="111111111111", digests="aaaaaaaaaaaa" * 20))
    survey.add(make_exam("c", study="222222222222", digests="aaaaaaaaaaaa" * 20))
    found = {(f.id, f.patient_id, f.others) for f in survey.cohort_findings()}
    assert found == {("D042", "a", ("b",)), ("D040", "b", ("c",))}


def test_survey_finds_one_person_under_two_names(make_exam):
    survey = Survey(aliases={"a": ["TCGA-1"], "b": ["TCGA-1"]})
    for patient_id in "abc":
        survey.add(make_exam(patient_id))
    assert {(f.id, f.patient_id, f.others) for f in survey.cohort_findings()} == {("D045", "a", ("b",))}


def shaped(make_exam, *shapes):
    """A survey of patients whose series have these rows, columns and sides of a pixel in mm."""
    survey = Survey()
    for number, (rows, columns, spacing) in enumerate(shapes):
        exam = make_exam(f"p{number}")
        record = replace(exam.record, rows=rows, columns=columns, pixel_spacing_mm=spacing)
        survey.add(replace(exam, record=record))
    return survey


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        pytest.param([(256, 256, [0.9, 0.9]), (256, 256, [0.9, 0.9])], None, id="one shape"),
        pytest.param([(256, 256, [0.9, 0.9]), (256, 256, [0.905, 0.9])], None, id="within the tolerance"),
        pytest.param([(256, 192, None), (256, 192, None)], None, id="spacing unknown"),
        pytest.param([(256, 256, [0.9, 0.9])], None, id="a single series"),
        pytest.param(
            [(256, 256, [0.9, 0.9]), (256, 192, [0.9, 0.9]), (256, 192, [0.9, 0.9])],
            "256 x 192 in 2, 256 x 256 in 1 of 3 series",
            id="another aspect",
        ),
        pytest.param([(256, 256, [0.9, 0.9]), (256, 256, [0.9, 1.2])], "pixels of 0.9 to 1.2 mm", id="wider pixels"),
        pytest.param(
            [(256, 256, [0.9, 0.9]), (512, 512, [0.45, 0.45])],
            "256 x 256 in 1, 512 x 512 in 1 of 2 series; pixels of 0.45 to 0.9 mm",
            id="finer pixels",
        ),
        pytest.param(
            [(256, 256, [0.9, 0.9]), (512, 512, [0.9, 0.9])],
            "256 x 256 in 1, 512 x 512 in 1 of 2 series",
            id="another field of view",
        ),
        pytest.param(
            [(256, 256, None), (512, 512, None)], "256 x 256 in 1, 512 x 512 in 1 of 2 series", id="spacing unknown"
        ),
        pytest.param(
            [(n, 256, [0.9, 0.9]) for n in (256, 192, 200, 224)],
            "256 x 256 in 1, 192 x 256 in 1, 200 x 256 in 1 and others of 4 series",
            id="many",
        ),
    ],
)
def test_mixed_shapes_of_a_modality_are_told(shapes, found, make_exam):
    told = [finding for finding in shaped(make_exam, *shapes).cohort_findings() if finding.id == "D060"]
    expected = [] if found is None else [f"expected one shape and pixel spacing in all series, found {found}"]
    assert [finding.text for finding in told] == expected
    assert all((finding.patient_id, finding.modality) == ("", "T1w") for finding in told)


@pytest.mark.parametrize("wrong", [0.0, -0.9, math.nan, math.inf])
def test_pixel_spacing_that_cannot_be_counts_as_unknown(wrong, make_exam):
    survey = shaped(make_exam, (256, 192, [wrong, wrong]), (256, 192, [0.9, wrong]), (256, 192, [0.9, 0.9]))
    assert [finding.id for finding in survey.cohort_findings()] == []
    (fact,) = [fact for fact in survey.facts() if fact.name == "pixel spacing (mm)"]
    assert list(fact.values.values()) == ["", "", "0.900"]


def test_shape_that_goes_with_the_label_is_a_warning_though_every_size_is_another(make_exam):
    survey = shaped(make_exam, *[(256 - n if n % 2 else 190 - n, 256, [0.9, 0.9]) for n in range(30)])
    labels = {f"p{number}": number % 2 for number in range(30)}
    (finding,) = confounder_findings(find_confounders(survey.facts(), labels))
    assert finding.kind.severity == "warning" and "expected height by width alike in both labels" in finding.text


def test_survey_counts_series_planes_and_complete_patients(make_exam):
    survey = Survey()
    survey.add(make_exam("a", "T1w"))
    survey.add(make_exam("a", "T2w", plane="coronal", n_slices=7))
    survey.add(make_exam("b", "T1w", readable=False, findings=(("D003", "expected files, found none"),)))
    assert (survey.n_series, survey.n_usable, survey.n_complete, survey.n_slices) == (3, 2, 1, 27)
    assert survey.planes == {"T1w": {"axial": 1, "unusable": 1}, "T2w": {"coronal": 1}}


def test_facts_that_all_series_of_a_patient_share_are_the_patients(make_exam):
    survey = Survey()
    for patient_id, maker in (("a", "GE"), ("b", "Philips")):
        survey.add(make_exam(patient_id, "T1w", tags={"Manufacturer": maker, "EchoTime": "4"}))
        survey.add(make_exam(patient_id, "T2w", tags={"Manufacturer": maker, "EchoTime": "98"}))
    facts = {(fact.name, fact.modality): fact for fact in survey.facts({"a": {"site": "1"}})}
    assert facts["Manufacturer", ""].values == {"a": "GE", "b": "Philips"}
    assert facts["EchoTime", "T2w"].values == {"a": "98", "b": "98"} and facts["EchoTime", "T2w"].numeric
    assert facts["site", ""].values == {"a": "1", "b": ""}
    assert facts["has T2w", ""].values == {"a": "yes", "b": "yes"}


def test_tag_that_a_patients_files_lack_is_a_value(make_exam):
    survey = Survey()
    survey.add(make_exam("a", tags={"Manufacturer": "GE"}))
    survey.add(make_exam("b", tags={}))
    survey.add(make_exam("c", tags={}, readable=False))
    (fact,) = [fact for fact in survey.facts() if fact.name == "Manufacturer"]
    assert fact.values == {"a": "GE", "b": ""}


def test_orientation_is_a_fact_only_where_some_series_of_a_plane_are_flipped(make_exam):
    survey = Survey()
    survey.add(make_exam("a", "T1w", orientation="LPS"))
    survey.add(make_exam("b", "T1w", orientation="RPI"))
    survey.add(make_exam("a", "T2w", orientation="LPS"))
    survey.add(make_exam("b", "T2w", plane="coronal", orientation="LIP"))
    assert [fact.modality for fact in survey.facts() if fact.name == "orientation"] == ["T1w"]


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("1.5", "1.5 T"),
        ("2.89", "3 T"),
        ("15000", "1.5 T"),
        ("0.064", "0.064 T"),
        *((text, text) for text in ("high", "inf", "1e400", "nan")),
    ],
)
def test_field_strength_is_named_as_people_say_it(stored, said, make_exam):
    survey = Survey()
    survey.add(make_exam("a", tags={"MagneticFieldStrength": stored}))
    (fact,) = [fact for fact in survey.facts() if fact.name == "MagneticFieldStrength"]
    assert fact.values == {"a": said}


def test_many_labels_without_images_are_one_finding():
    (finding,) = label_findings({"00001"}, {f"{number:05d}" for number in range(1, 31)})
    assert (finding.id, finding.patient_id) == ("D032", "")
    assert finding.text.startswith("expected images of every label, found none of 29 patients (00002, 00003, ")
