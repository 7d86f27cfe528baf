"""JSON files that are read: one reader and one validator, so that whatever is in a file ends in one line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.machine import check_machine

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

_KINDS: dict[str, list[type]] = {
    "object": [dict], "array": [list], "string": [str], "integer": [int], "number": [int, float], "boolean": [bool],
    "null": [type(None)],
}  # fmt: skip
_KNOWN = {
    "type", "description", "pattern", "enum", "items", "required", "properties", "propertyNames",
    "additionalProperties", "minLength", "minItems", "maxItems", "minimum", "exclusiveMinimum", "if", "then",
}  # fmt: skip

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
        if "\\ud" in text or "\\uD" in text:  # half a character, which no file name and no text can have
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

    root = json.loads(resources.files(package).joinpath("data", schema).read_text(encoding="utf-8"))
    of_items = Draft202012Validator.VALIDATORS["items"]

    def items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(instance, list) or not all(map(_sure(items, root), instance)):
            yield from of_items(validator, items, instance, schema)

    strict = validators.extend(
        Draft202012Validator,
        {"items": items},
        # 1.0 is an integer to JSON Schema; Python counts with it otherwise.
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
    )
    return strict(root)


def _sure(schema: Any, root: Any) -> Callable[[Any], bool]:
    """Says yes only where a schema does, of a hundred thousand patients in seconds; of what it does not know, no."""
    if not isinstance(schema, dict):
        return lambda _: schema is True
    if "$ref" in schema:
        return _sure(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    get = schema.get
    asked = get("if", {"properties": {}})  # of types alone, whose no is sure too
    if (
        schema.keys() - _KNOWN
        or [*asked] != ["properties"]
        or any([*p] != ["type"] for p in asked["properties"].values())
    ):
        return lambda _: False
    case, then = _sure(get("if"), root), _sure(get("then", True), root)
    names = get("type", [*_KINDS])
    kinds = [kind for name in ([names] if isinstance(names, str) else names) for kind in _KINDS[name]]
    matches = re.compile(get("pattern", "")).search
    each, named, other = (_sure(get(k, True), root) for k in ("items", "propertyNames", "additionalProperties"))
    own = {name: _sure(one, root) for name, one in get("properties", {}).items()}
    choice, needed, shortest = get("enum"), set(get("required", ())), get("minLength", 0)
    fewest, most = get("minItems", 0), get("maxItems", inf)
    least, above = get("minimum", -inf), get("exclusiveMinimum", -inf)

    def fits(value: Any) -> bool:
        kind = type(value)
        if kind not in kinds or (choice is not None and (kind not in (str, int) or value not in choice)):
            return False
        if kind is str:
            return len(value) >= shortest and matches(value) is not None
        if kind is list:
            return fewest <= len(value) <= most and all(map(each, value))
        if kind is dict:
            return (
                needed <= value.keys()
                and all(named(k) and own.get(k, other)(v) for k, v in value.items())
                and (not case(value) or then(value))
            )
        return kind not in (int, float) or (value >= least and value > above)

    return fits


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
