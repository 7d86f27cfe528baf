"""Every table that is read, with every fault that a table can have: one line that names the file and the fault."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from mgmt_monai.cohort.layouts import find_series, listed
from mgmt_monai.cohort.splits.holdout import read_split
from mgmt_monai.cohort.tables.aliases import Aliases, read_aliases
from mgmt_monai.cohort.tables.columns import read_columns
from mgmt_monai.cohort.tables.exclusions import read_exclusions
from mgmt_monai.cohort.tables.ignores import IgnoreList, read_ignores
from mgmt_monai.cohort.tables.labels import read_labels
from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.evaluation.predictions import read_patients

LINE_LIMIT = 800  # characters: a message that fits a screen


class Reader(NamedTuple):
    """Who reads a table, and a sound one of three lines; the last cell holds a number or text."""

    read: Callable[[Path], Any]
    text: str


READERS = {
    "labels": Reader(read_labels, "patient_id,label\n00001,1\n00002,0\n"),
    "RSNA labels": Reader(read_labels, "BraTS21ID,MGMT_value\n00001,1\n00002,0\n"),
    "UCSF labels": Reader(read_labels, "MGMT status,ID\npositive,UCSF-PDGM-004\nnegative,UCSF-PDGM-005\n"),
    "exclusions": Reader(read_exclusions, "patient_id,reason\n00001,moved\n00002,no contrast\n"),
    "ignores": Reader(read_ignores, "finding,patient_id,reason\nD011,00001,known\nD012,00002,known\n"),
    "columns": Reader(lambda path: read_columns(path, ["00001"]), "patient_id,site\n00001,7\n00002,8\n"),
    "aliases": Reader(read_aliases, "patient_id,alias\n00001,A\n00002,B\n"),
    "split": Reader(read_split, "patient_id,fold,split\n00001,0,train\n00002,1,test\n"),
    "cohort.csv": Reader(lambda path: listed.find(path.parent), "patient_id,label,T1w\n00001,1,a\n00002,0,b\n"),
    "predictions": Reader(
        read_patients,
        "patient_id,modality,stage,split,fold,seed,label,probability,n_slices\n"
        "00001,T1w,1,test,0,0,1,0.5,3\n00002,T1w,1,test,0,0,0,0.5,3\n",
    ),
}


def header(change: Callable[[list[str]], list[str]]) -> Callable[[str], bytes]:
    def changed(text: str) -> bytes:
        first, rest = text.split("\n", 1)
        return f"{','.join(change(first.split(',')))}\n{rest}".encode()

    return changed


def second_row(change: Callable[[list[str]], list[str]]) -> Callable[[str], bytes]:
    def changed(text: str) -> bytes:
        lines = text.split("\n")
        lines[1] = ",".join(change(lines[1].split(",")))
        return "\n".join(lines).encode()

    return changed


FAULTS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda text: b"", "empty|without"),
    "empty lines": (lambda text: b"\n\n\n", "empty|without"),
    "other columns": (header(lambda names: [f"x{name}" for name in names]), "columns"),
    "no patients": (header(lambda names: [f"x{names[0]}", *names[1:]]), "columns|without"),
    "column missing": (
        lambda text: "".join(f"{line.rpartition(',')[0]}\n" for line in text.splitlines()).encode(), "columns|cells"
    ),
    "header twice": (header(lambda names: [*names[:-1], names[0]]), "columns|one column|each column once"),
    "latin-1": (lambda text: text.replace("0", "\xe4", 1).encode("latin-1"), "UTF-8"),
    "UTF-16": (lambda text: text.encode("utf-16"), "UTF-8"),
    "UTF-16 without a mark": (lambda text: text.encode("utf-16-le"), "UTF-8|zero byte|columns"),
    "semicolons": (lambda text: text.replace(",", ";").encode(), "commas.*semicolons"),
    "semicolons and a mark": (lambda text: text.replace(",", ";").encode("utf-8-sig"), "commas.*semicolons"),
    "tabs": (lambda text: text.replace(",", "\t").encode(), "commas.*tabs"),
    "long row": (second_row(lambda cells: [*cells, "more"]), "line 2"),
    "open quotation": (second_row(lambda cells: [*cells[:-1], f'"{cells[-1]}']), "CSV|comma-separated"),
    "huge header": (header(lambda names: [f"{name}{'x' * 5000}" for name in names]), "columns"),
    "line in the header": (header(lambda names: [f'"{name}\nx"' for name in names]), "columns"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", READERS)
def test_faulty_table_is_told_in_one_line(tmp_path: Path, name: str, fault: str) -> None:
    (reader, text), (spoil, expected) = READERS[name], FAULTS[fault]
    path = tmp_path / "cohort.csv"
    path.write_bytes(spoil(text))
    with pytest.raises(MgmtMonaiError, match=expected) as caught:
        reader(path)
    told_well(str(caught.value), path)


@pytest.mark.parametrize("place", [0, 1, -1], ids=["first cell", "second cell", "last cell"])
@pytest.mark.parametrize("digits", [4000, 5000, 200_000])
@pytest.mark.parametrize("name", READERS)
def test_number_of_many_digits_is_read_whole_or_told_in_one_line(
    tmp_path: Path, name: str, digits: int, place: int
) -> None:
    path = tmp_path / "cohort.csv"

    def grown(cells: list[str]) -> list[str]:
        cells[place] = "9" * digits
        return cells

    path.write_bytes(second_row(grown)(READERS[name].text))
    try:
        found = READERS[name].read(path)  # text to many of them
    except MgmtMonaiError as error:
        told_well(str(error), path)
    else:
        is_label_of_layout = name == "cohort.csv" and place == 1  # which is read as a label table
        held = found.to_dict() if isinstance(found, pd.DataFrame) else getattr(found, "__dict__", found)
        assert ("9" * digits in str(held)) != is_label_of_layout


@pytest.mark.parametrize("name", READERS)
def test_byte_order_mark_and_line_ends_change_nothing(tmp_path: Path, name: str) -> None:
    reader, text = READERS[name]
    path = tmp_path / "cohort.csv"
    told = []
    for content in (text.encode(), text.encode("utf-8-sig"), text.replace("\n", "\r\n").encode("utf-8-sig")):
        path.write_bytes(content)
        found = reader(path)
        told.append(vars(found) if isinstance(found, IgnoreList | Aliases) else str(found))
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("fault", ["empty", "no patients", "latin-1", "semicolons", "tabs", "long row"])
def test_cohort_table_that_cannot_be_read_is_not_passed_over(tmp_path: Path, fault: str) -> None:
    spoil, expected = FAULTS[fault]
    (tmp_path / "cohort.csv").write_bytes(spoil(READERS["cohort.csv"].text))
    with pytest.raises(MgmtMonaiError, match=expected) as caught:
        find_series(tmp_path)
    told_well(str(caught.value), tmp_path / "cohort.csv")


def told_well(message: str, path: Path) -> None:
    assert message.startswith(str(path))
    assert message.isprintable(), "a line break or a control character"
    assert len(message) - len(str(path)) < LINE_LIMIT
