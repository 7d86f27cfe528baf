"""CLAIM 2024 and TRIPOD+AI: that every item is there, and that what an answer points to exists."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
from comparison.sample_report import sample_report, smallest_report

from mgmt_monai.comparison.report.checklist import STATUSES, answer_checklists
from mgmt_monai.comparison.report.report_page import SECTIONS

ROOT = Path(__file__).parents[3]

# Items and sub-items as the statement numbers them (BMJ 2024;385:e078378): 27 with 52 sub-items.
TRIPOD = (
    "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 "
    "18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"
)


@pytest.fixture(scope="module")
def checklists():
    return {checklist.key: checklist for checklist in answer_checklists(sample_report())}


def by_number(checklist):
    return {item.number: item for item in checklist.items}


def test_claim_has_its_44_items_in_order(checklists):
    assert [item.number for item in checklists["claim"].items] == [str(number) for number in range(1, 45)]


def test_tripod_has_its_27_items_with_52_sub_items_in_order(checklists):
    numbers = [item.number for item in checklists["tripod"].items]
    assert numbers == TRIPOD.split()
    assert len(numbers) == 52 and len({re.match(r"\d+", number)[0] for number in numbers}) == 27


def test_every_item_says_where_or_what_to_write(checklists):
    for checklist in checklists.values():
        for item in checklist.items:
            assert item.status in STATUSES
            assert item.topic and item.text
            if item.status == "answered":
                assert item.answer and not item.write
                assert item.sections or item.docs
            else:
                assert item.write
            if item.status == "partly":
                assert item.answer
            if item.status == "gap":
                assert not item.answer and not item.sections and not item.values


def test_counts_add_up(checklists):
    for checklist in checklists.values():
        by_hand = [sum(item.status == status for item in checklist.items) for status in STATUSES]
        assert [checklist.count(status) for status in STATUSES] == by_hand
        assert sum(by_hand) == len(checklist.items) and min(by_hand) > 0


def test_what_authors_alone_know_is_a_gap(checklists):
    for key, numbers in (("claim", "14 16 33 34 44"), ("tripod", "8a 17 18a 18b 19 27b")):
        items = by_number(checklists[key])
        assert {number: items[number].status for number in numbers.split()} == dict.fromkeys(numbers.split(), "gap")


def test_values_are_the_reports_own(checklists):
    assert ("manifest hash", "ab" * 32) in by_number(checklists["claim"])["19"].values
    assert ("AUC", "0.60 (0.56-0.64)") in by_number(checklists["tripod"])["23a"].values
    assert ("commit", "0123456789abcdef0123456789abcdef01234567") in by_number(checklists["claim"])["42"].values


def test_docs_that_are_named_exist_under_their_title(checklists):
    named = {doc for checklist in checklists.values() for item in checklist.items for doc in item.docs}
    assert len(named) > 10
    for title, path in named:
        assert (ROOT / path).read_text(encoding="utf-8").startswith(f"# {title}\n"), path


def test_sections_that_are_named_are_the_reports(checklists):
    named = {section for checklist in checklists.values() for item in checklist.items for section in item.sections}
    assert named == set(SECTIONS)


def test_docs_and_values_in_the_table_are_all_used():
    text = (
        resources.files("mgmt_monai.comparison.report").joinpath("data", "checklist.json").read_text(encoding="utf-8")
    )
    found = json.loads(text)
    used = {key for listed in found["lists"] for item in listed["items"] for key in item.get("docs", ())}
    assert used == set(found["docs"])


@pytest.mark.parametrize(
    ("key", "number", "path", "empty", "before", "after"),
    [
        ("claim", "30", ("controls",), [], "partly", "gap"),
        ("claim", "26", ("chosen", "validation_auc"), None, "answered", "partly"),
        ("claim", "36", ("subgroups",), [], "partly", "gap"),
        ("tripod", "23b", ("subgroups",), [], "partly", "gap"),
        ("tripod", "15", ("figures", "threshold"), None, "answered", "partly"),
    ],
)
def test_what_a_run_lacks_moves_its_item_down(key, number, path, empty, before, after):
    report = sample_report()

    def item():
        return by_number({each.key: each for each in answer_checklists(report)}[key])[number]

    assert item().status == before
    place = report
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = empty
    assert item().status == after and item().write


def test_undefined_values_are_left_out():
    items = by_number({each.key: each for each in answer_checklists(smallest_report())}["claim"])
    assert items["42"].values == ()  # not run from a checkout
    assert items["2"].values == ()  # no AUC
    assert items["32"].values == (("test patients", "2"),)
