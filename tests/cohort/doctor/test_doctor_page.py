"""The doctor's page in a real browser: what it shows and hides, what it asks for, what hostile text does to it."""

import base64
import re
from io import BytesIO

import pytest
from PIL import Image

from mgmt_monai.cohort.doctor.doctor_report import Cohort, write_report
from mgmt_monai.cohort.doctor.meanings import MEANINGS
from mgmt_monai.cohort.findings import KINDS, Finding
from mgmt_monai.cohort.tables.ignores import Ignored, IgnoreList

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><!--<script>\u2028'\"&{{7*7}}"


@pytest.fixture
def page_path(tmp_path, make_exam):
    """Sixty patients: T1w of 1 to 60 slices, 00007 with a gap, 00009 unreadable, 00011 and 00012 the same."""

    def exams():
        for number in range(1, 61):
            patient_id = f"{number:05d}"
            gap = {"gaps": ((3, 2),), "findings": (("D011", "expected a slice every 5.00 mm, found 2 missing"),)}
            lost = {"readable": False, "findings": (("D003", "expected DICOM files, found an empty series"),)}
            yield make_exam(
                patient_id,
                n_slices=number,
                plane="coronal" if number % 10 == 0 else "axial",
                montage=PIXEL,
                tags={"Manufacturer": "GE" if number % 2 else "Siemens"},
                **{7: gap, 9: lost, 11: {"digests": "ab" * 66}, 12: {"digests": "ab" * 6 + "cd" * 66}}.get(number, {}),
            )
        yield make_exam("00060", "T2w", n_slices=5)

    labels = {f"{number:05d}": number % 2 for number in range(1, 61)}
    ignores = IgnoreList([Ignored("D030", "00001", "T1w alone is wanted")])
    return write_report(tmp_path, exams(), Cohort("made cohort", "csv", labels, ignores=ignores)).page_path


def picture(width, height):
    stream = BytesIO()
    Image.new("L", (width, height), 90).save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


PIXEL, WIDE = picture(1, 1), picture(800, 96)


def patients_shown(page):
    return page.locator("#series-table tbody tr:not(.detail) th").all_inner_texts()


def test_page_says_nothing_on_the_console_and_asks_the_network_for_nothing(view, page_path):
    page = view(page_path)
    assert page.complaints == []
    assert [url for url in page.asked if not url.startswith("data:")] == [page_path.as_uri()]
    assert page.locator("h1").inner_text() == "made cohort"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1366


def test_table_of_series_fits_a_laptop_whatever_the_pictures_measure(view, tmp_path, make_exam):
    exams = [
        make_exam(
            "BraTS2021_00042",
            montage=WIDE,
            gaps=((3, 2),),
            n_slices=192,
            findings=tuple((id, "expected this, found that") for id in ("D011", "D012", "D018", "D023", "D024")),
        )
    ]
    page = view(write_report(tmp_path, exams, Cohort("made", "csv", {"BraTS2021_00042": 0})).page_path, 1366)
    page.locator("#series-table img").evaluate("image => image.decode()")
    assert page.locator(".scroll").evaluate("box => box.scrollWidth - box.clientWidth") == 0


def test_verdict_and_overview_say_what_was_found(view, page_path):
    page = view(page_path)
    # D003 and D040 once each; D030 for 59 patients without T2w, one of them ignored; D011; D043 for the manufacturer
    assert "2 errors, 60 warnings, 0 notes; 1 ignored on purpose" in page.locator(".verdict").inner_text()
    assert "Not ready for training" in page.locator(".verdict").inner_text()
    assert page.locator("#overview tr", has_text="D040").locator(".number").all_inner_texts() == ["1", "2"]
    assert page.locator("#overview tr", has_text="T1w").locator("td").all_inner_texts() == ["53", "6", "1", "60"]


def test_clicking_a_heading_sorts_and_clicking_again_turns_the_order(view, page_path):
    page = view(page_path)
    assert patients_shown(page)[:3] == ["00001", "00002", "00003"]
    heading = page.locator("#series-table thead th", has_text="Slices").first
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert patients_shown(page)[:3] == ["00009", "00001", "00002"]  # the unreadable one has no slices
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert patients_shown(page)[:3] == ["00060", "00059", "00058"]
    assert page.locator("#series-table th[aria-sort]").count() == 1


@pytest.mark.parametrize(
    ("field", "value", "patients"),
    [
        ("finding", "D011", ["00007"]),
        ("finding", "error", ["00009", "00011", "00012"]),
        ("plane", "coronal", ["00010", "00020", "00030", "00040", "00050", "00060"]),
        ("plane", "unusable", ["00009"]),
        ("modality", "T2w", ["00060"]),
        ("patient", "0001", [f"{number:05d}" for number in (1, *range(10, 20))]),
        ("patient", "00011 | 00060", ["00011", "00060", "00060"]),
        ("text", "train/00042/", ["00042"]),
    ],
    ids=["kind", "severity", "plane", "unreadable", "modality", "part of a patient", "two patients", "path"],
)
def test_filter_leaves_only_what_fits(view, page_path, field, value, patients):
    page = view(page_path)
    control = page.locator(f"#series-filters [name={field}]")
    (control.select_option if field in ("finding", "plane", "modality") else control.fill)(value)
    assert patients_shown(page) == patients
    page.locator("#series-filters button[type=reset]").click()
    page.locator("#series-table tbody tr").nth(49).wait_for()


def test_pages_of_the_table_hold_fifty_series(view, page_path):
    page = view(page_path)
    assert len(patients_shown(page)) == 50
    assert page.locator("#series-status").inner_text() == "1 to 50 of 61 series"
    page.get_by_role("button", name="Next").click()
    assert patients_shown(page)[0] == "00051" and len(patients_shown(page)) == 11
    assert page.get_by_role("button", name="Next").is_disabled()


def test_pictures_are_there_and_a_row_opens_to_its_tags(view, page_path):
    page = view(page_path)
    picture = page.locator("#series-table img").first
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    assert "00001" in picture.get_attribute("alt")
    button = page.locator("#series-table tbody th button").nth(6)
    button.click()
    detail = page.locator("#series-table tr.detail")
    assert (
        "Manufacturer" in detail.inner_text()
        and "missing slices: expected a slice every 5.00 mm" in detail.inner_text()
    )
    assert page.locator("#series-table [aria-expanded=true]").count() == 1
    page.locator("#series-table [aria-expanded=true]").click()
    assert detail.count() == 0


def test_findings_are_filtered_and_counted(view, page_path):
    page = view(page_path)
    assert page.locator("#finding-status").inner_text() == "62 findings"
    page.locator("#finding-filters [name=text]").fill("empty series")
    assert page.locator("#finding-status").inner_text() == "1 of 62 findings"
    assert page.locator("details.kind:visible").evaluate_all("nodes => nodes.map(node => node.id)") == [
        "D003",
        "ignored",
    ]
    assert page.locator("h3.warning").is_hidden()
    page.locator("#finding-filters button[type=reset]").click()
    page.locator("#finding-filters [name=severity]").select_option("warning")
    assert page.locator("#finding-status").inner_text() == "60 of 62 findings"


def test_finding_says_what_it_means_and_leads_to_the_series_of_both_patients(view, page_path):
    page = view(page_path)
    kind = page.locator("#D040")
    text = kind.inner_text()
    assert MEANINGS["D040"] in text and KINDS["D040"].remedy in text and "docs/reference/findings/D040.md" in text
    kind.get_by_role("button", name="00011, 00012").click()
    assert patients_shown(page) == ["00011", "00012"]


def test_badge_leads_to_its_kind_also_where_a_filter_hides_it(view, page_path):
    page = view(page_path)
    page.locator("#finding-filters [name=severity]").select_option("error")
    page.locator("#series-table a.badge", has_text="D011").click()
    assert page.locator("#D011").is_visible() and page.locator("#D011").get_attribute("open") is not None


def test_long_lists_are_shown_in_steps(view, page_path):
    page = view(page_path)
    page.locator("#D030 summary").click()
    rows = page.locator("#D030 tbody tr")
    assert rows.count() == 5
    page.locator("#D030").get_by_role("button", name="Show 53 more").click()
    assert rows.count() == 58


def test_ignored_findings_are_shown_as_such(view, page_path):
    page = view(page_path)
    page.locator("#ignored summary").click()
    assert "T1w alone is wanted" in page.locator("#ignored").inner_text()
    page.locator("#finding-filters [name=patient]").fill("00001")
    assert page.locator("#finding-status").inner_text() == "0 of 62 findings"


def test_fact_that_goes_with_the_label_is_shown_with_its_counts(view, page_path):
    page = view(page_path)
    row = page.locator("#label tr.suspicious")
    assert "Manufacturer" in row.inner_text() and "< 0.0001" in row.inner_text()
    # 29 odd patients are readable: 00009 is not
    assert [re.sub(r"\s+", " ", text) for text in row.locator("td.key").all_inner_texts()] == [
        "unmethylated 30 (100 %)", "methylated 0 (0 %)", "unmethylated 0 (0 %)", "methylated 29 (100 %)",
    ]  # fmt: skip


def test_everything_is_there_in_print(view, page_path):
    page = view(page_path)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details.kind:not([open])").count() == 0
    assert page.locator("#series-filters").is_hidden() and page.locator("nav").is_hidden()
    assert page.locator("#series-table tbody tr").count() == 50
    page.set_viewport_size({"width": 1031, "height": 700})  # A4 on its side without its margins, 96 px to the inch
    assert page.evaluate("document.documentElement.scrollWidth") <= 1031


def test_hostile_names_paths_and_tags_stay_text(view, tmp_path, make_exam):
    finding = ("D011", f"expected a slice, found {HOSTILE}")
    exams = [
        make_exam(
            f"{HOSTILE}{number}",
            directory=f"train/{HOSTILE}",
            tags={"Manufacturer": HOSTILE + str(number % 2), "EchoTime": HOSTILE},
            identifying=(HOSTILE,),
            findings=(finding,),
            montage="x' onerror='alert(1)",
        )
        for number in range(8)
    ]
    cohort = Cohort(
        HOSTILE,
        HOSTILE,
        labels={f"{HOSTILE}{number}": number % 2 for number in range(8)},
        columns={f"{HOSTILE}0": {HOSTILE: HOSTILE}},
        findings=[Finding("D040", HOSTILE + "0", "", HOSTILE, HOSTILE, (HOSTILE + "1",))],
        ignores=IgnoreList([Ignored("D044", HOSTILE + "0", HOSTILE)]),
    )
    page = view(write_report(tmp_path, exams, cohort).page_path)
    page.locator("#series-table tbody th button").first.click()
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    assert page.complaints == []
    assert page.locator("img[src=x], img[onerror]").count() == 0
    assert page.locator("h1").text_content() == HOSTILE
    assert page.title().startswith("</script><img src=x onerror=")
    assert HOSTILE[:40] in page.locator("#series-table tr.detail").inner_text()


def test_script_of_another_is_refused_by_the_pages_own_policy(view, page_path):
    broken = page_path.with_name("broken.html")
    broken.write_text(page_path.read_text().replace("</main>", "<script>document.title = 'owned'</script></main>"))
    page = view(broken)
    assert page.title() == "made cohort: mgmt-monai doctor"
    assert any("Content Security Policy" in text for text in page.complaints)


def test_empty_cohort_has_a_page(view, tmp_path):
    page = view(write_report(tmp_path, [], Cohort("empty", "csv")).page_path)
    assert page.complaints == [] and "Nothing was found" in page.locator(".verdict").inner_text()


def test_page_names_no_address_and_no_path_of_this_machine(page_path):
    text = page_path.read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert str(page_path.parent) not in text
