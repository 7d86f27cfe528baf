import pytest

from mgmt_monai.cohort.layouts.series_choice import Candidate, choose


def series(text, number="1", n_slices=20, study="1.1", dates=None, **values):
    tags = {"Modality": "MR", "SeriesDescription": text, "SeriesNumber": number, **(dates or {}), **values}
    taken = (tags.get("AcquisitionDate", ""), tags.get("AcquisitionTime", ""))
    return Candidate(study, f"{study}.{number}.{text}", tags, n_slices, taken)


def chosen(*candidates):
    return [modality for modality, _ in choose(candidates).verdicts]


def test_each_modality_once_needs_no_note():
    choice = choose([series("AX T1", "1"), series("AX T2", "2"), series("AX DWI", "3"), series("AX T1 POST", "4")])
    assert [modality for modality, _ in choice.verdicts] == ["T1w", "T2w", "", "T1wCE"]
    assert choice.notes == []
    assert choice.open_to == [None] * 4
    assert choice.findings("00001") == []


@pytest.mark.parametrize(
    ("first", "second", "decided_by"),
    [
        pytest.param(
            series("T2", "1", 99, ImageType="DERIVED\\SECONDARY\\MPR"), series("T2", "2", 20), "original", id="derived"
        ),
        pytest.param(series("T2", "1", 20), series("T2", "2", 30), "most slices", id="slices"),
        pytest.param(
            series("T2", "1", MRAcquisitionType="2D"), series("T2", "2", MRAcquisitionType="3D"), "3D", id="3D"
        ),
        pytest.param(
            series("T2", "1", SliceThickness="5"), series("T2", "2", SliceThickness="1"), "thinnest", id="thin"
        ),
        pytest.param(
            series("T2", "1", SliceThickness="nan"),
            series("T2", "2", SliceThickness="1"),
            "thinnest",
            id="no thickness",
        ),
        pytest.param(series("T2", "10"), series("T2", "9"), "lowest series number", id="number, not text"),
        pytest.param(series("T2 b", ""), series("T2 a", ""), "identifiers", id="identifier"),
    ],
)
def test_rule_that_decides(first, second, decided_by):
    choice = choose([first, second])
    assert [modality for modality, _ in choice.verdicts] == ["", "T2w"]
    assert choice.open_to == ["T2w", "T2w"]
    assert [(told.id, told.patient_id, told.modality) for told in choice.findings("00001")] == [
        ("D034", "00001", "T2w")
    ]
    assert "not chosen among several T2w" in choice.verdicts[0][1]
    ((modality, text),) = choice.notes
    assert modality == "T2w"
    assert decided_by in text.split("took the first")[1]
    assert first.name in text


def test_series_that_nothing_tells_apart_are_said_to_be_so():
    choice = choose([series("T2", "1"), series("T2", "1")])
    assert [modality for modality, _ in choice.verdicts] == ["T2w", ""]
    assert choice.notes[0][1].endswith("took the first: nothing tells them apart but their identifiers")


def test_choice_does_not_hang_on_the_order():
    candidates = [series("T2", "3", 20), series("T2", "1", 30), series("T2", "2", 30)]
    taken = [next(c.name for c in order if chosen(*order)[order.index(c)]) for order in (candidates, candidates[::-1])]
    assert taken == ["series 1", "series 1"]


def test_unmarked_t1_after_contrast_counts_as_enhanced():
    assert chosen(series("SAG T1", "2"), series("AX T1 +C", "8", 30), series("COR T1", "9")) == ["T1w", "T1wCE", ""]


def test_time_goes_before_the_series_number():
    marked = series("DSC PERFUSION", "900", dates={"AcquisitionDate": "20200101", "AcquisitionTime": "101500"})
    later = series("AX T1", "12", dates={"AcquisitionDate": "20200101", "AcquisitionTime": "102000"})
    earlier = series("AX T1", "11", dates={"AcquisitionDate": "20200101", "AcquisitionTime": "100000"})
    choice = choose([marked, later, earlier])
    assert [modality for modality, _ in choice.verdicts] == ["", "T1wCE", "T1w"]
    assert "taken after series 900 with contrast" in choice.verdicts[1][1]


@pytest.mark.parametrize(("number", "expected"), [("9", "T1wCE"), ("7", "T1w"), ("8", "T1w"), ("10", "T1wCE")])
def test_series_number_tells_what_came_after_contrast_where_there_is_no_time(number, expected):
    assert chosen(series("DSC PERFUSION", "8"), series("AX T1", number)) == ["", expected]


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        pytest.param("20200101", "101500.5", "T1wCE", id="half a second later"),
        pytest.param("20200101", "101500", "T1w", id="at the same time"),
        pytest.param("20200101", "101459.9", "T1w", id="just before"),
        pytest.param("20200102", "000500", "T1wCE", id="after midnight"),
        pytest.param("20191231", "235500", "T1w", id="before midnight"),
    ],
)
def test_acquisition_time_tells_what_came_after_contrast_whatever_the_series_numbers(date, time, expected):
    marked = series("DSC PERFUSION", "8", dates={"AcquisitionDate": "20200101", "AcquisitionTime": "101500"})
    against_it = "1" if expected == "T1wCE" else "99"
    unmarked = series("AX T1", against_it, dates={"AcquisitionDate": date, "AcquisitionTime": time})
    assert chosen(marked, unmarked) == ["", expected]


@pytest.mark.parametrize(("time", "expected"), [("102000", "T1wCE"), ("101000", "T1w")])
def test_time_without_a_day_tells_what_came_after_contrast(time, expected):
    marked = series("DSC PERFUSION", "8", dates={"AcquisitionTime": "101500"})
    against_it = "1" if expected == "T1wCE" else "99"
    assert chosen(marked, series("AX T1", against_it, dates={"AcquisitionTime": time})) == ["", expected]


@pytest.mark.parametrize(("before", "after"), [("235000", "001000"), ("120500", "235000")])
def test_midnight_may_lie_between_two_times_without_a_day(before, after):
    plain, marked = series("AX T1", "9", dates={"AcquisitionTime": before}), {"AcquisitionTime": after}
    enhanced = series("AX T1", "3", dates=marked, ContrastBolusAgent="GADAVIST")
    assert chosen(plain, enhanced) == ["T1w", "T1wCE"]


@pytest.mark.parametrize("timed", ["marked", "unmarked"])
@pytest.mark.parametrize(("number", "expected"), [("9", "T1wCE"), ("7", "T1w")])
def test_time_of_one_series_alone_leaves_the_decision_to_the_series_number(timed, number, expected):
    dates = {"AcquisitionDate": "20200101", "AcquisitionTime": "101500"}
    marked = series("DSC PERFUSION", "8", dates=dates if timed == "marked" else None)
    unmarked = series("AX T1", number, dates=dates if timed == "unmarked" else None)
    assert chosen(marked, unmarked) == ["", expected]


@pytest.mark.parametrize(("of_marked", "of_unmarked"), [("", "9"), ("8", ""), ("8", "nine"), ("", "")])
def test_without_time_and_number_an_unmarked_t1_stays_unenhanced(of_marked, of_unmarked):
    assert chosen(series("DSC PERFUSION", of_marked), series("AX T1", of_unmarked)) == ["", "T1w"]


def test_perfusion_by_spin_labelling_is_no_contrast():
    assert chosen(series("3D ASL", "1"), series("AX T1", "2")) == ["", "T1w"]


def test_t1_that_says_it_is_before_contrast_is_believed():
    assert chosen(series("AX T1 +C", "2"), series("AX T1 PRE", "3")) == ["T1wCE", "T1w"]


def test_contrast_of_another_study_does_not_count():
    candidates = [series("AX T1 +C", "2", study="1.1"), series("AX T1", "3", study="1.2")]
    assert chosen(*candidates) == ["T1wCE", ""]


def test_earliest_study_taken_whole():
    before = {"StudyDate": "20010101"}
    candidates = [
        series("AX T1", study="1.2", dates={"StudyDate": "20020101"}),
        series("AX T2", "2", study="1.2", dates={"StudyDate": "20020101"}),
        series("AX T1", study="1.9", dates=before),
        series("AX T2", study="1.0"),
    ]
    choice = choose(candidates)
    assert [modality for modality, _ in choice.verdicts] == ["", "", "T1w", ""]
    ((modality, text),) = choice.notes
    assert modality == ""
    assert "found 3 (20010101: T1w; 20020101: T1w, T2w; without date: T2w)" in text


def test_study_of_the_day_with_most_modalities():
    day = {"StudyDate": "20010101"}
    candidates = [
        series("AX T1", study="1.1", dates=day),
        series("AX T1", study="1.2", dates=day),
        series("AX T2", "2", study="1.2", dates=day),
    ]
    assert chosen(*candidates) == ["", "T1w", "T2w"]


def test_nothing_known():
    choice = choose([series("AX DWI"), series("localizer")])
    assert [reason.split(" (")[0] for _, reason in choice.verdicts] == ["diffusion", "a localizer"]
    assert choice.notes == []


def at(time, date="20200101"):
    return {"StudyDate": date, "AcquisitionDate": date, "AcquisitionTime": time}


@pytest.mark.parametrize("names", [("T1 SIN CONTRASTE", "T1 CON CONTRASTE"), ("t1 qwxz", "t1 vbnm"), ("t1", "t1"),
                                   ("T1 POST GAD", "T1 PRE"), ("T1 W/WO", "T1 W/WO")])  # fmt: skip
def test_agent_and_time_decide_whatever_the_names(names):
    before = series(names[0], "3", dates=at("090000"))
    after = series(names[1], "8", dates=at("093000"), ContrastBolusAgent="GADOTERATE")
    assert chosen(before, after) == ["T1w", "T1wCE"]
    assert chosen(after, before) == ["T1wCE", "T1w"]


def test_names_that_say_the_opposite_are_told():
    choice = choose([series("T1 POST", "3", dates=at("090000")),
                     series("T1 SIN", "8", dates=at("093000"), ContrastBolusAgent="GADOTERATE")])  # fmt: skip
    assert [modality for modality, _ in choice.contradictions] == ["T1w", "T1wCE"]
    assert all("its name says the opposite" in text for _, text in choice.contradictions)


def test_agent_of_the_whole_examination_leaves_it_to_the_names():
    own = {"ContrastBolusAgent": "GADAVIST"}
    choice = choose([series("AX T1 PRE", "3", **own), series("AX T1 POST", "8", **own)])
    assert [modality for modality, _ in choice.verdicts] == ["T1w", "T1wCE"]
    assert choice.contradictions == []


def test_agent_that_was_denied_goes_before_the_name():
    choice = choose([series("AX T1 POST", ContrastBolusAgent="keiner")])
    assert [modality for modality, _ in choice.verdicts] == ["T1w"]
    assert "its name says the opposite" in choice.contradictions[0][1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({**at("095000"), "ContrastBolusStartTime": "100000"}, {**at("100500"), "ContrastBolusStartTime": "100000"}),
        ({**at("235000"), "ContrastBolusStartTime": "235900"}, {**at("000500"), "ContrastBolusStartTime": "235900"}),
        ({"ContrastBolusVolume": "0"}, {"ContrastBolusVolume": "7.5"}),
        ({"ContrastBolusTotalDose": "0"}, {"ContrastBolusTotalDose": "7.5"}),
        ({"ContrastBolusAgent": "Gadovist 0 ml"}, {"ContrastBolusAgent": "Gadovist 7 ml"}),
    ],
    ids=["start", "start before midnight", "volume", "dose", "amount in the text"],
)
@pytest.mark.parametrize("numbers", ["38", "83"])
def test_agent_filled_in_before_it_was_given(before, after, numbers):
    own = {"ContrastBolusAgent": "Gadovist"}
    assert chosen(series("AX T1", numbers[0], **own | before), series("AX T1", numbers[1], **own | after)) == [
        "T1w", "T1wCE",
    ]  # fmt: skip


def test_amount_that_nobody_filled_in_leaves_it_to_the_name():
    assert chosen(series("AX T1 POST", ContrastBolusAgent="Gadovist", ContrastBolusVolume="0")) == ["T1wCE"]


def test_volume_of_an_agent_without_its_name_counts():
    assert chosen(series("AX T1", "3"), series("AX T1", "8", ContrastBolusVolume="7.5")) == ["T1w", "T1wCE"]


@pytest.mark.parametrize("route", ["IV", "INTRAVENOUS", "Intravenous route"])
def test_route_of_an_agent_without_its_name_counts_and_is_told(route):
    choice = choose([series("AX T1", "3"), series("AX T1", "8", ContrastBolusRoute=route)])
    assert [modality for modality, _ in choice.verdicts] == ["T1w", "T1wCE"]
    assert choice.contradictions == [
        ("T1wCE", "series 8 is taken as T1wCE, by ContrastBolusRoute alone, without an agent")
    ]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("AX T1", {"ContrastBolusRoute": "NONE"}, "T1w"),
        ("AX T1 PRE GD", {"ContrastBolusRoute": "IV"}, "T1w"),
        ("AX T1", {"ContrastBolusRoute": "IV", "ContrastBolusAgent": "NONE"}, "T1w"),
        ("AX T1", {"ContrastBolusRoute": "IV", "ContrastBolusAgent": "Gadovist"}, "T1wCE"),
    ],
    ids=["no route", "denied by the name", "denied by the agent", "agent"],
)
def test_route_decides_where_agent_and_name_are_silent(text, values, expected):
    choice = choose([series(text, **values)])
    assert [modality for modality, _ in choice.verdicts] == [expected]
    assert choice.contradictions == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("100000", "+0100"), ("093000", "+0000"), "T1w"),  # 9:00 and 9:30 of UTC
        (("093500", "+0000"), ("100000", "+0100"), "T1wCE"),  # 9:35 and 9:00
        (("235000", "+0000"), ("002000", "+0000"), "T1wCE"),  # one zone: on one day, as without
        (("093500", ""), ("100000", "+0100"), "T1w"),  # not known of both: compared as they stand
        (("233000", "-0500"), ("050000", "+0000"), "T1w"),  # 4:30 of the next day
    ],
)
def test_times_of_two_time_zones_are_compared_as_one(one, other, expected):
    def t1(number, time, zone, **values):
        return series("AX T1", number, AcquisitionDate="20200101", AcquisitionTime=time + zone, **values)

    assert chosen(t1("3", *one), t1("8", *other, ContrastBolusAgent="Gadovist"))[0] == expected


@pytest.mark.parametrize("time", ["93000", "09:30:00", "0930", "093000.123"])
def test_times_are_compared_as_times(time):
    perfusion = series("DSC PERFUSION", "900", dates=at("101500"))
    assert chosen(series("AX T1", "12", dates=at(time)), perfusion) == ["T1w", ""]


def test_time_that_cannot_be_read_is_passed_over():
    perfusion = series("DSC PERFUSION", "2", dates=at("101500"))
    assert chosen(series("AX T1", "12", dates=at("later")), perfusion) == ["T1wCE", ""]  # by SeriesNumber


@pytest.mark.parametrize(
    ("frames", "texts", "expected"),
    [
        ("aaa", ("AX T1", "AX T2", "AX FLAIR"), ["T1w", "T2w", "FLAIR"]),
        ("aab", ("AX T1", "AX T2", "AX FLAIR"), ["T1w", "T2w", ""]),
        ("aaa", ("AX T1", "AX T2", "AX T1"), ["T1w", "", ""]),
        ("...", ("AX T1", "AX T2", "AX FLAIR"), ["T1w", "", ""]),
    ],
    ids=["one frame", "two frames", "a modality twice", "no frame"],
)
def test_studies_without_a_day_are_one_examination_in_one_frame_of_reference(frames, texts, expected):
    choice = choose(
        [
            series(text, str(n), study=f"1.{n}", FrameOfReferenceUID=frame.strip("."))
            for n, (frame, text) in enumerate(zip(frames, texts, strict=True))
        ]
    )
    assert [modality for modality, _ in choice.verdicts] == expected
    assert any("in one frame of reference" in text for _, text in choice.notes) == (expected[1] == "T2w")


def test_study_without_a_day_joins_that_of_its_frame_of_reference():
    own = {"FrameOfReferenceUID": "1.9"}
    candidates = [
        series("AX T1", "1", study="1.1", StudyDate="20200101", **own),
        series("AX T2", "2", study="1.2", **own),
    ]
    assert chosen(*candidates) == ["T1w", "T2w"]


def test_studies_without_a_study_date_are_one_examination_by_their_day_of_acquisition():
    own = {"AcquisitionDate": "20200101", "AcquisitionTime": "101500"}
    candidates = [series(f"AX {text}", study=f"1.{text}", dates=own, FrameOfReferenceUID=text) for text in ("T1", "T2")]
    assert chosen(*candidates) == ["T1w", "T2w"]


def test_words_that_are_not_understood_are_told():
    choice = choose([series("T1 hebben kontrast")])
    assert [modality for modality, _ in choice.verdicts] == ["T1wCE"]
    assert "by a contrast word beside an unknown one or a dash by its name" in choice.contradictions[0][1]


@pytest.mark.parametrize("text", ["T1 hebben kontrast", "T1 - Gd"])
@pytest.mark.parametrize(("other", "tags"), [("T1 + Gd", {}), ("xqv t1", {"ContrastBolusAgent": "GADAVIST"})])
def test_words_that_are_not_understood_deny_beside_a_series_with_contrast(text, other, tags):
    choice = choose([series(text, "3"), series(other, "8", **tags)])
    assert [modality for modality, _ in choice.verdicts] == ["T1w", "T1wCE"]
    assert "is taken as T1w, by a contrast word beside an unknown one" in choice.contradictions[0][1]


def test_studies_of_one_day_are_one_examination():
    day = {"StudyDate": "20200101"}
    candidates = [series("AX T1", "1", study="1.1", dates=day), series("AX T2", "2", study="1.2", dates=day),
                  series("AX T1", "3", study="1.3", dates=day, ContrastBolusAgent="GADAVIST"),
                  series("AX FLAIR", "4", study="1.4", dates={"StudyDate": "20200202"})]  # fmt: skip
    choice = choose(candidates)
    assert [modality for modality, _ in choice.verdicts] == ["T1w", "T2w", "T1wCE", ""]
    assert any("3 StudyInstanceUIDs on one day" in text for _, text in choice.notes)


@pytest.mark.parametrize("dates", [{"SeriesDate": "20200101"}, {"StudyDate": "", "ContentDate": "2020.01.01"}])
def test_studies_of_one_day_are_one_examination_whichever_date_says_so(dates):
    studies = [series(text, str(n), study=f"1.{n}", dates=dates) for n, text in enumerate(("T1", "T2", "FLAIR"))]
    assert chosen(*studies) == ["T1w", "T2w", "FLAIR"]


@pytest.mark.parametrize("tag", ["StudyDate", "AcquisitionDate", "SeriesDate", "ContentDate"])
def test_first_examination_is_the_earliest_whichever_date_says_so(tag):
    later, first = ([series(text, study=study, dates={tag: date}) for text in ("T1", "T2")]
                    for study, date in (("1.1", "20210101"), ("1.2", "20200101")))  # fmt: skip
    assert chosen(*later, *first) == ["", "", "T1w", "T2w"]


def test_study_whose_last_series_has_no_date_is_of_the_day_of_the_others():
    own = [series("T1", "1", study="1.1", dates={"StudyDate": "20200101"}), series("T2", "2", study="1.1")]
    assert chosen(*own, series("FLAIR", "3", study="1.2", dates={"StudyDate": "20200101"})) == ["T1w", "T2w", "FLAIR"]


def test_agent_in_every_series_of_an_examination_is_in_doubt():
    agent = {"ContrastBolusAgent": "Gadovist"}
    choice = choose([series("T1", "1", **agent), series("T2", "2", **agent), series("T1", "3", **agent)])
    assert [text.partition(" is taken")[0] for _, text in choice.contradictions] == ["series 1", "series 3"]
    assert "as all other series say too" in choice.contradictions[0][1]
    for others in (
        [series("T1", "1"), series("T2", "2", **agent), series("T1", "3", **agent)],
        [series("T2", "2", **agent), series("T1", "3", **agent)],
        [series("T1", "2", **agent), series("T1", "3", **agent)],
        [series("T1 post", "1", **agent), series("T2", "2", **agent), series("T1 post", "3", **agent)],
    ):
        assert choose(others).contradictions == []


@pytest.mark.parametrize(
    ("others", "expected"),
    [((), ["T1wCE"]), ((series("T1 Gd", "9"),), ["T1w", "T1wCE"]), ((series("T2", "9"),), ["T1wCE", "T2w"])],
    ids=["alone", "beside contrast", "beside T2w"],
)
def test_unknown_words_for_an_agent_are_in_doubt(others, expected):
    choice = choose([series("T1", "1", ContrastBolusAgent="see protocol"), *others])
    assert [modality for modality, _ in choice.verdicts] == expected
    assert [text for _, text in choice.contradictions] == [
        f"series 1 is taken as {expected[0]}, by unknown words in ContrastBolusAgent"
    ]


@pytest.mark.parametrize("text", ["T1 +C minus T1", "T1 post KM minus T1 nativ", "T1rho"])
def test_subtraction_or_another_t1_is_none_of_the_four(text):
    assert chosen(series(text)) == [""]
