"""The frame that every page has: escaped, closed to the network, allowed its own style and script alone, whole."""

import base64
import hashlib
import re
from html import unescape
from pathlib import Path

import pytest

from mgmt_monai.html_page import at, data_uri, page_pieces, write_page

PACKAGE = Path(__file__).parents[1] / "mgmt_monai"
HOSTILE = "</style><script>alert(1)</script>\"'&{{7*7}}"
BASE = ("default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'")


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A package with a page of its own."""
    name = f"room_of_{tmp_path.name}"  # of this test alone: Python keeps where it found a package
    data = tmp_path / name / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    (data / "own.css").write_bytes(b"b { color: red; }\r\n")
    (data / "own.js").write_text("document.title = 'run';\n")
    (data / "own.html.j2").write_text(
        '{% extends "page.html.j2" %}\n'
        '{% block main %}<b>{{ word }}</b> {{ plural(n, "slice") }} {{ n | twice }}{% endblock %}'
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


def made(room: str, word: str = "word", **assets: str) -> str:
    content, filters = {"word": word, "n": 2}, {"twice": lambda n: 2 * n}
    return "".join(page_pieces(room, "own.html.j2", "kind", word, content, filters, **assets))


def allowed(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def policy(page: str) -> list[str]:
    return unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]).split("; ")


def test_template_fills_the_frame_and_has_its_own_filters(room):
    page = made(room)

    assert "<title>word: mgmt-monai kind</title>" in page
    assert "<h1>word</h1>" in page
    assert "<b>word</b> 2 slices 4" in page
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")


def test_values_are_text(room):
    page = made(room, HOSTILE)

    assert "<script" not in page
    assert page.count("</style>") == 1
    assert HOSTILE in unescape(page)


def test_policy_names_the_style_and_no_script_where_there_is_none(room):
    page = made(room, style="own.css")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]

    assert style.startswith(":root") and style.endswith("b { color: red; }\n")
    assert sorted(policy(page)) == sorted([*BASE, f"style-src {allowed(style)}"])


def test_policy_names_the_script_where_there_is_one(room):
    assert "script-src " + allowed("document.title = 'run';\n") in policy(made(room, script="own.js"))


def test_page_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")

    def pieces():
        yield "half"
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_page(path, pieces())
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "before")]


def test_name_that_is_no_valid_unicode_is_written_with_a_question_mark(tmp_path):
    write_page(tmp_path / "page.html", ["caf\udce9\n"])

    assert (tmp_path / "page.html").read_bytes() == b"caf?\n"


def test_picture_is_part_of_the_page():
    assert base64.b64decode(data_uri(b"\x00\xff", "image/jpeg").removeprefix("data:image/jpeg;base64,")) == b"\x00\xff"


def test_scale_begins_and_ends_within_its_drawing():
    assert (at(0), at(0.5), at(1)) == ("10.0", "210.0", "410.0")


def test_every_page_of_the_package_is_of_this_frame():
    templates = [path for path in PACKAGE.rglob("*.html.j2") if path.parent != PACKAGE / "data"]

    assert len(templates) >= 4
    assert [path.name for path in templates if '{% extends "page.html.j2" %}' not in path.read_text()] == []
