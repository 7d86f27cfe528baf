"""The reference page has every code, and no other."""

import re
from pathlib import Path

from pydicom.dataset import Dataset

from mgmt_monai.pacs import codes
from mgmt_monai.pacs.result import PAGES_SERIES_NUMBER, REPORT_SERIES_NUMBER, SERIES_DESCRIPTION

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "dicom-results.md").read_text()
CONCEPTS = [one for one in [*vars(codes).values(), *codes.SEQUENCES.values()] if isinstance(one, Dataset)]


def test_page_lists_the_private_codes_with_their_meaning() -> None:
    listed = re.findall(r"^- (MM\d+): (.+)$", PAGE, re.MULTILINE)

    private = {one.CodeValue: one.CodeMeaning for one in CONCEPTS if one.CodingSchemeDesignator == codes.SCHEME}
    assert listed == sorted(private.items())
    assert f"`{codes.SCHEME}`" in PAGE


def test_page_tells_where_each_code_stands() -> None:
    described = PAGE[: PAGE.index("## The codes of this project")]

    assert [one.CodeValue for one in CONCEPTS if one.CodeValue not in described] == []


def test_page_tells_the_series() -> None:
    for value in (REPORT_SERIES_NUMBER, PAGES_SERIES_NUMBER, SERIES_DESCRIPTION):
        assert str(value) in PAGE
