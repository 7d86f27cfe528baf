"""Rows of nested JSON as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def flat_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Rows of nested JSON as CSV: a value inside another is named ``outer.inner``.

    Args:
        rows: Such as a report's ``candidates``.

    Returns:
        CSV with a header; nothing where there is no row. What is undefined is empty.

    Example:
        >>> flat_csv([{"name": "a", "auc": {"value": 0.5, "low": None}}])
        'name,auc.value,auc.low\na,0.5,\n'
    """
    flat = [dict(_flat(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    out = io.StringIO()
    if names:
        writer = csv.DictWriter(out, names, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(flat)
    return out.getvalue()


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
