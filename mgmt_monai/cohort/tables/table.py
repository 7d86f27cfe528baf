"""A CSV with named columns, as people save them: with a byte order mark, spaces, empty rows, columns in any order."""

import csv
import io
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.csv_file import plain
from mgmt_monai.errors import printable
from mgmt_monai.machine import check_machine

logger = logging.getLogger(__name__)

_Told = TypeVar("_Told")

NO_VALUE = frozenset({"", "-", "?", "n/a", "na", "nan", "none", "not available", "null", "unknown"})
"""How tables say that they do not know, in lower case: two unknown sites are not one site."""


@dataclass(frozen=True)
class Table:
    """The cells of a CSV as text.

    Args:
        source: The file, as messages name it.
        columns: Names in the first line, in its order; empty for an empty file.
        cells: One mapping a row, from the column's name to the text without spaces around it; "" where the row is too
            short. Rows without any text are not there.
        lines: Of each of ``cells`` the line of the file where it begins, from 1.
    """

    source: str
    columns: tuple[str, ...]
    cells: tuple[dict[str, str], ...]
    lines: tuple[int, ...]

    def has(self, columns: Sequence[str]) -> bool:
        """Whether every one of these columns is there."""
        return set(columns) <= set(self.columns)

    def rows(self, columns: Sequence[str]) -> list[tuple[str, ...]]:
        """These columns of every row that has text in one of them, in the file's order.

        Args:
            columns: The names wanted; in the file they may stand in another order, among others.

        Returns:
            For each row its texts, in the order of ``columns``.

        Raises:
            CohortError: A column is not there, or is there twice.
        """
        if not self.has(columns):
            raise self.without(",".join(columns))
        twice = [column for column in columns if self.columns.count(column) > 1]
        if twice:
            raise CohortError(f"{self.source}: expected one column {twice[0]}, found several. Remove the others.")
        rows = [tuple(row[column] for column in columns) for row in self.cells]
        return [row for row in rows if any(row)]

    def without(self, expected: str) -> CohortError:
        """The error that says which columns were expected and which were found.

        Returns:
            The error, to be raised by the caller.
        """
        if not self.columns:
            return CohortError(f"{self.source}: expected the columns {expected}, found an empty file. Check the file.")
        found = _short(",".join(self.columns))
        return CohortError(
            f"{self.source}: expected the columns {expected}, found {found}. Name them so in the first line."
        )

    def check_patients(self, column: str, patients: Sequence[str], asked: Sequence[str] = ()) -> None:
        """Hold that every row names a patient and no patient has two rows.

        Args:
            column: The column that names them.
            patients: One name a row.
            asked: The columns that `rows` was asked for; none for all of them.

        Raises:
            CohortError: A name is missing or comes twice.
        """
        if not all(patients):
            cells = zip(self.lines, self.cells, strict=True)
            lines = [str(line) for line, row in cells if not row[column] and any(row[name] for name in asked or row)]
            raise CohortError(
                f"{self.source}: expected a {column} in every row, found none in line {names(lines)}. Add it, or "
                "remove the row."
            )
        repeated = [patient for patient, count in Counter(patients).items() if count > 1]
        if repeated:
            raise CohortError(
                f"{self.source}: expected one row a patient, found several for {names(repeated)}. Keep one row each."
            )


def read_table(path: Path, absent: str) -> Table:
    """Read a CSV.

    Args:
        path: UTF-8 text, comma-separated (``.tsv``: by tabs), names of the columns in the first line.
        absent: What to say where there is no such file, after its path: "no label file. Expected ...".

    Returns:
        Its cells; no columns for an empty file.

    Raises:
        CohortError: No such file, or one that cannot be read as CSV: other bytes than UTF-8 text, another separator, a
            row with more cells than the first line has, a quotation mark that is not closed.
        MachineError: The machine does not give the file, which is not the same as another one.
    """
    if not path.is_file():
        raise CohortError(f"{path}: {absent}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, error) from error
    except OSError as error:
        check_machine(error, path)
        raise CohortError(f"{path}: cannot be read ({error.strerror}). Check the file and its rights.") from error
    return parse_table(text, str(path), "\t" if path.suffix.lower() == ".tsv" else ",")


def parse_table(text: str, source: str, delimiter: str = ",") -> Table:
    r"""Read the text of a CSV.

    Returns:
        Its cells; no columns for an empty text.

    Raises:
        CohortError: The text is no CSV, as `read_table` says.

    Example:
        >>> parse_table("patient_id, reason\n 007 ,motion\n", "list").rows(["reason", "patient_id"])
        [('motion', '007')]
    """
    if "\0" in text:
        raise _unreadable(source, "a zero byte, as in UTF-16")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, begins = [], [1]
    try:
        for row in reader:
            rows.append(row)
            begins.append(reader.line_num + 1)  # a cell in quotes may have several lines
    except csv.Error as error:
        raise _unreadable(source, error) from error
    columns = tuple(_trimmed(rows[0])) if rows else ()
    other = next((mark for mark in _SEPARATORS if len(columns) == 1 and mark in columns[0]), "")
    if other:
        wanted = _SEPARATORS[delimiter]
        raise CohortError(
            f"{source}: expected {wanted} between the cells, found {_SEPARATORS[other]}. Save it with {wanted}."
        )
    cells, lines = [], []
    for row, line in zip(rows[1:], begins[1:], strict=False):
        texts = _trimmed(row)
        if not texts:
            continue
        if len(texts) > len(columns):
            raise CohortError(
                f"{source}: line {line}: expected {len(columns)} cells as in the first line, found {len(row)}. Mend "
                "the line; text that holds a comma stands in quotation marks."
            )
        lines.append(line)
        cells.append(dict(zip(columns, texts + [""] * (len(columns) - len(texts)), strict=True)))
    return Table(source, columns, tuple(cells), tuple(lines))


def one_form(name: str) -> str:
    """A name as it is compared: a Mac writes an umlaut as two characters (NFD), a spreadsheet as one (NFC)."""
    return unicodedata.normalize("NFC", name)


def under_own_names(rows: Mapping[str, _Told], own: Iterable[str], source: str, zeros: bool = True) -> dict[str, _Told]:
    """What is told by name, under the data's own names where these differ in their Unicode form alone; that is logged.

    Args:
        rows: By name as somebody wrote it.
        own: The names that the data have.
        source: Of the rows, for messages.
        zeros: Whether a number that is a name of the data but for the zeros before it is refused.

    Raises:
        CohortError: Two rows have names that look the same, or a spreadsheet has taken the zeros away.
    """
    theirs = {one_form(name): name for name in own}
    by_number = {_number(name): name for name in theirs if zeros and name not in rows}
    bare = {name: by_number[_number(name)] for name in rows if name not in theirs and _number(name) in by_number}
    if bare:
        stripped = names([f"{name} for {meant}" for name, meant in bare.items()], shown=3)
        raise CohortError(
            f"{source}: expected patients as the data name them, found {stripped}: a spreadsheet strips leading zeros. "
            "Write them as they are."
        )
    found = {theirs.get(one_form(name), name): told for name, told in rows.items()}
    if len(found) < len(rows):
        raise CohortError(
            f"{source}: expected one row a patient, found two whose names differ in their Unicode form alone (NFC, "
            "NFD). Remove one."
        )
    tell_other_form(source, len(rows.keys() - found.keys()))
    return found


def _number(name: str) -> str:
    """A name that is a number, without the zeros before it and those that a program puts behind; else the name."""
    match = re.fullmatch(r"0*(\d+?)(?:\.0+)?", name.strip())
    return match[1] if match else name


def tell_other_form(source: str, n: int) -> None:
    """Log how many names of a table differ from the data's in their Unicode form alone, where any does."""
    if n:
        logger.warning(
            f"{source}: names that differ from the data's in their Unicode form alone (NFC, NFD) and are taken for the "
            f"same: {n}"
        )


def is_unknown(text: str) -> bool:
    """Whether a cell says that it does not know.

    Args:
        text: Of the cell; its case and spaces around it do not matter.

    Returns:
        True for one of `NO_VALUE`.

    Example:
        >>> is_unknown(" N/A"), is_unknown("site 1")
        (True, False)
    """
    return text.strip().lower() in NO_VALUE


def names(items: Sequence[str], shown: int = 10) -> str:
    """The first of them, each cut where it is very long, and how many more there are.

    Example:
        >>> names(["a", "b", "c"], shown=2)
        'a, b and 1 more'
    """
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(_short(item) for item in items[:shown]) + more


#: What programs put between the cells.
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

#: Of a cell, in a message.
_SHOWN_CHARACTERS = 200


def _short(text: str) -> str:
    line = printable(text)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."


def _trimmed(row: Sequence[str]) -> list[str]:
    """The cells without spaces around them, and without empty ones at the end, which spreadsheets add."""
    texts = [plain(cell.strip()) for cell in row]
    while texts and not texts[-1]:
        texts.pop()
    return texts


def _unreadable(source: Path | str, error: Exception | str) -> CohortError:
    return CohortError(f"{source}: not a readable CSV ({error}). Save it as plain UTF-8 text.")
