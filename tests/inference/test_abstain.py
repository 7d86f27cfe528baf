"""The rules by which a model gives no answer."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from mgmt_monai.cohort.findings import KINDS, Finding, Severity
from mgmt_monai.inference.abstain import input_reasons, network_reasons
from mgmt_monai.inference.study import StudySeries, read_study


@pytest.fixture
def sound(study: Path) -> StudySeries:
    return read_study(study, modalities=["T1w"])[0]


def with_finding(studied: StudySeries, kind: str) -> StudySeries:
    finding = Finding(kind, "study-1", "T1w", "T1w", "expected this, found that")
    return replace(studied, exam=replace(studied.exam, findings=(finding,)))


def test_sound_series_gives_no_reason(sound: StudySeries) -> None:
    assert input_reasons("T1w", sound, ["T1w"]) == []


def test_missing_modality_is_a_reason() -> None:
    assert input_reasons("T1w", None, ["FLAIR", "T2w"]) == ["the study has no T1w series, only FLAIR, T2w"]


OF_A_SERIES = [kind for kind in KINDS.values() if kind.id < "D030"]


@pytest.mark.parametrize("kind", OF_A_SERIES, ids=[kind.id for kind in OF_A_SERIES])
def test_errors_and_other_sequences_are_reasons_and_no_other_finding_is(sound: StudySeries, kind) -> None:
    reasons = input_reasons("T1w", with_finding(sound, kind.id), ["T1w"])

    refuses = kind.severity is Severity.ERROR or kind.id in ("D017", "D018")
    assert reasons == ([f"{kind.title} ({kind.id}): expected this, found that"] if refuses else [])


@pytest.mark.parametrize(("n_blank", "refused"), [(0, False), (1, True), (3, True)])
def test_blank_middle_slices_are_a_reason(sound: StudySeries, n_blank: int, refused: bool) -> None:
    content = replace(sound.exam.content, n_blank=20, n_blank_middle=n_blank)
    reasons = input_reasons("T1w", replace(sound, exam=replace(sound.exam, content=content)), ["T1w"])

    assert bool(reasons) == refused
    assert all(f"{n_blank} slice" in reason for reason in reasons)


@pytest.mark.parametrize(("clipped", "refused"), [(0.0, False), (0.2, False), (0.21, True)])
def test_tissue_cut_off_at_one_value_is_a_reason(sound: StudySeries, clipped: float, refused: bool) -> None:
    content = replace(sound.exam.content, clipped=clipped)
    reasons = input_reasons("T1w", replace(sound, exam=replace(sound.exam, content=content)), ["T1w"])

    assert reasons == (["21% of the tissue cut off at one value, more than 20%"] if refused else [])


@pytest.mark.parametrize(
    ("distance", "limit", "words"),
    [
        (1.0, 2.0, None),
        (2.0, 2.0, None),
        (2.0 * (1 + 1e-9), 2.0, None),
        (2.001, 2.0, "distance 2.001"),
        (1e9, 2.0, "limit 2"),
        (math.inf, 2.0, "not finite"),
        (None, None, None),
    ],
)
def test_distance_beyond_the_limit_is_a_reason(distance, limit, words) -> None:
    reasons = network_reasons(6, 0, distance, limit)

    assert len(reasons) == (words is not None)
    assert words is None or words in reasons[0]


def test_slices_of_one_value_no_slices_and_no_numbers_are_reasons() -> None:
    assert network_reasons(6, 2, None, None) == ["2 of 6 slices shown to the network hold one value only"]
    assert "(slice_fraction 1)" in network_reasons(6, 2, None, None, slice_fraction=1.0)[0]
    assert network_reasons(0, 0, None, None) == ["no slice is left to show the network"]
    assert network_reasons(2, 0, None, None, [0.5, math.nan]) == ["the network's output is not finite"]
