"""CSV that is written: one writer, so that no spreadsheet takes a cell for a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from mgmt_monai.errors import printable

_FORMULA = re.compile(r"'*[=+\-@\t]")


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV; `plain` gives a cell back.

    Args:
        columns: Their names.
        rows: As many cells each; what is undefined (None, NaN) is empty.

    Returns:
        A header and the rows, lines ending in a line feed. Text that a spreadsheet would calculate begins with an
        apostrophe; numbers stay as they are.

    Source:
        OWASP, CSV Injection (https://owasp.org/www-community/attacks/CSV_Injection).

    Example:
        >>> print(csv_text(["site", "auc"], [("=1+1", -0.5), ("-0.5", None)]), end="")
        site,auc
        '=1+1,-0.5
        -0.5,
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def plain(cell: str) -> str:
    """The text of a cell as it was before it was written.

    Args:
        cell: As `csv_text` writes it, or anybody else.

    Example:
        >>> plain("'=1+1"), plain("it's")
        ('=1+1', "it's")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return "" if value is None or value != value else value
    text = printable(value, keep="\n\t")
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text) and text == text.strip()
    except ValueError:
        return False
