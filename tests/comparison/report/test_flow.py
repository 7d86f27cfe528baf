"""The flow of patients: that its numbers add up, and that what it holds stays text."""

import re
import xml.etree.ElementTree as ET

import pytest
from comparison.sample_report import sample_report, smallest_report

from mgmt_monai.comparison.report.flow import WIDTH, cohort_flow, n_found

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def boxes(svg):
    return [
        tuple(float(element.get(name)) for name in ("x", "y", "width", "height"))
        for element in ET.fromstring(svg).iter(f"{SVG}rect")
    ]


def test_patients_found_are_those_in_the_comparison_and_those_not():
    # 582 + 3 + 87 + 2
    assert n_found(sample_report()["cohort"]) == 674


def test_folds_are_one_box_below_the_comparison():
    found = texts(cohort_flow(sample_report()["cohort"]))
    assert found == [
        "Patients found", "n = 674",
        "Excluded on purpose, n = 3", "3: named as faulty by the hosts of the", "challenge",
        "Left out, n = 89", "87: no label", "2: no usable series of T1w",
        "In the comparison", "n = 582", "306 methylated", "276 unmethylated",
        "5 folds", "every patient is a test patient once",
    ]  # fmt: skip


def test_repeats_are_told():
    cohort = sample_report()["cohort"]
    cohort["folds"] = {"n_folds": 3, "n_repeats": 4}
    assert texts(cohort_flow(cohort))[-1] == "every patient is a test patient once in each of 4 repeats"


def test_hold_out_has_a_box_for_each_part():
    found = texts(cohort_flow(smallest_report()["cohort"]))
    assert found[found.index("Training") :] == [
        "Training", "n = 12", "6 methylated", "6 unmethylated",
        "Validation", "n = 2", "1 methylated", "1 unmethylated",
        "Test", "n = 2", "1 methylated", "1 unmethylated",
    ]  # fmt: skip
    assert not any(line.startswith(("Excluded", "Left out")) for line in found)


@pytest.mark.parametrize("report", [sample_report(), smallest_report()], ids=["folds", "hold-out"])
def test_boxes_stay_within_the_picture_and_apart(report):
    svg = cohort_flow(report["cohort"])
    height = float(ET.fromstring(svg).get("height"))
    found = boxes(svg)
    assert len(found) >= 4
    for x, y, w, h in found:
        assert x >= 0 and y >= 0 and x + w <= WIDTH and y + h <= height
    for number, (x, y, w, h) in enumerate(found):
        for x2, y2, w2, h2 in found[number + 1 :]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_long_reason_is_cut_and_its_box_holds_every_line():
    cohort = sample_report()["cohort"]
    cohort["excluded"] = [{"reason": "a very long reason " * 40, "n": 2}, {"reason": "x" * 400, "n": 1}]
    svg = cohort_flow(cohort)
    found = texts(svg)
    side = found[found.index("Excluded on purpose, n = 3") + 1 : found.index("Left out, n = 89")]
    assert len(side) == 6 and max(map(len, side)) <= 40
    assert side[2].endswith("…") and side[5].endswith("…")
    _, y, _, height = boxes(svg)[1]
    lowest = max(
        float(element.get("y")) for element in ET.fromstring(svg).iter(f"{SVG}text") if element.text == side[5]
    )
    assert lowest < y + height


def test_reasons_stay_text():
    cohort = sample_report()["cohort"]
    cohort["excluded"] = [{"reason": "<script>alert(1)</script>", "n": 1}, {"reason": "\"'><image href=x>&", "n": 1}]
    svg = cohort_flow(cohort)
    assert {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()} <= {
        "svg", "rect", "text", "path", "polygon",
    }  # fmt: skip
    assert "1: <script>alert(1)</script>" in texts(svg)
    assert "1: \"'><image href=x>&" in texts(svg)


def test_picture_tells_its_numbers_to_those_who_do_not_see_it_and_has_no_style():
    svg = cohort_flow(sample_report()["cohort"])
    assert ET.fromstring(svg).get("aria-label") == (
        "Flow of patients: 674 found, 3 excluded on purpose, 89 left out, 582 compared, of whom 306 methylated."
    )
    assert not re.search(r"style=|<style|href", svg)
