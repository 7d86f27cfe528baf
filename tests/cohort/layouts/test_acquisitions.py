"""Series of a UID each slice are one; what one UID mixes is told apart. Places and tags by hand."""

import itertools
from pathlib import Path

import pydicom
import pytest

from mgmt_monai.cohort.doctor.visit import Visit, visit
from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.layouts import dicom_tree, find_series
from mgmt_monai.cohort.layouts.acquisitions import Slice, acquisitions, interleaved, is_one, joined, taken
from mgmt_monai.cohort.layouts.decided import apply_decisions
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.inference.study import find_study

AXIAL, TILTED, CORONAL = "1\\0\\0\\0\\1\\0", "1\\0\\0\\0\\0.98\\0.199", "1\\0\\0\\0\\0\\-1"


def slices(locations, time="", **values):
    tags = {"ImageOrientationPatient": AXIAL, "SeriesNumber": "3", "FrameOfReferenceUID": "1.9", **values}
    return [Slice(Path(f"{mm}"), None, tags, f"0\\0\\{mm}", ("", time)) for mm in locations]


def parts_of(own):
    return [[float(one.path.name) for one in part.slices] for part in acquisitions(own)]


def apart(own):
    return [[one] for one in own]


STACK = [0, 5, 10, 15, 20]


@pytest.mark.parametrize(
    "series",
    [
        pytest.param(apart(slices(STACK)), id="evenly"),
        pytest.param(apart(slices([0, 5, 15, 20])), id="a slice missing"),
        pytest.param(apart(slices(STACK, SeriesNumber="")), id="no number"),
        pytest.param([slices([mm], SeriesNumber=str(n)) for n, mm in enumerate(STACK)], id="a number each"),
        pytest.param([*apart(slices(STACK)), *apart(slices(STACK))], id="two acquisitions, told apart later"),
        pytest.param([slices(STACK[n::3]) for n in range(3)], id="packages"),
        pytest.param(
            apart([*slices([0]), *slices([5, 10], ImageOrientationPatient="1\\0\\0\\0\\0.9999999\\0.0001")]),
            id="rounded",
        ),
    ],
)
def test_one_acquisition(series):
    assert is_one(series)
    assert joined(dict(enumerate(series))) == [list(range(len(series)))]


@pytest.mark.parametrize(
    "difference",
    [
        {"FrameOfReferenceUID": "1.8"},
        {"ImageOrientationPatient": TILTED},
        {"Rows": 512},
        {"PixelSpacing": "0.5\\0.5"},
        {"SliceThickness": "3"},
        {"ProtocolName": "AX T2"},
        {"SeriesDescription": "AX T2"},
        {"EchoTime": "90"},
        {"RepetitionTime": "4000"},
        {"InversionTime": "900"},
        {"ImageType": "DERIVED\\SECONDARY"},
        {"ContrastBolusAgent": "GADAVIST"},
        {"SeriesNumber": "4"},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_two_series_of_a_uid_each_slice_stay_two(difference):
    first, second = slices([0, 5, 10]), slices([2.5, 7.5, 12.5], **difference)
    told = joined(dict(enumerate(apart([*first, *second]))))
    assert sorted(told) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "series",
    [
        pytest.param([slices(STACK), slices(STACK)], id="same places"),
        pytest.param([slices(STACK), slices([2.5, 7.5, 12.5])], id="among each other"),
        pytest.param([slices(STACK), slices([25, 30, 35], SeriesNumber="4")], id="beside each other"),
        pytest.param([slices([0], SeriesNumber="1"), slices([7], SeriesNumber="2")], id="two single slices"),
        pytest.param(
            [slices([mm], SeriesNumber=str(n)) for n, mm in enumerate([0, 5, 11, 30])], id="single slices anywhere"
        ),
    ],
)
def test_several_series_of_the_same_protocol(series):
    assert not is_one(series)
    assert joined(dict(enumerate(series))) == [[n] for n in range(len(series))]


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("AcquisitionNumber", ("1", "2")),
        ("ContrastBolusAgent", ("", "GADAVIST")),
        ("ContrastBolusAgentAdministered", ("NO", "YES")),
        ("EchoTime", ("11", "90")),
        ("EchoNumbers", ("1", "2")),
        ("ImageType", ("ORIGINAL\\PRIMARY\\M", "DERIVED\\SECONDARY\\SUB")),
        ("TemporalPositionIdentifier", ("1", "2")),
        ("DiffusionBValue", ("0.0", "1000.0")),
        ("InversionTime", ("700", "2500")),
        ("FlipAngle", ("4", "18")),
    ],
)
@pytest.mark.parametrize("mixed", ["slice by slice", "one after the other"])
def test_two_acquisitions_in_the_same_places(tag, values, mixed):
    first, second = (slices(STACK, **({tag: value} if value else {})) for value in values)
    whole = [*first, *second]
    if mixed == "slice by slice":
        whole = [one for both in zip(first, second, strict=True) for one in both]
    told = acquisitions(whole)
    assert [[float(one.path.name) for one in part.slices] for part in told] == [STACK, STACK]
    assert {part.slices[0].values.get(tag, "") for part in told} == set(values)
    assert all(len({id(one.values) for one in part.slices}) == 1 for part in told)


def test_two_acquisitions_that_only_their_times_tell_apart():
    first = [one for n, mm in enumerate(STACK) for one in slices([mm], time=f"10150{n}")]
    second = [one for n, mm in enumerate(STACK) for one in slices([mm], time=f"10200{n}.5")]
    told = acquisitions([*second, *first])
    assert [sorted(one.taken[1] for one in part.slices) for part in told] == [
        [f"10150{n}" for n in range(5)],
        [f"10200{n}.5" for n in range(5)],
    ]


def test_slices_taken_twice_are_told_from_the_stack():
    whole = slices(STACK, AcquisitionNumber="1")
    assert sorted(parts_of([*whole, *slices([5, 10], AcquisitionNumber="2")])) == [STACK, [5, 10]]


def test_before_and_after_contrast_half_a_step_apart():
    before, after = slices([0, 5, 10, 15]), slices([2.5, 7.5, 12.5, 17.5], ContrastBolusAgent="GADAVIST")
    assert sorted(parts_of([*before, *after])) == [[0, 5, 10, 15], [2.5, 7.5, 12.5, 17.5]]


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("FlipAngle", ("10", "70")),
        ("RepetitionTime", ("500", "4000")),
        ("InversionTime", ("0", "900")),
        ("ImageType", ("ORIGINAL\\PRIMARY", "DERIVED\\SECONDARY")),
        ("SeriesNumber", ("3", "4")),
        ("SeriesDescription", ("T1 pre", "T1 post")),
        ("SequenceName", ("*se2d1", "*fl3d1")),
        ("StudyInstanceUID", ("1.1", "1.2")),
        ("TemporalPositionIdentifier", ("1", "2")),
        ("DiffusionBValue", ("0", "1000")),
        ("ContrastBolusVolume", ("", "7")),
        ("ContrastBolusIngredient", ("", "GADOLINIUM")),
        ("ProtocolName", ("T1 pre", "T1 post")),
        ("ScanningSequence", ("SE", "IR")),
        ("ScanOptions", ("", "FS")),
    ],
)
def test_two_acquisitions_that_lie_evenly_among_each_other(tag, values):
    one, other = slices(STACK, **{tag: values[0]}), slices([2.5, 7.5, 12.5], **{tag: values[1]})
    assert parts_of([*one, *other]) == [STACK, [2.5, 7.5, 12.5]]


@pytest.mark.parametrize(
    ("one", "other", "by"),
    [
        pytest.param({"AcquisitionNumber": "1"}, {"AcquisitionNumber": "2"}, "AcquisitionNumber", id="number"),
        pytest.param({"time": "100000"}, {"time": "103000"}, "AcquisitionTime", id="half an hour"),
        pytest.param({"time": "100000"}, {"time": "100400"}, "", id="packages"),
        pytest.param({"RepetitionTime": "500"}, {"RepetitionTime": "501"}, "", id="rounded"),
        pytest.param({}, {}, "", id="nothing"),
    ],
)
def test_what_may_be_packages_of_one_acquisition_is_named(one, other, by):
    whole = [*slices(STACK, **one), *slices([2.5, 7.5, 12.5, 17.5], **other)]
    assert len(acquisitions(whole)) == 1
    assert interleaved(whole) == by
    beside = [*slices(STACK, **one), *slices([25, 30, 35], **other)]
    assert interleaved(beside) == ""


@pytest.mark.parametrize(
    ("tags", "own", "by"),
    [
        pytest.param({"SliceThickness": "5"}, [{"time": "100000"}, {"time": "100400"}], "AcquisitionTime", id="time"),
        pytest.param({"SliceThickness": "5"}, [{"time": "100000"}, {"time": "100010"}], "", id="odd after even"),
        pytest.param({"SliceThickness": "2"}, [{"time": "100000"}, {"time": "100400"}], "", id="packages"),
        pytest.param({"SliceThickness": "5"}, [{"time": "100000"}, {}], "", id="times of a half alone"),
        pytest.param({"SpacingBetweenSlices": "5"}, [{}, {}], "SpacingBetweenSlices", id="spacing"),
        pytest.param({"SpacingBetweenSlices": "2.5"}, [{}, {}], "", id="one spacing"),
        pytest.param({"SpacingBetweenSlices": "7.5"}, [{}, {}, {}], "SpacingBetweenSlices", id="thirds"),
    ],
)
def test_acquisitions_a_fraction_of_a_step_apart_are_named(tags, own, by):
    n = len(own)
    whole = [one for k in range(n) for one in slices([2.5 * k + 2.5 * n * i for i in range(4)], **tags, **own[k])]
    assert len(acquisitions(whole)) == 1
    assert interleaved(whole) == by


@pytest.mark.parametrize(("numbers", "by"), [([1, 1, 2, 2, 3, 3, 4], "InstanceNumber"), ([1, 5, 2, 6, 3, 7, 4], "")])
def test_instance_numbers_that_begin_anew_in_one_stack_are_named(numbers, by):
    whole = [one for i, n in enumerate(numbers) for one in slices([2.5 * i], InstanceNumber=str(n))]
    assert interleaved(whole) == by


def test_stack_of_which_a_part_has_contrast_agent_is_named():
    assert interleaved(slices([0, 5, 10]) + slices([15, 20, 25], ContrastBolusVolume="7")) == "contrast agent"


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(slices(STACK), id="plain"),
        pytest.param(slices(STACK) + slices(STACK), id="copies that nothing tells apart"),
        pytest.param([one for n, mm in enumerate(STACK) for one in slices([mm], AcquisitionNumber=n)], id="numbered"),
        pytest.param(
            slices(STACK[::2], AcquisitionNumber="1") + slices(STACK[1::2], AcquisitionNumber="2"), id="packages"
        ),
        pytest.param(slices([0, 5, 10]) + slices([15, 20, 25], ContrastBolusAgent="GADAVIST"), id="sloppy tags"),
        pytest.param(slices([0, 5, 10]) + slices([0, 5, 10], ImageOrientationPatient=CORONAL), id="two planes"),
        pytest.param(slices([0, 5, 13, 18]), id="uneven"),
        pytest.param([*slices(["x", "5"]), *slices([5])], id="no place"),
        pytest.param(slices(STACK) + slices(STACK, ImageType="ORIGINAL\\PRIMARY\\P"), id="magnitude and phase"),
    ],
)
def test_stack_that_stays_one(own):
    assert [part.by for part in acquisitions(own)] == [""]


def test_phase_images_of_two_echoes_are_a_part_of_their_own():
    kinds = itertools.product(("ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\P"), ("1", "2"))
    told = acquisitions([one for kind, echo in kinds for one in slices(STACK, ImageType=kind, EchoNumbers=echo)])
    assert [len(part.slices) for part in told] == [5, 5, 10]


@pytest.fixture
def make_scan(make_series):
    """Writes a UID for each slice: ``make_scan("AX T1", "a", 4, number=3, ...)``; ``uid`` for one of all."""

    def make(text, folder, n, number=3, uid="", start=0.0, **attributes):
        for index in range(n):
            make_series(
                text,
                f"{folder}/IM{number}-{index}",
                uid=uid or f"1.{number}.{index}",
                SeriesNumber=number,
                FrameOfReferenceUID="1.7",
                ImagePositionPatient=[0, 0, start + 5 * index],
                InstanceNumber=index + 1,
                **attributes,
            )

    return make


def test_slices_with_a_uid_each_are_series_by_their_tags_in_one_folder(tmp_path, make_scan):
    make_scan("SE", "P1", 6, 3, EchoTime=10, RepetitionTime=500, ScanningSequence="SE")
    make_scan("SE", "P1", 5, 4, EchoTime=90, RepetitionTime=4000, ScanningSequence="SE")
    make_scan("LOC", "P1", 3, 1, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    found = dicom_tree.find(tmp_path)
    assert {one.modality: len(one.files) for one in found.series} == {"T1w": 6, "T2w": 5}
    assert sum(item.n_files for item in found.left_out) == 3
    assert {one.modality: len(one.files) for one in find_study(tmp_path / "P1").series} == {"T1w": 6, "T2w": 5}


@pytest.mark.parametrize("layout", ["rsna-miccai-2021", "csv", "dicom", "folders"])
def test_slices_with_a_uid_each_are_one_series_in_every_layout(tmp_path, make_scan, layout):
    make_scan("AX T1", "train/P1/T1w", 8)
    (tmp_path / "cohort.csv").write_text("patient_id,label,T1w\nP1,1,train/P1/T1w\n")
    folder = tmp_path / "train" if layout == "folders" else tmp_path
    diagnosis = visit(folder, tmp_path / "report", Visit(layout=layout, pixels=False, workers=1))
    assert {finding.id for finding in diagnosis.findings} & {"D006", "D009", "D015", "D053"} == {"D053"}


def test_two_series_with_a_uid_each_slice_in_a_folder_of_one_are_an_error(tmp_path, make_scan):
    make_scan("AX T1", "T1w", 4, 3)
    make_scan("AX T1", "T1w", 4, 4, start=2.5)
    exam = examine_series(FoundSeries("P1", "T1w", tmp_path / "T1w", None, "folder T1w"), tmp_path, False)
    assert "D006" in [finding.id for finding in exam.findings]
    assert exam.record is None


def test_series_before_and_after_contrast_under_one_uid_are_two(tmp_path, make_scan):
    plain = {"EchoTime": 10, "RepetitionTime": 500, "ScanningSequence": "SE", "AcquisitionDate": "20200101"}
    make_scan("HEAD", "a", 5, uid="1.1", AcquisitionTime="100000", **plain)
    make_scan("HEAD", "b", 5, uid="1.1", AcquisitionTime="103000", ContrastBolusAgent="GADAVIST", **plain)
    found = dicom_tree.find(tmp_path)
    assert {one.modality: one.directory.name for one in found.series} == {"T1w": "a", "T1wCE": "b"}


def test_acquisition_taken_again_under_one_uid_is_chosen_from_and_told(tmp_path, make_scan):
    make_scan("AX T1", "a", 5, uid="1.1", AcquisitionNumber=1, AcquisitionTime="100000")
    make_scan("AX T1", "b", 5, uid="1.1", AcquisitionNumber=2, AcquisitionTime="101000")
    found = dicom_tree.find(tmp_path)
    assert [(one.modality, one.directory.name) for one in found.series] == [("T1w", "a")]
    assert [(item.directory.name, item.n_files) for item in found.left_out] == [("b", 5)]
    (note,) = found.findings
    assert (note.id, note.modality) == ("D034", "T1w")
    assert "acquisition 2 of 2 by AcquisitionNumber" in note.text


def test_longer_echo_of_a_double_echo_is_the_t2(tmp_path, make_scan):
    for echo, number in ((20, 1), (100, 2)):
        times = {"EchoTime": echo, "EchoNumbers": number, "RepetitionTime": 3500, "ScanningSequence": "SE"}
        make_scan("AX DE T2", f"e{number}", 5, uid="1.1", **times)
    assert [(one.modality, one.directory.name) for one in dicom_tree.find(tmp_path).series] == [("T2w", "e2")]


def test_diffusion_weightings_under_one_uid_are_all_diffusion(tmp_path, make_scan):
    for b in (0, 1000):
        make_scan("AX T2", f"b{b}", 5, uid="1.1", DiffusionBValue=float(b))
    found = dicom_tree.find(tmp_path)
    assert found.series == []
    assert {item.reason.split(" ")[0] for item in found.left_out} == {"diffusion"}


def test_series_of_many_time_points_is_dynamic(tmp_path, make_scan):
    for point in range(8):
        make_scan("AX T1", f"t{point}", 3, uid="1.1", TemporalPositionIdentifier=point + 1)
    found = dicom_tree.find(tmp_path)
    assert found.series == []
    assert all("dynamic" in item.reason for item in found.left_out)


def test_folder_of_one_series_with_two_acquisitions_is_an_error_that_says_what_differs(tmp_path, make_scan):
    for number in (1, 2):
        make_scan("AX T1", "T1w", 5, number=number, uid="1.1", AcquisitionNumber=number)
    exam = examine_series(FoundSeries("P1", "T1w", tmp_path / "T1w", None, "folder T1w"), tmp_path, False)
    (finding,) = (finding for finding in exam.findings if finding.id in ("D006", "D009"))
    assert finding.id == "D006"
    assert "found 2 told apart by AcquisitionNumber: 5 slices and 5 slices" in finding.text


@pytest.fixture
def make_mixed(tmp_path, make_enhanced):
    """An enhanced file of five slices twice, changed by ``tell(frame, functional groups, acquisition)``."""

    def make(name, tell, **attributes):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        make_enhanced(path, [(0, 0, 5 * n) for n in range(5)] * 2)
        dataset = pydicom.dcmread(path)
        for key, value in {"SeriesDescription": "HEAD", "PatientID": "P1", **attributes}.items():
            setattr(dataset, key, value)
        for n, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            tell(groups, n // 5)
        dataset.save_as(path)
        return path

    return make


def _item(**values):
    dataset = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return [dataset]


def _echo(groups, acquisition):
    groups.MREchoSequence = _item(EffectiveEchoTime=[20.0, 100.0][acquisition])
    groups.MRTimingAndRelatedParametersSequence = _item(RepetitionTime=3500)


def _time(groups, acquisition):
    groups.FrameContentSequence = _item(FrameAcquisitionDateTime=f"202001011{acquisition}0000.5")


def _point(groups, acquisition):
    groups.FrameContentSequence = _item(TemporalPositionIndex=acquisition + 1)


@pytest.mark.parametrize(
    ("tell", "text", "expected"),
    [
        pytest.param(_echo, "AX T2", ("T2w", range(5, 10)), id="echo"),
        pytest.param(_time, "AX T2", ("T2w", range(5)), id="time"),
        pytest.param(_point, "AX T2", ("T2w", range(5)), id="temporal position"),
    ],
)
def test_frames_of_one_acquisition_are_read_of_an_enhanced_file(tmp_path, make_mixed, tell, text, expected):
    make_mixed("a/1.dcm", tell, SeriesDescription=text, EchoPulseSequence="SPIN")
    found = find_series(tmp_path, "dicom")
    (series,) = found.series
    assert (series.modality, sorted(series.frames)) == (expected[0], list(expected[1]))
    exam = examine_series(series, tmp_path, True)
    assert exam.record.frames == list(expected[1])
    assert exam.record.n_slices == 5
    assert not {"D006", "D007", "D009"} & {finding.id for finding in exam.findings}
    assert (found.files.n_read, found.files.n_left_out) == (1, 0)


def test_frames_before_and_after_contrast_are_two_series(tmp_path, make_mixed):
    def tell(groups, acquisition):
        _time(groups, acquisition)
        groups.ContrastBolusUsageSequence = _item(ContrastBolusAgentAdministered=["NO", "YES"][acquisition])

    make_mixed("a/1.dcm", tell, SeriesDescription="AX T1")
    told = {one.modality: sorted(one.frames) for one in find_series(tmp_path, "dicom").series}
    assert told == {"T1w": list(range(5)), "T1wCE": list(range(5, 10))}


def test_multi_frame_file_of_two_decisions_counts_once(tmp_path, make_mixed):
    make_mixed("a/1.dcm", _time, SeriesDescription="AX T2")
    n_files = {}
    for told in (("", ""), ("", "T1w"), ("none", "none"), ("none", "T2w")):
        table = [f"P1,a/1.dcm,{frame},{decision}" for frame, decision in zip((0, 5), told, strict=True)]
        (tmp_path / "series.csv").write_text("\n".join(["patient_id,file,frame,decision", *table]))
        found = dicom_tree.find(tmp_path)
        apply_decisions(found, tmp_path / "series.csv", tmp_path)
        n_files[told] = (len(found.series), found.files.n_read, found.files.n_left_out)
    assert n_files == {
        ("", ""): (1, 1, 0),
        ("", "T1w"): (2, 1, 0),
        ("none", "none"): (0, 0, 1),
        ("none", "T2w"): (1, 1, 0),
    }


def test_agent_by_code_counts_as_contrast(tmp_path, make_series, make_enhanced):
    agent = _item(CodeValue="C-B03CC", CodingSchemeDesignator="SRT", CodeMeaning="Gadobutrol")
    make_series("AX T1", "a/1", ContrastBolusAgentSequence=agent)
    path = make_enhanced(tmp_path / "b.dcm", [(0, 0, 0), (0, 0, 5)])
    dataset = pydicom.dcmread(path)
    dataset.ContrastBolusAgentSequence, dataset.SeriesDescription, dataset.PatientID = agent, "AX T1", "P2"
    dataset.save_as(path)
    assert [(one.patient_id, one.modality) for one in find_series(tmp_path, "dicom").series] == [
        ("P1", "T1wCE"),
        ("P2", "T1wCE"),
    ]


def test_series_taken_before_the_bolus_starts_has_no_agent(tmp_path, make_series):
    bolus = {"ContrastBolusAgent": "Gadovist", "ContrastBolusStartTime": "100000"}
    make_series("AX T1", "a/1", uid="1.1.1", SeriesNumber=8, AcquisitionTime="095000", **bolus)
    make_series("AX T1", "b/1", uid="1.1.2", SeriesNumber=3, AcquisitionTime="100500", **bolus)
    found = dicom_tree.find(tmp_path).series
    assert {one.modality: one.directory.name for one in found} == {"T1w": "a", "T1wCE": "b"}


def test_agent_of_no_item_is_none(tmp_path, make_series):
    make_series("AX T1", "a/1", ContrastBolusAgentSequence=pydicom.Sequence([]))
    assert [one.modality for one in dicom_tree.find(tmp_path).series] == ["T1w"]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"AcquisitionDate": "20240115", "AcquisitionTime": "093000"}, ("20240115", "093000")),
        ({"AcquisitionDateTime": "20240115093000.5+0100"}, ("20240115", "093000.5+0100")),
        ({"AcquisitionTime": "093000", "TimezoneOffsetFromUTC": "-0500"}, ("", "093000-0500")),
        ({"AcquisitionDateTime": "20240115093000+0100", "TimezoneOffsetFromUTC": "-0500"}, ("20240115", "093000+0100")),
        ({"AcquisitionDateTime": "20240116093000", "AcquisitionTime": "080000"}, ("", "080000")),
        ({"FrameAcquisitionDateTime": "20240117093000-0500", "AcquisitionTime": "080000"}, ("20240117", "093000-0500")),
        ({}, ("", "")),
    ],
)
def test_when_a_slice_was_taken(tags, expected):
    assert taken(tags) == expected
