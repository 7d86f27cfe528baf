import os

import pytest

from mgmt_monai.cohort.findings import KINDS, TEXT_LIMIT, Finding


def test_text_of_a_damaged_value_is_cut():
    text = Finding("D004", "00042", "T1w", "a.dcm", f"found {'9' * 16_000}").text
    assert len(text) == TEXT_LIMIT
    assert text.endswith("99...")
    assert Finding("D004", "00042", "T1w", "a.dcm", text).text == text


@pytest.mark.parametrize(
    ("letters", "shown"),
    [
        ("\n\r\t", "<0a><0d><09>"),
        ("\x1b[31m", "<1b>[31m"),
        ("\u2028\u202e", "<2028><202e>"),
        (os.fsdecode(b"\xff"), "<dcff>"),
        ("große 影像\u3000ž", "große 影像\u3000ž"),
    ],
    ids=["ends of line", "terminal", "direction", "no text", "letters"],
)
def test_line_is_one_printable_line(letters, shown):
    finding = Finding("D001", f"P{letters}", "T1w", f"P{letters}/a.dcm", f"found {letters}")
    assert finding.path == f"P{letters}/a.dcm"  # as the file is found again
    assert finding.text == f"found {shown}"
    assert finding.line.startswith(f"patient P{shown}, T1w: P{shown}/a.dcm: found {shown}: {KINDS['D001'].title}")
