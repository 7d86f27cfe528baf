"""``--json``: a command's result on stdout as JSON alone, for scripts."""

import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Any

import click

_KEY = f"{__name__}.file"


def with_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with the option ``--json``: what it tells goes to stderr, the file that it names as `result` to stdout.

    Args:
        command: What it does; the decorator stands below all others.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; all else goes to stderr.")
    @wraps(command)
    def asked(*args: Any, as_json: bool, **options: Any) -> Any:
        if as_json:
            click.get_current_context().meta[_KEY] = None
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            code = command(*args, **options)
        if as_json:
            click.echo(click.get_current_context().meta[_KEY].read_text(encoding="utf-8").rstrip())
        return code

    return asked


def is_asked() -> bool:
    """Whether ``--json`` was given."""
    return _KEY in click.get_current_context().meta


def result(path: Path) -> None:
    """Name the JSON file of the command's result."""
    if is_asked():
        click.get_current_context().meta[_KEY] = path
