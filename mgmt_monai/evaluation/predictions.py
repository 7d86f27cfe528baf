"""The predictions table: the one contract between whoever makes predictions and whoever judges them.

Two tables, each a CSV file with a header and UTF-8 text: one row a patient (:data:`PATIENT_COLUMNS`) and one
row a slice (:data:`SLICE_COLUMNS`). The schema is written out in ``docs/reference/predictions.md``.
"""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from mgmt_monai.atomic import write_text
from mgmt_monai.csv_file import csv_text, plain
from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.machine import check_machine

PATIENT_COLUMNS = (
    "patient_id",
    "modality",
    "stage",
    "split",
    "fold",
    "seed",
    "label",
    "probability",
    "n_slices",
)
SLICE_COLUMNS = (*PATIENT_COLUMNS[:-1], "slice_index")
MODEL_COLUMNS = ("modality", "stage", "fold", "seed")
"""The columns that name the trained model which made a prediction."""

BATCH_COLUMNS = ("patient_id", "modality", "stage", "probability", "n_slices", "threshold", "bundle")
"""Of the table of ``predict --batch``, those that are read."""

SPLITS = ("train", "validation", "test")


class EvaluationError(MgmtMonaiError):
    """Predictions that can't be judged; the message names the file, the line and the column."""


def read_patients(path: Path) -> pd.DataFrame:
    """The patient table of a CSV file.

    Args:
        path: A file with the columns :data:`PATIENT_COLUMNS`, in any order.

    Returns:
        One row a patient and model, in the file's order, columns in the schema's order: ``patient_id``,
        ``modality``, ``stage`` and ``split`` as text (``patient_id`` with its leading zeros), ``fold``,
        ``seed``, ``label`` and ``n_slices`` as int64, ``probability`` as float64 in [0, 1].

    Raises:
        EvaluationError: The file can't be read or breaks the schema: the first fault, by line and column.
    """
    return _read(path, PATIENT_COLUMNS)


def named_patients(path: Path) -> set[str]:
    """The patients of a predictions table, with labels or without.

    Raises:
        EvaluationError: It cannot be read, or has no column ``patient_id``.
    """
    table = text_table(path)
    if "patient_id" not in table:
        header = _short(", ".join(map(str, table.columns)))
        raise EvaluationError(f"{path}, line 1: expected the column patient_id, found {header}; mend the header")
    return set(table["patient_id"])


def read_slices(path: Path) -> pd.DataFrame:
    """The slice table of a CSV file.

    Args:
        path: A file with the columns :data:`SLICE_COLUMNS`, in any order.

    Returns:
        One row a slice and model, as :func:`read_patients`, with ``slice_index`` (int64, from 0) in place of
        ``n_slices``.

    Raises:
        EvaluationError: The file can't be read or breaks the schema: the first fault, by line and column.
    """
    return _read(path, SLICE_COLUMNS)


def write_patients(table: pd.DataFrame, path: Path) -> None:
    """Write a patient table so that :func:`read_patients` gives back the same values, bit for bit.

    The file appears whole or not at all: it is written beside its place and then moved there.

    Args:
        table: The columns :data:`PATIENT_COLUMNS`, in any order.
        path: Where to; its folder exists.

    Raises:
        EvaluationError: The table breaks the schema (named by row), or the file can't be written.
    """
    _write(table, path, PATIENT_COLUMNS)


def write_slices(table: pd.DataFrame, path: Path) -> None:
    """Write a slice table, as :func:`write_patients`.

    Args:
        table: The columns :data:`SLICE_COLUMNS`, in any order.
        path: Where to; its folder exists.

    Raises:
        EvaluationError: The table breaks the schema (named by row), or the file can't be written.
    """
    _write(table, path, SLICE_COLUMNS)


def patients_from_slices(slice_table: pd.DataFrame) -> pd.DataFrame:
    """The patient table of a slice table: a patient's probability is the mean over the patient's slices.

    Args:
        slice_table: The columns :data:`SLICE_COLUMNS`; any number of models.

    Returns:
        The columns :data:`PATIENT_COLUMNS`, one row a patient and model, in order of first appearance.

    Raises:
        EvaluationError: A column is missing, or a value breaks the schema.
    """
    checked = checked_table(slice_table, SLICE_COLUMNS)
    keys = list(PATIENT_COLUMNS[:7])
    grouped = checked.groupby(keys, sort=False, dropna=False)["probability"]
    # fsum: a rounded sum must not push the mean of slices that are all 1.0 above 1.
    table = grouped.agg(probability=_mean, n_slices="size").reset_index()
    return table[list(PATIENT_COLUMNS)]


def checked_table(table: pd.DataFrame, columns: Sequence[str], where: str = "predictions") -> pd.DataFrame:
    """The table with the schema's types and column order.

    Args:
        table: One row a patient or slice.
        columns: :data:`PATIENT_COLUMNS` or :data:`SLICE_COLUMNS`.
        where: What errors name.

    Returns:
        A new table with a fresh index; other columns are left out.

    Raises:
        EvaluationError: A column is missing, a value breaks the schema, a row is there twice, or a patient
            has two labels or sits in two splits of one model.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise EvaluationError(
            f"{where}: expected the columns {', '.join(columns)}, "
            f"found none named {', '.join(missing)}; add what is missing"
        )
    rows = zip(*(table[column].tolist() for column in columns), strict=True)
    return _parsed(rows, columns, lambda position: f"{where}, row {position}")


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_header(path, header, columns)
            order = [header.index(column) for column in columns]
            rows: list[tuple[str, ...]] = []
            lines: list[int] = []
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise EvaluationError(
                        f"{path}, line {reader.line_num}: expected {len(header)} values, "
                        f"found {len(cells)}; mend or remove the line"
                    )
                rows.append(tuple(plain(cells[index]) for index in order))
                lines.append(reader.line_num)
    except OSError as error:
        check_machine(error, path)
        raise EvaluationError(
            f"{path}: expected a readable predictions table, found: {error.strerror or error}; check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: expected UTF-8 text, found other bytes; save it as UTF-8") from error
    except csv.Error as error:
        raise EvaluationError(
            f"{path}, line {reader.line_num}: expected comma-separated values, found: {error}; mend the line"
        ) from error
    if not rows:
        raise EvaluationError(f"{path}: expected at least one prediction, found none below the header")
    return _parsed(rows, columns, lambda position: f"{path}, line {lines[position]}")


def text_table(path: Path) -> pd.DataFrame:
    """The cells of a CSV file as text.

    Args:
        path: With a header.

    Raises:
        EvaluationError: It cannot be read.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig").map(plain)
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: expected UTF-8 text, found other bytes; save it as UTF-8") from error
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        check_machine(error, path)
        reason = getattr(error, "strerror", "") or " ".join(str(error).split())
        raise EvaluationError(f"{path}: expected a readable predictions table, found: {reason}; check it") from error


def _write(table: pd.DataFrame, path: Path, columns: Sequence[str]) -> None:
    checked = checked_table(table, columns)
    try:
        # tolist() gives Python floats, whose text is the shortest that reads back exactly.
        write_text(path, csv_text(columns, zip(*(checked[column].tolist() for column in columns), strict=True)))
    except OSError as error:
        raise EvaluationError(
            f"{path}: expected to write the predictions table here, found: {error.strerror or error}; "
            "free space or name another output directory"
        ) from error


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    if len(header) == 1 and (found := next((name for mark, name in _SEPARATORS.items() if mark in header[0]), "")):
        raise EvaluationError(f"{path}, line 1: expected commas between the values, found {found}; save it with commas")
    missing = [column for column in columns if column not in header]
    unknown = [name for name in header if name not in columns]
    twice = sorted({name for name in header if header.count(name) > 1})
    faults = [
        f"{what} {_short(', '.join(names))}"
        for what, names in (("without", missing), ("with unknown", unknown), ("with twice", twice))
        if names
    ]
    if faults:
        raise EvaluationError(
            f"{path}, line 1: expected the columns {', '.join(columns)}, found a header {'; '.join(faults)}; "
            f"{'name the label table with --labels' if 'abstained' in unknown else 'mend the header'} "
            "(docs/reference/predictions.md)"
        )


def _parsed(rows: Iterable[Sequence[object]], columns: Sequence[str], place: Callable[[int], str]) -> pd.DataFrame:
    parsers = [_PARSERS[column] for column in columns]
    parsed: list[list[object]] = []
    for position, row in enumerate(rows):
        values: list[object] = []
        for column, parse, cell in zip(columns, parsers, row, strict=True):
            try:
                values.append(parse(cell))
            except (ValueError, TypeError) as error:
                raise EvaluationError(
                    f"{place(position)}, column {column}: expected {_EXPECTED[column]}, "
                    f"found {_short(repr(cell))}; mend the value"
                ) from error
        parsed.append(values)
    table = pd.DataFrame(parsed, columns=list(columns))
    _check_rows(table, place)
    return table.astype({column: "int64" for column in _INTEGERS if column in columns} | {"probability": float})


def _check_rows(table: pd.DataFrame, place: Callable[[int], str]) -> None:
    unique = ["patient_id", *MODEL_COLUMNS, *(["slice_index"] if "slice_index" in table else [])]
    first: dict[tuple[object, ...], int] = {}
    for position, key in enumerate(zip(*(table[column] for column in unique), strict=True)):
        if key in first:
            raise EvaluationError(
                f"{place(position)}: expected one row for each {', '.join(unique)}, found patient "
                f"{key[0]} a second time (first: {place(first[key])}); remove one of the two"
            )
        first[key] = position
    _check_constant(table, ["patient_id"], "label", place)
    _check_constant(table, ["patient_id", *MODEL_COLUMNS], "split", place)


def _check_constant(table: pd.DataFrame, keys: Sequence[str], column: str, place: Callable[[int], str]) -> None:
    seen: dict[tuple[object, ...], object] = {}
    keyed = zip(*(table[key] for key in keys), strict=True)
    for position, (key, value) in enumerate(zip(keyed, table[column], strict=True)):
        if seen.setdefault(key, value) != value:
            raise EvaluationError(
                f"{place(position)}, column {column}: expected {seen[key]} as on patient {key[0]}'s other rows, "
                f"found {value}; a patient has one {column}"
            )


def _short(text: str) -> str:
    line = "".join(character if character.isprintable() else "?" for character in text)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."


def _text(cell: object) -> str:
    # A patient that arrives as the number 9 has already lost the zeros of '00009'.
    if not isinstance(cell, str) or not cell or cell != cell.strip():
        raise ValueError(cell)
    return cell


def _split(cell: object) -> str:
    if cell not in SPLITS:
        raise ValueError(cell)
    return str(cell)


def _integer(low: int, high: int = 2**63 - 1) -> Callable[[object], int]:
    def parse(cell: object) -> int:
        if isinstance(cell, float):
            raise ValueError(cell)
        number = int(cell)  # type: ignore[call-overload]
        if not low <= number <= high:
            raise ValueError(cell)
        return int(number)

    return parse


def _probability(cell: object) -> float:
    number = float(cell)  # type: ignore[arg-type]
    if not 0.0 <= number <= 1.0:
        raise ValueError(cell)
    return number


def _mean(values: pd.Series) -> float:
    return math.fsum(values) / len(values)


_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}

#: Of a value, in a message.
_SHOWN_CHARACTERS = 200

_INTEGERS = ("fold", "seed", "label", "n_slices", "slice_index")
_PARSERS: dict[str, Callable[[object], object]] = {
    "patient_id": _text,
    "modality": _text,
    "stage": _text,
    "split": _split,
    "fold": _integer(0),
    "seed": _integer(0),
    "label": _integer(0, 1),
    "probability": _probability,
    "n_slices": _integer(1),
    "slice_index": _integer(0),
}
_EXPECTED = {
    "patient_id": "text without blanks around it (quote numbers: '00009')",
    "modality": "text without blanks around it",
    "stage": "text without blanks around it",
    "split": f"one of {', '.join(SPLITS)}",
    "fold": "a whole number from 0",
    "seed": "a whole number from 0",
    "label": "0 (unmethylated) or 1 (methylated)",
    "probability": "a number from 0 to 1",
    "n_slices": "a whole number from 1",
    "slice_index": "a whole number from 0",
}
