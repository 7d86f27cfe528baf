"""Two reporting checklists, CLAIM 2024 and TRIPOD+AI, with what a comparison's report answers and what it leaves open.

The items, in this project's own words, are ``data/checklist.json``; where an item needs something that a run may lack,
its answer depends on the report.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from mgmt_monai.comparison.report.wording import plain

STATUSES = ("answered", "partly", "gap")
"""From best to worst; what an item lacks moves it down by one."""


@dataclass(frozen=True)
class Item:
    """One item and where its answer is.

    Args:
        number: As the checklist numbers it, such as ``12`` or ``18f``.
        topic: The checklist's part.
        text: What it asks for, in short.
        status: One of `STATUSES`.
        answer: What the run says to it, or "".
        sections: Of the report, by id.
        values: Of the report: what it is, and the value.
        docs: Title and path of pages of the documentation.
        write: What the authors have to write themselves; "" where the run answers the item.
    """

    number: str
    topic: str
    text: str
    status: str
    answer: str = ""
    sections: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    docs: tuple[tuple[str, str], ...] = ()
    write: str = ""


@dataclass(frozen=True)
class Checklist:
    """A checklist, answered."""

    key: str
    title: str
    source: str
    items: tuple[Item, ...]

    def count(self, status: str) -> int:
        """How many items have this status."""
        return sum(item.status == status for item in self.items)


def answer_checklists(report: Mapping[str, Any]) -> tuple[Checklist, ...]:
    """Both checklists, answered from a report as ``data/report.schema.json`` describes it."""
    file = resources.files("mgmt_monai.comparison.report").joinpath("data", "checklist.json")
    found = json.loads(file.read_text(encoding="utf-8"))
    checklists = []
    for listed in found["lists"]:
        items = tuple(_answered(item, found["docs"], report) for item in listed["items"])
        checklists.append(Checklist(listed["key"], listed["title"], listed["source"], items))
    return tuple(checklists)


def _answered(item: Mapping[str, Any], docs: Mapping[str, tuple[str, str]], report: Mapping[str, Any]) -> Item:
    lacks = any(_is_empty(_value(report, path)) for path in item.get("needs", ()))
    status = STATUSES[min(STATUSES.index(item["status"]) + lacks, len(STATUSES) - 1)]
    values = ((label, _value(report, path)) for label, path in item.get("values", ()))
    gap, done = status == "gap", status == "answered"
    return Item(
        item["number"],
        item["topic"],
        item["text"],
        status,
        "" if gap else item.get("answer", ""),
        () if gap else tuple(item.get("sections", ())),
        () if gap else tuple((label, plain(value)) for label, value in values if not _is_empty(value)),
        tuple((title, path) for title, path in (docs[key] for key in item.get("docs", ()))),
        "" if done else item.get("write", ""),
    )


def _value(report: Mapping[str, Any], path: str) -> Any:
    """What stands at a dotted path; None where a part of it is not there."""
    found: Any = report
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _is_empty(value: Any) -> bool:
    """Whether there is nothing to show; an estimate without a value is nothing."""
    return value is None or value == [] or (isinstance(value, Mapping) and "value" in value and value["value"] is None)
