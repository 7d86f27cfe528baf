"""Values as they were typed: read by the setting's type, carried through MONAI unharmed, held against what arrived.

``python -m monai.bundle`` reads its command line with Python Fire, which takes every value for a Python literal:
``2024_01_15`` is a number, what follows ``#`` a comment. MONAI then leaves out what is ``None``, and writes ``::`` for
``#`` in every text. None of them says a word.
"""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.settings import BOOLEANS, MAY_BE_EMPTY, NUMBERS, OPTIONAL, TEXTS, WHOLE, WORDS, is_live

logger = logging.getLogger(__name__)

_Value = TypeVar("_Value")

#: Of ``monai.bundle run`` itself: no settings.
OF_THE_COMMAND = {
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file",
    "workflow_name", "workflow_type", "properties_path",
}  # fmt: skip

_NOTHING = ("None", "null")
_WHOLE_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_word(name: str, word: str) -> Any:
    """What a word means as a value of a setting.

    Args:
        name: The key; one that is no setting of ours, such as ``train::trainer::max_epochs``, is read as Python Fire
            reads it, if nothing of the word is lost so.
        word: As it was typed. Text stays as it is; one in quotes is what the quotes hold.

    Returns:
        Text, a number, true or false, or None, by the setting's type. A word that is none of that type is returned
        as it is, and `check_settings` refuses it.

    Raises:
        TrainingError: Nothing (``None``, ``null``) for a setting that always has a value, or a word that would be
            read as something else.

    Example:
        >>> read_word("run_name", "2024_01_15"), read_word("seed", "7"), read_word("fold", "None")
        ('2024_01_15', 7, None)
    """
    if is_live(word):
        return word
    if word in _NOTHING and name in OPTIONAL:
        return None
    if name in TEXTS or name in WORDS:
        _refuse_nothing(name, word)
        return _unquoted(word)
    if name in BOOLEANS:
        _refuse_nothing(name, word)
        return {"true": True, "false": False}.get(word.lower(), word)
    if name in WHOLE or name in NUMBERS:
        _refuse_nothing(name, word)
        if _WHOLE_NUMBER.fullmatch(word):
            return int(word) if len(word) < 40 else word  # Python refuses to read thousands
        number = float(word) if _NUMBER.fullmatch(word) else word
        return number or (word if re.search("[1-9]", word.lower().partition("e")[0]) else number)  # 1e-400 is no 0
    return _literal(name, word)


def for_monai(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides in the form in which MONAI hands them on unharmed; `plain` undoes it.

    Args:
        settings: Values by key. None and text with ``#`` or ``::`` become expressions without them, a path text.

    Returns:
        The same keys.

    Example:
        >>> for_monai({"fold": None, "seed": 1})
        {'fold': '$None', 'seed': 1}
    """
    return {key: _for_monai(value) for key, value in settings.items()}


def plain(value: Any) -> Any:
    """A value of a config without the form that `for_monai` gave it.

    Args:
        value: Of a key.

    Returns:
        What an expression that is nothing but text in quotes or ``None`` says; any other value unchanged.
    """
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    try:
        literal = ast.literal_eval(value[1:].strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value
    return literal if literal is None or isinstance(literal, str) else value


def check_unharmed(config: Mapping[str, Any]) -> None:
    """Refuse text in which MONAI writes, or has written, ``::`` for ``#``.

    Args:
        config: As MONAI has it, `plain` or not.

    Raises:
        TrainingError: Names the setting and how to write it.
    """
    for name in TEXTS:
        value = config.get(name)
        text = plain(value)
        # An address may be an IPv6 one, which has both colons.
        harmed = isinstance(value, str) and ("#" in value or ("::" in value and name != "tracking_uri"))
        if harmed and isinstance(text, str) and not is_live(text):
            raise TrainingError(
                f"{name}: {text!r} holds '#' or '::', which MONAI takes for the same. Name it to mgmt-monai train, "
                f"which keeps both, or write it as {_hidden(text)}."
            )


def check_arrived(config: Mapping[str, Any], words: Sequence[str]) -> None:
    """Refuse a setting that arrived as something else than was typed.

    Args:
        config: As MONAI has it.
        words: Of the command line of ``python -m monai.bundle``, from ``run`` on.

    Raises:
        TrainingError: Names the setting, what was typed, what would have been used, and how to write it.
    """
    for name, word in last_of(_typed(words)).items():
        found = plain(_at(config, name))
        if name in OF_THE_COMMAND or found is _ABSENT:  # an unknown key is refused as such
            continue
        if word is None:
            word = "True"  # an option without a value is true to Fire
            if name not in BOOLEANS and (name in TEXTS or name in WORDS or name in WHOLE or name in NUMBERS):
                raise TrainingError(f"{name}: expected a value after --{name}, found none; {found!r} would be used.")
        if is_live(word):
            continue
        try:
            meant = read_word(name, word)
        except TrainingError as error:
            raise TrainingError(f"{error} Here {found!r} would be used.") from None
        if not _same(name, meant, found):
            raise TrainingError(
                f"{name}: typed {word!r}, but {found!r} would be used: python -m monai.bundle reads a value as Python "
                f"does. {_remedy(name, meant)}"
            )


def last_of(typed: Iterable[tuple[str, _Value]]) -> dict[str, _Value]:
    """The value of each key of a command line: of a key that is given several times the last one, and that is logged.

    Args:
        typed: Keys and values in their order; ``a#b`` and ``a::b`` are one key, the latter.
    """
    found: dict[str, list[_Value]] = {}
    for name, value in typed:
        found.setdefault(name.replace("#", "::"), []).append(value)
    for name, values in found.items():
        if len(values) > 1:
            logger.warning(f"{name}: given {len(values)} times, the last counts: {values[-1]}")
    return {name: values[-1] for name, values in found.items()}


_ABSENT = object()  # no such key


def _refuse_nothing(name: str, word: str) -> None:
    if word not in _NOTHING:
        return
    hint = "Leave it out for the config's own."
    if name in MAY_BE_EMPTY:
        hint = f"Write --{name} '' for none."
    elif "none" in WORDS.get(name, ()) or ", none" in TEXTS.get(name, ""):
        hint = f"Write --{name} none for none."
    raise TrainingError(f"{name}: expected a value, found {word}: this setting always has one. {hint}")


def _unquoted(word: str) -> str:
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        try:
            return str(ast.literal_eval(word))
        except (ValueError, SyntaxError):
            return word
    return word


def _literal(name: str, word: str) -> Any:
    """What Fire makes of a word, where all of it is in that."""
    from fire.parser import DefaultParseValue

    value = DefaultParseValue(word)
    if value is None:
        _refuse_nothing(name, "None")
    if value == word:
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if ("#" in word and "#" not in str(value)) or (number and not _NUMBER.fullmatch(word)):
        raise TrainingError(
            f"{name}: typed {word!r}, but {value!r} would be used: values are read as Python does. "
            f"Write --{name} '{json.dumps(word)}' for text."
        )
    return value


def _for_monai(value: Any) -> Any:
    if value is None:
        return "$None"
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or is_live(value) or not ("#" in value or "::" in value):
        return value
    return _hidden(value)


def _hidden(text: str) -> str:
    """An expression that is the text, without what MONAI looks for in one."""
    return "$" + repr(text).replace("#", r"\x23").replace(":", r"\x3a").replace("@", r"\x40")


def _typed(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each option with its value, as Fire pairs them; None for an option without one."""
    rest = list(words)
    if "--" in rest:  # what follows the last one is for Fire itself
        rest = rest[: len(rest) - 1 - rest[::-1].index("--")]
    if "-" in rest:
        rest = rest[: rest.index("-")]
    while rest:
        word = rest.pop(0)
        if not _is_option(word):
            continue
        key, equals, value = word.lstrip("-").partition("=")
        name = key.replace("-", "_").replace("#", "::")
        if equals:
            yield name, value
        elif rest and not _is_option(rest[0]):
            yield name, rest.pop(0)
        elif name.startswith("no"):
            yield name[2:], "False"
        else:
            yield name, None


def _is_option(word: str) -> bool:
    return word.startswith("--") or re.match("-[a-zA-Z]", word) is not None


def _at(config: Any, name: str) -> Any:
    for part in name.split("::"):
        if isinstance(config, Mapping) and part in config:
            config = config[part]
        elif isinstance(config, list) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            return _ABSENT
    return config


def _same(name: str, meant: Any, found: Any) -> bool:
    if name in BOOLEANS:
        return str(meant).lower() == str(found).lower()
    if name in TEXTS or name in WORDS or name in WHOLE or name in NUMBERS:
        return isinstance(meant, str) == isinstance(found, str) and not isinstance(found, bool) and meant == found
    return not isinstance(meant, str) or not isinstance(found, str) or found in (meant, meant.replace("#", "::"))


def _remedy(name: str, meant: Any) -> str:
    if meant is None:
        return f"Write --{name} '$None'."
    if not isinstance(meant, str):
        return "Write it as a plain number."
    if "#" in meant or "::" in meant:
        form = _hidden(meant).replace("'", '"')
        return f"Write --{name} '{form}', or use mgmt-monai train, which takes it as it is."
    if name in TEXTS or name in WORDS:
        return f"""Write --{name} '"{meant}"', or use mgmt-monai train, which takes it as it is."""
    return "Write a plain number."
