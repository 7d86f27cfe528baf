"""Each kind of finding has its page, which says what the code says."""

import importlib
import re
from pathlib import Path

import pytest

import mgmt_monai
from mgmt_monai.cohort.doctor.meanings import MEANINGS
from mgmt_monai.cohort.findings import KINDS

PAGES = Path(__file__).parents[3] / "docs" / "reference" / "findings"
COHORT = Path(mgmt_monai.__file__).parent / "cohort"
CONSTANT = re.compile(r"`([\w.]+)\.([A-Z_]+)` \(([\d.]+)")


def words(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_kind_has_a_page_with_its_title_severity_meaning_and_remedy(kind):
    text = words(PAGES / f"{kind.id}.md")
    assert text.startswith(f"# {kind.id}: {kind.title} **{kind.severity.value.capitalize()}.** {MEANINGS[kind.id]}")
    assert f"**{kind.remedy}.**" in text


def test_no_page_is_left_of_a_kind_that_is_gone():
    assert {path.stem for path in PAGES.glob("D*.md")} == set(KINDS)


@pytest.mark.parametrize("name", ["doctor.js", "doctor.css"])
def test_example_page_is_of_this_version(name):
    page = (PAGES.parents[1] / "how-to/doctor-page/report.html").read_text(encoding="utf-8")
    assert (COHORT / "data" / name).read_text(encoding="utf-8") in page, "run docs/make_doctor_page.py"


def test_tolerances_are_those_of_the_code():
    found = [match for page in sorted(PAGES.glob("D*.md")) for match in CONSTANT.findall(words(page))]
    assert len(found) >= 15
    for module, name, value in found:
        (path,) = COHORT.rglob(f"{module.rpartition('.')[2]}.py")
        parts = path.relative_to(COHORT.parents[1]).with_suffix("").parts
        assert float(value) == getattr(importlib.import_module(".".join(parts)), name), name
