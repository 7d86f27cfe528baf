"""The comparison's pages: what they say, and in a real browser what they show, ask for and do with hostile text."""

import json
import re
from html import unescape
from importlib import resources
from io import StringIO
from itertools import pairwise

import pytest
from comparison.sample_report import NETWORKS, sample_report, smallest_report
from matplotlib.figure import Figure

from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.report.report_page import (
    CHECKLIST_NAME,
    PICTURES,
    REPORT_NAME,
    SECTIONS,
    checklist_page,
    report_page,
)
from mgmt_monai.training.learnt import NOT_LEARNT, NOT_SHOWN

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads(resources.files("mgmt_monai.comparison.report").joinpath("data/report.schema.json").read_text())
HOSTILE = (
    "</script><img src=x onerror=\"document.title='owned'\"><!--<script>document.title='owned'</script>'\"&{{7*7}}"
)
A4_WIDTH = 695  # CSS pixels between the margins of 13 mm: 184 mm, 96 to the inch


def svg(width=8.0, height=4.0):
    figure = Figure(figsize=(width, height))
    figure.subplots().plot([0, 1], [0, 1])
    stream = StringIO()
    figure.savefig(stream, format="svg")
    return stream.getvalue()


@pytest.fixture(scope="session")
def pictures():
    return dict.fromkeys(PICTURES, svg()) | {"roc": svg(6, 6), "forest": svg(8, 10)}


def written(make, *arguments):
    return "".join(make(*arguments))


def as_text(page):
    """What a reader reads: no markup, no styles, one space between words."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture
def write_pages(tmp_path, pictures):
    """Writes both pages into one folder, as a comparison does, and returns the report's path."""

    def write(report, pictures=pictures):
        for name, page in (
            (REPORT_NAME, written(report_page, report, pictures)),
            (CHECKLIST_NAME, written(checklist_page, report)),
        ):
            (tmp_path / name).write_text(page, encoding="utf-8")
        return tmp_path / REPORT_NAME

    return write


@pytest.mark.parametrize("report", [sample_report(), smallest_report()], ids=["whole", "smallest"])
def test_sample_fits_the_packaged_schema_in_every_key(report):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert [error.json_path for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(report)] == []
    assert report.keys() <= SCHEMA["properties"].keys(), "a key of another name would be fitted by nothing"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict", "state"), "maybe"),
        (("figures", "auc"), 0.6),
        (("figures", "auc", "n"), None),
        (("figures", "permutation_p"), 1.2),
        (("chosen", "stage"), "fine-tuned"),
        (("comparison", "created"), "yesterday"),
        (("cohort", "folds"), None),
        (("comparison", "patients"), ["00001"]),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_schema_refuses_what_the_page_could_not_show(path, value):
    report = sample_report()
    place = report
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, SCHEMA)


def test_report_of_another_schema_is_refused_with_what_to_do():
    report = sample_report() | {"schema": "mgmt-monai/comparison-report/2"}
    for write, arguments in ((report_page, (report, {})), (checklist_page, (report,))):
        with pytest.raises(ComparisonError, match=r"comparison-report/1.*comparison-report/2.*Make the report again"):
            written(write, *arguments)


def test_picture_of_an_unknown_name_is_refused():
    with pytest.raises(ComparisonError, match="rocc"):
        written(report_page, sample_report(), {"rocc": svg()})


def test_verdict_stands_first_in_words_with_the_figure_and_its_interval(pictures):
    text = as_text(written(report_page, sample_report(), pictures))
    start = text.index("Supported AUC 0.60 (0.56-0.64), and the model tells more")
    caveat = text.index("a hospital that shows inside the head cannot be seen")
    assert start < caveat < text.index("The checks behind the verdict")
    assert "95 % interval; 582 test patients, 306 methylated" in text


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("supported", "Supported"),
        ("too_small_to_matter", "Too small to matter"),
        ("cannot_tell", "Cannot tell"),
        ("below_chance", "Below chance"),
        ("contaminated", "Contaminated"),
    ],
)
def test_each_verdict_has_its_class_and_its_word(state, word):
    report = sample_report()
    report["verdict"]["state"] = state
    page = written(report_page, report, {})
    assert f'<p class="verdict {state}"><span class="state">{word}</span>' in page


def test_made_cohort_is_told_at_the_top_and_beside_the_papers_figures(pictures):
    report = sample_report()
    assert "made cohort" not in as_text(written(report_page, report, pictures))
    report["cohort"]["made"] = True
    jsonschema.validate(report, SCHEMA)
    told = as_text(written(report_page, report, pictures))
    assert "The figures are of a made cohort" in told.split("The checks behind the verdict")[0]
    tables = told.split("Table I: networks")[1].split("Table II: modalities")[0]
    assert "This comparison, made cohort" in tables and "they cannot be compared" in told


def test_within_sites_is_the_headline_where_sites_are_known(pictures):
    report = sample_report()
    report["verdict"]["auc"] = {"value": 0.51, "low": 0.46, "high": 0.56, "n": 582}
    report["within_site"] = {
        "column": "centre", "auc": 0.51, "interval": [0.46, 0.56], "p": 0.4, "between": 0.56, "share": 0.6,
        "site_alone": 0.58, "n_sites": 8, "n_mixed": 7, "unseen": False,
        "sites": [{"site": "A", "n_methylated": 40, "auc": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 90}}],
        "over_sites": {"n_sites": 3, "mean": {"value": 0.52, "low": 0.4, "high": 0.6, "n": 400}, "new_low": 0.31,
                       "new_high": 0.7, "spread": 0.1},
    }  # fmt: skip
    jsonschema.validate(report, SCHEMA)
    text = as_text(written(report_page, report, pictures))
    assert text.index("AUC within sites 0.51 (0.46-0.56)") < text.index("over pairs of all sites 0.60 (0.56-0.64)")
    assert "the site alone reaches 0.58 out of fold; another site's AUC is expected between 0.31 and 0.70" in text


def test_the_plans_hash_and_how_often_the_patients_were_judged_are_told(pictures):
    report = sample_report()
    report["comparison"] |= {"plan_hash": "cd" * 32, "n_judged": 7}
    jsonschema.validate(report, SCHEMA)
    text = as_text(written(report_page, report, pictures))
    assert "These test patients have been judged 7 times in this store" in text
    assert f"written before anything was scored: {'cd' * 32}" in text


def test_sections_come_in_order(pictures):
    page = written(report_page, sample_report(), pictures)
    order = (
        "verdict checks compared table-1 table-2 curves figure-7 discrimination picture-roc calibration "
        "picture-decision_curve subgroups picture-forest controls noise spread cohort reproduce"
    )
    places = [page.index(f'id="{name}"') for name in order.split()]
    assert places == sorted(places)


def test_published_figures_stand_beside_ours_with_their_intervals(pictures):
    text = as_text(written(report_page, sample_report(), pictures))
    # Wilson by statsmodels: 37 of 53 is 0.565 to 0.804, 38 of 53 is 0.584 to 0.820
    assert "EfficientNetB0 Paper 0.70 (0.56-0.80) printed 70 % 0.71 0.70 0.69 not given This comparison" in text
    assert "T1w Paper 0.49 (0.36-0.62) printed 48.61 % 0.44 (0.30-0.60) printed 0.4443 0.72 (0.58-0.82) a" in text
    assert "0.49 (0.35-0.64) b printed 49.45" in text
    assert "a As published. Table I, Figure 7 and the text say 70 %." in text
    assert "b As published; no AUC is above 1." in text
    assert "is 0.633 on average, and its 95th percentile is 0.698" in text


def test_networks_that_the_paper_has_not_are_shown_too():
    report = sample_report()
    report["table_1"][0]["network"] = "vit-b16"
    text = as_text(written(report_page, report, {}))
    assert "AlexNet Paper 0.56 (0.43-0.69) printed 55.68 % 0.55 0.55 0.54 not given This comparison not trained" in text
    assert "vit-b16 Paper not in the paper This comparison fine-tuned, from random weights 0.49 (0.45-0.53)" in text


def test_undefined_figures_say_so_and_nothing_breaks():
    text = as_text(written(report_page, smallest_report(), {}))
    assert "AUC undefined" in text
    assert not re.search(r"\b(nan|None)\b", text.replace("None was made", ""))
    assert "There are none in this comparison" in text


def test_missing_pictures_are_told_with_a_reason():
    page = written(report_page, sample_report(), {})
    text = as_text(page)
    assert "<img" not in page
    for title, why in PICTURES.values():
        assert f"{title}: no picture here. There is none where {why}." in text


def test_choice_with_folds_admits_that_it_is_not_wholly_independent():
    assert "not wholly independent of the test" in as_text(written(report_page, sample_report(), {}))
    assert "not wholly independent of the test" not in as_text(written(report_page, smallest_report(), {}))


@pytest.mark.parametrize(("best", "words"), [(0.566, "above what chance reaches"), (0.565, "within what chance")])
def test_best_figure_is_held_against_the_noise_floor(best, words):
    report = sample_report()
    report["noise"]["auc"]["best"] = best
    row = re.search(r'<tr><th scope="row">AUC</th><td class="number">0\.541.*?</tr>', written(report_page, report, {}))
    assert words in row[0]


def test_what_reproduces_it_is_there(pictures):
    text = as_text(written(report_page, sample_report(), pictures))
    comparison = sample_report()["comparison"]
    for value in (
        comparison["command"],
        comparison["commit"],
        comparison["manifest_hash"],
        comparison["config_hash"],
        "torch 2.8.0",
    ):
        assert value in text
    assert "fine_tune_learning_rate 1e-05" in text and 'imports ["$import os", "$import mgmt_monai"]' in text
    assert "efficientnet-b0-t1w-blank-repeat0-fold4-seed0" in text


def test_trainings_that_have_not_learnt_say_so_where_they_are_listed(pictures):
    report = sample_report()
    first, second, *others = report["comparison"]["trainings"]
    first["learnt"], second["learnt"], others[0]["learnt"] = False, True, False
    others[0]["not_learnt"] = f"{NOT_SHOWN} (loss 0.6 & more)"
    for other in others[1:]:  # of a version that did not look
        other["learnt"] = None
    page = as_text(written(report_page, report, pictures))
    assert page.count(NOT_LEARNT) == page.count(NOT_SHOWN) == 2
    assert page.count(f"Of 1 of the {len(others) + 2} trainings is to be said") == 2
    assert page.count(others[0]["not_learnt"]) == 1

    first["learnt"] = others[0]["learnt"] = True
    page = as_text(written(report_page, report, pictures))
    assert NOT_LEARNT not in page and NOT_SHOWN not in page


def test_pages_say_that_they_are_for_research_only(pictures):
    for page in (
        written(report_page, sample_report(), pictures),
        written(checklist_page, sample_report()),
    ):
        assert as_text(page).count("Research only: not for diagnosis or treatment.") == 2


def test_pages_name_no_address_and_allow_no_script(pictures):
    for page in (
        written(report_page, sample_report(), pictures),
        written(checklist_page, sample_report()),
    ):
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
        policy = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1])
        assert "default-src 'none'" in policy and "script-src" not in policy and "unsafe" not in policy
        assert "<script" not in page and " style=" not in page


def test_checklists_name_every_gap_and_count_them():
    page = written(checklist_page, sample_report())
    counts = [int(number) for number in re.findall(r'<b class="count \w+">(\d+)</b>', page)]
    assert sum(counts) == 44 + 52
    assert page.count('<span class="badge gap">GAP</span>') == counts[2] + counts[5]
    assert page.count("Authors write:") == counts[1] + counts[2] + counts[4] + counts[5]


def test_links_of_the_checklists_lead_to_sections_of_the_report(pictures):
    report = written(report_page, sample_report(), pictures)
    page = written(checklist_page, sample_report())
    linked = set(re.findall(rf'href="{REPORT_NAME}#([^"]+)"', page))
    assert linked == set(SECTIONS)
    assert linked <= set(re.findall(r'id="([^"]+)"', report))
    assert f'href="{CHECKLIST_NAME}"' in report


def reach(page):
    return page.evaluate("document.documentElement.scrollWidth")


@pytest.mark.parametrize("name", [REPORT_NAME, CHECKLIST_NAME])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_page_fits_asks_for_nothing_and_complains_of_nothing(view, write_pages, name, width):
    path = write_pages(sample_report()).with_name(name)
    page = view(path, width)
    assert page.complaints == []
    assert [url for url in page.asked if not url.startswith("data:")] == [path.as_uri()]
    assert reach(page) <= width


def test_every_picture_loads_has_words_and_keeps_its_shape(view, write_pages):
    page = view(write_pages(sample_report()))
    shown = page.locator("img").evaluate_all(
        "images => Promise.all(images.map(image => image.decode().then(() => "
        "[image.alt, image.naturalWidth, image.clientWidth / image.clientHeight])))"
    )
    assert len(shown) == len(PICTURES)
    assert all(alt and width > 0 for alt, width, _ in shown)
    assert sorted(round(shape, 1) for _, _, shape in shown) == sorted([1.0, 0.8, *[2.0] * 9])
    assert page.locator("#picture-roc img").get_attribute("alt").endswith("AUC 0.60 (0.56-0.64).")


def test_script_in_a_picture_does_not_run(view, write_pages):
    evil = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="document.title=\'owned\'">'
        "<script>top.document.title='owned'</script><image href=\"https://example.org/x.png\"/></svg>"
    )
    page = view(write_pages(sample_report(), dict.fromkeys(PICTURES, evil)))
    page.locator("img").evaluate_all("images => Promise.all(images.map(image => image.decode()))")
    assert page.title() == "RSNA-MICCAI 2021, the paper's plan: mgmt-monai comparison report"
    assert not any("example.org" in url for url in page.asked)


def test_wide_tables_scroll_in_their_own_box_on_a_phone(view, write_pages):
    page = view(write_pages(sample_report()), 390)
    box = page.get_by_role("region", name="Table of the candidates")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    name = box.get_by_role("rowheader").first
    before = name.bounding_box()["x"]
    box.evaluate("box => { box.scrollLeft = 200 }")
    assert name.bounding_box()["x"] == before  # the row's name stays in sight


def test_headings_go_down_one_step_at_a_time_and_every_table_and_region_has_a_name(view, write_pages):
    report = write_pages(sample_report())
    for path in (report, report.with_name(CHECKLIST_NAME)):
        page = view(path)
        levels = page.locator("h1, h2, h3, h4").evaluate_all("nodes => nodes.map(node => Number(node.tagName[1]))")
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        tables = page.locator("table").evaluate_all(
            "nodes => nodes.map(node => node.getAttribute('aria-label') || (node.caption || {}).textContent || '')"
        )
        assert tables and all(tables)


def test_links_within_the_pages_lead_somewhere(view, write_pages):
    report = write_pages(sample_report())
    page = view(report)
    inside = page.locator("a[href^='#']").evaluate_all("nodes => nodes.map(node => node.getAttribute('href'))")
    assert inside and all(page.locator(anchor).count() == 1 for anchor in inside)
    page.get_by_role("link", name="Reporting checklists").click()
    assert page.url == report.with_name(CHECKLIST_NAME).as_uri()
    page.locator("#claim-19").get_by_role("link", name="patients").click()
    assert page.url == report.as_uri() + "#cohort"


def test_settings_are_folded_on_the_screen_and_open_on_paper(view, write_pages):
    page = view(write_pages(sample_report()))
    setting = page.get_by_text("fine_tune_learning_rate", exact=True)
    assert not setting.is_visible()
    page.emulate_media(media="print")
    assert setting.is_visible()
    assert page.locator("nav").is_hidden() and page.get_by_text("Every training of the comparison").is_hidden()
    assert page.get_by_text("The 50 trainings of the comparison are listed on the page itself").is_visible()


@pytest.mark.parametrize("name", [REPORT_NAME, CHECKLIST_NAME])
def test_nothing_is_cut_off_on_paper(view, write_pages, name):
    page = view(write_pages(sample_report()).with_name(name))
    page.emulate_media(media="print")
    page.set_viewport_size({"width": A4_WIDTH, "height": 1000})
    assert reach(page) <= A4_WIDTH
    ends = page.locator("td, th, img, svg, pre").evaluate_all(
        "nodes => nodes.filter(node => node.checkVisibility()).map(node => node.getBoundingClientRect().right)"
    )
    assert max(ends) <= A4_WIDTH + 1
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_text_can_be_read_on_its_ground(view, write_pages):
    """WCAG's contrast of at least 4.5, computed from what the browser shows."""
    report = sample_report()
    report["verdict"]["checks"][1]["passed"] = False
    path = write_pages(report)
    for name in (REPORT_NAME, CHECKLIST_NAME):
        page = view(path.with_name(name))
        pairs = page.locator("p, td, th, dt, dd, a, span, figcaption, summary, h1, h2, h3, b, pre").evaluate_all(
            """nodes => nodes.filter(node => node.checkVisibility()).map(node => {
                let ground = node;
                while (ground && /rgba?\\(0, 0, 0, 0\\)/.test(getComputedStyle(ground).backgroundColor))
                    ground = ground.parentElement;
                const below = ground ? getComputedStyle(ground).backgroundColor : "rgb(255, 255, 255)";
                return [getComputedStyle(node).color, below];
            })"""
        )
        found = {(fore, back): contrast(fore, back) for fore, back in map(tuple, pairs)}
        assert len(found) > 5
        assert {pair: value for pair, value in found.items() if value < 4.5} == {}


def contrast(fore, back):
    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(fore), luminance(back)))
    return (high + 0.05) / (low + 0.05)


def hostile_report():
    """Every text of the report that is not the schema's own word, replaced."""
    kept = {"schema", "state", "reasons", "stage", "status", "created"}

    def replaced(value, key=""):
        if isinstance(value, dict):
            return {
                name if key not in ("settings", "versions", "planes", "modalities") else name + HOSTILE: replaced(
                    each, name
                )
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [replaced(each, key) for each in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) and key not in kept else value

    return replaced(sample_report())


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_names_stay_text_and_do_not_break_the_page(view, write_pages, width):
    report = hostile_report()
    path = write_pages(report)
    for name in (REPORT_NAME, CHECKLIST_NAME):
        page = view(path.with_name(name), width)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.complaints == []
        assert page.title().startswith("RSNA-MICCAI 2021, the paper's plan</script>")
        assert page.locator("img[src=x], [onerror], script").count() == 0
        assert page.locator("h1").text_content() == report["comparison"]["name"]
        assert "{{7*7}}" in page.locator("h1").text_content()
        assert reach(page) <= width
    page = view(path, width)
    assert page.locator(".flow text", has_text="<img src=x").count() > 0
    assert HOSTILE in page.locator("#cohort tbody th").first.text_content()


def test_script_of_another_is_refused_by_the_pages_own_policy(view, write_pages):
    path = write_pages(sample_report())
    path.write_text(
        path.read_text(encoding="utf-8").replace("</main>", "<script>document.title = 'owned'</script></main>")
    )
    page = view(path)
    assert page.title() != "owned"
    assert any("Content Security Policy" in text for text in page.complaints)


def test_smallest_report_has_a_page(view, write_pages):
    page = view(write_pages(smallest_report(), {}), 390)
    assert page.complaints == [] and reach(page) <= 390
    assert page.locator("svg.scale").count() == 0
    assert page.locator("#table-1 ~ figure tr.ours", has_text="not trained").count() >= len(NETWORKS)
