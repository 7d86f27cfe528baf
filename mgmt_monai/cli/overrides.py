"""Config keys as options of a command: ``--KEY VALUE``."""

from __future__ import annotations

from collections.abc import Sequence

import click


def overrides(words: Sequence[str]) -> dict[str, object]:
    """``--key value`` and ``--key=value`` pairs; values are read as Fire reads them for the main command.

    Args:
        words: What is left of the command line.

    Returns:
        Value by key.

    Raises:
        click.UsageError: A word is no option, or an option lacks its value.
    """
    from fire.parser import DefaultParseValue

    found: dict[str, object] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise click.UsageError(f"expected --KEY VALUE, found {word!r}")
        key, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise click.UsageError(f"--{key} needs a value")
            value = rest.pop(0)
        found[key] = DefaultParseValue(value)
    return found
