"""Pages: each one HTML file that needs no network, in which nothing that comes from the data is markup."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mgmt_monai.atomic import atomic_file

#: Where a scale begins and how long it is, in the units of its drawing.
_START, _LENGTH = 10, 400

_PACKAGE = __name__.rpartition(".")[0]
#: The template that all others extend, the style that all pages begin with, and what templates may import.
_FILES = ("page.html.j2", "page.css", "scale.html.j2")


def page_pieces(
    room: str,
    template: str,
    kind: str,
    name: str,
    content: Mapping[str, Any],
    filters: Mapping[str, Any] | None = None,
    style: str = "",
    script: str = "",
) -> Iterator[str]:
    """A page, piece by piece, so that a large one is never in memory as a whole.

    Every value is text to the page, never markup: the templates escape it. The page's own policy forbids any request
    and every style and script but its own, so pictures are `data_uri`.

    Args:
        room: The package whose ``data`` has the template, style and script; such as ``mgmt_monai.cohort``.
        template: A file that extends ``page.html.j2`` and fills its blocks.
        kind: What the page is, after ``mgmt-monai``; above the heading and in the title.
        name: What it is about: the heading.
        content: What the template shows, by name.
        filters: Functions by name, of the template, beside `count` and `at`; `plural` is a function of every template.
        style: A file of rules that come after those of every page; empty for none.
        script: A file; empty where nothing runs.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(room, "data"), PackageLoader(_PACKAGE, "data")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"count": count, "at": at, **(filters or {})}
    environment.globals["plural"] = plural
    rules = _asset(_PACKAGE, _FILES[1]) + (_asset(room, style) if style else "")
    code = _asset(room, script) if script else ""
    return environment.get_template(template).generate(
        **content,
        page_kind=kind,
        page_name=name,
        style=Markup(rules),
        style_hash=_hash(rules),
        script=Markup(code),
        script_hash=_hash(code),
    )


def write_page(path: Path, pieces: Iterable[str]) -> None:
    """Write a page, whole or not at all.

    Args:
        path: Of the file; an older one is replaced.
        pieces: As `page_pieces` makes them. What is no valid Unicode, as a file's name may be, becomes a question mark.

    Raises:
        OSError: It cannot be written.
    """
    with (
        atomic_file(path) as temporary,
        temporary.open("x", encoding="utf-8", errors="replace", newline="\n") as stream,
    ):
        stream.writelines(pieces)


def data_uri(content: bytes, kind: str) -> str:
    """A picture that is part of the page.

    Args:
        content: The picture's file.
        kind: Its media type, such as ``image/jpeg``.

    Example:
        >>> data_uri(b"abc", "image/png")
        'data:image/png;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def count(number: int) -> str:
    r"""A whole number with its thousands apart.

    Example:
        >>> count(999), count(12345)
        ('999', '12\u202f345')
    """
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def plural(number: int, one: str, many: str = "") -> str:
    """How many there are, with the word for it.

    Args:
        number: How many.
        one: The word for one.
        many: The word for several; empty for ``one`` with an s.

    Example:
        >>> plural(1, "slice"), plural(2, "slice"), plural(2, "series", "series")
        ('1 slice', '2 slices', '2 series')
    """
    return f"{count(number)} {one if number == 1 else many or f'{one}s'}"


def at(share: float) -> str:
    """Where a share of a scale is drawn.

    Args:
        share: 0 at the scale's beginning, 1 at its end.

    Returns:
        In the units of a drawing that is 420 wide.
    """
    return f"{_START + _LENGTH * share:.1f}"


def _asset(room: str, name: str) -> str:
    return resources.files(room).joinpath("data", name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _hash(text: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
