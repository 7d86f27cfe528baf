"""JSON files that are read: one reader and one validator, so that whatever is in a file ends in one line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.machine import check_machine

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

#: Of a value found, in a message.
_SHOWN_CHARACTERS = 80


class JsonFileError(MgmtMonaiError):
    """A file that is no JSON, or not what its schema says; the text tells what was expected and found, not the path."""


def read_json(path: Path, package: str = "", schema: str = "") -> Any:
    """The content of a JSON file.

    Args:
        path: The file.
        package: Where its schema is packaged, such as ``mgmt_monai.cohort``; none to hold it against none.
        schema: The schema's file below the package's ``data``.

    Raises:
        JsonFileError: Unreadable, not UTF-8, not JSON (an integer of thousands of digits, ``NaN`` and text that cannot
            be written are none, nor is a key twice in one object), or not what the schema says.
        MachineError: The machine does not give it.
    """
    try:
        document = parse_json(Path(path).read_bytes())
    except OSError as error:
        check_machine(error, path)
        raise JsonFileError(f"cannot be read ({error.strerror})") from error
    if schema:
        check_json(document, package, schema)
    return document


def parse_json(content: bytes) -> Any:
    """The content of a JSON file that has been read.

    Raises:
        JsonFileError: Not UTF-8 or not JSON, as `read_json` says.
    """
    try:
        text = content.decode("utf-8-sig")
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_each_once)
        if "\\ud" in text.lower():  # how a half of a character is written, which no file name and no text can have
            os.fsencode(json.dumps(document, ensure_ascii=False))
    except (ValueError, RecursionError) as error:  # ValueError: of JSON, of the encoding, of a number
        raise JsonFileError(f"not a readable JSON file ({' '.join(str(error).split())})") from error
    return document


def check_json(document: Any, package: str, schema: str, quote: bool = True) -> None:
    """Hold a document against its schema.

    Args:
        document: As `json.loads` gives it.
        package: Where the schema is packaged.
        schema: Its file below the package's ``data``.
        quote: Whether the error may show what was found; not where it may be of a patient's header.

    Raises:
        JsonFileError: The first thing that differs: where it stands, what was expected, what was found.
    """
    error = next(_validator(package, schema).iter_errors(document), None)
    if error is not None:
        raise JsonFileError(_words(error, quote))


@cache
def _validator(package: str, schema: str) -> Validator:
    from jsonschema import Draft202012Validator, validators  # not to be waited for where nothing is held against one

    strict = validators.extend(
        Draft202012Validator,
        {"items": _items},
        # 1.0 is an integer to JSON Schema; Python counts with it otherwise.
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
    )
    return strict(json.loads(resources.files(package).joinpath("data", schema).read_text(encoding="utf-8")))


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two they take."""
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {_short(repr(twice))} twice")
    return content


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """``items``; a list of hundreds of thousands of names is looked through at once, not name by name."""
    if isinstance(items, dict) and items.keys() - {"description"} == {"type", "pattern"} and items["type"] == "string":
        fits = re.compile(items["pattern"]).search
        if not isinstance(instance, list) or all(isinstance(item, str) and fits(item) for item in instance):
            return
    from jsonschema import Draft202012Validator

    yield from Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema)


def _words(error: ValidationError, quote: bool) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    rule, wanted, found = error.validator, error.validator_value, error.instance
    if rule == "type":
        expected = " or ".join([wanted] if isinstance(wanted, str) else wanted)
    elif rule in ("enum", "const"):
        expected = " or ".join(json.dumps(value) for value in (wanted if rule == "enum" else [wanted]))
    elif rule == "pattern":
        expected = error.schema.get("description") or f"text of the form {wanted}"
    else:
        return f"{place or 'the document'}: {_short(error.message)}"
    shown = _short(json.dumps(found, ensure_ascii=True)) if quote else "another value"
    return f"{place or 'the document'}: expected {expected}, found {shown}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."
