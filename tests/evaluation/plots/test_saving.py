"""Pictures as files: whole, the same every time, and readable without the network."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import matplotlib
import pytest
from PIL import Image

from mgmt_monai.evaluation.intervals import Estimate
from mgmt_monai.evaluation.plots.controls import ControlRow, controls_figure
from mgmt_monai.evaluation.plots.picture_files import save_figure


def picture():
    rows = [ControlRow("The model & <more>", Estimate(0.62, 0.51, 0.72, 116), True)]
    return controls_figure([*rows, ControlRow("Shuffled labels", Estimate(0.48, 0.37, 0.59, 116), False)])


def test_files_are_a_png_of_120_dpi_and_an_svg(tmp_path):
    figure = picture()
    paths = save_figure(figure, tmp_path, "controls")
    assert paths == [tmp_path / "controls.png", tmp_path / "controls.svg"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    with Image.open(paths[0]) as image:
        assert image.size == tuple(int(120 * side) for side in figure.get_size_inches())
    root = ElementTree.parse(paths[1]).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("width") == "576pt"  # 8 inches of 72 points


def test_same_input_gives_the_same_bytes(tmp_path):
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written.append([path.read_bytes() for path in save_figure(picture(), tmp_path / name, "controls")])
    assert written[0] == written[1]


def test_svg_text_stays_text(tmp_path):
    _, svg = save_figure(picture(), tmp_path, "controls")
    texts = {"".join(element.itertext()) for element in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"The model & <more>", "0.62 (0.51-0.72)", "Negative control", "AUC (patients)"} <= texts


def test_svg_has_no_date_and_fetches_nothing(tmp_path):
    _, svg = save_figure(picture(), tmp_path, "controls")
    text = svg.read_text(encoding="utf-8")
    assert "<dc:date>" not in text
    assert "@font-face" not in text
    assert "@import" not in text
    assert "<script" not in text
    references = re.findall(r'(?:href="|url\()([^")]+)', text)
    assert references
    assert all(reference.startswith("#") for reference in references)


def test_settings_of_the_process_are_as_before(tmp_path):
    before = dict(matplotlib.rcParams)
    save_figure(picture(), tmp_path, "controls")
    assert dict(matplotlib.rcParams) == before


def test_threads_do_not_change_one_another_s_pictures(tmp_path):
    before = dict(matplotlib.rcParams)
    expected = [path.read_bytes() for path in save_figure(picture(), tmp_path, "alone")]
    with ThreadPoolExecutor(4) as pool:
        saved = list(pool.map(lambda number: save_figure(picture(), tmp_path, f"{number}"), range(8)))
    assert all([path.read_bytes() for path in paths] == expected for paths in saved)
    assert dict(matplotlib.rcParams) == before


def test_older_picture_stays_when_the_new_one_fails(tmp_path, monkeypatch):
    png, svg = save_figure(picture(), tmp_path, "controls")
    before = svg.read_bytes()
    figure = picture()

    def fail(path, format, **_):
        path.write_bytes(b"half")
        if format == "svg":
            raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, tmp_path, "controls")
    assert svg.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [png.name, svg.name]


def test_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_figure(picture(), tmp_path / "nowhere", "controls")


def test_png_does_not_depend_on_the_svg_beside_it(tmp_path):
    png, _ = save_figure(picture(), tmp_path, "controls")
    alone = io.BytesIO()
    picture().savefig(alone, format="png", dpi=120)
    assert png.read_bytes() == alone.getvalue()
