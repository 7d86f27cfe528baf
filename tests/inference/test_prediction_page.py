"""The page says what the result says, needs no network, and takes nothing from a study or a bundle as markup."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from made_bundles import EVALUATION
from PIL import Image

from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.predict_study import Answer, PredictedStudy
from mgmt_monai.inference.prediction import SeriesPrediction, StudyPrediction
from mgmt_monai.inference.prediction_page import SHOWN_SLICES, prediction_page

EVIL = "<script>alert(1)</script>\"'&"

ONE = SeriesPrediction(
    modality="T1w",
    bundle="mgmt_t1w",
    bundle_version="0.1.0",
    model_sha256="ab" * 32,
    probability=0.375,
    abstained=(),
    slice_indices=(4, 5),
    slice_probabilities=(0.25, 0.5),
    distance=1.5,
    distance_limit=2.0,
    findings=(),
    n_slices=10,
    threshold=0.4,
    evaluation=EVALUATION,
    bundle_sha256="cd" * 32,
)
NONE = replace(ONE, modality="FLAIR", probability=None, abstained=("because of this",), slice_probabilities=())


def page(*series: SeriesPrediction, study: str = "case-7", n: int = 2) -> str:
    images = torch.linspace(0, 1, n * 8 * 8).reshape(n, 1, 8, 8)
    answers = tuple(Answer(one, None, images) for one in series)
    told = StudyPrediction(study, series, {"torch": "2.9"}, "2026-01-02T03:04:05+00:00")
    return "".join(prediction_page(PredictedStudy(told, answers)))


def text(html: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_page_tells_number_worth_operating_point_distance_checks_and_origin() -> None:
    told = text(page(ONE))

    assert told.count(NOTICE) == 2
    for words in (
        "case-7",
        "0.38 probability of MGMT promoter methylation",
        "0.375 , the mean over 2 slices",
        "threshold of 0.40 (dashed) it is called not methylated",
        "AUC 0.61 (0.38-0.80) , 95 % interval",
        "On 24 test patients of its own training's cohort, 11 methylated",
        "there is no evidence that the model tells methylated from unmethylated tumours",
        "sensitivity 0.64 (0.35-0.85)",
        "specificity 0.54 (0.29-0.77)",
        "the figures are of this threshold, the call above is of 0.40",
        "1.5 , limit 2",
        "Slices 5 to 6 of 10",
        "5 0.25",
        "6 0.50",
        "10 slices were checked; nothing was found",
        "ab" * 32,
        "cd" * 32,
        "torch 2.9",
    ):
        assert words in told, words


def test_made_cohort_stands_beside_its_figures_and_is_no_evidence() -> None:
    good = {"value": 0.97, "low": 0.9, "high": 0.99}
    known = {**EVALUATION, "auc": good, "made_cohort": True, "trained_on": "A made cohort, 16 patients."}
    html = page(replace(ONE, evaluation=known))

    told = text(html)
    assert "the model's AUC: 0.97 (0.90-0.99), on a made cohort" in told
    assert "Trained on: A made cohort, 16 patients." in told
    assert "say nothing about patients" in told and "this is no evidence either way" in told
    assert 'class="state some"' not in html


def test_abstention_is_the_headline_with_its_reason_and_no_number() -> None:
    told = text(page(NONE))

    assert "No answer the model abstains" in told
    assert told.count("because of this") == 2
    assert "0.375" not in told
    assert "called methylated" not in told.split("operating point")[0]


def test_mean_of_several_is_told_with_how_many() -> None:
    told = text(page(ONE, NONE, replace(ONE, probability=0.625, modality="T2w")))

    assert "0.50 probability of MGMT promoter methylation, the mean of 2 of 3 models" in told
    assert "How good the mean is was not tested either" in told


def test_lone_answer_among_several_is_no_mean() -> None:
    assert "as the one of 2 models gives it that does not abstain" in text(page(ONE, NONE))


def test_findings_are_listed_with_their_severity() -> None:
    finding = {"id": "D013", "severity": "warning", "title": "oblique plane", "text": "expected, found"}

    assert "warning oblique plane (D013): expected, found" in text(page(replace(ONE, findings=(finding,))))


def test_bundle_that_knows_nothing_says_so() -> None:
    told = text(page(replace(ONE, evaluation={}, distance=None, distance_limit=None)))

    assert "cannot be judged" in told
    assert "does not know its training data" in told


def test_undefined_figures_are_words() -> None:
    nothing = {"value": None, "low": None, "high": None}
    told = text(page(replace(ONE, evaluation={"auc": nothing, "sensitivity": nothing})))

    assert "AUC undefined" in told
    assert "sensitivity undefined" in told
    assert "None" not in told


def test_scales_are_drawn_where_the_numbers_are() -> None:
    drawn = page(ONE)

    assert '<circle class="point" cx="160.0" cy="16"' in drawn  # 10 + 400 * 0.375
    assert [float(x) for x in re.findall(r'class="each" x1="([\d.]+)"', drawn)] == [110, 210]
    assert '<line class="interval" x1="162.0" x2="330.0"' in drawn  # 0.38 and 0.8
    assert '<circle class="point" cx="160.0" cy="20"' in drawn  # 1.5 of a scale to twice the limit
    assert 'class="far"' in page(replace(NONE, distance=3.0))
    assert 'class="past"' in page(replace(NONE, distance=1e12))


def test_pictures_are_the_slices_themselves() -> None:
    uris = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page(ONE))

    assert len(uris) == 2
    first, second = (Image.open(BytesIO(base64.b64decode(uri))).convert("L") for uri in uris)
    assert first.size == (160, 160)
    assert first.getpixel((2, 2)) < 10
    assert second.getpixel((157, 157)) > 245


def test_long_series_is_pictured_in_steps() -> None:
    n = 3 * SHOWN_SLICES
    many = replace(ONE, slice_indices=tuple(range(n)), slice_probabilities=(0.5,) * n, n_slices=n)
    html = page(many, n=n)

    assert html.count("<img ") == SHOWN_SLICES
    assert f"{SHOWN_SLICES} of {n} are pictured" in text(html)


def test_nothing_of_the_study_or_the_bundle_is_markup() -> None:
    finding = {"id": "D013", "severity": "warning", "title": EVIL, "text": EVIL}
    hostile = replace(
        ONE, bundle=EVIL, bundle_version=EVIL, findings=(finding,), evaluation={**EVALUATION, "stage": EVIL}
    )
    html = page(hostile, replace(NONE, abstained=(EVIL,)), study=EVIL)

    assert "<script" not in html
    assert EVIL in unescape(html)


def test_policy_allows_the_pages_own_style_alone() -> None:
    html = page(ONE)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    wanted = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    assert unescape(policy).startswith("default-src 'none'; img-src data:;")
    assert f"style-src 'sha256-{wanted}'" in unescape(policy)
    assert not re.search(r'\sstyle="|<script|https?://|\son\w+=', html)


def test_two_models_of_one_modality_are_told_apart_at_the_top() -> None:
    other = replace(ONE, bundle="another", model_sha256="ef" * 32)
    top = text(page(ONE, other)).partition("The answer")[0]
    assert f"{ONE.bundle}: the model's AUC" in top and "another: the model's AUC" in top
    assert f"{ONE.bundle}: " not in text(page(ONE, NONE)).partition("The answer")[0]


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
def test_page_fits_a_screen_in_a_browser(view: Callable[..., Any], tmp_path: Path, width: int, scheme: str) -> None:
    long = replace(ONE, bundle="a" * 150, abstained=("b" * 300,), probability=None, slice_probabilities=())
    (tmp_path / "page.html").write_text(page(ONE, long), encoding="utf-8")
    shown = view(tmp_path / "page.html", width, color_scheme=scheme)
    assert shown.complaints == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 245, 243)", "dark": "rgb(19, 24, 28)"}[scheme]
